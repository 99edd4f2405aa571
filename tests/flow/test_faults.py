"""A disk that fails, a machine that loses power, at any call of a whole node (tests/faults/disk.c): exact after the next start."""

import os
import random
import time

import pytest

import kafka
import settings
import shims
from freshet.v1 import event_pb2
from node import wait_for

EVENTS = 6000
ROUNDS = 12
MANY_ROUNDS = 500
T0 = 1_700_000_040_000
CALLS_MOST = 130  # about as many as a node makes that opens, takes what is new and commits it


@pytest.fixture(scope="session")
def disk_faults(binary):
    return shims.shim(binary, "disk_faults")


def some_events(dice):
    return [
        event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number * 200 + dice.randrange(3000), user_id=dice.randrange(1, 300),
            item_id=dice.randrange(1, 500), creator_id=dice.randrange(1, 40), category_id=dice.randrange(1, 8),
            action=dice.choice((event_pb2.CLICK, event_pb2.WATCH, event_pb2.LIKE, event_pb2.PURCHASE)), value=dice.randrange(80) / 4,
        )
        for number in range(EVENTS)
    ]  # fmt: skip


def meet_fault(node, library, dice):
    """One life of the node, with a fault at a call by luck; True when it died of it."""
    action = dice.choice(("kill", "kill", "kill", "lose", "lose", "lose", "eio", "enospc"))
    node.environment = {
        "LD_PRELOAD": str(library),
        "FRESHET_DISK_DIR": node.configuration["store"]["path"],
        "FRESHET_DISK_FAULT": f"{action}:{dice.randrange(1, CALLS_MOST)}",
    }
    node.spawn()
    line = node.process.stdout.readline()
    if line:
        node.first_line(line)
    end = time.monotonic() + dice.uniform(0.2, 1.5)  # the kill's own moment, where the fault is not met
    while node.process.poll() is None and time.monotonic() < end:
        try:
            node.process.wait(0.05)
        except Exception:  # noqa: BLE001 (it still runs)
            pass
    died = node.process.poll() is not None
    node.kill()
    node.environment = {}
    return died


def lose_often(make_node, brokers, library, rounds):
    dice = random.Random(os.environ.get("FRESHET_SEED", "8"))
    topic = kafka.new_topic(brokers)
    configuration = settings.configuration(brokers, topic)
    configuration["store"]["epoch"] = "50ms"
    node = make_node(configuration, "faulty")
    parts, died, ready_s = min(rounds, 100), 0, []
    events = some_events(dice)
    for number in range(rounds):
        if number < parts:  # something new to read in each life
            some = events[number * EVENTS // parts : (number + 1) * EVENTS // parts]
            kafka.produce(brokers, topic, [(str(event.user_id).encode(), event.SerializeToString()) for event in some])
        died += meet_fault(node, library, dice)
        if number % 10 == 9:  # in between it is looked at
            start = time.monotonic()
            node.start()
            ready_s.append(time.monotonic() - start)
            node.wait_applied(min(number + 1, parts) * EVENTS // parts)
            node.kill()
    node.start()
    node.wait_applied(EVENTS)
    digest = node.digest()
    node.stop()
    undisturbed = make_node(configuration, "undisturbed").start()
    undisturbed.wait_applied(EVENTS)
    assert undisturbed.digest() == digest
    ready_s.sort()
    print(f"{rounds} lives, {died} ended by the fault; ready again: p50 {ready_s[len(ready_s) // 2]:.2f} s, worst {ready_s[-1]:.2f} s")
    assert died > 0
    return died


def test_a_disk_that_fails_costs_nothing(make_node, real_kafka, disk_faults):
    lose_often(make_node, real_kafka, disk_faults, ROUNDS)


@pytest.mark.long
def test_a_disk_that_fails_very_often_costs_nothing(make_node, real_kafka, disk_faults):
    lose_often(make_node, real_kafka, disk_faults, MANY_ROUNDS)


@pytest.mark.parametrize("action", ["eio:150+", "enospc:150+"])
def test_a_disk_that_stays_broken_is_told_and_reads_go_on(make_node, real_kafka, disk_faults, action):
    """The first failed write ends that handle: not ready, reads from memory; with a good disk the next start is exact."""
    dice = random.Random(3)
    topic = kafka.new_topic(real_kafka)
    configuration = settings.configuration(real_kafka, topic)
    configuration["store"]["epoch"] = "50ms"
    node = make_node(configuration)
    node.environment = {
        "LD_PRELOAD": str(disk_faults), "FRESHET_DISK_DIR": node.configuration["store"]["path"], "FRESHET_DISK_FAULT": action,
    }  # fmt: skip
    node.start()
    events = some_events(dice)
    records = [(str(event.user_id).encode(), event.SerializeToString()) for event in events]
    sent = 0
    while sent < EVENTS and node.page("/readyz")[0] == 200:
        kafka.produce(real_kafka, topic, records[sent : sent + 50])
        sent += 50
        epoch = node.status()["epoch"]
        wait_for(lambda: node.status()["epoch"] != epoch or node.page("/readyz")[0] != 200, "another epoch")  # noqa: B023
    wait_for(lambda: node.page("/readyz")[0] == 503, "not ready after writes failed")
    assert "store has failed" in node.ready_page()[1]
    assert len(node.get_features(user_id=1, item_ids=[1, 2]).item_values) > 0
    node.kill()
    node.environment = {}
    kafka.produce(real_kafka, topic, records[sent:])
    node.start()
    node.wait_applied(EVENTS)
    undisturbed = make_node(configuration, "undisturbed").start()
    undisturbed.wait_applied(EVENTS)
    assert undisturbed.digest() == node.digest()
