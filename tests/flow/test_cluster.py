"""
Instances that share a topic on a real broker: come and go, are killed and stopped, and what they serve together is what one node that
stands alone serves. Events are of now, since a cluster's clock is the wall's; reads are as of one moment for all.
"""

import random
import signal
import threading
import time
import uuid

import pytest

import kafka
import oracle
import settings
from freshet.v1 import admin_pb2, event_pb2
from node import CallError, run_cli, wait_for

PARTITIONS = 8
USERS, ITEMS, CREATORS = 60, 25, 5
ACTIONS = [oracle.ACTIONS.index(name) for name in ("click", "watch", "like", "purchase")]
CATALOGUE = {
    "entities": {
        "user": {"key": ["user_id"]},
        "item": {"key": ["item_id"], "parent": "creator"},
        "creator": {"key": ["creator_id"]},
        "user_creator": {"key": ["user_id", "creator_id"]},
    },
    "features": {
        "watches": {"entity": "item", "actions": ["watch"], "aggregate": "count", "windows": ["1h", "24h"], "emit": ["value", "age"]},
        "likes": {"entity": "item", "actions": ["like"], "aggregate": "count", "windows": ["1h", "24h"]},
        "seconds": {"entity": "creator", "aggregate": "sum", "of": "value", "windows": ["1h"]},
        "cheapest": {"entity": "item", "aggregate": "min", "of": "value", "windows": ["24h"]},
        "rate": {
            "entity": "item", "aggregate": "ratio", "of": ["likes", "watches"], "windows": ["1h"], "prior": "parent",
            "strength": 5, "emit": ["value", "n", "sd"],
        },
        "heat": {"entity": "item", "aggregate": "decayed", "half_life": "10m"},
        "viewers": {"entity": "item", "aggregate": "distinct", "of": "user_id", "windows": ["1h"]},
        "p90": {"entity": "creator", "aggregate": "quantile", "q": 0.9, "of": "value", "windows": ["1h"]},
        "recent": {"entity": "user", "aggregate": "last", "limit": 20, "fields": ["item_id", "action", "ts_ms", "value"]},
        "seen": {"entity": "user", "aggregate": "count", "windows": ["1h"]},
        "bond": {"entity": "user_creator", "aggregate": "sum", "of": "value", "windows": ["1h"]},
    },
}  # fmt: skip
FAST = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}


def configuration(brokers, topic, mode, name=None, **more):
    made = settings.configuration(brokers, topic, catalogue=CATALOGUE, clock="wall", mode=mode)
    made["store"].update(epoch="200ms", memory="64MiB")
    made["kafka"].update(group=f"g.{topic}", properties=FAST)
    if name:
        made["node"]["id"] = name
    made["node"].update(more)
    return made


class Cluster:
    """Nodes of one topic: instances by name, and one that stands alone beside them."""

    def __init__(self, make_node, brokers):
        self.make_node, self.brokers = make_node, brokers
        self.topic = kafka.new_topic(brokers, PARTITIONS, prefix="cluster")
        self.group = f"g.{self.topic}"
        self.instances, self.produced, self.dice = {}, 0, random.Random(3)
        self.alone = make_node(configuration(brokers, self.topic, "standalone"), "alone").start()

    def begin(self, name, is_ready=True):
        if name not in self.instances:
            self.instances[name] = self.make_node(configuration(self.brokers, self.topic, "cluster", name), name)
        self.instances[name].start(is_ready=is_ready)
        return self.instances[name]

    def running(self):
        return [node for node in self.instances.values() if node.process]

    def events(self, count):
        now = int(time.time() * 1000)
        for _ in range(count):
            self.produced += 1
            user = self.dice.choice((0, *range(1, USERS)))
            yield {
                "event_id": self.produced, "ts_ms": now - self.dice.randrange(20_000), "user_id": user,
                "item_id": self.dice.randint(1, ITEMS), "creator_id": self.dice.randint(1, CREATORS),
                "action": self.dice.choice(ACTIONS), "value": self.dice.randrange(400) / 4,
            }  # fmt: skip

    def load(self, count):
        made = list(self.events(count))
        made += self.dice.sample(made, count // 20)  # some come twice
        records = [(str(event["user_id"]).encode(), event_pb2.Event(**event).SerializeToString()) for event in made]
        return kafka.produce(self.brokers, self.topic, records, **{"enable.idempotence": True})

    def members(self, node):
        return node.call("AdminService/Cluster", admin_pb2.ClusterRequest(), admin_pb2.ClusterResponse)

    def owned(self, node):
        return [one.partition for one in self.members(node).partitions if one.here]

    def wait_shared(self, deadline_s=60):
        """Until each partition has one owner, who has applied all of it."""
        ends = [high for _, high in kafka.watermarks(self.brokers, self.topic)]

        def is_shared():
            found = []
            for node in self.running():
                assert node.process.poll() is None, node.log()[-2000:]
                owned = self.owned(node)
                found += owned
                next_of = {one["partition"]: int(one["nextOffset"]) for one in node.status()["partitions"]}
                if any(next_of.get(number, -1) < ends[number] for number in owned):
                    return False
            return sorted(found) == list(range(PARTITIONS))

        wait_for(is_shared, lambda: [(node.name, self.owned(node), node.status()["partitions"]) for node in self.running()], deadline_s)

    def owner_of(self, user):
        partition = kafka.murmur2_partition(str(user).encode(), PARTITIONS)
        (owner,) = [node for node in self.running() if partition in self.owned(node)]
        return owner

    def check(self):
        """Every user at his owner, every item everywhere: as the node that stands alone has it."""
        self.wait_shared()
        wait_for(lambda: int(self.alone.status()["lagEvents"]) == 0, "the node alone caught up")
        as_of = int(time.time() * 1000) + 30_000
        items = list(range(1, ITEMS + 1))

        def read(node, user):
            reply = node.get_features(user_id=user, item_ids=items, as_of_ms=as_of)
            for field in ("request_id", "stream_time_ms", "applied_lag_ms"):
                reply.ClearField(field)
            return reply

        wanted = read(self.alone, 0)
        for node in self.running():
            wait_for(lambda: read(node, 0) == wanted, lambda: difference(wanted, read(node, 0), node), 30)  # noqa: B023
        for user in range(1, USERS):
            assert read(self.owner_of(user), user) == read(self.alone, user), user


def difference(wanted, got, node):
    columns = len(wanted.item_columns)
    return node.name, [
        (at // columns + 1, wanted.item_columns[at % columns], a, b)
        for at, (a, b) in enumerate(zip(wanted.item_values, got.item_values))
        if a != b
    ][:10]


@pytest.fixture
def cluster(make_node, real_kafka):
    return Cluster(make_node, real_kafka)


def rounds(request):
    return 200 if request.config.getoption("--long") else 3


def test_what_instances_serve_together_is_what_one_serves(cluster, request):
    """1 -> 2 -> 3 -> 2 -> 1, with kills at random between."""
    cluster.begin("a")
    cluster.load(2_000)
    cluster.check()
    cluster.begin("b")
    cluster.load(2_000)
    cluster.check()
    cluster.begin("c")
    for _ in range(rounds(request)):
        loader = threading.Thread(target=cluster.load, args=(1_500,))
        loader.start()
        victim = cluster.dice.choice("abc")
        time.sleep(cluster.dice.random() * 0.6)  # no condition: anywhere in an epoch
        cluster.instances[victim].kill()
        cluster.begin(victim, is_ready=False)
        loader.join()
    cluster.check()
    for name in "cb":
        cluster.instances[name].stop()
        cluster.load(500)
        cluster.check()
    assert cluster.instances["a"].digest() == cluster.alone.digest()
