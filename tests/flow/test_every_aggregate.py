"""Every aggregate on the public logs: all values of 1,000 users and 1,000 items of each, and what recall gives, are the oracle's."""

import pathlib
import random

import pytest
import yaml

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2

CATALOGUE = yaml.safe_load(pathlib.Path(__file__).with_name("every.yaml").read_text())
MANY = 1_000
RECALL_EVERY = 97


def sample(events):
    """Questions about MANY users, each with the items it touched, and about MANY items."""
    dice = random.Random(11)
    users = sorted({event["user_id"] for event in events if event["user_id"]})
    items = sorted({event["item_id"] for event in events if event["item_id"]})
    users = set(dice.sample(users, min(MANY, len(users))))
    items = dice.sample(items, min(MANY, len(items)))
    asked = compare.questions([event for event in events if event["user_id"] in users])
    return [(0, batch) for batch in compare.batches(items, compare.ITEMS_MAX)] + [one for one in asked if one[0]]


@pytest.mark.parametrize("name", logs.LOGS)
def test_every_aggregate_of_a_public_log(make_node, data, name):
    events = logs.read_events(logs.LOGS[name], data)
    node = make_node(settings.configuration("embedded", catalogue=CATALOGUE)).start()
    arrived = logs.shuffled(events, seed=9)
    kafka.produce(
        node.brokers, "freshet.events", ((logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in arrived)
    )
    made = oracle.Oracle(node.configuration)
    for event in arrived:
        made.apply(event)
    node.wait_applied(len(arrived))
    asked = sample(events)
    values = compare.check_values(node, made, asked, (0,)) + compare.check_values(node, made, asked[::20], (600_000, 90_000_000))
    replies = compare.check_recall(node, made, events, every=RECALL_EVERY)
    print(f"{name}: {values:,} values of {len(asked):,} questions and {replies:,} recall replies are the oracle's")
