"""What every value must be: a brute-force oracle, written from the Contract (docs/values.md) alone.

It keeps every applied event and computes each value anew from the full list, so that nothing incremental can be wrong in the
same way as in the node. Events come in as dicts, in the order of arrival of each user: the dropping of duplicates depends on it,
and so does covisitation. What an aggregate makes of events is in aggregate.py and ratio.py, candidates are in recall.py.
"""

import copy
from fractions import Fraction

import causal
import ledger
from aggregate import AGAINST_ALL, NOTHING, SEQUENCES, Feature, Taken, age
from event import ACTIONS, DAY_MS, FIELD_NUMBERS, SCENES, TS_MS_END, normal, order, span_ms, verdict  # noqa: F401
from number import float32_of, within
from ratio import Ratio
from recall import Recall

ID_FIELDS = {"item_id", "creator_id", "room_id", "category_id", "region", "request_id", "event_id"}
INT_FIELDS = {"action", "scene", "ts_ms", "position"}
REMEMBERED = {("item_id",): ("creator_id", "room_id", "category_id", "duration_s"), ("room_id",): ("creator_id",)}
ALL = "*"  # the entity that every event belongs to


class Entity:
    def __init__(self, name, settings):
        self.name = name
        self.key = tuple(sorted(settings["key"], key=lambda field: field != "user_id"))
        self.parent = settings.get("parent")
        self.retention_ms = span_ms(settings.get("retention", "30d"))
        self.remembers = REMEMBERED.get(self.key, ())

    def holds(self, ts_ms, time_ms):
        return self.retention_ms == 0 or time_ms - ts_ms < self.retention_ms


class State:
    """All that one entity took: the first and latest time, per feature what it took, and what is remembered of it."""

    __slots__ = ("first_ms", "newest_ms", "taken", "remembered")

    def __init__(self):
        self.first_ms, self.newest_ms, self.taken, self.remembered = None, 0, {}, {}


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
        self.sequences = {}  # (name, key, 0 for the user's own) → (rows, {field: values}); without the empty ones


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
        self.entities[ALL] = Entity(ALL, {"key": [], "retention": 0})
        self.states = {name: {} for name in self.entities}
        self.users = {}
        self.outcomes = {}
        self.stream_time_ms = 0
        self.records = 0
        self.cache, self.plans = {}, {}
        self.of_entity = {name: [f for f in self.features.values() if f.entity == name and f.is_kept] for name in self.entities}
        self.keep_for_priors()
        self.keep_for_ledger()
        self.item_entity = self.entity_of("item_id")
        self.user_entity = self.entity_of("user_id")
        self.room_entity = self.entity_of("room_id")
        self.recall = Recall(self, configuration.get("lists", {}))

    def entity_of(self, field):
        return next((entity for entity in self.entities.values() if entity.key == (field,)), None)

    def keep_for_priors(self):
        """The measures of a ratio are kept for the entities that its prior asks, too."""
        for feature in self.features.values():
            for entity in self.of_prior(feature):
                kept = self.of_entity[entity]
                kept += [self.features[name] for name in feature.source if self.features[name] not in kept]
            if feature.aggregate in AGAINST_ALL:
                self.of_entity[ALL].append(feature)

    def keep_for_ledger(self):
        """A share's whole, in its scope, and all events of what has a quota."""
        self.wholes, self.events = {}, {}
        for feature in self.features.values():
            entity = self.entities[feature.entity]
            if feature.aggregate == "share":
                whole = copy.copy(self.features[feature.source])
                whole.name, whole.named = f"{feature.name}'s whole", entity.key
                self.wholes[feature.name] = whole
                self.of_entity[self.scope_of(feature)].append(whole)
            elif feature.aggregate == "quota" and feature.entity not in self.events:
                events = Feature(f"{feature.entity}'s events", {"entity": feature.entity, "aggregate": "count"}, entity)
                self.events[feature.entity] = events
                self.of_entity[feature.entity].append(events)

    def scope_of(self, feature):
        return self.entities[feature.entity].parent if feature.prior == "parent" else ALL

    def of_prior(self, feature):
        if feature.aggregate != "ratio" or not feature.prior:
            return []
        return [*self.chain(feature), ALL]

    def chain(self, feature):
        """The entities that a ratio is drawn to before all events, the nearest first."""
        if isinstance(feature.prior, list):
            return [name for name in feature.prior if name != "global"]
        parent = self.entities[feature.entity].parent
        return [parent] if feature.prior == "parent" and parent else []

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
            taken_by = {}
            for entity in self.entities.values():
                key = tuple(event[field] for field in entity.key)
                if all(key):
                    self.update(entity, key, event, taken_by)
            self.recall.update(event)
        return outcome

    def update(self, entity, key, event, taken_by):
        state = self.states[entity.name].setdefault(key, State())
        ts_ms = event["ts_ms"]
        state.newest_ms = max(state.newest_ms, ts_ms)
        state.first_ms = ts_ms if state.first_ms is None else min(state.first_ms, ts_ms)
        for field in entity.remembers:
            if event[field]:
                at = (order(event), event[field])
                state.remembered[field] = max(state.remembered.get(field, at), at)
        for feature in self.of_entity[entity.name]:
            name = feature.name
            if name not in taken_by:  # a measure that several entities keep is judged once
                taken_by[name] = (ts_ms, feature.weight(event)) if feature.takes(event) else None
            if taken_by[name]:
                if name not in state.taken:
                    state.taken[name] = Taken()
                state.taken[name].add(*taken_by[name])

    # ---- Reading ----

    def state(self, entity_name, key, time_ms):
        """The state if the entity is present at `time_ms`."""
        state = self.states[entity_name].get(key) if all(key) else None
        return state if state and self.entities[entity_name].holds(state.newest_ms, time_ms) else None

    def taken(self, feature, entity_name, key, time_ms):
        state = self.state(entity_name, key, time_ms)
        return state.taken.get(feature.name, NOTHING) if state else NOTHING

    def row(self, entity_name, columns, key, time_ms, parents=()):
        """The values of an entity's columns; `columns` are those of column(), `parents` of parents_of()."""
        cached = (entity_name, columns, key, parents, time_ms)
        values = self.cache.get(cached)
        if values is None:
            state = self.state(entity_name, key, time_ms)
            taken, values = state.taken if state else {}, []
            for column in columns:
                if column.feature.aggregate == "ratio":
                    values.append(self.ratio_value(column, key, dict(parents), time_ms))
                elif column.feature.aggregate == "budget":
                    values.append(self.budget_left(column, key, time_ms))
                elif column.feature.aggregate in AGAINST_ALL and column.kind != "age":
                    values.append(self.against_all(column, entity_name, key, time_ms))
                elif column.feature.aggregate == "share":
                    values.append(self.share_value(column, key, dict(parents), time_ms))
                elif column.feature.aggregate == "quota":
                    values.append(self.quota_left(column.feature, state, time_ms))
                elif column.feature.aggregate == "actor":
                    source = self.features[column.feature.source]
                    records = self.records_of(source, key, time_ms) if state else []
                    values.append(causal.actor(column.feature, records))
                else:
                    values.append(column.value(taken.get(column.feature.name, NOTHING), time_ms))
            self.cache[cached] = values
        return values

    def against_all(self, column, entity_name, key, time_ms):
        feature, span = column.feature, column.window.span(time_ms)
        draw, value = AGAINST_ALL[feature.aggregate]
        drawn = (feature, column.window, time_ms)
        if drawn not in self.cache:
            self.cache[drawn] = draw(self.taken(feature, ALL, (), time_ms).list(span))
        return value(feature, self.taken(feature, entity_name, key, time_ms).list(span), self.cache[drawn], column.kind)

    def share_value(self, column, key, parents, time_ms):
        feature, entity, scope = column.feature, self.entities[column.feature.entity], self.scope_of(column.feature)
        of_scope = self.entities[scope].key
        own = self.measure(self.features[feature.source], column, feature.entity, key, time_ms)
        whole = self.measure(self.wholes[feature.name], column, scope, () if scope == ALL else parents[scope], time_ms)
        target_id = next((value for field, value in zip(entity.key, key) if field not in of_scope), 0)
        return ledger.share(feature, own, whole, column.kind, target_id)

    def quota_left(self, feature, state, time_ms):
        if not state:
            return float(feature.quota)
        shown, events = (state.taken.get(one.name, NOTHING) for one in (feature, self.events[feature.entity]))
        return ledger.quota_left(feature, shown, events, time_ms)

    def budget_left(self, column, key, time_ms):
        feature = column.feature
        spent, whole = (self.measure(self.features[name], column, feature.entity, key, time_ms) for name in feature.source)
        return within(feature.share * float(whole) + feature.plus - float(spent))

    def ratio_value(self, column, key, parents, time_ms):
        feature = column.feature
        operands = [self.features[name] for name in feature.source]
        if column.kind == "age":
            newest = [self.taken(operand, feature.entity, key, time_ms).newest_ms() for operand in operands]
            return age(max((ts for ts in newest if ts is not None), default=None), feature.holds, time_ms)
        if column.kind.endswith((".num", ".den")):  # of the chain
            name, _, side = column.kind.partition(".")
            operand = operands[side == "den"]
            value = self.measure(operand, column, *((ALL, ()) if name == "global" else (name, parents.get(name))), time_ms)
            return float32_of(value.numerator, value.denominator)

        def both(entity_name, key):
            return [self.measure(operand, column, entity_name, key, time_ms) for operand in operands]

        above = [both(name, parents.get(name)) for name in self.chain(feature)]
        return getattr(Ratio(feature, both(feature.entity, key), above, both(ALL, ())), column.kind)()

    def measure(self, operand, column, entity_name, key, time_ms):
        """An operand's exact value in the window of the column."""
        if entity_name is None or key is None:
            return Fraction(0)
        taken, span = self.taken(operand, entity_name, key, time_ms), column.window.span(time_ms)
        return Fraction(taken.count(span)) if operand.aggregate == "count" else Fraction(taken.sum(span), 1_000_000)

    def remembered(self, item_id, field, time_ms):
        return self.remembered_of(self.item_entity, (item_id,), field, time_ms)

    def remembered_of(self, entity, key, field, time_ms):
        state = self.states[entity.name].get(key) if entity else None
        if state and field in state.remembered:
            at, value = state.remembered[field]
            return value if entity.holds(at[0], time_ms) else 0
        return 0

    def parents_of(self, entity, columns, key, ids, time_ms):
        """The keys of what ratios are drawn to: by what the key itself has, then by what an item (or its request) or room remembers."""
        parents = {}
        for name in {name for column in columns if column.feature.aggregate in ("ratio", "share") for name in self.chain(column.feature)}:
            named = dict(zip(entity.key, key))
            for field in self.entities[name].key:
                if field in named:
                    continue
                if entity is self.item_entity:
                    named[field] = ids.get(field, 0)
                else:
                    named[field] = self.remembered_of(entity, key, field, time_ms)
            parents[name] = tuple(named[field] for field in self.entities[name].key)
        return tuple(sorted(parents.items()))

    def selected(self, feature_set, names):
        """[(feature, columns)] and item fields, in the order of the reply."""
        listed = []
        if feature_set:
            for part in ("user", "item", "cross"):
                listed += self.sets[feature_set].get(part, [])
        listed += names
        listed = tuple(listed or [name for name, feature in self.features.items() if feature.is_read])
        if listed in self.plans:
            return self.plans[listed]
        features, fields = [], []
        for name in listed:
            if name.startswith("item."):
                fields.append(name)
                continue
            feature_name, _, window = name.partition(".")
            feature = self.features[feature_name]
            features.append((feature, feature.columns(window or None)))
        self.plans[listed] = features, fields
        return features, fields

    def reply(self, user_id, item_ids, time_ms, room_id=0, feature_set="", names=()):
        """What GetFeatures must answer."""
        reply = Reply()
        features, fields = self.selected(feature_set, list(names))
        user_key = (user_id,)
        reply.user_present = bool(self.user_entity and self.state(self.user_entity.name, user_key, time_ms))
        items = [self.item_ids_of(item_id, user_id, room_id, time_ms) for item_id in item_ids]
        of_items = []
        for feature, columns in features:
            entity = self.entities[feature.entity]
            if feature.aggregate in SEQUENCES:
                self.read_sequence(reply, feature, entity, user_key, items, time_ms)
            elif feature.is_of_user:
                reply.user_columns += [column.name for column in columns]
                parents = self.parents_of(entity, columns, user_key, {}, time_ms)
                reply.user_values += self.row(feature.entity, columns, user_key, time_ms, parents)
            else:
                reply.item_columns += [column.name for column in columns]
                if of_items and of_items[-1][0] is entity:
                    columns = of_items.pop()[1] + columns
                of_items.append((entity, columns))
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
        item = self.item_entity
        for ids in items:
            reply.item_present.append(bool(item and self.state(item.name, (ids["item_id"],), time_ms)))
            for entity, columns in of_items:
                key = self.key_of(entity, ids)
                reply.item_values += self.row(entity.name, columns, key, time_ms, self.parents_of(entity, columns, key, ids, time_ms))

    @staticmethod
    def key_of(entity, ids):
        return tuple([ids.get(field, 0) for field in entity.key])

    def read_sequence(self, reply, feature, entity, user_key, items, time_ms):
        if feature.match:
            self.read_matches(reply, feature, user_key, items, time_ms)
        elif feature.is_of_user:
            self.put_sequence(reply, feature, 0, [], self.fields_of(feature, user_key, time_ms))
        else:
            rows = {}
            for row, ids in enumerate(items):
                rows.setdefault(self.key_of(entity, ids), []).append(row)
            for key, served in rows.items():
                named = key[1] if len(key) > 1 and entity.key[0] == "user_id" else key[0]
                self.put_sequence(reply, feature, named, served, self.fields_of(feature, key, time_ms))

    def fields_of(self, feature, key, time_ms):
        if not self.state(feature.entity, key, time_ms):
            return {}
        taken = self.taken(feature, feature.entity, key, time_ms)
        if feature.aggregate == "series":
            return feature.series(taken, time_ms)
        records = feature.records(taken, time_ms)
        return {field: [event[field] for event in records] for field in feature.fields} if records else {}

    def records_of(self, feature, key, time_ms):
        return feature.records(self.taken(feature, feature.entity, key, time_ms), time_ms)

    def read_matches(self, reply, feature, user_key, items, time_ms):
        source = self.features[feature.source]
        records = self.records_of(source, user_key, time_ms)
        rows = {}
        for row, ids in enumerate(items):
            if ids[feature.match]:
                rows.setdefault(ids[feature.match], []).append(row)
        for key, served in rows.items():
            matching = [event for event in records if event[feature.match] == key][: feature.limit]
            fields = {field: [event[field] for event in matching] for field in source.fields} if matching else {}
            self.put_sequence(reply, feature, key, served, fields)

    @staticmethod
    def put_sequence(reply, feature, key, rows, fields):
        if fields:
            reply.sequences[feature.name, key] = (rows, fields)
