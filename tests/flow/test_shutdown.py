"""SIGTERM in every state: the node ends with exit 0 within seconds and has lost nothing."""

import random
import signal
import socket
import threading

import pytest

import compare
import kafka
import logs
import oracle
import settings
from node import wait_for

ROUNDS = 20
DEADLINE_S = 10


def silent_broker():
    """Accepts connections and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def test_before_the_broker_answers(make_node):
    with silent_broker() as silent:
        for _ in range(3):
            brokers = f"127.0.0.1:{silent.getsockname()[1]}"
            node = make_node(settings.configuration(brokers, "events", catalogue=settings.TINY)).start(is_ready=False)
            assert node.stop(DEADLINE_S) == 0, node.log()


def test_while_no_broker_is_there(make_node):
    for _ in range(3):
        node = make_node(settings.configuration("127.0.0.1:1", "events", catalogue=settings.TINY)).start(is_ready=False)
        assert node.stop(DEADLINE_S) == 0, node.log()


@pytest.mark.parametrize("where", ["kafka", "embedded"])
def test_right_after_the_start(make_node, request, where):
    """Between the first line and readiness: assignment is under way."""
    dice = random.Random(1)
    brokers, topic = "embedded", "freshet.events"
    if where == "kafka":
        brokers = request.getfixturevalue("real_kafka")
        topic = kafka.new_topic(brokers)
    node = make_node(settings.configuration(brokers, topic, catalogue=settings.TINY))
    for _ in range(ROUNDS):
        node.start(is_ready=False)
        if dice.random() < 0.3:
            wait_for(lambda: node.status()["partitions"], "partitions are found")
        assert node.stop(DEADLINE_S) == 0, node.log()


def test_before_the_first_line(make_node):
    """The handler may not be there yet: then the signal itself ends it, and nothing is left that a start would refuse."""
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    for _ in range(ROUNDS):
        node.spawn()
        assert node.stop(DEADLINE_S) in (0, -signal.SIGTERM), node.log()
    node.start()


def test_in_the_middle_of_ingest_nothing_is_lost(make_node, real_kafka, data):
    dice = random.Random(5)
    events = logs.shuffled(logs.read_events(logs.Kuairand, data), seed=8)[:40_000]
    topic = kafka.new_topic(real_kafka)
    node = make_node(settings.configuration(real_kafka, topic, "json"))
    records = [(logs.key_of(event), logs.json_of(event, dice)) for event in events]
    loader = threading.Thread(
        target=lambda: [kafka.produce(real_kafka, topic, some) for some in compare.batches(records, 1000)]
    )
    loader.start()
    before = 0
    for _ in range(ROUNDS):
        node.start(is_ready=False)
        goal = before + dice.randint(0, 2_000)
        wait_for(lambda: node.applied() >= min(goal, len(events)), lambda: f"{goal} applied: {node.status()}")
        before = node.applied()
        assert node.stop(DEADLINE_S) == 0, node.log()
    loader.join()
    node.start()
    assert node.applied() >= before  # a clean end keeps all that was applied
    node.wait_applied(len(events))
    made = oracle.Oracle(node.configuration)
    for event in events:
        made.apply(event)
    compare.check_values(node, made, compare.questions(events), (0,))


def test_idle_and_with_open_connections(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    for _ in range(2):
        node.start()
        host, _, port = node.api.rpartition(":")
        idle = socket.create_connection((host, int(port)))
        half = socket.create_connection((host, int(port)))
        half.sendall(b"POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nContent-Le")
        assert node.stop(DEADLINE_S) == 0, node.log()
        idle.close()
        half.close()


def test_sigint_and_a_second_signal(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    node.signal(signal.SIGINT)
    assert node.ended(DEADLINE_S) == 0
    node.start()
    node.signal(signal.SIGTERM)
    node.signal(signal.SIGTERM)
    assert node.ended(DEADLINE_S) in (0, 1, 128 + signal.SIGTERM, -signal.SIGTERM)


def test_systemd_is_told_when_it_may_be_asked_and_when_it_stops(make_node):
    name = f"freshet-notify-{random.getrandbits(64):x}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(DEADLINE_S)
        node = make_node(settings.configuration("127.0.0.1:1", "events", catalogue=settings.TINY))
        node.environment["NOTIFY_SOCKET"] = f"@{name}"
        node.start(is_ready=False)
        assert systemd.recv(64) == b"READY=1"
        assert node.stop(DEADLINE_S) == 0, node.log()
        assert systemd.recv(64) == b"STOPPING=1"
