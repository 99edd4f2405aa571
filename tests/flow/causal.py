"""What is held against all events, weighed by propensities, or kept from being pushed: by the text of docs/values.md alone.

`own` and `all` are what a feature keeps of the events of a window: of the entity, and of everybody. Of the latter a curve is made first.
"""

import collections
import math
from fractions import Fraction

from number import Within, float32_of, llround, within

LENGTHS, TIMES, EDGE = 13, 81, -6  # of watches: powers of 2 of seconds, eighths of a power of 2 of these from 2^EDGE on
READY, MAD = 8, 1.4826  # of bursts
SUM_ERROR = 1e-9  # of what is added up in doubles


# ---- Clicks over expected clicks ----


def place(feature, event):
    """Whether it shows, and where."""
    scene = event["scene"] if feature.curve == "scene" else 0
    return event["action"] in feature.shown, (scene, min(event["position"], feature.positions))


def click_rates(all):
    """By place."""
    shown, clicked = collections.Counter(), collections.Counter()
    for is_shown, at in all:
        (shown if is_shown else clicked)[at] += 1
    return {at: Fraction(clicked[at], shown[at]) for at in shown}


def coec(feature, own, rates, kind):
    places = [at for is_shown, at in own if is_shown]
    clicks = Fraction(len(own) - len(places)) + Fraction(feature.strength)
    expected = sum((rates[at] for at in places), Fraction(feature.strength))
    if kind == "n":
        return float32_of(len(places))
    if kind == "sd":
        exact = math.sqrt(clicks) / float(expected) if expected else 0.0
    else:
        exact = float(clicks / expected) if expected else 1.0
    return within(exact, exact * SUM_ERROR)


# ---- Ranks of watches ----


def watch(event):
    """The bucket of its length, and that of the time watched in it."""
    length = min(max(math.frexp(event["duration_s"])[1] - 1, 0), LENGTHS - 1)
    part = event["value"] / 2**length
    if part < 2.0**EDGE:
        return length, 0
    mantissa, power = math.frexp(part)
    eighth = max(k for k in range(8) if 2 * mantissa >= 2 ** (k / 8))
    return length, min(1 + 8 * (power - 1 - EDGE) + eighth, TIMES - 1)


def ranks_of(all):
    """By bucket: the middle rank among those of its length."""
    counts, ranks = collections.Counter(all), {}
    for length in {length for length, _ in counts}:
        below, times = 0, sorted(time for other, time in counts if other == length)
        total = sum(counts[length, time] for time in times)
        for time in times:
            ranks[length, time] = Fraction(2 * below + counts[length, time], 2 * total)
            below += counts[length, time]
    return ranks


def watch_rank(feature, own, ranks, kind):
    ranks = [ranks[at] for at in own]
    n, strength = len(ranks), Fraction(feature.strength)
    if kind == "n":
        return float32_of(n)
    if kind == "sd":
        mean = sum(ranks) / n if n else 0
        exact = math.sqrt(sum((rank - mean) ** 2 for rank in ranks)) / float(n + strength) if n else 0.0
        return Within(exact, exact - 1e-6, exact + 1e-6)
    exact = float((sum(ranks) + strength / 2) / (n + strength)) if n + strength else 0.5
    return within(exact, SUM_ERROR)


# ---- Inverse propensities ----


def ips(feature, event):
    """In micro-units."""
    amount = float(feature.weights.get(event["action"], 1)) * (event[feature.source] if feature.source else 1.0)
    return llround(max(-1e12, min(amount / max(event["propensity"], feature.floor), 1e12)) * 1e6)


# ---- Those who push ----


def capped(feature, window, own):
    """`own`: (ts_ms, user_id)."""
    counts = collections.Counter((ts_ms // window.resolution_ms, user_id) for ts_ms, user_id in own)
    return float32_of(sum(min(count, feature.cap) for count in counts.values()))


def lower_median(numbers):
    return sorted(numbers)[(len(numbers) - 1) // 2]


def burst(feature, times_ms, time_ms):
    head = time_ms // feature.bin_ms
    counts = collections.Counter(ts_ms // feature.bin_ms for ts_ms in times_ms)
    bins = [counts[head - feature.bins + 1 + i] for i in range(feature.bins)]
    while bins and not bins[0]:
        bins.pop(0)
    if len(bins) - 1 < READY:
        return 0.0
    usual = lower_median(bins[:-1])
    spread = max(math.sqrt(max(usual, 1)), MAD * lower_median([abs(count - usual) for count in bins[:-1]]))
    total = before = 0.0
    for count in bins:
        before, total = total, max(0.0, total + (count - usual) / spread - feature.slack) if count > usual else 0.0
    return within(max(before, total), max(before, total) * SUM_ERROR)


def actor(feature, records):
    """`records`: newest first."""
    records = records[: feature.events]
    times, ids = [event["ts_ms"] for event in records], [event[feature.field] for event in records]
    n, rate, repetition, regularity = len(records), 0.0, 0.0, 0.0
    if n > 1:
        rate = (n - 1) * 60000 / max(times[0] - times[-1], 1000)
        repetition = max((ids.count(one) for one in ids if one), default=0) / n
    scales = collections.Counter((a - b).bit_length() for a, b in zip(times, times[1:]))
    if n - 1 >= 8:
        entropy = -sum(count / (n - 1) * math.log(count / (n - 1)) for count in scales.values())
        regularity = max(0.0, 1 - entropy / math.log(min(n - 1, 16)))
    match feature.show:
        case "rate":
            found = rate
        case "repetition":
            found = repetition
        case "regularity":
            found = regularity
        case _:
            found = rate / (rate + feature.fast) * (1 - (1 - repetition) * (1 - regularity))
    return within(found, max(found * SUM_ERROR, 1e-12 if feature.show in ("score", "regularity") else 0))
