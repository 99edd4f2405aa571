"""The oracle's aggregates, with numbers that a reader can add up in the head or a second way of reckoning them."""

import collections
import fractions
import math
import random

import pytest
import yaml

import aggregate
import event as events
import number
import oracle

T0 = 1_700_006_400_000  # a whole day
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CLICK, WATCH, LIKE, ENTER, LEAVE = 2, 3, 4, 15, 16
CATALOGUE = yaml.safe_load(
    """
node: { dedupe: { ids: 32, horizon: 10m } }
entities:
  user:         { key: [user_id] }
  item:         { key: [item_id], parent: creator, retention: 2d }
  creator:      { key: [creator_id], retention: 1d }
  room:         { key: [room_id], parent: creator }
  user_creator: { key: [creator_id, user_id], parent: creator }
  user_item:    { key: [user_id, item_id] }
features:
  mean:    { entity: item, actions: [watch], aggregate: mean, of: value, windows: [1h], emit: [value, n] }
  least:   { entity: item, actions: [watch], aggregate: min, of: value, windows: [1h] }
  most:    { entity: item, actions: [watch], aggregate: max, of: value, windows: [1h] }
  viewers: { entity: item, actions: [watch], aggregate: distinct, of: user_id, windows: [1h, 7d], emit: [value, n] }
  median:  { entity: item, actions: [watch], aggregate: quantile, q: 0.5, of: value, windows: [5m], emit: [age, n, value] }
  heat:    { entity: item, actions: [watch, like], weights: { like: 3 }, aggregate: decayed, half_life: 10m, emit: [value, n, age] }
  likes:   { entity: item, actions: [like], scenes: [live, feed], aggregate: count, windows: [1h] }
  watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] }
  money:   { entity: item, actions: [watch], aggregate: sum, of: value, windows: [1h] }
  plain:   { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h] }
  world:   { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h], prior: global, strength: 2 }
  drawn:   { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h], prior: parent, strength: 2, emit: [sd, n, value, age] }
  weak:    { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h], prior: parent, strength: 0 }
  spent:   { entity: item, aggregate: ratio, of: [money, watches], windows: [1h], emit: [value, sd] }
  bond:    { entity: user_creator, actions: [watch], aggregate: count, windows: [1h] }
  pair:    { entity: user_item, actions: [watch], aggregate: decayed, half_life: 1h }
  online:  { entity: room, aggregate: gauge, up: [enter_room, watch], down: [leave_room], timeout: 10m }
  pulse:   { entity: room, actions: [like, watch], aggregate: series, bin: 10s, bins: 3 }
"""
)


def oracle_of(*made_of):
    made = oracle.Oracle(CATALOGUE)
    for event in made_of:
        assert made.apply({"action": WATCH, **event}) == "applied"
    return made


def row(made, time_ms, item_id=1, **ask):
    reply = made.reply(ask.pop("user_id", 0), [item_id], time_ms, **ask)
    return dict(zip(reply.item_columns, reply.item_values))


def watch(ts_ms, value=0.0, item_id=1, **more):
    return {"item_id": item_id, "ts_ms": ts_ms, "value": value, **more}


def like(ts_ms, item_id=1, scene=1, **more):
    return {"item_id": item_id, "ts_ms": ts_ms, "action": LIKE, "scene": scene, **more}


def test_mean_min_and_max_are_of_micro_units_in_the_window():
    made = oracle_of(watch(T0, 99.0), watch(T0 + HOUR, -1.5), watch(T0 + HOUR, 0.25), watch(T0 + HOUR, 2e-7))
    found = row(made, T0 + HOUR)
    assert (found["mean.1h"], found["mean.1h.n"]) == (number.float32(-1.25 / 3), 3)
    assert (found["least.1h"], found["most.1h"]) == (-1.5, 0.25)
    assert row(made, T0 + 2 * HOUR)["least.1h"] == 0


def test_of_nothing_is_zero():
    found = row(oracle_of(watch(T0, 5.0)), T0, item_id=9)
    assert set(found.values()) == {0, -1.0}
    assert [column for column, value in found.items() if value == -1] == ["median.age", "heat.age", "drawn.age"]


def test_a_mean_is_of_the_exact_sum_also_beyond_int64():
    made = oracle_of(*[watch(T0, 1e12) for _ in range(10)], watch(T0, 1e12))
    assert row(made, T0)["mean.1h"] == number.float32(1e12)
    assert row(made, T0)["money.1h"] == number.float32(2**63 / 1e6)


def test_distinct_counts_ids_but_not_0_and_n_all_events():
    made = oracle_of(*[watch(T0, user_id=user) for user in (5, 6, 5, 0)], watch(T0 + 9 * MINUTE, user_id=7))
    assert (row(made, T0 + 59 * MINUTE)["viewers.1h"], row(made, T0 + 59 * MINUTE)["viewers.1h.n"]) == (3, 4)
    assert row(made, T0 + 60 * MINUTE)["viewers.1h"] == 0  # panes of ten minutes: both events are in the first
    assert row(made, T0 + DAY)["viewers.7d"] == 3


def test_distinct_is_exact_to_128_and_near_beyond():
    made = oracle_of(*[watch(T0, user_id=user) for user in range(1, 129)])
    assert type(row(made, T0)["viewers.1h"]) is float
    made.apply({"action": WATCH, **watch(T0, user_id=129)})
    found = row(made, T0)["viewers.1h"]
    assert found == 129 and found == 120 and found != 117 and found != 141


@pytest.mark.parametrize(
    ("values", "q", "exact"),
    [
        ([3, 1, 2], 0.5, 2), ([4, 3, 1, 2], 0.5, 2), ([5, 1], 0.999, 1), ([5, 1], 1, 5), ([7], 0, 7), ([-3, 0, 1e-9], 0.9, 1e-3),
        ([1e10, 2e10], 0, 1e9), (list(range(1, 12)), 0.9, 10),
    ],
)  # fmt: skip
def test_a_quantile_is_at_the_floor_of_its_rank(values, q, exact):
    assert aggregate.quantile(values, q) == exact


def test_a_quantile_may_be_off_by_one_in_a_hundred():
    found = row(oracle_of(*[watch(T0, value) for value in (100.0, 1.0, 300.0)]), T0)
    assert found["median.5m"] == 101 and found["median.5m"] == 99 and found["median.5m"] != 101.1 and found["median.5m"] != 98.9
    assert [column for column in found if column.startswith("median")] == ["median.5m", "median.5m.n", "median.age"]


def test_a_sketch_has_at_least_six_panes():
    spans = {"24s": "1s", "1m": "10s", "5m": "10s", "1h": "10m", "24h": "1h", "7d": "1d", "36h": "6h"}
    for window, pane in spans.items():
        assert aggregate.resolution_ms(events.span_ms(window), aggregate.SKETCH_PANES) == events.span_ms(pane), window


def test_decayed_halves_and_weighs():
    made = oracle_of(watch(T0), like(T0), watch(T0 + 10 * MINUTE, value=7.0))
    assert row(made, T0 + 10 * MINUTE)["heat"] == 3
    assert row(made, T0 + 20 * MINUTE)["heat"] == 1.5
    assert row(made, T0 + 20 * MINUTE)["heat.age"] == 600


def test_decayed_is_the_sum_over_four_blocks_of_rounded_integers():
    """Again event by event, exactly."""
    half_life, dice = 600_000, random.Random(4)
    sent = [watch(T0 + dice.randrange(40 * half_life)) for _ in range(300)]
    made = oracle_of(*sent)
    for time_ms in (T0 + 40 * half_life, T0 + 47 * half_life + 1):
        total = fractions.Fraction(0)
        for event in sent:
            block = event["ts_ms"] // (8 * half_life)
            if not time_ms // (8 * half_life) - 4 < block:
                continue
            grown = round(2.0 ** ((event["ts_ms"] - block * 8 * half_life) / half_life) * 2**24)
            since = fractions.Fraction(time_ms - block * 8 * half_life, half_life)
            total += fractions.Fraction(grown, 2**24) * fractions.Fraction(2.0 ** -float(since))
        assert row(made, time_ms)["heat"] == number.float32(float(total))
        assert row(made, time_ms)["heat"] != number.float32(float(total) * 1.000001)


def test_a_block_leaves_whole():
    made = oracle_of(watch(T0 - T0 % (80 * MINUTE)))
    start = T0 - T0 % (80 * MINUTE)
    assert row(made, start + 320 * MINUTE - 1)["heat"] > 0 and row(made, start + 320 * MINUTE - 1)["heat.n"] == 1
    assert row(made, start + 320 * MINUTE)["heat"] == 0 and row(made, start + 320 * MINUTE)["heat.n"] == 0


def test_a_plain_ratio_is_zero_of_nothing():
    assert row(oracle_of(like(T0)), T0)["plain.1h"] == 0
    assert row(oracle_of(like(T0), watch(T0), watch(T0)), T0)["plain.1h"] == 0.5


def test_a_ratio_takes_the_scenes_of_its_operands():
    made = oracle_of(like(T0, scene=2), like(T0, scene=0), like(T0, scene=5), watch(T0))
    assert row(made, T0)["plain.1h"] == 1


def test_a_prior_draws_to_the_parent_which_is_drawn_to_all():
    made = oracle_of(
        watch(T0, creator_id=7), like(T0, creator_id=7), watch(T0, creator_id=7), watch(T0, item_id=0, creator_id=7),
        watch(T0, item_id=2, creator_id=8), watch(T0, item_id=0),
    )  # fmt: skip
    g = 1 / 5
    p = (1 + 2 * g) / (3 + 2)
    found = row(made, T0)
    assert found["world.1h"] == number.float32((1 + 2 * g) / (2 + 2))
    assert found["drawn.1h"] == number.float32((1 + 2 * p) / (2 + 2))
    a, b = 1 + 2 * p, 1 + 2 * (1 - p)
    assert found["drawn.1h.sd"] == number.float32(math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))))
    assert list(found)[list(found).index("drawn.1h") :][:4] == ["drawn.1h", "drawn.1h.n", "drawn.1h.sd", "drawn.age"]
    assert row(made, T0, item_id=99)["drawn.1h"] == number.float32(g)  # no parent known: p = g
    assert row(made, T0 + 30 * MINUTE, item_id=1)["drawn.age"] == 1800


def test_without_strength_a_ratio_of_nothing_is_the_next_prior_up():
    made = oracle_of(watch(T0, creator_id=7), like(T0, creator_id=7), watch(T0, item_id=2), {"item_id": 3, "ts_ms": T0, "creator_id": 7, "action": CLICK},
                     {"item_id": 4, "ts_ms": T0, "creator_id": 9, "action": CLICK})  # fmt: skip
    assert row(made, T0)["weak.1h"] == 1
    assert row(made, T0, item_id=3)["weak.1h"] == 1  # of creator 7
    assert row(made, T0, item_id=4)["weak.1h"] == 0.5  # of all
    assert row(oracle_of(like(T0, creator_id=7)), T0)["weak.1h"] == 0


def test_an_absent_parent_is_none():
    made = oracle_of(watch(T0, creator_id=7), like(T0, creator_id=7))
    assert row(made, T0 + 25 * HOUR)["drawn.1h"] == 0


def test_sd_and_n_of_a_ratio_of_sums():
    found = row(oracle_of(watch(T0, 0.5), watch(T0, -0.25)), T0)
    assert found["spent.1h"] == 0.125
    a, b = 0.25, 1.75
    assert found["spent.1h.sd"] == number.float32(math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1))))


def test_cross_entities_by_any_order_of_their_key():
    made = oracle_of(watch(T0, user_id=5, creator_id=7), watch(T0, user_id=5, creator_id=8), watch(T0 + HOUR, item_id=2, user_id=5))
    assert row(made, T0, user_id=5)["bond.1h"] == 1  # creator 8, the latest at a tie by the greater creator_id
    assert row(made, T0 + HOUR, user_id=5, item_id=1)["pair"] == 1
    assert row(made, T0 + HOUR, user_id=6, item_id=1)["pair"] == 0


def test_a_gauge_counts_users_whose_latest_is_an_up_in_time():
    room = {"room_id": 3, "action": ENTER}
    made = oracle_of(
        {**room, "user_id": 1, "ts_ms": T0}, {**room, "user_id": 2, "ts_ms": T0}, {**room, "user_id": 2, "ts_ms": T0, "action": LEAVE},
        {**room, "user_id": 3, "ts_ms": T0 + 5_000, "action": WATCH}, {**room, "user_id": 3, "ts_ms": T0 + 1, "action": LEAVE},
        {**room, "user_id": 0, "ts_ms": T0}, {**room, "user_id": 4, "ts_ms": T0, "action": LIKE},
    )  # fmt: skip
    assert row(made, T0 + 5_000, room_id=3)["online"] == 2  # at one time LEAVE is greater than ENTER; a late LEAVE is not the latest
    assert row(made, T0 + 10 * MINUTE - 1, room_id=3)["online"] == 2
    assert row(made, T0 + 10 * MINUTE, room_id=3)["online"] == 0  # both in the first pane of ten seconds
    assert row(made, T0, room_id=4)["online"] == 0


def test_a_series_has_a_field_per_action_oldest_first():
    room = {"room_id": 3}
    made = oracle_of(
        {**room, "ts_ms": T0}, {**room, "ts_ms": T0 + 9_999}, {**room, "ts_ms": T0 + 20_000, "action": LIKE},
        {**room, "ts_ms": T0 + 20_000, "action": CLICK}, {"room_id": 4, "ts_ms": T0 - DAY, "item_id": 8},
    )  # fmt: skip

    def pulse(time_ms, items=(8, 9), **ask):
        return made.reply(0, list(items), time_ms, names=["pulse"], **ask).sequences

    assert pulse(T0 + 20_000, room_id=3) == {("pulse", 3): ([0, 1], {"like": [0, 0, 1], "watch": [2, 0, 0]})}
    assert pulse(T0 + 30_000, room_id=3)["pulse", 3][1] == {"like": [0, 1, 0], "watch": [0, 0, 0]}
    assert pulse(T0 + 30_000) == {("pulse", 4): ([0], {"like": [0, 0, 0], "watch": [0, 0, 0]})}
    assert pulse(T0 + 40 * DAY, room_id=3) == {}


def test_windows_by_a_second_formulation():
    """Pane by pane, from a list of events in any order."""
    dice = random.Random(11)
    sent = [
        watch(T0 + dice.randrange(3 * HOUR) // dice.choice((1, 1000, MINUTE)) * dice.choice((1, 1000)), dice.uniform(-5, 60), user_id=dice.randint(0, 9))
        for _ in range(400)
    ]  # fmt: skip
    sent = [{**one, "ts_ms": max(one["ts_ms"], T0)} for one in sent]
    made = oracle_of(*sent)
    for time_ms in (T0 + HOUR, T0 + 2 * HOUR + 59_999, T0 + 3 * HOUR - 1):
        panes = collections.defaultdict(list)
        for one in sent:
            panes[one["ts_ms"] // MINUTE].append(number.micro(one["value"]))
        inside = [micro for back in range(60) for micro in panes[time_ms // MINUTE - back]]
        tens = {one["user_id"] for one in sent if 0 <= time_ms // (10 * MINUTE) - one["ts_ms"] // (10 * MINUTE) < 6} - {0}
        found = row(made, time_ms)
        assert found["watches.1h"] == len(inside)
        assert found["least.1h"] == number.float32(min(inside, default=0) / 1e6)
        assert found["money.1h"] == number.float32(sum(inside) / 1e6)
        assert found["viewers.1h"] == len(tens)


def test_within_is_equal_from_either_side_and_in_lists():
    near = number.within(1.0, 0.5)
    assert 1.5 == near and near == 0.5 and [1.25] == [near] and 1.6 != near and [0.4] != [near]
    assert 0.0 == number.within(0.0) and number.within(0.0) != 1e-30
    assert number.within(-1.0) == number.float32_beside(-1.0, 1) and number.within(-1.0) == number.float32_beside(-1.0, -1)
