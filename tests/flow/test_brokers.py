"""
A cluster on three brokers, each process in a network namespace of its own: brokers and instances are killed, stopped and cut off while events
come, and what the instances serve together stays what one node that stands alone serves, and what was produced.
"""

import concurrent.futures
import os
import re
import signal
import threading
import time
from collections import Counter, defaultdict

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, NewTopic

import network
from node import wait_for
from quorum import Quorum
from test_cluster import PARTITIONS, configuration
from watcher import Watcher
from wide import Wide

SESSION_MS = {"c": 4_000}  # who is to be taken for dead soon
IMPATIENT = {"message.timeout.ms": 2_000}  # of a record that no broker takes
ROUNDS = 200


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


def broker_for_a_moment(cluster, away, back):
    """For longer than the others wait for it: they lead what it led, and it finds that out when it is back."""
    broker = cluster.dice.choice(cluster.quorum.brokers)

    def act():
        away(broker)
        time.sleep(3.5 + cluster.dice.random())  # no condition: the brokers' session is three seconds
        back(broker)

    under_load(cluster, act)
    cluster.quorum.wait_whole()
    cluster.check()


def broker_stands_still(cluster, watcher):
    broker_for_a_moment(cluster, lambda broker: os.kill(broker.pid(), signal.SIGSTOP), lambda broker: os.kill(broker.pid(), signal.SIGCONT))


def broker_cut_off(cluster, watcher):
    broker_for_a_moment(cluster, lambda broker: broker.place.cut(), lambda broker: broker.place.mend())


def instance_dies(cluster, watcher):
    node = cluster.dice.choice(cluster.running())
    with watcher.without(node):
        under_load(cluster, lambda: cluster.kill(node))
        if cluster.dice.randrange(2) and cluster.running():
            cluster.wait_shared(cluster.running())  # else it comes back in time, and keeps its partitions
        cluster.begin(node.name, is_ready=False)
    cluster.check()


def both_die(cluster, watcher):
    """A broker, and an instance that is started again while the broker is away."""
    broker, node = cluster.dice.choice(cluster.quorum.brokers), cluster.dice.choice(cluster.running())
    with watcher.without(node):
        under_load(cluster, lambda: (broker.kill(), cluster.kill(node)))
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

    zombie(cluster, watcher, cluster.suspend, wake, **more)


def cut_off(cluster, watcher, **more):
    """It hears nothing, so it does not wait to be told: it ends while it is cut off."""

    def mend(node):
        assert node.ended(40) == 1
        node.place.mend()

    zombie(cluster, watcher, cluster.cut, mend, **more)


def cut_for_a_moment(cluster, watcher):
    """Shorter than the group waits: a pause."""
    node = cluster.dice.choice(cluster.running())

    def act():
        node.place.cut()
        time.sleep(0.5 + cluster.dice.random())  # no condition: a cable that is loose
        node.place.mend()

    with watcher.without(node):
        under_load(cluster, act)
    cluster.check()


def drained(cluster, watcher):
    """A deploy: the others get what it has, it is stopped, and started again."""
    node = cluster.dice.choice(cluster.running())
    with watcher.without(node):
        with cluster.loading(1_500):
            done = node.cli("drain", "--wait")
            assert done.returncode == 0, (done, node.log()[-2000:])
        cluster.stop(node)
        cluster.begin(node.name, is_ready=False)
    cluster.check()


def taken_back(node):
    """How many of its epochs brokers broke off, so that they were put once more."""
    return int(re.search(r"^freshet_cluster_taken_back_total (\d+)", node.page("/metrics")[2].decode(), re.M).group(1))


def break_off(cluster, watcher, node, away, back):
    """Until its records have waited for too long, with events that come all the time: so there is an epoch to take back."""
    before, run, is_over = taken_back(node), node.runs, threading.Event()

    def load():
        while not is_over.is_set():
            cluster.load(200)

    with concurrent.futures.ThreadPoolExecutor(1) as thread, watcher.without(node):
        loading, applied = thread.submit(load), node.applied()
        try:
            wait_for(lambda: node.applied() > applied, "events applied")
            away()
            time.sleep(IMPATIENT["message.timeout.ms"] / 1000 + 1.5)  # no condition: nothing is heard of it meanwhile
            back()
        finally:
            is_over.set()
        loading.result()
        wait_for(lambda: taken_back(node) > before, lambda: f"it takes an epoch back: {node.log()[-2000:]}")
    assert "it was taken back, and is put once more" in node.log()
    cluster.check()
    assert node.runs == run and node.process.poll() is None


def check_round(cluster, watcher):
    with cluster.telling():
        cluster.log.read()
        assert cluster.check_owners() > 0
        assert not watcher.failures, watcher.failures[:5]


def come(cluster, watcher, name):
    with cluster.loading(1_500):
        cluster.begin(name)
    cluster.check()


def leave(cluster, watcher, name):
    with watcher.without(cluster.instances[name]), cluster.loading(1_500):
        cluster.stop(cluster.instances[name])
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
    cluster = Wide(make_node, quorum, places, SESSION_MS, {"b": IMPATIENT})
    with Watcher(cluster) as watcher:
        for name in "ac":
            cluster.begin(name, is_ready=False)
        cluster.wait_shared()
        cluster.load(500)
        cluster.check()
        check_topics(cluster)
        (cut_off if places.can_cut else stopped)(cluster, watcher, is_back=False)
        second = cluster.begin("b")
        cluster.wait_shared()
        if places.can_cut:
            break_off(cluster, watcher, second, second.place.cut, second.place.mend)
        begun = [node.runs for node in cluster.running()]
        broker_dies(cluster, watcher, is_back=False)
        assert [node.runs for node in cluster.running()] == begun, cluster.ends
        check_round(cluster, watcher)
    assert watcher.reads > 0
    assert cluster.log.made["b"] > 0 and max(map(len, cluster.log.owners.values())) > 1


@pytest.mark.long
def test_an_epoch_that_too_few_replicas_have_is_taken_back_and_put_once_more(make_node, places, quorum):
    """Two brokers of three are killed, so no record is safe, and come back."""
    cluster = Wide(make_node, quorum, places, dict.fromkeys("a", 60_000), {"a": IMPATIENT})
    with Watcher(cluster) as watcher:
        node = cluster.begin("a")
        cluster.load(500)
        cluster.check()
        for killed in range(3):
            gone = [broker for number, broker in enumerate(quorum.brokers) if number != killed]

            def back(gone=gone):
                for broker in gone:
                    broker.start()
                quorum.wait_whole()

            break_off(cluster, watcher, node, lambda gone=gone: [broker.kill() for broker in gone], back)
            print(f"taken back: {taken_back(node)}", flush=True)
        check_round(cluster, watcher)


DEFAULTS = {"broker.session.timeout.ms": None, "broker.heartbeat.interval.ms": None}
LONGER_MS = 15_000  # than the nine seconds for which brokers wait for each other by themselves


@pytest.mark.long
def test_with_brokers_as_they_come_a_session_longer_than_theirs_outlives_each_of_them(make_node, places, tmp_path):
    """As docs/scaling.md says of session.timeout.ms: whichever broker dies, nothing ends."""
    quorum = Quorum(tmp_path / "quorum", places, DEFAULTS)
    try:
        quorum.start()
        cluster = Wide(make_node, quorum, places, dict.fromkeys("ab", LONGER_MS))
        with Watcher(cluster) as watcher:
            for name in "ab":
                cluster.begin(name)
            cluster.load(500)
            cluster.check()
            for broker in quorum.brokers:
                under_load(cluster, broker.kill)
                began = time.monotonic()
                cluster.check()
                print(f"all applied and served {time.monotonic() - began:.1f} s after the load that a broker's death broke", flush=True)
                broker.start()
                quorum.wait_whole()
            check_round(cluster, watcher)
        assert [node.runs for node in cluster.running()] == [1, 1] and not cluster.ends, cluster.ends
        print(f"{watcher.reads} reads of items, the slowest {watcher.slowest_s:.2f} s", flush=True)
    finally:
        quorum.stop()


AWAY_S = 90  # longer than a step waits that has no reason to


@pytest.mark.long
def test_sessions_as_long_as_an_outage_of_all_brokers_outlast_it(make_node, places, quorum):
    """As docs/scaling.md says: nothing ends, and items are read all the while."""
    calm = {"transaction.timeout.ms": 180_000}
    cluster = Wide(make_node, quorum, places, dict.fromkeys("ab", 180_000), dict.fromkeys("ab", calm))
    with Watcher(cluster) as watcher:
        for name in "ab":
            cluster.begin(name)
        cluster.load(500)
        cluster.check()
        cluster.load(1_500)
        for broker in quorum.brokers:
            broker.kill()
        reads, began = watcher.reads, time.monotonic()
        while time.monotonic() < began + AWAY_S:  # no condition: nothing is to happen
            assert all(node.process.poll() is None for node in cluster.running())
            time.sleep(1)
        assert watcher.reads > reads and not watcher.failures, watcher.failures[:5]
        begun = [broker.spawn() for broker in quorum.brokers]
        for broker, process in zip(quorum.brokers, begun):
            broker.start(process)
        quorum.wait_whole()
        cluster.check()
        check_round(cluster, watcher)
    assert [node.runs for node in cluster.running()] == [1, 1] and not cluster.ends, cluster.ends


class Told:
    """How long each round took, by what was done in it."""

    def __init__(self):
        self.seconds = defaultdict(list)

    def add(self, name, seconds):
        self.seconds[name].append(seconds)

    def __str__(self):
        lines = [f"{'all' if name is None else name}: {figures(took)}" for name, took in sorted(self.seconds.items())]
        return "\n".join([*lines, f"all: {figures(sum(self.seconds.values(), []))}"])


def figures(seconds):
    ordered = sorted(seconds)
    p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
    return f"{len(ordered)} rounds, p50 {p50:.1f} s, p99 {p99:.1f} s"


def kinds(places):
    """What may be done to one that is alone, and to several."""
    alone = [broker_dies, broker_stands_still, instance_dies, both_die, *([cut_for_a_moment, broker_cut_off] if places.can_cut else [])]
    return alone, [*alone, stopped, drained, *([cut_off] if places.can_cut else [])]


@pytest.mark.long
def test_two_hundred_rounds_of_deaths_and_cuts_lose_and_double_nothing(make_node, places, quorum):
    """1 -> 2 -> 3 -> 2 -> 1, all of it under load; FRESHET_ROUNDS and FRESHET_SEED for others."""
    rounds, told, done = int(os.environ.get("FRESHET_ROUNDS", ROUNDS)), Told(), 0
    cluster = Wide(make_node, quorum, places, dict.fromkeys("abc", 6_000))
    cluster.dice.seed(int(os.environ.get("FRESHET_SEED", "3")))
    alone, several = kinds(places)
    with Watcher(cluster) as watcher:
        for name, share in (("a", 0.1), ("b", 0.25), ("c", 0.3), ("-c", 0.25), ("-b", 0.1)):
            leave(cluster, watcher, name[1:]) if name[0] == "-" else come(cluster, watcher, name)
            bag = []
            for _ in range(max(1, round(share * rounds))):
                bag = bag or cluster.dice.sample(several, len(several)) if len(cluster.running()) > 1 else bag or alone[:]
                act, began, ends = bag.pop(), time.monotonic(), len(cluster.ends)
                act(cluster, watcher)
                check_round(cluster, watcher)
                done += 1
                told.add(act.__name__, time.monotonic() - began)
                print(f"{done}: {act.__name__} {told.seconds[act.__name__][-1]:.1f} s, ended by itself: {cluster.ends[ends:]}", flush=True)
        assert watcher.reads > 0
        print(told)
        print(
            f"{cluster.produced} events; {watcher.reads} reads of items, the slowest {watcher.slowest_s:.2f} s; {sum(cluster.log.made.values())} markers; "
            f"partitions taken {cluster.check_owners()} times; ended by themselves: {Counter(name for name, _ in cluster.ends)}"
        )
    assert cluster.instances["a"].digest() == cluster.alone.digest()
