"""What every value must be: a brute-force oracle of count, sum and last, written from the Contract (docs/values.md) alone.

It keeps every applied event and computes each value anew from the full list, so that nothing incremental can be wrong in the
same way as in the node. Events come in as dicts, in the order of arrival of each user (only the dropping of duplicates depends
on it).
"""

import math
import struct
from fractions import Fraction

import where

FIELD_NUMBERS = {
    "event_id": 1, "ts_ms": 2, "user_id": 3, "item_id": 4, "creator_id": 5, "room_id": 6, "category_id": 7, "region": 8,
    "action": 9, "value": 10, "duration_s": 11, "scene": 12, "request_id": 13, "position": 14, "propensity": 15, "text": 16,
    "attributes": 17,
}  # fmt: skip
ACTIONS = (
    "action_unspecified impression click watch like unlike comment share follow unfollow gift add_to_cart remove_from_cart"
    " purchase refund enter_room leave_room room_start room_end item_on item_off dislike report search"
).split()
SCENES = "scene_unspecified live short_video mall search_page feed".split()

ID_FIELDS = {"item_id", "creator_id", "room_id", "category_id", "region", "request_id", "event_id"}
INT_FIELDS = {"action", "scene", "ts_ms", "position"}
REMEMBERED = ("creator_id", "room_id", "category_id", "duration_s")

TS_MS_END = 4102444800000
VALUE_MAX = 1e12
SECOND_MS, DAY_MS = 1000, 86_400_000
RESOLUTIONS_MS = (DAY_MS, 21_600_000, 3_600_000, 600_000, 60_000, 10_000, 1_000)
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}


def span_ms(text):
    """'250ms', '5m', '7d' → ms; 0 → 0."""
    text = str(text)
    digits = text.rstrip("mshd")
    unit = text[len(digits) :]
    return int(digits) * UNITS_MS[unit] if unit else int(digits)


def resolution_ms(window_ms):
    for r in RESOLUTIONS_MS:
        if window_ms % r == 0 and window_ms // r >= 24:
            return r
    raise ValueError(f"no resolution for a window of {window_ms} ms")


def llround(x):
    """Half away from zero; exact, because a double's fraction is."""
    whole = math.floor(abs(x))
    up = abs(x) - whole >= 0.5
    return int(math.copysign(1, x)) * (whole + up)


def micro(value):
    return llround(value * 1e6)


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def float32_of(numerator, denominator=1):
    """The float32 nearest to the exact ratio, ties to even."""
    near = float32(numerator / denominator)
    if abs(numerator) < 1 << 53:
        return near  # the double on the way cannot fall on a tie between two float32 that the ratio is not on
    exact = Fraction(numerator, denominator)
    bits = struct.unpack("<i", struct.pack("<f", near))[0]
    around = [struct.unpack("<f", struct.pack("<i", bits + step))[0] for step in (-1, 0, 1)]
    return min(around, key=lambda f: (abs(Fraction(f) - exact), struct.unpack("<i", struct.pack("<f", f))[0] & 1))


def double_bits(x):
    return struct.unpack("<Q", struct.pack("<d", x))[0]


def float_bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def normal(event):
    """Every field, zeros where absent."""
    full = dict.fromkeys(FIELD_NUMBERS, 0)
    full.update(value=0.0, duration_s=0.0, propensity=0.0, text="", attributes={})
    full.update(event)
    return full


def order(event):
    """The total order of events: 'latest' and 'greatest' everywhere."""
    return (
        event["ts_ms"], event["event_id"], event["action"], event["item_id"], double_bits(event["value"]),
        event["user_id"], event["creator_id"], event["room_id"], event["category_id"], event["region"],
        double_bits(event["duration_s"]), event["scene"], event["request_id"], event["position"],
        float_bits(event["propensity"]),
    )  # fmt: skip


def verdict(event):
    """What becomes of a record that could be decoded (event clock: nothing is too far in the future)."""
    if not 1 <= event["action"] < len(ACTIONS):
        return "unknown_action"
    if not 1 <= event["ts_ms"] < TS_MS_END:
        return "bad_time"
    if not abs(event["value"]) <= VALUE_MAX or not abs(event["duration_s"]) <= VALUE_MAX:
        return "bad_value"
    return "applied"


class Entity:
    def __init__(self, name, settings):
        self.name = name
        self.key = tuple(settings["key"])
        self.retention_ms = span_ms(settings.get("retention", "30d"))

    def holds(self, ts_ms, time_ms):
        return self.retention_ms == 0 or time_ms - ts_ms < self.retention_ms


class Feature:
    def __init__(self, name, settings, entity):
        self.name = name
        self.entity = settings["entity"]
        self.holds = entity.holds
        self.aggregate = settings["aggregate"]
        self.match = settings.get("match")
        self.source = settings.get("of")
        self.limit = settings.get("limit")
        self.fields = settings.get("fields", [])
        self.windows = list(settings.get("windows", []))
        self.emit = settings.get("emit", ["value"])
        self.actions = {ACTIONS.index(action.lower()) for action in settings.get("actions", [])}
        self.condition = where.parse(settings["where"], ACTIONS, SCENES) if "where" in settings else None

    def takes(self, event):
        return (not self.actions or event["action"] in self.actions) and (not self.condition or bool(self.condition(event)))

    def weight(self, event):
        return 1 if self.aggregate == "count" else micro(event[self.source])

    def columns(self, window=None):
        windows = [window] if window else self.windows
        values = [Column(self, w, "value") for w in windows] if "value" in self.emit else []
        values += [Column(self, w, "n") for w in windows] if "n" in self.emit else []
        return tuple(values + ([Column(self, None, "age")] if "age" in self.emit else []))


class Column:
    """One column of a matrix."""

    def __init__(self, feature, window, kind):
        self.feature, self.kind = feature, kind
        self.name = f"{feature.name}.{window}" + (".n" if kind == "n" else "") if window else f"{feature.name}.{kind}"
        if window:
            self.resolution_ms = resolution_ms(span_ms(window))
            self.panes = span_ms(window) // self.resolution_ms

    def value(self, taken, time_ms):
        """From all (ts_ms, weight) that the entity took, whatever their age."""
        if self.kind == "age":
            newest = max((ts for ts, _ in taken if self.feature.holds(ts, time_ms)), default=None)
            return -1.0 if newest is None else float32_of(max(time_ms - newest, 0), 1000)
        if not taken:
            return 0.0
        head = time_ms // self.resolution_ms
        inside = [weight for ts, weight in taken if head - self.panes < ts // self.resolution_ms <= head]
        if self.kind == "n" or self.feature.aggregate == "count":
            return float32_of(len(inside))
        total = max(min(sum(inside), (1 << 63) - 1), -(1 << 63))
        return float32_of(total, 1_000_000)


class State:
    """All that one entity took: the latest time, per feature what it took, and what is remembered of it."""

    __slots__ = ("newest_ms", "taken", "remembered")

    def __init__(self):
        self.newest_ms, self.taken, self.remembered = 0, {}, {}


class Dedupe:
    """One user's kept ids."""

    __slots__ = ("kept",)

    def __init__(self):
        self.kept = {}  # event_id → ts_ms

    def admits(self, event, ids, horizon_ms):
        """'duplicate', 'checked' or 'unchecked'."""
        event_id, ts_ms = event["event_id"], event["ts_ms"]
        if event_id in self.kept:
            return "duplicate"
        newest = max(self.kept.values(), default=None)
        if newest is not None and ts_ms <= newest - horizon_ms:
            return "unchecked"
        smallest = min(((ts, i) for i, ts in self.kept.items()), default=None)
        if len(self.kept) >= ids and (ts_ms, event_id) < smallest:
            return "unchecked"
        self.kept[event_id] = ts_ms
        if newest is None or ts_ms > newest:
            self.kept = {i: ts for i, ts in self.kept.items() if ts > ts_ms - horizon_ms}
        if len(self.kept) > ids:
            del self.kept[min((ts, i) for i, ts in self.kept.items())[1]]
        return "checked"


class Reply:
    def __init__(self):
        self.user_columns, self.user_values, self.user_present = [], [], False
        self.item_columns, self.item_values, self.item_present = [], [], []
        self.item_fields = {}
        self.sequences = {}  # (name, key of a match or 0) → (rows, {field: values}); without the empty ones


class Oracle:
    """`configuration`: the whole YAML as PyYAML reads it. Apply all events first, then ask."""

    def __init__(self, configuration):
        dedupe = configuration.get("node", {}).get("dedupe", {})
        self.dedupe_ids, self.horizon_ms = dedupe.get("ids", 32), span_ms(dedupe.get("horizon", "10m"))
        self.entities = {name: Entity(name, settings) for name, settings in configuration["entities"].items()}
        self.features = {
            name: Feature(name, settings, self.entities[settings["entity"]])
            for name, settings in configuration["features"].items()
        }
        self.sets = configuration.get("feature_sets", {})
        self.states = {name: {} for name in self.entities}
        self.users = {}
        self.outcomes = {}
        self.stream_time_ms = 0
        self.records = 0
        self.cache, self.plans = {}, {}
        self.of_entity = {
            name: [f for f in self.features.values() if f.entity == name and not f.match] for name in self.entities
        }

    # ---- Applying ----

    def apply(self, event):
        """One record that could be decoded; what becomes of it."""
        event = normal(event)
        self.records += 1
        outcome = verdict(event)
        if outcome == "applied" and event["event_id"] and event["user_id"]:
            dedupe = self.users.setdefault(event["user_id"], Dedupe())
            admitted = dedupe.admits(event, self.dedupe_ids, self.horizon_ms)
            if admitted == "duplicate":
                outcome = "duplicate"
            elif admitted == "unchecked":
                self.outcomes["dedupe_unchecked"] = self.outcomes.get("dedupe_unchecked", 0) + 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if outcome == "applied":
            self.cache.clear()
            self.stream_time_ms = max(self.stream_time_ms, event["ts_ms"])
            for entity in self.entities.values():
                key = tuple(event[field] for field in entity.key)
                if all(key):
                    self.update(entity, key, event)
        return outcome

    def update(self, entity, key, event):
        state = self.states[entity.name].setdefault(key, State())
        state.newest_ms = max(state.newest_ms, event["ts_ms"])
        if entity.key == ("item_id",):
            for field in REMEMBERED:
                if event[field]:
                    at = (order(event), event[field])
                    state.remembered[field] = max(state.remembered.get(field, at), at)
        for feature in self.of_entity[entity.name]:
            if not feature.takes(event):
                continue
            taken = state.taken.setdefault(feature.name, [])
            taken.append((order(event), event) if feature.aggregate == "last" else (event["ts_ms"], feature.weight(event)))

    # ---- Reading ----

    def state(self, entity_name, key, time_ms):
        """The state if the entity is present at `time_ms`."""
        state = self.states[entity_name].get(key) if all(key) else None
        return state if state and self.entities[entity_name].holds(state.newest_ms, time_ms) else None

    def row(self, entity_name, columns, key, time_ms):
        """The values of an entity's columns; `columns` are those of column()."""
        cached = (entity_name, columns, key, time_ms)
        values = self.cache.get(cached)
        if values is None:
            state = self.state(entity_name, key, time_ms)
            taken = state.taken if state else {}
            values = [column.value(taken.get(column.feature.name, ()), time_ms) for column in columns]
            self.cache[cached] = values
        return values

    def records_of(self, feature, key, time_ms):
        """The events of a `last`, newest first."""
        state = self.state(feature.entity, key, time_ms)
        taken = state.taken.get(feature.name, []) if state else []
        newest_first = [event for _, event in sorted(taken, key=lambda at: at[0], reverse=True)[: feature.limit]]
        return [event for event in newest_first if self.entities[feature.entity].holds(event["ts_ms"], time_ms)]

    def remembered(self, item_id, field, time_ms):
        for entity in self.entities.values():
            if entity.key == ("item_id",):
                state = self.states[entity.name].get((item_id,))
                if state and field in state.remembered:
                    at, value = state.remembered[field]
                    return value if entity.holds(at[0], time_ms) else 0
        return 0

    def selected(self, feature_set, names):
        """[(feature, columns)] and item fields, in the order of the reply."""
        listed = []
        if feature_set:
            for part in ("user", "item", "cross"):
                listed += self.sets[feature_set].get(part, [])
        listed += names
        listed = tuple(listed or self.features)
        if listed in self.plans:
            return self.plans[listed]
        features, fields = [], []
        for name in listed:
            if name.startswith("item."):
                fields.append(name)
                continue
            feature_name, _, window = name.partition(".")
            feature = self.features[feature_name]
            features.append((feature, feature.columns(window or None) if feature.aggregate != "last" else ()))
        self.plans[listed] = features, fields
        return features, fields

    def reply(self, user_id, item_ids, time_ms, room_id=0, feature_set="", names=()):
        """What GetFeatures must answer."""
        reply = Reply()
        features, fields = self.selected(feature_set, list(names))
        user_key = (user_id,)
        user_entity = next((e for e in self.entities.values() if e.key == ("user_id",)), None)
        reply.user_present = bool(user_entity and self.state(user_entity.name, user_key, time_ms))
        items = [self.item_ids_of(item_id, user_id, room_id, time_ms) for item_id in item_ids]
        of_items = []
        for feature, columns in features:
            if feature.aggregate == "last":
                self.read_sequence(reply, feature, user_key, items, time_ms)
            elif self.entities[feature.entity].key == ("user_id",):
                reply.user_columns += [column.name for column in columns]
                reply.user_values += self.row(feature.entity, columns, user_key, time_ms)
            else:
                reply.item_columns += [column.name for column in columns]
                of_items.append((self.entities[feature.entity], columns))
        self.read_rows(reply, items, of_items, time_ms)
        for name in fields:
            field = name.partition(".")[2]
            values = [self.remembered(item_id, field, time_ms) for item_id in item_ids]
            reply.item_fields[name] = [room_id] * len(values) if room_id and field == "room_id" else values
        return reply

    def item_ids_of(self, item_id, user_id, room_id, time_ms):
        """The event fields that name the entities behind one item row."""
        named = {field: self.remembered(item_id, field, time_ms) for field in ("creator_id", "room_id", "category_id")}
        named.update(item_id=item_id, user_id=user_id)
        if room_id:
            named["room_id"] = room_id
        return named

    def read_rows(self, reply, items, of_items, time_ms):
        item_entity = next((e for e in self.entities.values() if e.key == ("item_id",)), None)
        for ids in items:
            reply.item_present.append(bool(item_entity and self.state(item_entity.name, (ids["item_id"],), time_ms)))
            for entity, columns in of_items:
                reply.item_values += self.row(entity.name, columns, tuple(ids.get(field, 0) for field in entity.key), time_ms)

    def read_sequence(self, reply, feature, user_key, items, time_ms):
        if not feature.match:
            self.put_sequence(reply, feature, feature.fields, 0, [], self.records_of(feature, user_key, time_ms))
            return
        source = self.features[feature.source]
        records = self.records_of(source, user_key, time_ms)
        rows = {}
        for row, ids in enumerate(items):
            if ids[feature.match]:
                rows.setdefault(ids[feature.match], []).append(row)
        for key, served in rows.items():
            matching = [event for event in records if event[feature.match] == key][: feature.limit]
            self.put_sequence(reply, feature, source.fields, key, served, matching)

    @staticmethod
    def put_sequence(reply, feature, fields, key, rows, records):
        if records:
            reply.sequences[feature.name, key] = (rows, {field: [event[field] for event in records] for field in fields})
