"""What recall must answer: lists, covisitation, the life of items and rooms, what is recent; by the Contract's text (docs/values.md).

Where the text leaves a choice, this is taken:

- Covisitation looks at what the sequence keeps before the event goes in. Of records equally near in time the greater is nearer. A
  record counts by itself: three records on one item are three pairs. Records of the same item or of item 0 are passed over
  before the ten are chosen. The retention of the sequence does not matter here.
- An entry of a list or a partner of an item is as old as the latest event (of the pair: the later of both) that added to it, and
  is gone by the retention of the list's (the item's) entity; an item that is absent has no partners.
- A scope value of 0 (no such field in the event) is no scope. A list is exact while its scope value has at most KEPT × `limit`
  entries, as covisitation is.
- Best first; equal ones by ascending id. `limit` 0 or more than the declared one is the declared one.
- ITEM_ON and ITEM_OFF, ROOM_START and ROOM_END are remembered like attributes: gone by the retention. A room has ended if the latest
  of its two is ROOM_END; one that was never started and is idle is not live, but has not ended. What has no such entity has no life.
- An event's time after T is age 0, so a room is live. The first event of an item is the least by time.
- A pool has what is present, whose first event is younger than `newer_than`, and that has some of its quota left.
- `user_id` and `exclude_seen_by` leave out items only, not rooms or creators. A creator with several live rooms is where the first is.
"""

import bisect

from aggregate import Decay, Taken
from event import ACTIONS, DAY_MS, SCENES, order
from number import float32_of, within

KEPT = 4  # × limit
SHOWN = 5
NEAREST = 10
LIVE_MS, NEW_MS = 600_000, DAY_MS
ITEM_LIFE = {ACTIONS.index("item_on"): True, ACTIONS.index("item_off"): False}
ROOM_LIFE = {ACTIONS.index("room_start"): True, ACTIONS.index("room_end"): False}


class Candidates:
    """All that qualify, best first; a reply has the first `limit` of them. Where it need not be exact, its scores are at least these."""

    def __init__(self, ranked, limit, is_exact=True, heavy=None):
        """`heavy`: what has more is found also where the reply need not be exact."""
        self.ranked, self.limit, self.is_exact, self.heavy = ranked, limit, is_exact, heavy

    def ids(self):
        return [entry_id for entry_id, _ in self.ranked[: self.limit]]

    def scores(self):
        return [score for _, score in self.ranked[: self.limit]]


class Entries:
    """Decayed sums by id, of one scope value or of one item's partners."""

    __slots__ = ("by_id",)

    def __init__(self):
        self.by_id = {}

    def add(self, entry_id, ts_ms, weight):
        if entry_id not in self.by_id:
            self.by_id[entry_id] = Taken()
        self.by_id[entry_id].add(ts_ms, weight)

    def candidates(self, decay, holds, time_ms, is_out, limit, limit_declared):
        ranked, total = [], 0.0
        for entry_id, taken in self.by_id.items():
            value = decay.value(taken, time_ms)
            total += value
            if value > 0 and holds(taken.newest_ms(), time_ms) and not is_out(entry_id):
                ranked.append((-value, entry_id))
        limit = min(limit or limit_declared, limit_declared)
        is_exact = len(self.by_id) <= KEPT * limit_declared
        best_first = [(entry_id, within(-value)) for value, entry_id in sorted(ranked)]
        return Candidates(best_first, limit, is_exact, total / (KEPT * limit_declared))


class List:
    """One of `lists`."""

    def __init__(self, settings, features):
        self.entity = settings["of"]
        self.rank = features[settings["rank"]]
        self.scopes = settings["scopes"]
        self.limit = settings["limit"]
        self.entries = {}  # (scope, value) → Entries

    def update(self, entity_id, event):
        if self.rank.aggregate == "quota":
            return  # a pool: what is new is asked of all there are
        weight = self.rank.weight(event)
        for scope in self.scopes:
            value = 0 if scope == "global" else event[scope]
            if value or scope == "global":
                self.entries.setdefault((scope, value), Entries()).add(entity_id, event["ts_ms"], weight)


class Covisit:
    """One feature of aggregate `covisit`."""

    def __init__(self, feature, features):
        self.feature, self.source = feature, features[feature.from_name]
        self.kept = {}  # user → [(order, number, event)], the least first
        self.partners = {}  # item → Entries
        self.number = 0

    def update(self, event):
        if not event["user_id"] or not self.source.takes(event):
            return
        kept = self.kept.setdefault(event["user_id"], [])
        if event["item_id"]:
            for other in self.nearest(kept, event):
                self.pair(event, other)
        self.number += 1
        bisect.insort(kept, (order(event), self.number, event))
        del kept[: -self.source.limit]

    def nearest(self, kept, event):
        """Within the span; at most ten."""
        others = [other for *_, other in reversed(kept) if other["item_id"] not in (0, event["item_id"])]
        others.sort(key=lambda other: abs(other["ts_ms"] - event["ts_ms"]))
        return [other for other in others[:NEAREST] if abs(other["ts_ms"] - event["ts_ms"]) <= self.feature.within_ms]

    def pair(self, event, other):
        ts_ms = max(event["ts_ms"], other["ts_ms"])
        weight = self.feature.decay.weight(ts_ms, 1)
        for one, partner in ((event, other), (other, event)):
            self.partners.setdefault(one["item_id"], Entries()).add(partner["item_id"], ts_ms, weight)


class Recall:
    def __init__(self, oracle, lists):
        self.oracle = oracle
        self.lists = {name: List(settings, oracle.features) for name, settings in lists.items()}
        covisits = [feature for feature in oracle.features.values() if feature.aggregate == "covisit"]
        self.covisits = {feature.name: Covisit(feature, oracle.features) for feature in covisits}
        self.lives = {"item_id": {}, "room_id": {}}  # id → (order of the latest, whether it is on or started)

    def update(self, event):
        for one in self.lists.values():
            entity_id = event[self.oracle.entities[one.entity].key[0]]
            if entity_id and one.rank.takes(event):
                one.update(entity_id, event)
        for covisit in self.covisits.values():
            covisit.update(event)
        for field, actions in (("item_id", ITEM_LIFE), ("room_id", ROOM_LIFE)):
            if event["action"] in actions and event[field]:
                at = order(event), actions[event["action"]]
                self.lives[field][event[field]] = max(self.lives[field].get(event[field], at), at)

    # ---- Life ----

    def life(self, entity, field, entity_id, time_ms):
        """True: on or started; False: off or ended; None: neither was ever said, or it is forgotten."""
        at = self.lives[field].get(entity_id)
        return at[1] if entity and at and entity.holds(at[0][0], time_ms) else None

    def is_ended(self, room_id, time_ms):
        return self.life(self.oracle.room_entity, "room_id", room_id, time_ms) is False

    def is_live(self, room_id, time_ms):
        state = self.oracle.state(self.oracle.room_entity.name, (room_id,), time_ms)
        if not state:
            return False
        life = self.life(self.oracle.room_entity, "room_id", room_id, time_ms)
        return time_ms - state.newest_ms < LIVE_MS if life is None else life

    def is_off(self, item_id, time_ms):
        if self.life(self.oracle.item_entity, "item_id", item_id, time_ms) is False:
            return True
        room_id = self.oracle.remembered(item_id, "room_id", time_ms)
        return room_id != 0 and self.is_ended(room_id, time_ms)

    # ---- Replies ----

    def seen_by(self, user_id, time_ms):
        seen = set()
        for feature in self.oracle.features.values():
            if user_id and feature.is_seen and feature.is_of_user:
                seen |= {event["item_id"] for event in self.oracle.records_of(feature, (user_id,), time_ms)}
        return seen

    def out(self, entity, user_id, time_ms):
        """What is left out of a reply, as a function of an id."""
        if entity is self.oracle.item_entity:
            seen = self.seen_by(user_id, time_ms)
            return lambda item_id: item_id in seen or self.is_off(item_id, time_ms)
        if entity is self.oracle.room_entity:
            return lambda room_id: self.is_ended(room_id, time_ms)
        return lambda _: False

    def trending(self, name, scope, scope_id, limit, time_ms, exclude_seen_by=0):
        one = self.lists[name]
        entity = self.oracle.entities[one.entity]
        if one.rank.aggregate == "quota":
            return self.pool(one, limit, time_ms, exclude_seen_by)
        entries = one.entries.get((scope, 0 if scope == "global" else scope_id), Entries())
        is_out = self.out(entity, exclude_seen_by, time_ms)
        return entries.candidates(one.rank.decay, entity.holds, time_ms, is_out, limit, one.limit)

    def pool(self, one, limit, time_ms, exclude_seen_by):
        """Who came less than newer_than ago and has some of the quota left, most first."""
        entity = self.oracle.entities[one.entity]
        is_out, ranked = self.out(entity, exclude_seen_by, time_ms), []
        for (entity_id,), state in self.oracle.states[entity.name].items():
            is_new = time_ms - state.first_ms < one.rank.newer.panes * one.rank.newer.resolution_ms
            left = self.oracle.quota_left(one.rank, state, time_ms)
            if is_new and left > 0 and entity.holds(state.newest_ms, time_ms) and not is_out(entity_id):
                ranked.append((-left, entity_id))
        return Candidates([(entity_id, -left) for left, entity_id in sorted(ranked)], min(limit or one.limit, one.limit))

    def related(self, name, item_id, limit, time_ms, exclude_seen_by=0):
        covisit = self.covisits[name]
        entity = self.oracle.item_entity
        entries = covisit.partners.get(item_id) if self.oracle.state(entity.name, (item_id,), time_ms) else None
        is_out = self.out(entity, exclude_seen_by, time_ms)
        feature = covisit.feature
        return (entries or Entries()).candidates(feature.decay, entity.holds, time_ms, is_out, limit, feature.limit)

    def recent(self, kind, limit, time_ms, user_id=0):
        found = {"rooms_live": self.rooms_live, "creators_live": self.creators_live}.get(kind)
        by_time = found(time_ms) if found else self.new_items(time_ms, user_id)
        return Candidates([(entry_id, float32_of(max(time_ms - ts, 0), 1000)) for ts, entry_id in by_time], limit)

    def rooms_live(self, time_ms):
        states = self.oracle.states[self.oracle.room_entity.name] if self.oracle.room_entity else {}
        live = [(-state.newest_ms, room_id) for (room_id,), state in states.items() if self.is_live(room_id, time_ms)]
        return [(-ts, room_id) for ts, room_id in sorted(live)]

    def creators_live(self, time_ms):
        found = {}
        for ts, room_id in self.rooms_live(time_ms):
            creator_id = self.oracle.remembered_of(self.oracle.room_entity, (room_id,), "creator_id", time_ms)
            if creator_id:
                found.setdefault(creator_id, ts)
        return [(ts, creator_id) for creator_id, ts in found.items()]

    def new_items(self, time_ms, user_id):
        item = self.oracle.item_entity
        is_out = self.out(item, user_id, time_ms)
        found = []
        for (item_id,), state in self.oracle.states[item.name].items() if item else ():
            if time_ms - state.first_ms < NEW_MS and item.holds(state.newest_ms, time_ms) and not is_out(item_id):
                found.append((-state.first_ms, item_id))
        return [(-ts, item_id) for ts, item_id in sorted(found)]


def differences(reply, wanted):
    """Sentences about candidates that are not as they must be."""
    ids, scores = list(reply.ids), list(reply.scores)
    if wanted.is_exact:
        if ids != wanted.ids():
            yield f"ids are {ids[:SHOWN]}, not {wanted.ids()[:SHOWN]} (of {len(ids)} and {len(wanted.ids())})"
        elif scores != wanted.scores():
            at = next(at for at, (got, right) in enumerate(zip(scores, wanted.scores())) if got != right)
            yield f"the score of {ids[at]} is {scores[at]}, not {wanted.scores()[at]}"
        return
    true = dict(wanted.ranked)
    if len(set(ids)) != len(ids) or len(ids) > wanted.limit or scores != sorted(scores, reverse=True):
        yield f"not ids of their own, at most {wanted.limit}, best first: {ids[:SHOWN]}"
    for entry_id, score in zip(ids, scores):
        if entry_id not in true:
            yield f"{entry_id} does not qualify"
        elif score < true[entry_id].low:
            yield f"{entry_id} has {score}, less than the true {true[entry_id]}"
    for entry_id, score in true.items():
        is_missed = entry_id not in ids and (len(ids) < wanted.limit or scores[-1] < score.low)
        if float(score) > wanted.heavy * 1.000001 and is_missed:
            yield f"{entry_id} with {float(score)} is not there, more than {wanted.heavy}"


def scope_values(events, scopes):
    """[(scope, value)]: every value of the events' own fields, and one that nobody has."""
    for scope in scopes:
        values = {0} if scope == "global" else {event[scope] for event in events if event[scope]}
        yield from ((scope, value) for value in sorted(values) + [len(SCENES) + 1000] * (scope != "global"))
