"""The oracle's candidates: covisitation, lists, the life of items and rooms, what is recent."""

import collections
import random

import yaml

import event as events
import number
import oracle
import recall

T0 = 1_700_006_400_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
IMPRESSION, CLICK, WATCH, LIKE = 1, 2, 3, 4
ROOM_START, ROOM_END, ITEM_ON, ITEM_OFF = (events.ACTIONS.index(name) for name in ("room_start", "room_end", "item_on", "item_off"))
CATALOGUE = yaml.safe_load(
    """
node: { dedupe: { ids: 32, horizon: 10m } }
entities:
  user: { key: [user_id] }
  item: { key: [item_id], retention: 7d }
  room: { key: [room_id], retention: 7d }
features:
  recent: { entity: user, actions: [watch, like], aggregate: last, limit: 12, fields: [item_id, ts_ms] }
  seen:   { entity: user, actions: [impression], aggregate: last, limit: 2, fields: [item_id], seen: true }
  heat:   { entity: item, actions: [watch, like], weights: { like: 3 }, aggregate: decayed, half_life: 1h }
  room_heat: { entity: room, actions: [watch], aggregate: decayed, half_life: 1h }
  related: { entity: item, aggregate: covisit, from: recent, within: 30m, half_life: 1d, limit: 2 }
lists:
  trending: { of: item, rank: heat, scopes: [global, category_id, scene], limit: 3 }
  rooms:    { of: room, rank: room_heat, scopes: [global], limit: 3 }
"""
)


def oracle_of(*sent):
    made = oracle.Oracle(CATALOGUE)
    for event in sent:
        assert made.apply({"action": WATCH, "user_id": 1, **event}) == "applied"
    return made


def watch(item_id, ts_ms=T0, **more):
    return {"item_id": item_id, "ts_ms": ts_ms, **more}


def related(made, item_id, time_ms, **ask):
    found = made.recall.related("related", item_id, ask.pop("limit", 0), time_ms, **ask)
    return list(zip(found.ids(), found.scores()))


def trending(made, time_ms, scope="global", scope_id=0, limit=0, **ask):
    return made.recall.trending("trending", scope, scope_id, limit, time_ms, **ask).ids()


def recent(made, kind, time_ms, user_id=0):
    found = made.recall.recent(kind, 100, time_ms, user_id)
    return list(zip(found.ids(), found.scores()))


# ---- Covisitation ----


def test_a_pair_counts_once_each_way_at_its_later_arrival():
    made = oracle_of(watch(1), watch(2, T0 + MINUTE))
    later = T0 + MINUTE
    assert related(made, 1, later) == [(2, 1.0)] and related(made, 2, later) == [(1, 1.0)]
    assert related(made, 1, later + DAY) == [(2, 0.5)]
    backwards = oracle_of(watch(2, T0 + MINUTE), watch(1))  # the earlier event comes late: decayed from the later all the same
    assert related(backwards, 1, later) == [(2, 1.0)]


def test_within_is_included_and_beyond_is_not():
    assert related(oracle_of(watch(1), watch(2, T0 + 30 * MINUTE)), 2, T0 + 30 * MINUTE) == [(1, 1.0)]
    assert related(oracle_of(watch(1), watch(2, T0 + 30 * MINUTE + 1)), 2, T0 + HOUR) == []


def test_each_record_counts_also_of_one_item_but_not_of_the_same():
    made = oracle_of(watch(1), watch(1, T0 + 1), watch(2, T0 + 2), watch(0, T0 + 2), watch(2, T0 + 3), watch(3, T0 + 3, action=CLICK))
    assert related(made, 1, T0 + 3) == [(2, 4.0)]
    assert related(made, 2, T0 + 3) == [(1, 4.0)]
    assert related(made, 3, T0 + 3) == []


def test_users_do_not_mix_and_nobody_has_no_sequence():
    made = oracle_of(watch(1, user_id=1), watch(2, user_id=2), watch(3, user_id=0), watch(4, user_id=0))
    assert [related(made, item, T0) for item in (1, 2, 3, 4)] == [[]] * 4


def test_the_ten_nearest_of_what_is_kept():
    sent = [watch(100 + i, T0 + i * SECOND) for i in range(14)]  # twelve are kept: 102 to 113
    made = oracle_of(*sent, watch(1, T0 + 20 * SECOND))
    partners = made.recall.covisits["related"].partners[1].by_id
    assert sorted(partners) == list(range(104, 114))
    late = oracle_of(*sent, watch(1, T0))  # the nearest to the first are 102 to 111
    assert sorted(late.recall.covisits["related"].partners[1].by_id) == list(range(102, 112))


def test_of_equally_near_records_the_greater_is_nearer():
    around = [watch(100 + i, T0 - i * SECOND) for i in range(1, 6)] + [watch(200 + i, T0 + i * SECOND) for i in range(1, 7)]
    made = oracle_of(*around, watch(1, T0))
    assert 206 not in made.recall.covisits["related"].partners[1].by_id and 105 in made.recall.covisits["related"].partners[1].by_id
    made = oracle_of(*around, watch(106, T0 - 6 * SECOND), watch(1, T0))
    assert 205 in made.recall.covisits["related"].partners[1].by_id


def test_covisitation_by_a_second_formulation():
    """Pairs of a user's records, when nothing leaves the sequence and no ten are too many: arrival does not matter."""
    dice = random.Random(8)
    sent, pairs = [], collections.Counter()
    for user in range(1, 60):
        mine = [watch(dice.randint(1, 6), T0 + dice.randrange(2 * HOUR), user_id=user) for _ in range(6)]
        for i, one in enumerate(mine):
            for other in mine[:i]:
                if one["item_id"] != other["item_id"] and abs(one["ts_ms"] - other["ts_ms"]) <= 30 * MINUTE:
                    later = max(one["ts_ms"], other["ts_ms"])
                    for a, b in ((one, other), (other, one)):
                        pairs[a["item_id"], b["item_id"]] += 2.0 ** ((later - T0) / DAY)
        sent += mine
    dice.shuffle(sent)
    made = oracle_of(*sent)
    for item in range(1, 7):
        found = made.recall.related("related", item, 0, T0 + 2 * HOUR)
        true = sorted(((pairs[item, other], other) for other in range(1, 7) if pairs[item, other]), reverse=True)
        assert found.is_exact
        assert [other for other, _ in found.ranked] == [other for _, other in true]
        for (_, score), (grown, _) in zip(found.ranked, true):
            assert abs(float(score) - grown * 2.0 ** (-2 / 24)) < 1e-5


def test_beyond_four_limits_it_is_exact_no_more():
    sent = [event for i in range(8) for event in (watch(1, T0 + i * HOUR), watch(10 + i, T0 + i * HOUR))]
    assert oracle_of(*sent).recall.related("related", 1, 0, T0 + 8 * HOUR).is_exact
    sent += [watch(1, T0 + 9 * HOUR), watch(30, T0 + 9 * HOUR)]
    assert not oracle_of(*sent).recall.related("related", 1, 0, T0 + 9 * HOUR).is_exact


class SpaceSaving:
    """As in the paper: what an honest node may answer where it need not be exact."""

    def __init__(self, size):
        self.size, self.counts = size, {}

    def add(self, key, weight):
        if key in self.counts or len(self.counts) < self.size:
            self.counts[key] = self.counts.get(key, 0) + weight
        else:
            least = min(self.counts, key=lambda one: (self.counts[one], -one))
            self.counts[key] = self.counts.pop(least) + weight


class Answer:
    def __init__(self, pairs):
        self.ids, self.scores = [one for one, _ in pairs], [score for _, score in pairs]


def test_what_space_saving_answers_passes_and_what_forgets_a_heavy_one_does_not():
    dice = random.Random(3)
    kept, entries = SpaceSaving(8), recall.Entries()
    decay = recall.Decay("1d")
    for _ in range(500):
        partner = int(dice.paretovariate(0.8))
        kept.add(partner, 1)
        entries.add(partner, T0, decay.weight(T0, 1))
    wanted = entries.candidates(decay, lambda ts, now: True, T0, lambda _: False, 0, 2)
    assert not wanted.is_exact
    best = sorted(kept.counts.items(), key=lambda one: (-one[1], one[0]))[:2]
    assert list(recall.differences(Answer(best), wanted)) == []
    assert list(recall.differences(Answer(best[1:]), wanted)) != []
    assert list(recall.differences(Answer([(best[0][0], best[0][1] - 1), best[1]]), wanted)) != []
    assert list(recall.differences(Answer([*best, (10**9, 1.0)]), wanted)) != []


# ---- Lists ----


def test_a_list_is_by_decayed_weight_and_ties_by_id():
    made = oracle_of(watch(5), watch(3), watch(9, action=LIKE), watch(4), watch(0), watch(8, action=CLICK))
    assert trending(made, T0) == [9, 3, 4]
    assert trending(made, T0, limit=1) == [9] and trending(made, T0, limit=99) == [9, 3, 4]
    assert trending(made, T0 + 40 * HOUR) == []  # 0 is on no list


def test_scopes_are_of_the_events_own_fields():
    made = oracle_of(watch(1, category_id=7), watch(1, category_id=8), watch(2, category_id=8, scene=1), watch(2, category_id=8))
    assert trending(made, T0, "category_id", 7) == [1]
    assert trending(made, T0, "category_id", 8) == [2, 1]
    assert trending(made, T0, "scene", 1) == [2]
    assert trending(made, T0, "category_id", 0) == [] and trending(made, T0, "scene", 0) == []


def test_what_is_seen_is_left_out_as_far_as_it_is_kept():
    seen = [watch(item, T0 + at, action=IMPRESSION, user_id=6) for at, item in enumerate((1, 2, 3))]
    made = oracle_of(watch(1), watch(2), watch(3), *seen)
    assert trending(made, T0, exclude_seen_by=6) == [1]  # two are kept
    assert trending(made, T0, exclude_seen_by=7) == [1, 2, 3]
    assert related(made, 1, T0 + 3, exclude_seen_by=6) == []


# ---- Life ----


def test_an_item_is_off_by_the_latest_and_not_for_ever():
    made = oracle_of(watch(1), watch(2), watch(1, T0 + 2, action=ITEM_OFF), watch(1, T0 + 1, action=ITEM_ON))
    assert trending(made, T0 + 2) == [2]
    assert related(made, 2, T0 + 2) == []
    made.apply(watch(1, T0 + 3, action=ITEM_ON))
    assert trending(made, T0 + 3) == [1, 2]
    off = oracle_of(watch(1, action=ITEM_OFF), watch(1, T0 + 7 * DAY))
    assert off.recall.is_off(1, T0 + 7 * DAY - 1) and not off.recall.is_off(1, T0 + 7 * DAY)


def test_an_item_is_off_when_its_room_has_ended():
    made = oracle_of(watch(1, room_id=4), watch(2), {"room_id": 4, "ts_ms": T0 + 1, "action": ROOM_END})
    assert trending(made, T0 + 1) == [2]
    made.apply({"room_id": 4, "ts_ms": T0 + 2, "action": ROOM_START})
    assert trending(made, T0 + 2) == [1, 2]
    made.apply(watch(1, T0 + 3, room_id=5, action=WATCH))
    made.apply({"room_id": 4, "ts_ms": T0 + 4, "action": ROOM_END})
    assert trending(made, T0 + 4) == [1, 2]  # it is in room 5 now


def test_a_room_is_live_while_started_or_lively():
    made = oracle_of(
        {"room_id": 1, "ts_ms": T0, "action": ROOM_START}, {"room_id": 2, "ts_ms": T0 + 1}, {"room_id": 3, "ts_ms": T0 + 2, "action": ROOM_END},
        {"room_id": 3, "ts_ms": T0 + 3}, {"room_id": 5, "ts_ms": T0 + 3}, {"room_id": 4, "ts_ms": T0 + 3},
    )  # fmt: skip
    assert recent(made, "rooms_live", T0 + 3) == [(4, 0), (5, 0), (2, number.float32(0.002)), (1, number.float32(0.003))]
    assert recent(made, "rooms_live", T0 + 10 * MINUTE + 1) == [(4, number.float32(599.998)), (5, number.float32(599.998)), (1, number.float32(600.001))]
    assert recent(made, "rooms_live", T0 + 7 * DAY) == []
    assert made.recall.trending("rooms", "global", 0, 0, T0 + 3).ids() == [4, 5, 2]


def test_creators_live_are_where_their_latest_room_is():
    made = oracle_of(
        {"room_id": 1, "ts_ms": T0, "creator_id": 70}, {"room_id": 2, "ts_ms": T0 + 1, "creator_id": 71},
        {"room_id": 3, "ts_ms": T0 + 2000, "creator_id": 70}, {"room_id": 3, "ts_ms": T0 + 3000}, {"room_id": 4, "ts_ms": T0 + 3},
    )  # fmt: skip
    assert recent(made, "creators_live", T0 + 3000) == [(70, 0), (71, number.float32(2.999))]


def test_new_items_are_by_their_first_event():
    made = oracle_of(watch(1, T0 + 5), watch(1, T0), watch(2, T0 + 5), watch(3, T0 + 5, action=IMPRESSION, user_id=9), watch(4, T0 + 6), watch(4, T0 + 7, action=ITEM_OFF))
    assert [item for item, _ in recent(made, "new_items", T0 + 10)] == [2, 3, 1]
    assert [item for item, _ in recent(made, "new_items", T0 + DAY)] == [2, 3]
    assert recent(made, "new_items", T0 + 1005, user_id=9) == [(2, 1.0), (1, number.float32(1.005))]
