"""Events made to be difficult: ties, late ones, repeated ids, absent keys, extreme values; every value equals the oracle's."""

import random

import pytest

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2

START_MS = 1_699_999_980_000
SPAN_MS = 3 * oracle.DAY_MS


def time_of(dice):
    """Mostly near the end, whole minutes and hours often, so that panes, ties and every window have their share."""
    at = START_MS + SPAN_MS - int(min(dice.expovariate(1 / (SPAN_MS / 40)), SPAN_MS))
    grain = dice.choice((1, 1, 1000, 60_000, 3_600_000))
    return at // grain * grain


def value_of(dice):
    return dice.choice(
        (0.0, 1.0, -2.5, 0.5e-6, 1e12, -1e12, 0.1, dice.uniform(0, 60), dice.uniform(0, 60), round(dice.uniform(0, 99), 2))
    )


def difficult_events(seed, count):
    """About one in ten is invalid, of an unknown action, or seen before."""
    dice = random.Random(seed)
    events = []
    for _ in range(count):
        if events and dice.random() < 0.05:
            events.append(dice.choice(events[-300:]))
            continue
        event = oracle.normal(
            {"action": dice.choice([*range(24), 3, 3, 2, 4, 13, 77]), "ts_ms": time_of(dice), "value": value_of(dice)}
        )
        event["event_id"] = dice.choice((0, dice.getrandbits(64), dice.getrandbits(64), dice.randint(1, count)))
        few = (("user_id", 40), ("item_id", 60), ("creator_id", 9), ("room_id", 5), ("category_id", 6), ("region", 3))
        for field, range_end in few:
            event[field] = dice.choice((0, dice.randint(1, range_end), dice.randint(1, range_end)))
        event["user_id"] = event["user_id"] or dice.choice((0, 2**64 - 1))
        event["scene"] = dice.randint(0, 5)
        event["duration_s"] = dice.choice((0.0, 10.0, 59.9))
        event["position"], event["request_id"] = dice.randint(0, 3), dice.choice((0, dice.getrandbits(64)))
        if dice.random() < 0.02:
            field, bad = dice.choice(
                (("ts_ms", 0), ("ts_ms", -5), ("ts_ms", oracle.TS_MS_END), ("value", float("nan")), ("value", 1.1e12))
            )
            event[field] = bad
        if dice.random() < 0.3:
            event["attributes"] = {"brand": dice.choice(("acme", "zenith")), "price": str(dice.randint(1, 20))}
        events.append(event)
    return events


CATALOGUE = {
    **settings.CATALOGUE,
    "features": {
        **settings.CATALOGUE["features"],
        "user_branded": {
            "entity": "user",
            "where": "attributes.brand = 'acme' and attributes.price > 9",
            "aggregate": "count",
            "windows": ["24h", "7d"],
        },
        "item_odd": {
            "entity": "item",
            "where": "position * 2 - 1 > 1 or region in (1, 3)",
            "aggregate": "count",
            "windows": ["1h", "3d"],
        },
        "user_all": {
            "entity": "user",
            "aggregate": "last",
            "limit": 70,
            "fields": ["ts_ms", "event_id", "action", "item_id", "value"],
        },
    },
}


@pytest.mark.parametrize("seed", [1, 2])
def test_difficult_events(make_node, seed):
    node = make_node(settings.configuration("embedded", catalogue=CATALOGUE, lanes=1 + seed)).start()
    events = difficult_events(seed, 12_000)
    messages = ((logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events)
    kafka.produce(node.brokers, "freshet.events", messages)
    made = oracle.Oracle(node.configuration)
    for event in events:
        made.apply(event)
    node.wait_applied(len(events))

    touched = [event for event in events if oracle.verdict(oracle.normal(event)) == "applied"]
    asked = compare.questions(touched)
    times = (0, 999, 1_000, 59_999, 3_600_000, oracle.DAY_MS - 1, oracle.DAY_MS, 7 * oracle.DAY_MS, 31 * oracle.DAY_MS)
    compare.check_values(node, made, asked, times)
    outcomes = {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}
    assert outcomes["applied"] == made.outcomes["applied"]
    assert outcomes["duplicate"] == made.outcomes["duplicate"]
    assert outcomes["unknown_action"] == made.outcomes["unknown_action"]


def test_what_a_request_may_ask_for(make_node):
    node = make_node(settings.configuration("embedded")).start()
    events = [event for event in difficult_events(9, 1_000) if oracle.verdict(event) == "applied"]
    kafka.produce(
        node.brokers, "freshet.events", ((logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events)
    )
    made = oracle.Oracle(node.configuration)
    for event in events:
        made.apply(event)
    node.wait_applied(len(events))

    names = [
        "room_talk.1h",
        "item.creator_id",
        "user_likes",
        "item_clicks",
        "user_events.1m",
        "item.category_id",
    ]
    fields = ["item.duration_s", "item.room_id"]
    items = [7, 7, 0, 3, compare.UNKNOWN_ID, 60]
    for user_id in (0, 1, 2, 3):
        for room_id in (0, 1, 5, 99):
            reply = node.get_features(user_id=user_id, item_ids=items, room_id=room_id, features=names + fields)
            wanted = made.reply(user_id, items, made.stream_time_ms, room_id=room_id, names=names + fields)
            assert not list(compare.differences(reply, wanted, set(), items))
