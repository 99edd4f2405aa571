"""kill -9 at random points of ingest: nothing is lost, nothing counts twice."""

import random
import threading

import pytest

import compare
import kafka
import logs
import oracle
import settings
from node import wait_for

ROUNDS = 20
MANY_ROUNDS = 300


def configuration(brokers, topic, lanes):
    made = settings.configuration(brokers, topic, "json", lanes=lanes)
    made["store"]["epoch"] = "100ms"
    return made


def kill_once(node, dice, produced):
    """Starts it, lets it come some way by luck, kills it."""
    node.spawn()
    if dice.random() < 0.1:
        node.kill()  # still opening the store
        return
    line = node.process.stdout.readline()
    assert line, node.log()
    node.first_line(line)
    if dice.random() < 0.1:
        node.kill()  # still asking the brokers
        return
    goal = dice.randint(0, max(produced(), 1))
    wait_for(lambda: node.applied() >= goal, lambda: f"{goal} records applied: {node.status()}, {node.log()[-1000:]}")
    assert node.applied() <= produced()
    node.kill()


def kill_many_times(make_node, brokers, data, rounds):
    dice = random.Random(20)
    events = logs.shuffled(logs.read_events(logs.Kuairand, data), seed=4)
    slices = list(compare.batches(events, len(events) // rounds + 1))
    topic = kafka.new_topic(brokers)
    node = make_node(configuration(brokers, topic, lanes=2), "killed")
    sent = [0]
    for some in slices:
        records = [(logs.key_of(event), logs.json_of(event, dice)) for event in some]

        def load(records=records):
            for some in compare.batches(records, 500):
                sent[0] += len(some)  # before, so that applied is never ahead of it
                kafka.produce(brokers, topic, some)

        loader = threading.Thread(target=load)
        loader.start()
        kill_once(node, dice, lambda: sent[0])
        loader.join()
    node.start()
    node.wait_applied(len(events))
    return node, events, topic


def check(make_node, brokers, data, rounds):
    killed, events, topic = kill_many_times(make_node, brokers, data, rounds)
    made = oracle.Oracle(killed.configuration)
    for event in events:
        made.apply(event)
    compare.check_values(killed, made, compare.questions(events), (0, 600_000))
    digest = killed.digest()
    killed.stop()
    for lanes in (1, 2, 4):
        undisturbed = make_node(configuration(brokers, topic, lanes), f"lanes{lanes}").start()
        undisturbed.wait_applied(len(events))
        assert undisturbed.digest() == digest, f"{lanes} lanes"
        undisturbed.stop()


def test_killed_at_random_times_it_ends_as_an_undisturbed_node(make_node, real_kafka, data):
    check(make_node, real_kafka, data, ROUNDS)


@pytest.mark.long
def test_killed_very_often_it_ends_as_an_undisturbed_node(make_node, real_kafka, data):
    check(make_node, real_kafka, data, MANY_ROUNDS)
