"""The exposure ledger: shares and deficits, how unevenly members have a scope's events, quotas of what is new; by the text of docs/ledger.md.

`own` and `whole` are exact numbers of a window, as fractions.
"""

import collections
from fractions import Fraction

from number import Within, float32_of, within

MEMBERS = 512  # so many are exact
SAMPLE_ERROR = 0.1
SUM_ERROR = 1e-9


def share(feature, own, whole, kind, target_id):
    if kind == "n":
        return float32_of(whole.numerator, whole.denominator)
    found = own / whole if whole else Fraction(0)
    if kind == "deficit":
        if not target_id:
            return 0.0
        return within(feature.targets.get(target_id, 0) - float(found), SUM_ERROR)
    return within(float(found))


def gini(members):
    """Each event's member."""
    counts = sorted(collections.Counter(members).values())
    n, total = len(counts), sum(counts)
    exact = sum((2 * i - n - 1) * count for i, count in enumerate(counts, 1)) / (n * total)
    if n > MEMBERS:
        return Within(exact, exact - SAMPLE_ERROR, exact + SAMPLE_ERROR)
    return within(exact)


def returning(feature, window, own):
    """`own`: (ts_ms, user_id); of users who came in enough panes."""
    panes = collections.defaultdict(set)
    for ts_ms, user_id in own:
        panes[user_id].add(ts_ms // window.resolution_ms)
    return float32_of(sum(len(some) >= feature.visits for some in panes.values()))


def quota_left(feature, shown, events, time_ms):
    """`shown` and `events`: what the feature took of an entity that is there, and all that it had."""
    if events.count(feature.known.span(time_ms)) > events.count(feature.newer.span(time_ms)):
        return 0.0
    return float32_of(max(feature.quota - shown.count(feature.newer.span(time_ms)), 0))
