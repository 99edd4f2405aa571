"""
A cluster on three brokers, each process in a network namespace of its own: brokers and instances are killed, stopped and cut off while events
come, and what the instances serve together stays what one node that stands alone serves.
"""

import os
import signal
import time
from collections import Counter

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewTopic

import kafka
import network
from node import wait_for
from quorum import Quorum
from test_cluster import PARTITIONS, Cluster, configuration
from watcher import Watcher

SESSION_MS = {"c": 4_000}  # who is to be taken for dead soon
CALM_MS = 20_000
ROUNDS = 200


class Wide(Cluster):
    """On brokers of its own; `away` are the names of those to whom something is done at the moment."""

    def __init__(self, make_node, quorum, places, session_ms):
        self.quorum, self.places, self.session_ms = quorum, places, session_ms
        self.away, self.ends = set(), []
        super().__init__(make_node, quorum.addresses)
        self.log = Log(self)

    def begin(self, name, is_ready=True):
        if name not in self.instances:
            made = configuration(self.brokers, self.topic, "cluster", name, self.second)
            session_ms = self.session_ms.get(name, CALM_MS)
            made["kafka"]["properties"] = {"session.timeout.ms": session_ms, "heartbeat.interval.ms": 500}
            place = self.places.place()
            made["server"] = {"listen": f"{place.address}:0", "operations": f"{place.address}:0", "plaintext": "anywhere"}
            self.instances[name] = self.make_node(made, name)
            self.instances[name].place, self.instances[name].inside = place, place.inside
        return super().begin(name, is_ready)

    def check(self):
        try:
            super().check()
        except AssertionError:
            for node in self.instances.values():
                print(f"---- {node.name}, run {node.runs}:\n{node.log()[-3000:]}")
            raise

    def running(self):
        """Whoever ended by itself is noted, and started again, as a supervisor would."""
        for node in self.instances.values():
            if node.process and node.name not in self.away and node.process.poll() is not None:
                assert node.process.returncode == 1 and "cluster: " in node.log(), node.log()[-2000:]
                self.ends.append((node.name, node.log().strip().splitlines()[-1]))
                node.ended()
                node.start(is_ready=False)
        return [node for node in self.instances.values() if node.process and node.name not in self.away]


class Log:
    """The changelog's committed markers, read on and on: how many each instance made, and that each partition only goes on."""

    def __init__(self, cluster):
        self.cluster, self.next = cluster, {number: 0 for number in range(PARTITIONS)}
        self.made, self.at, self.owners = Counter(), {}, {number: [] for number in range(PARTITIONS)}

    def read(self):
        """To where it ends now; gives how many markers each instance has made."""
        settings = {"bootstrap.servers": self.cluster.brokers, "group.id": "flow-tests", "enable.partition.eof": True}
        consumer, ended = Consumer({**settings, "enable.auto.commit": False, "auto.offset.reset": "error"}), set()
        try:
            consumer.assign([TopicPartition(f"{self.cluster.group}.changelog", number, at) for number, at in self.next.items()])
            while len(ended) < PARTITIONS:
                message = consumer.poll(30)
                assert message is not None, ended
                if message.error():
                    if message.error().code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
                    else:
                        assert message.error().retriable() or message.error().code() < 0, message.error()
                    continue
                self.next[message.partition()] = message.offset() + 1
                if message.key() == b"\0":
                    self.take(message.partition(), message.value())
        finally:
            consumer.close()
        return Counter(self.made)

    def take(self, partition, value):
        name, positions = read_marker(value)
        before = self.at.get(partition, [-1] * len(positions))
        assert all(a <= b for a, b in zip(before, positions)), f"{name} put partition {partition} back from {before} to {positions}"
        self.made[name] += 1
        self.at[partition] = positions
        if self.owners[partition][-1:] != [name]:
            self.owners[partition].append(name)


def read_marker(value):
    """Who made it, and how far it says the partition's topics are applied: see pipeline/cluster_wire.c."""
    at = 9

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            number |= (value[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if value[at - 1] < 128:
                return number

    def text():
        nonlocal at
        length = varint()
        at += length
        return value[at - length : at].decode()

    name = text()
    varint(), varint()  # epoch, stream time
    positions = []
    for _ in range(varint()):
        text()
        positions.append(varint() - 1)
        varint()
        at += 8
    return name, positions


@pytest.fixture
def places():
    made = network.make()
    yield made
    made.close()


@pytest.fixture
def quorum(tmp_path, places):
    made = Quorum(tmp_path / "quorum", places)
    try:
        yield made.start()
    finally:
        made.stop()


# ---- What is done to them ----


def under_load(cluster, act, count=1_500):
    with cluster.loading(count):
        time.sleep(cluster.dice.random() * 0.6)  # no condition: anywhere in an epoch
        act()


def broker_dies(cluster, watcher, is_back=True):
    """And all goes on without it; then it comes back, and is whole before another may go."""
    broker = cluster.dice.choice(cluster.quorum.brokers)
    under_load(cluster, broker.kill)
    cluster.check()
    if is_back:
        broker.start()
        cluster.quorum.wait_whole()


def instance_dies(cluster, watcher):
    node = cluster.dice.choice(cluster.running())
    with watcher.without(node):
        under_load(cluster, node.kill)
        if cluster.dice.randrange(2) and cluster.running():
            cluster.wait_shared(cluster.running())  # else it comes back in time, and keeps its partitions
        cluster.begin(node.name, is_ready=False)
    cluster.check()


def both_die(cluster, watcher):
    """A broker, and an instance that is started again while the broker is away."""
    broker, node = cluster.dice.choice(cluster.quorum.brokers), cluster.dice.choice(cluster.running())
    with watcher.without(node):
        under_load(cluster, lambda: (broker.kill(), node.kill()))
        cluster.begin(node.name, is_ready=False)
    cluster.check()
    broker.start()
    cluster.quorum.wait_whole()


def zombie(cluster, watcher, away, back, is_back=True):
    """One that is gone for longer than the group waits, and knows nothing of it: it ends, and nothing that it had comes into the log."""
    node = cluster.dice.choice([node for node in cluster.running() if node.name in cluster.session_ms])
    with watcher.without(node):
        under_load(cluster, lambda: away(node))
        cluster.wait_shared(cluster.running())
        made = cluster.log.read()[node.name]
        back(node)
        cluster.check()
        assert 0 < made == cluster.log.read()[node.name]
        if is_back:
            cluster.begin(node.name, is_ready=False)
    if is_back:
        cluster.check()


def stopped(cluster, watcher, **more):
    def wake(node):
        node.signal(signal.SIGCONT)
        assert node.ended(40) == 1

    zombie(cluster, watcher, lambda node: node.signal(signal.SIGSTOP), wake, **more)


def cut_off(cluster, watcher, **more):
    """It hears nothing, so it does not wait to be told: it ends while it is cut off."""

    def mend(node):
        assert node.ended(40) == 1
        node.place.mend()

    zombie(cluster, watcher, lambda node: node.place.cut(), mend, **more)


def cut_for_a_moment(cluster, watcher):
    """Shorter than the group waits: a pause."""
    node = cluster.dice.choice(cluster.running())
    with watcher.without(node):
        node.place.cut()
        time.sleep(0.5 + cluster.dice.random())  # no condition: a cable that is loose
        node.place.mend()
    cluster.check()


def check_round(cluster, watcher):
    cluster.log.read()
    assert not watcher.failures, watcher.failures[:5]


def leave(cluster, watcher, name):
    with watcher.without(cluster.instances[name]):
        assert cluster.instances[name].stop() == 0
    cluster.load(300)
    cluster.check()


def check_topics(cluster):
    """Made so that any broker may die; where somebody made them frailer an instance says so, and runs."""
    admin = AdminClient({"bootstrap.servers": cluster.brokers})
    for suffix in ("changelog", "deltas"):
        topic = f"{cluster.group}.{suffix}"
        assert {len(one.replicas) for one in admin.list_topics(topic).topics[topic].partitions.values()} == {3}
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        found = admin.describe_configs([resource])[resource].result()["min.insync.replicas"]
        assert (found.value, found.source) == ("2", ConfigSource.DYNAMIC_TOPIC_CONFIG.value)  # of the topic, not the brokers' default
    frail = {
        "changelog": (1, {"cleanup.policy": "compact", "delete.retention.ms": "604800000"}),
        "deltas": (3, {"retention.ms": "-1", "min.insync.replicas": "1"}),
    }
    topics = [NewTopic(f"frail.{name}", PARTITIONS, replicas, config=settings) for name, (replicas, settings) in frail.items()]
    for made in admin.create_topics(topics).values():
        made.result(30)
    made = configuration(cluster.brokers, cluster.topic, "cluster", "frail", cluster.second)
    made["kafka"]["group"] = "frail"
    node = cluster.make_node(made, "frail")
    node.inside = cluster.places.place().inside
    node.spawn()
    for warning in ("'frail.changelog' has one replica, and is gone with its broker", "'frail.deltas' has min.insync.replicas=1"):
        wait_for(lambda: warning in node.log(), lambda: (warning, node.log()[-2000:]))  # noqa: B023
    node.kill()


def test_a_brokers_death_is_a_pause_and_who_is_cut_off_writes_nothing(make_node, places, quorum):
    cluster = Wide(make_node, quorum, places, SESSION_MS)
    with Watcher(cluster) as watcher:
        for name in "ac":
            cluster.begin(name, is_ready=False)
        cluster.wait_shared()
        cluster.load(500)
        cluster.check()
        check_topics(cluster)
        (cut_off if places.can_cut else stopped)(cluster, watcher, is_back=False)
        cluster.begin("b")
        cluster.wait_shared()
        begun = [node.runs for node in cluster.running()]
        broker_dies(cluster, watcher, is_back=False)
        assert [node.runs for node in cluster.running()] == begun, cluster.ends
        check_round(cluster, watcher)
    assert watcher.reads > 0
    assert cluster.log.made["b"] > 0 and max(map(len, cluster.log.owners.values())) > 1


@pytest.mark.long
def test_two_hundred_rounds_of_deaths_and_cuts_lose_and_double_nothing(make_node, places, quorum):
    """1 -> 2 -> 3 -> 2 -> 1; FRESHET_ROUNDS and FRESHET_SEED for others."""
    rounds, told = int(os.environ.get("FRESHET_ROUNDS", ROUNDS)), Counter()
    cluster = Wide(make_node, quorum, places, dict.fromkeys("abc", 6_000))
    cluster.dice.seed(int(os.environ.get("FRESHET_SEED", "3")))
    alone = [broker_dies, instance_dies, both_die, *([cut_for_a_moment] if places.can_cut else [])]
    several = [*alone, stopped, *([cut_off] if places.can_cut else [])]
    with Watcher(cluster) as watcher:
        for name, share in (("a", 0.1), ("b", 0.25), ("c", 0.3), ("-c", 0.25), ("-b", 0.1)):
            if name[0] == "-":
                leave(cluster, watcher, name[1:])
            else:
                cluster.begin(name)
            for _ in range(max(1, round(share * rounds))):
                act = cluster.dice.choice(several if len(cluster.running()) > 1 else alone)
                began, ends = time.monotonic(), len(cluster.ends)
                act(cluster, watcher)
                check_round(cluster, watcher)
                told[act.__name__] += 1
                print(f"{act.__name__} {time.monotonic() - began:.1f} s, ended by itself: {cluster.ends[ends:]}", flush=True)
        assert watcher.reads > 0
        print(f"{dict(told)}, {watcher.reads} reads of items, {sum(cluster.log.made.values())} markers")
    assert cluster.instances["a"].digest() == cluster.alone.digest()
