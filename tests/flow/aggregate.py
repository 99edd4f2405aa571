"""What each aggregate makes of the events that it takes, by the Contract's text (docs/values.md), from the full list of them.

Where the text leaves a choice, this is taken:

- An entity that is absent hides all: counts, sums, sketches, gauges and decayed sums read 0, series and sequences are empty, age
  is -1, a ratio is its prior. While it is present, every event whose pane or block counts does, however old beside the
  retention.
- Columns of a feature: the values by window, then `n` by window, then `sd` by window, then `age`, in this order whatever that of `emit`;
  `f.w` asks for one window's and the age. `distinct` takes no event whose `of` is 0, a gauge none without a user: they are neither in
  `n` nor in `age`. `n` is the events taken in the window, for `decayed` in its four blocks; a `ratio`'s is its denominator.
- A mean is of the exact sum, a ratio of the exact sums: only a `sum` that is read is clamped.
- `age` of a ratio is that of the later of its operands' latest events; of a gauge that of its latest `up` or `down`.
- The columns of a chain come last, by window: `num` and `den` of each entity from the nearest on, then those of `global`.
- A ratio whose denominator and strength add up to 0 is the next prior up, whatever its numerator.
- The parent and the global entity of a ratio count every event with their own key: one without the entity's key too.
- A gauge knows each user's latest event even before T reaches it: an `up` of the future hides the one before.
- A series of an entity other than the user is a Sequence for each distinct key with the rows it serves, as any sequence is; its
  fields bear the actions' names in lower case.
"""

import bisect
import itertools
import math

import xxhash

import causal
import ledger
import where
from event import ACTIONS, DAY_MS, SCENES, order, span_ms
from number import Within, float32_of, llround, micro, within

RESOLUTIONS_MS = (DAY_MS, 21_600_000, 3_600_000, 600_000, 60_000, 10_000, 1_000)
WINDOW_PANES, SKETCH_PANES = 24, 6  # at least so many in a window
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
DISTINCT_EXACT = 128
DISTINCT_ERROR = 5 * 0.017  # five standard errors
QUANTILE_ERROR = 0.01 * (1 + 1e-6)
QUANTILE_MIN, QUANTILE_MAX = 1e-3, 1e9
BLOCK_HALF_LIVES, BLOCKS, DECAYED_UNIT = 8, 4, 1 << 24
SEQUENCES = ("last", "series")
SKETCHES = ("distinct", "quantile", "coec", "watch_rank", "capped", "gini", "returning")
WINDOWED = ("count", "sum", "mean", "min", "max", "ratio", "budget", "ips", "share", *SKETCHES)
AGAINST_ALL = {"coec": (causal.click_rates, causal.coec), "watch_rank": (causal.ranks_of, causal.watch_rank)}


def id_of(name):
    """Of an id that a text or a number names."""
    text = str(name)
    if text.isdecimal() and str(int(text)) == text and int(text) < 1 << 64:
        return int(text)
    return xxhash.xxh64_intdigest(text.encode()) or 1


def resolution_ms(window_ms, panes=WINDOW_PANES):
    for r in RESOLUTIONS_MS:
        if window_ms % r == 0 and window_ms // r >= panes:
            return r
    raise ValueError(f"no resolution for a window of {window_ms} ms")


class Window:
    """The panes that count at a time."""

    def __init__(self, text, panes=WINDOW_PANES):
        self.text = text
        self.resolution_ms = resolution_ms(span_ms(text), panes)
        self.panes = span_ms(text) // self.resolution_ms

    def span(self, time_ms):
        """From (included), to (not)."""
        head = time_ms // self.resolution_ms
        return (head - self.panes + 1) * self.resolution_ms, (head + 1) * self.resolution_ms


class Taken:
    """All (ts_ms, weight) that a feature took of one entity, whatever their age; asked only after all are in."""

    __slots__ = ("pairs", "times", "weights", "totals")

    def __init__(self):
        self.pairs, self.times = [], None

    def add(self, ts_ms, weight):
        self.pairs.append((ts_ms, weight))
        self.times = None

    def arrange(self):
        if self.times is None:
            self.pairs.sort(key=lambda pair: pair[0])
            self.times = [ts for ts, _ in self.pairs]
            self.weights = [weight for _, weight in self.pairs]
            self.totals = None

    def bounds(self, span):
        self.arrange()
        return bisect.bisect_left(self.times, span[0]), bisect.bisect_left(self.times, span[1])

    def count(self, span):
        first, end = self.bounds(span)
        return end - first

    def sum(self, span):
        first, end = self.bounds(span)
        if self.totals is None:
            self.totals = list(itertools.accumulate(self.weights, initial=0))
        return self.totals[end] - self.totals[first]

    def list(self, span):
        first, end = self.bounds(span)
        return self.weights[first:end]

    def newest_ms(self):
        self.arrange()
        return self.times[-1] if self.times else None


NOTHING = Taken()


class Decay:
    """Sums that halve every `half_life`, as integers by block."""

    def __init__(self, half_life):
        self.half_life_ms = span_ms(half_life)
        self.block_ms = BLOCK_HALF_LIVES * self.half_life_ms

    def weight(self, ts_ms, weight):
        """What one event adds to the sum of its block."""
        since = ts_ms % self.block_ms
        return llround(weight * 2.0 ** (since / self.half_life_ms) * DECAYED_UNIT)

    def span(self, time_ms):
        """Of the blocks that count."""
        head = time_ms // self.block_ms
        return (head - BLOCKS + 1) * self.block_ms, (head + 1) * self.block_ms

    def value(self, taken, time_ms):
        total = 0.0
        for start in range(*self.span(time_ms), self.block_ms):
            total += taken.sum((start, start + self.block_ms)) / DECAYED_UNIT * 2.0 ** ((start - time_ms) / self.half_life_ms)
        return total


def quantile(values, q):
    """The exact one, of the clamped values."""
    ranked = sorted(min(max(value, QUANTILE_MIN), QUANTILE_MAX) for value in values)
    return ranked[math.floor(q * (len(ranked) - 1))]


def distinct(weights):
    count = len(set(weights) - {0})
    if count <= DISTINCT_EXACT:
        return float(count)
    return Within(count, count * (1 - DISTINCT_ERROR), count * (1 + DISTINCT_ERROR))


class Feature:
    """One of `features`."""

    def __init__(self, name, settings, entity):
        self.name = name
        self.entity = settings["entity"]
        self.holds = entity.holds
        self.is_of_user = entity.key == ("user_id",)
        self.aggregate = settings["aggregate"]
        self.match = settings.get("match")
        self.source = settings.get("of", {"distinct": "user_id", "gini": "creator_id", "ips": None}.get(self.aggregate, "value"))
        self.limit = settings.get("limit")
        self.fields = settings.get("fields", [])
        self.is_seen = settings.get("seen", False)
        self.emit = settings.get("emit", ["value"])
        self.q = settings.get("q")
        self.prior, self.strength = settings.get("prior"), settings.get("strength", 0)
        if self.aggregate == "share":
            self.prior = settings.get("scope", "global")
        self.targets = {id_of(name): share for name, share in settings.get("targets", {}).items()}
        self.named = ()  # fields without which it takes no event
        self.quota, self.visits = settings.get("quota"), settings.get("visits", 2)
        self.minus = self.numbers(settings.get("minus", []))
        if self.aggregate == "quota":
            self.newer, self.known = Window(settings["newer_than"]), Window(settings.get("forgotten_after", "30d"))
        self.parent, self.share, self.plus = entity.parent, settings.get("share", 0), settings.get("plus", 0)
        self.from_name, self.within_ms = settings.get("from"), span_ms(settings.get("within", 0))
        self.bin_ms, self.bins = span_ms(settings.get("bin", 0)), settings.get("bins")
        self.decay = Decay(settings["half_life"]) if "half_life" in settings else None
        panes = SKETCH_PANES if self.aggregate in SKETCHES else WINDOW_PANES
        self.windows = {text: Window(text, panes) for text in settings.get("windows", [])}
        self.timeout = Window(settings["timeout"]) if "timeout" in settings else None
        self.up = self.numbers(settings.get("up", []))
        self.z = settings.get("z", 1.96)
        self.shown = self.numbers(settings.get("shown", ["impression"])) if self.aggregate == "coec" else []
        self.positions, self.curve = settings.get("positions", 50), settings.get("curve", "global")
        self.floor, self.cap, self.slack = settings.get("floor", 0.01), settings.get("cap"), settings.get("slack", 1)
        self.show, self.field = settings.get("show", "score"), settings.get("field", "item_id")
        self.events, self.fast = settings.get("events", 50), settings.get("fast", 10)
        self.bins = settings.get("bins", 60)
        self.listed_actions = self.numbers([*settings.get("actions", []), *settings.get("up", []), *settings.get("down", [])])
        if self.aggregate == "coec":
            self.listed_actions = self.shown + self.numbers(settings.get("clicked", ["click"]))
        if self.aggregate == "watch_rank" and not self.listed_actions:
            self.listed_actions = self.numbers(["watch"])
        self.actions = set(self.listed_actions)
        self.weights = {ACTIONS.index(action.lower()): weight for action, weight in settings.get("weights", {}).items()}
        self.scenes = {SCENES.index(scene.lower()) for scene in settings.get("scenes", [])}
        self.condition = where.parse(settings["where"], ACTIONS, SCENES) if "where" in settings else None
        self.is_kept = not self.match and self.aggregate not in ("ratio", "share", "budget", "covisit", "actor")
        self.is_read = self.aggregate != "covisit"  # by GetFeatures

    @staticmethod
    def numbers(actions):
        return [ACTIONS.index(action.lower()) for action in actions]

    def takes(self, event):
        if self.actions and event["action"] not in self.actions or self.scenes and event["scene"] not in self.scenes:
            return False
        if not all(event[field] for field in self.named):
            return False
        if self.aggregate in ("distinct", "gini") and not event[self.source] or self.aggregate == "gauge" and not event["user_id"]:
            return False
        if self.aggregate in ("capped", "returning") and not event["user_id"] or self.aggregate == "watch_rank" and not event["duration_s"] > 0:
            return False
        if self.aggregate == "ips" and not 0 < event["propensity"] <= 1:
            return False
        return not self.condition or self.condition(event)

    def weight(self, event):
        """What is kept of an event taken."""
        match self.aggregate:
            case "count" | "series" | "quota":
                return event["action"]
            case "sum" if event["action"] in self.minus:
                return micro(-abs(event[self.source]))
            case "sum" | "mean" | "min" | "max":
                return micro(event[self.source])
            case "distinct" | "quantile" | "gini":
                return event[self.source]
            case "coec":
                return causal.place(self, event)
            case "watch_rank":
                return causal.watch(event)
            case "ips":
                return causal.ips(self, event)
            case "capped" | "returning":
                return event["ts_ms"], event["user_id"]
            case "burst":
                return 1
            case "decayed":
                return self.decay.weight(event["ts_ms"], self.weights.get(event["action"], 1))
        return order(event), event  # last, gauge

    def columns(self, window=None):
        if self.aggregate in SEQUENCES or not self.is_read:
            return ()
        if self.aggregate not in WINDOWED:
            windows, found = [], [Column(self, None, kind) for kind in ("value", "n") if kind in self.emit]
        else:
            windows = [window] if window else self.windows
            found = [Column(self, w, kind) for kind in ("value", "n", "sd") if kind in self.emit for w in windows]
        found += [Column(self, None, "age")] if "age" in self.emit else []
        bounds = [kind for kind in ("lower", "upper") if kind in self.emit]
        chain = [f"{name}.{side}" for name in self.chain() for side in ("num", "den")] if "chain" in self.emit else []
        found += [Column(self, w, kind) for kind in bounds for w in windows]
        found += [Column(self, w, kind) for w in windows for kind in chain]
        return tuple(found + [Column(self, w, "deficit") for w in windows if "deficit" in self.emit])

    def chain(self):
        listed = self.prior if isinstance(self.prior, list) else [self.parent] if self.prior == "parent" else []
        return [*(name for name in listed if name != "global"), "global"]

    # ---- What has no window ----

    def online(self, taken, time_ms):
        """A gauge: users whose latest event is an `up` inside the time-out."""
        latest = {}
        for _, (at, event) in taken.pairs:
            user_id = event["user_id"]
            if user_id and (user_id not in latest or at > latest[user_id][0]):
                latest[user_id] = at, event
        start, end = self.timeout.span(time_ms)
        return sum(event["action"] in self.up and start <= event["ts_ms"] < end for _, event in latest.values())

    def series(self, taken, time_ms):
        """{action: counts by bin, oldest first}."""
        head = time_ms // self.bin_ms
        first = head - self.bins + 1
        counts = {action: [0] * self.bins for action in self.listed_actions}
        taken.arrange()
        begin, end = taken.bounds((first * self.bin_ms, (head + 1) * self.bin_ms))
        for ts_ms, action in taken.pairs[begin:end]:
            counts[action][ts_ms // self.bin_ms - first] += 1
        return {ACTIONS[action]: bins for action, bins in counts.items()}

    def records(self, taken, time_ms):
        """The events of a `last`, newest first."""
        newest_first = sorted((kept for _, kept in taken.pairs), key=lambda kept: kept[0], reverse=True)[: self.limit]
        return [event for _, event in newest_first if self.holds(event["ts_ms"], time_ms)]


class Column:
    """One column of a matrix."""

    def __init__(self, feature, window, kind):
        self.feature, self.kind = feature, kind
        self.name = ".".join([feature.name, *([window] if window else []), *([kind] if kind != "value" else [])])
        self.window = feature.windows[window] if window else None

    def value(self, taken, time_ms):
        """From all that the entity took."""
        feature = self.feature
        if not taken.pairs:
            return -1.0 if self.kind == "age" else 0.0
        if self.kind == "age":
            return age(taken.newest_ms(), feature.holds, time_ms)
        if feature.aggregate == "decayed" and self.kind == "n":
            return float32_of(taken.count(feature.decay.span(time_ms)))
        if feature.aggregate == "decayed":
            return within(feature.decay.value(taken, time_ms))
        if feature.aggregate == "gauge":
            return float32_of(feature.online(taken, time_ms))
        if feature.aggregate == "burst":
            taken.arrange()
            return causal.burst(feature, taken.times, time_ms)
        span = self.window.span(time_ms)
        count = taken.count(span)
        if self.kind == "n" or feature.aggregate == "count":
            return float32_of(count)
        if count == 0:
            return 0.0
        match feature.aggregate:
            case "capped":
                return causal.capped(feature, self.window, taken.list(span))
            case "sum" | "ips":
                return float32_of(max(min(taken.sum(span), INT64_MAX), INT64_MIN), 1_000_000)
            case "mean":
                return float32_of(taken.sum(span), count * 1_000_000)
            case "min":
                return float32_of(min(taken.list(span)), 1_000_000)
            case "max":
                return float32_of(max(taken.list(span)), 1_000_000)
            case "distinct":
                return distinct(taken.list(span))
            case "returning":
                return ledger.returning(feature, self.window, taken.list(span))
            case "gini":
                return ledger.gini(taken.list(span))
            case "quantile":
                exact = quantile(taken.list(span), feature.q)
                return within(exact, exact * QUANTILE_ERROR)
        raise ValueError(f"no aggregate {feature.aggregate}")


def age(newest_ms, holds, time_ms):
    if newest_ms is None or not holds(newest_ms, time_ms):
        return -1.0
    return float32_of(max(time_ms - newest_ms, 0), 1000)

