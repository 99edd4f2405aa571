"""Clocks that differ: a node or a producer by another time than all others (tests/faults/clock.c). It is told, with what to mend, and nothing is lost."""

import os
import re
import subprocess
import time

import pytest

import kafka
import settings
import shims
from node import wait_for
from test_bad_input import dead_letters, event, outcomes


@pytest.fixture
def other_clock(binary):
    """seconds → the environment of a process whose wall clock is so many seconds ahead."""
    library = shims.shim(binary, "other_clock")
    return lambda seconds: {"LD_PRELOAD": str(library), "FRESHET_CLOCK_AHEAD": str(seconds)}


@pytest.fixture
def topic(real_kafka):
    return kafka.new_topic(real_kafka, partitions=1)


@pytest.fixture
def node_of(make_node, real_kafka, topic, other_clock):
    """seconds → a node with that clock, whose max_future is a minute."""

    def start(seconds):
        node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY, clock="wall", max_future="1m"))
        node.environment = other_clock(seconds) if seconds else {}
        return node.start()

    return start


def now_ms():
    return int(time.time() * 1000)


def produce(node, topic, count=5):
    """Events of now, by a clock that is right; applied before it returns."""
    before = int(node.status()["appliedEvents"])
    kafka.produce(node.brokers, topic, [(b"1", event(ts_ms=now_ms()))] * count)
    node.wait_applied(before + count)


def produce_elsewhere(node, topic, seconds, environment):
    """Five events of a producer whose clock is so many seconds ahead: their times, and the timestamps that Kafka has."""
    line = '{"tsMs": %d, "action": "watch", "userId": "1", "itemId": "2", "value": 5}\n' % (now_ms() + seconds * 1000)
    command = [node.binary, "produce", "--brokers", node.brokers, "--topic", topic, "--format", "jsonl", "-"]
    subprocess.run(command, input=line.encode() * 5, env={**os.environ, **environment}, check=True, capture_output=True)
    node.wait_applied(5)


def watches(node, window="1m", **options):
    reply = node.get_features(item_ids=[2], features=[f"item_watches.{window}"], **options)
    return list(reply.item_values)[0]


def skew_seconds(node):
    return float(re.search(r"^freshet_clock_skew_seconds (\S+)$", node.page("/metrics")[2].decode(), re.M)[1])


def told(node):
    """What `freshet status` says of the clock."""
    said = subprocess.run([node.binary, "status", "--api", node.api], capture_output=True, text=True, check=True).stdout
    return "".join(line for line in said.splitlines() if line.startswith("  clock  "))


def test_clocks_that_agree_are_no_trouble(node_of, topic):
    node = node_of(0)
    produce(node, topic)
    assert 0 <= skew_seconds(node) < 5 and node.status()["clockTrouble"] == "" and not told(node)
    assert watches(node) == 5


@pytest.mark.parametrize("seconds", [-90, -3600])
def test_a_node_behind_makes_dead_letters_that_count_once_the_clock_is_right(node_of, topic, seconds):
    node = node_of(seconds)
    produce(node, topic)
    assert outcomes(node)["future"] == 5 and watches(node) == 0
    said = re.search(r"later than \d+, this machine's clock and node.max_future, by (\d+) ms; set the clock that is wrong", node.log())
    assert abs(int(said[1]) - (-seconds - 60) * 1000) < 10_000
    assert seconds - 5 < skew_seconds(node) <= seconds + 5
    trouble = node.status()["clockTrouble"]
    assert re.match(r"this machine's clock is [\d.]+ s behind a record's timestamp: events beyond node.max_future become dead letters", trouble)
    assert trouble.endswith("set the clock that is wrong, here or where the producers run (NTP), then produce the dead letters again")
    assert trouble in told(node)
    assert node.stop() == 0

    node.environment = {}  # the clock is mended; what the dead letters hold is produced again
    node.start()
    letters = dead_letters(node.brokers, f"{topic}.dead")
    assert {letter[3] for letter in letters} == {"future"}
    kafka.produce(node.brokers, topic, [(b"1", letter[4]) for letter in letters])
    node.wait_applied(10)
    assert watches(node, "1h") == 5


def test_a_node_a_little_behind_counts_events_once_its_clock_has_reached_them(node_of, topic):
    node = node_of(-30)
    produce(node, topic)
    assert outcomes(node).get("future", 0) == 0 and watches(node) == 0
    assert watches(node, as_of_ms=now_ms() + 1000) == 5
    assert "events count only once this clock has reached them" in node.status()["clockTrouble"]


@pytest.mark.parametrize("seconds", [90, 3600])
def test_a_node_ahead_reads_too_late_and_has_lost_nothing_once_it_is_right(node_of, topic, seconds):
    node = node_of(seconds)
    wait_for(lambda: node.status()["lagEvents"] == "0", "nothing waits")

    def is_told():
        produce(node, topic)
        return node.status()["clockTrouble"]

    wait_for(is_told, lambda: f"trouble with the clock: {node.status()}")
    sent = int(node.status()["appliedEvents"])
    assert watches(node) == 0 and outcomes(node)["applied"] == sent
    assert abs(skew_seconds(node) - seconds) < 5
    assert re.match(r"the youngest record of a minute is [\d.]+ s old by this machine's clock", node.status()["clockTrouble"])
    assert "set this clock (NTP) and restart the node" in told(node)
    assert node.stop() == 0
    node.environment = {}
    node.start()
    assert watches(node, "1h") == sent and node.status()["clockTrouble"] == ""


@pytest.mark.parametrize("seconds", [90, 3600])
def test_a_producer_ahead_is_named_and_all_others_are_applied(node_of, topic, other_clock, seconds):
    node = node_of(0)
    produce_elsewhere(node, topic, seconds, other_clock(seconds))
    produce(node, topic)
    assert outcomes(node)["future"] == 5 and watches(node) == 5
    assert seconds - 10 < -skew_seconds(node) <= seconds + 10
    assert "or where the producers run" in node.status()["clockTrouble"]


@pytest.mark.parametrize("seconds", [-90, -3600])
def test_a_producer_behind_is_late_and_no_more(node_of, topic, other_clock, seconds):
    node = node_of(0)
    produce_elsewhere(node, topic, seconds, other_clock(seconds))
    produce(node, topic)
    assert watches(node) == 5 and outcomes(node)["applied"] == 10
    assert node.status()["clockTrouble"] == ""
