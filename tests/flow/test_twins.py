"""Two standalone nodes on one topic, unlike in all that may differ: at equal offsets `freshet digest` says the same of both."""

import json
import random
import threading

import compare
import kafka
import settings
from freshet.v1 import event_pb2
from node import wait_for
from test_same_digest import CATALOGUE, some_events

PIECES = 3  # after each of which the nodes are compared, as they run
KILLS = 1  # in each piece


def records(events):
    return [(str(event["user_id"]).encode(), event_pb2.Event(**event).SerializeToString()) for event in events]


def twin(make_node, brokers, topic, name, lanes, memory, epoch):
    made = settings.configuration(brokers, topic, catalogue=CATALOGUE, lanes=lanes)
    made["store"].update(memory=memory, epoch=epoch)
    return make_node(made, name).start()


def offsets(node):
    return {one["partition"]: one["nextOffset"] for one in node.status()["partitions"]}


def load(brokers, topic, pieces):
    for some in pieces:
        kafka.produce(brokers, topic, some, **{"enable.idempotence": True})


def told(node):
    """What `freshet digest` says, but for the epoch, which is each node's own."""
    done = node.cli("digest", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    said.pop("epoch")
    assert node.cli("digest").stdout.split() == [said["digest"]]
    return said


def test_twins_are_equal_at_equal_offsets_whatever_befell_one(make_node, real_kafka):
    dice = random.Random(9)
    topic = kafka.new_topic(real_kafka)
    steady = twin(make_node, real_kafka, topic, "steady", lanes=1, memory="256MiB", epoch="500ms")
    killed = twin(make_node, real_kafka, topic, "killed", lanes=4, memory="16MiB", epoch="50ms")
    events = some_events(7)
    seen = []
    for number, piece in enumerate(compare.batches(records(events), len(events) // PIECES)):
        before, end = killed.applied(), (number + 1) * len(events) // PIECES
        loader = threading.Thread(target=load, args=(real_kafka, topic, list(compare.batches(piece, 500))))
        loader.start()
        for goal in sorted(dice.randrange(before, end) for _ in range(KILLS)):
            wait_for(lambda: killed.applied() >= goal, lambda: killed.status())  # noqa: B023
            killed.kill()
            killed.start(is_ready=False)
        loader.join()
        for node in (steady, killed):
            node.wait_applied(end)
        assert offsets(steady) == offsets(killed)
        seen.append(told(steady))
        assert told(killed) == seen[-1]
    assert len({one["digest"] for one in seen}) == PIECES  # it is no constant
    assert killed.runs == 1 + PIECES * KILLS
