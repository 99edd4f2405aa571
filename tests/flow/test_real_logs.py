"""The public logs through the real wire: every value of every user and item equals the oracle's, at T and three later times; and however they
came in, they leave one digest."""

import random

import pytest

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2
from node import run_cli

digests = {}  # log → {way: digest}


def load_by_produce(binary, brokers, topic, log, data, events):
    """`freshet produce --map`; the events as they came to lie in the topic, which must be those mapped in Python."""
    done = run_cli(
        binary, "produce", "--brokers", brokers, "--topic", topic, "--format", "csv", "--map", log.map, data / log.file
    )
    assert done.returncode == 0, done.stderr
    messages = kafka.consume_all(brokers, topic)
    for message in messages[:: len(messages) // 500 or 1]:
        assert message.partition() == kafka.murmur2_partition(message.key(), kafka.PARTITIONS)
    produced = [logs.event_of(event_pb2.Event.FromString(message.value())) for message in messages]
    assert [message.key() for message in messages] == [logs.key_of(event) for event in produced]
    assert sorted(map(oracle.order, produced)) == sorted(map(oracle.order, events))
    return produced


def load_as_json(brokers, topic, events):
    dice = random.Random(5)
    kafka.produce(brokers, topic, ((logs.key_of(event), logs.json_of(event, dice)) for event in events))
    return events


def node_on(make_node, where, way, request):
    """A started node and the brokers and topic to load."""
    format = "protobuf" if way == "produce" else "json"
    if where == "embedded":
        node = make_node(settings.configuration("embedded", format=format)).start()
        return node, node.brokers, "freshet.events"
    brokers = request.getfixturevalue("real_kafka")
    topic = kafka.new_topic(brokers)
    return make_node(settings.configuration(brokers, topic, format)).start(), brokers, topic


@pytest.mark.parametrize("where", ["kafka", "embedded"])
@pytest.mark.parametrize("way", ["produce", "json"])
@pytest.mark.parametrize("name", logs.LOGS)
def test_every_value_is_the_oracles(binary, make_node, data, request, name, way, where):
    log = logs.LOGS[name]
    events = logs.read_events(log, data)
    node, brokers, topic = node_on(make_node, where, way, request)
    if way == "produce":
        arrived = load_by_produce(binary, brokers, topic, log, data, events)
    else:
        arrived = load_as_json(brokers, topic, logs.shuffled(events, seed=3))
    made = oracle.Oracle(node.configuration)
    for event in arrived:
        made.apply(event)
    assert made.outcomes["applied"] == len(events)  # the shuffle is far inside the horizon: every duplicate is found
    node.wait_applied(len(arrived))

    asked = compare.questions(events)
    # What is new in the other three ways is how events come in, and the test behind this one holds their digests against the first's.
    if (way, where) == ("json", "kafka"):
        compare.check_values(node, made, asked, compare.LATER_MS)
    else:
        compare.check_values(node, made, asked[::10], compare.LATER_MS)
    digests.setdefault(name, {})[way, where] = node.digest()


@pytest.mark.parametrize("name", logs.LOGS)
def test_all_ways_of_loading_leave_one_digest(name):
    if len(digests.get(name, {})) < 2:
        pytest.skip("the tests before this one did not leave two digests")
    assert len(set(digests[name].values())) == 1, digests[name]
