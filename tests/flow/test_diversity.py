"""Diversity and fatigue: what a user was shown and did by creator and category, how his sequence is spread, what he saw lately."""

import collections
import math
import pathlib
import random

import pytest
import yaml

import kafka
import logs
import settings
from freshet.v1 import recall_pb2
from number import float32, float32_beside

T0 = 1_700_000_000_000
CATALOGUE = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/catalogues/fatigue.yaml").read_text())
IMPRESSION, CLICK, WATCH = 1, 2, 3
TAKEN = (2, 3, 4, 13)  # click, watch, like, purchase
USERS, KEPT = 6, 100


def some_events(dice, count):
    return [
        {
            "event_id": number + 1, "ts_ms": T0 + number * 1000, "user_id": dice.randint(1, USERS), "item_id": dice.randint(1, 40),
            "creator_id": dice.randint(1, 9), "category_id": dice.choice((0, 1, 1, 1, 2, 2, 3, 4)),
            "action": dice.choice((1, 1, 1, 2, 3, 4, 13)), "value": 1.0,
        }
        for number in range(count)
    ]  # fmt: skip


def recent(events, user, field):
    """The values of the field in the user's sequence."""
    taken = [event for event in events if event["user_id"] == user and event["action"] in TAKEN]
    return [event[field] for event in taken[-KEPT:] if event[field]]


def entropy(values):
    counts = collections.Counter(values)
    return sum(counts[value] / len(values) * math.log2(len(values) / counts[value]) for value in sorted(counts))


def top(values, limit):
    counts = collections.Counter(values)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def seen(events, user, time_ms, within_s):
    shown = [event for event in events if event["user_id"] == user and event["action"] == IMPRESSION][-500:]
    return {event["item_id"] for event in shown if within_s == 0 or time_ms - event["ts_ms"] < within_s * 1000}


@pytest.fixture
def world(make_node, real_kafka):
    dice = random.Random(5)
    topic, rows = kafka.new_topic(real_kafka), kafka.new_topic(real_kafka, 1, "rows")
    catalogue = {key: value for key, value in CATALOGUE.items() if key not in ("node", "kafka")}
    catalogue["tables"] = {"item_info": {**CATALOGUE["tables"]["item_info"], "topic": rows}}
    del catalogue["tables"]["item_info"]["partitions"]
    events = some_events(dice, 1500)
    kafka.produce(real_kafka, topic, [(logs.key_of(event), logs.json_of(event, dice)) for event in events])
    node = make_node(settings.configuration(real_kafka, topic, "json", catalogue=catalogue)).start()
    node.wait_applied(len(events))
    return node, events


def test_a_sequence_is_spread_as_its_records_are(world):
    node, events = world
    for user in range(1, USERS + 2):
        reply = node.get_features(user_id=user, features=["category_entropy", "creator_entropy", "category_top"])
        for value, field in zip(reply.user_values, ("category_id", "creator_id")):
            right = float32(entropy(recent(events, user, field)))
            assert value in (right, float32_beside(right, -1), float32_beside(right, 1)), (user, field)
        (sequence,) = reply.sequences
        assert [field.name for field in sequence.fields] == ["category_id", "count"]
        wanted = top(recent(events, user, "category_id"), 5)
        assert list(zip(sequence.fields[0].ids, sequence.fields[1].ints)) == wanted


def test_what_was_shown_and_taken_is_counted_by_creator_and_category(world):
    node, events = world
    names = ["creator_shown.1h", "creator_taken.24h", "category_shown.24h", "category_taken.1h"]
    latest = {event["item_id"]: event for event in events}  # what an item remembers of the two
    category = {}
    for event in events:
        category[event["item_id"]] = event["category_id"] or category.get(event["item_id"], 0)
    for user in range(1, USERS + 1):
        reply = node.get_features(user_id=user, item_ids=list(latest), features=names)
        for row, item in enumerate(latest):

            def count(actions, field, value, user=user):
                return sum(e["user_id"] == user and e["action"] in actions and e[field] == value != 0 for e in events)

            creator_id = latest[item]["creator_id"]
            wanted = [
                count((IMPRESSION,), "creator_id", creator_id), count(TAKEN, "creator_id", creator_id),
                count((IMPRESSION,), "category_id", category[item]), count(TAKEN, "category_id", category[item]),
            ]  # fmt: skip
            assert list(reply.item_values[row * 4 : row * 4 + 4]) == wanted


def test_what_was_seen_a_while_ago_may_come_again(world):
    node, events = world
    time_ms = events[-1]["ts_ms"]
    hot = {event["item_id"] for event in events if event["action"] in (CLICK, WATCH, 13)}
    sizes = set()
    for user in (1, 4):
        for within_s in (0, 1, 30, 200, 4_000_000_000):
            request = recall_pb2.TrendingRequest(list="hot", exclude_seen_by=user, seen_within_s=within_s)
            reply = node.call("RecallService/Trending", request, recall_pb2.Candidates)
            assert set(reply.ids) == hot - seen(events, user, time_ms, within_s), (user, within_s)
            sizes.add(len(reply.ids))
    assert len(sizes) > 3  # the bound shows
