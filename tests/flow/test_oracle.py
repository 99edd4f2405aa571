"""The oracle itself, with numbers that a reader can add up in the head."""

import math

import pytest
import yaml

import aggregate
import number
import oracle
import where

CATALOGUE = yaml.safe_load(
    """
node: { dedupe: { ids: 2, horizon: 10m } }
entities:
  user:          { key: [user_id] }
  item:          { key: [item_id], retention: 2d }
  creator:       { key: [creator_id] }
  room:          { key: [room_id] }
  user_category: { key: [user_id, category_id], retention: 7d }
features:
  watches:  { entity: item, actions: [watch], where: "value >= 3", aggregate: count, windows: [1m, 1h] }
  seconds:  { entity: item, actions: [watch], aggregate: sum, of: value, windows: [1h], emit: [value, n, age] }
  follows:  { entity: creator, actions: [follow], aggregate: count, windows: [1h] }
  talk:     { entity: room, aggregate: count, windows: [5m] }
  recent:   { entity: user, actions: [watch, like], aggregate: last, limit: 3, fields: [item_id, action, value] }
  similar:  { entity: user, aggregate: last, of: recent, match: category_id, limit: 1 }
  likes:    { entity: user, actions: [like], aggregate: count, windows: [1h] }
  crossed:  { entity: user_category, aggregate: count, windows: [1h] }
"""
)
WATCH, LIKE, FOLLOW = 3, 4, 8
T0 = 1_700_000_040_000  # a whole minute


def oracle_of(*events):
    made = oracle.Oracle(CATALOGUE)
    for event in events:
        made.apply({"action": WATCH, **event})
    return made


def item(made, column, time_ms, item_id=1, **ask):
    reply = made.reply(ask.pop("user_id", 0), [item_id], time_ms, **ask)
    return dict(zip(reply.item_columns, reply.item_values))[column]


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1e-6, 1), (0.5e-6, 1), (-0.5e-6, -1), (0.4999e-6, 0), (2.5e-6, 3), (1e12, 10**18), (-3.0, -3_000_000), (0.1, 100_000)],
)
def test_micro_units_round_half_away_from_zero(value, rounded):
    assert number.micro(value) == rounded


@pytest.mark.parametrize(
    ("window", "resolution"),
    [
        ("24s", "1s"),
        ("1m", "1s"),
        ("4m", "10s"),
        ("5m", "10s"),
        ("24m", "1m"),
        ("1h", "1m"),
        ("24h", "1h"),
        ("7d", "6h"),
        ("30d", "1d"),
    ],
)
def test_the_resolution_is_the_largest_that_divides_into_24(window, resolution):
    assert aggregate.resolution_ms(oracle.span_ms(window)) == oracle.span_ms(resolution)


def test_a_ratio_of_large_integers_is_the_nearest_float32():
    assert number.float32_of(2**24 + 1) == 2.0**24
    assert number.float32_of(2**24 + 3) == 2.0**24 + 4
    assert number.float32_of(1, 10) == number.float32(0.1)
    assert number.float32_of((2**60 + 2**36) * 1000 + 1, 1000) == 2.0**60 + 2**37  # just above a tie that a double can't see


def test_the_part_filled_pane_counts_and_the_oldest_goes_whole():
    made = oracle_of({"item_id": 1, "ts_ms": T0, "value": 3.0}, {"item_id": 1, "ts_ms": T0 + 999, "value": 5.0})
    assert item(made, "watches.1m", T0 + 999) == 2
    assert item(made, "watches.1m", T0 + 59_999) == 2
    assert item(made, "watches.1m", T0 + 60_000) == 0  # pane 0 is out of (60 − 60, 60]
    assert item(made, "watches.1h", T0 + 3_599_999) == 2
    assert item(made, "watches.1h", T0 + 3_600_000) == 0


def test_where_and_actions_both_filter():
    made = oracle_of(
        {"item_id": 1, "ts_ms": T0, "value": 2.999}, {"item_id": 1, "ts_ms": T0, "value": 3.0},
        {"item_id": 1, "ts_ms": T0, "value": 9.0, "action": LIKE},
    )  # fmt: skip
    assert item(made, "watches.1h", T0) == 1
    assert item(made, "seconds.1h", T0) == number.float32(5.999)
    assert item(made, "seconds.1h.n", T0) == 2


def test_age_counts_from_the_latest_event_taken():
    made = oracle_of({"item_id": 1, "ts_ms": T0}, {"item_id": 1, "ts_ms": T0 + 500, "action": LIKE})
    assert item(made, "seconds.age", T0 + 1_500) == 1.5
    assert item(made, "seconds.age", T0, item_id=2) == -1


def test_presence_ends_with_the_retention():
    made = oracle_of({"item_id": 1, "ts_ms": T0})
    assert made.reply(0, [1, 2, 0], T0 + 2 * oracle.DAY_MS - 1).item_present == [True, False, False]
    assert made.reply(0, [1], T0 + 2 * oracle.DAY_MS).item_present == [False]


def test_each_attribute_is_by_itself_the_latest_not_zero():
    made = oracle_of(
        {"item_id": 1, "ts_ms": T0, "creator_id": 7, "category_id": 5}, {"item_id": 1, "ts_ms": T0 + 1, "creator_id": 8},
        {"item_id": 1, "ts_ms": T0 + 2}, {"item_id": 1, "ts_ms": T0 - 1, "creator_id": 9, "room_id": 4},
        {"creator_id": 8, "ts_ms": T0, "action": FOLLOW}, {"creator_id": 7, "ts_ms": T0, "action": LIKE},
    )  # fmt: skip
    reply = made.reply(0, [1], T0, names=["item.creator_id", "item.category_id", "item.room_id", "item.duration_s"])
    assert reply.item_fields == {"item.creator_id": [8], "item.category_id": [5], "item.room_id": [4], "item.duration_s": [0]}
    assert item(made, "follows.1h", T0) == 1  # creator 8's


def test_the_room_of_the_request_takes_the_place_of_the_remembered_one():
    made = oracle_of({"item_id": 1, "room_id": 4, "ts_ms": T0}, {"room_id": 6, "ts_ms": T0}, {"room_id": 6, "ts_ms": T0})
    assert item(made, "talk.5m", T0) == 1
    assert item(made, "talk.5m", T0, room_id=6) == 2
    assert item(made, "talk.5m", T0, item_id=9, room_id=6) == 2


def test_last_keeps_the_greatest_whatever_the_arrival():
    made = oracle_of(
        {"user_id": 1, "event_id": 9, "item_id": 30, "ts_ms": T0},
        {"user_id": 1, "event_id": 2, "item_id": 10, "ts_ms": T0 + 5},
        {"user_id": 1, "event_id": 8, "item_id": 20, "ts_ms": T0, "value": 1.5},
        {"user_id": 1, "event_id": 7, "item_id": 40, "ts_ms": T0},
    )  # fmt: skip
    assert made.reply(1, [], T0 + 5).sequences["recent", 0] == (
        [], {"item_id": [10, 30, 20], "action": [WATCH] * 3, "value": [0.0, 0.0, 1.5]},
    )  # fmt: skip


def test_a_match_sequence_serves_the_rows_of_its_category():
    made = oracle_of(
        {"user_id": 1, "item_id": 1, "category_id": 5, "ts_ms": T0},
        {"user_id": 1, "item_id": 2, "category_id": 5, "ts_ms": T0 + 1},
        {"user_id": 1, "item_id": 3, "category_id": 6, "ts_ms": T0 + 2},
    )  # fmt: skip
    sequences = made.reply(1, [2, 3, 1, 99], T0 + 2, names=["similar"]).sequences
    assert sequences["similar", 5] == ([0, 2], {"item_id": [2], "action": [WATCH], "value": [0.0]})
    assert sequences["similar", 6] == ([1], {"item_id": [3], "action": [WATCH], "value": [0.0]})
    assert len(sequences) == 2


def test_cross_entities_need_both_ids():
    made = oracle_of(
        {"user_id": 1, "item_id": 1, "category_id": 5, "ts_ms": T0}, {"user_id": 2, "category_id": 5, "ts_ms": T0},
        {"user_id": 2, "ts_ms": T0},
    )  # fmt: skip
    assert [item(made, "crossed.1h", T0, user_id=user) for user in (0, 1, 2)] == [0, 1, 1]
    assert item(made, "crossed.1h", T0, user_id=1, item_id=77) == 0


def test_a_kept_id_changes_nothing_and_ids_leave_the_set_by_order_and_horizon():
    made = oracle_of()

    def say(event_id, ts_ms, user=1):
        return made.apply({"action": WATCH, "user_id": user, "event_id": event_id, "ts_ms": ts_ms})

    assert [say(1, T0), say(1, T0), say(1, T0, user=2), say(0, T0), say(0, T0)] == [
        "applied",
        "duplicate",
        "applied",
        "applied",
        "applied",
    ]
    assert [say(2, T0 + 1), say(3, T0 + 2), say(1, T0)] == ["applied", "applied", "applied"]  # two are kept: 2 and 3
    assert made.outcomes["dedupe_unchecked"] == 1
    assert say(3, T0 + 2) == "duplicate"
    assert [say(4, T0 + 600_002), say(3, T0 + 2)] == ["applied", "applied"]  # 10 min after: beyond the horizon
    assert made.outcomes["dedupe_unchecked"] == 2


def test_what_is_invalid_is_not_applied():
    made = oracle_of()
    assert made.apply({"ts_ms": T0}) == "unknown_action"
    assert made.apply({"action": 24, "ts_ms": T0}) == "unknown_action"
    assert made.apply({"action": WATCH, "ts_ms": 0}) == "bad_time"
    assert made.apply({"action": WATCH, "ts_ms": oracle.TS_MS_END}) == "bad_time"
    assert made.apply({"action": WATCH, "ts_ms": 1, "value": math.nan}) == "bad_value"
    assert made.apply({"action": WATCH, "ts_ms": 1, "value": -1.1e12}) == "bad_value"
    assert made.stream_time_ms == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("value >= 3", True),
        ("value < 3", False),
        ("value / duration_s > 0.4 and value/duration_s < 0.6", True),
        ("value / position > 0", False),
        ("not value / position > 0", False),
        ("value / position > 0 or value = 5", False),
        ("value = 5 or value / position > 0", True),
        ("value = 4 and value / position > 0 or value = 5", True),
        ("not attributes.none = 1", True),
        ("not value = 5", False),
        ("scene == live or value > 100", True),
        ("action in (like, WATCH)", True),
        ("action != watch", False),
        ("value - 2 * 2 == 1", True),
        ("-(value) = -5.0", True),
        ("item_id in [1, 2, 3]", False),
        ("attributes.price > 9", True),
        ("attributes.brand = 'acme'", True),
        ("attributes.none = 'acme'", False),
    ],
)
def test_where(text, wanted):
    event = oracle.normal({"value": 5.0, "duration_s": 10.0, "scene": 1, "action": WATCH, "item_id": 7})
    event["attributes"] = {"price": "9.5", "brand": "acme"}
    assert bool(where.parse(text, oracle.ACTIONS, oracle.SCENES)(event)) is wanted
