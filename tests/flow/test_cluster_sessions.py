"""
Sessions of a cluster: what readers of committed records see, whoever comes, goes and dies meanwhile, is what one node makes that stands
alone, each record once. An open session is with its user, and goes with him.
"""

import concurrent.futures
import contextlib
import copy
import http.client
import itertools
import random
import time
from collections import Counter

import pytest
from confluent_kafka import KafkaException, Producer

import kafka
import sessions
import settings
from cluster_topics import committed, committed_of
from freshet.v1 import event_pb2, session_pb2
from node import run_cli, wait_for
from test_cluster import FAST, PARTITIONS, Cluster
from test_crash import faulty  # noqa: F401 (a fixture)
from test_sessions import START_MS, end_of_time, event, metric, shuffled, story

LATE_MS, TOGETHER_MS, STEPS_MS = 10_000, 20_000, (0, 1, 500, 9_000, 25_000)  # the greatest together are less than a gap
SESSION_KIND = 251
OURS = sessions.Rules(gap_ms=60_000, tokens=12, duration_ms=60_000, actions=(1, *sessions.Rules().actions))
ONLY_USERS = {"entities": {"user": {"key": ["user_id"]}}, "features": {"user_recent": settings.TINY["features"]["user_recent"]}}


def configuration(brokers, topic, second, mode, name=None, has_items=True, store=(), **node):
    catalogue = copy.deepcopy(settings.TINY if has_items else ONLY_USERS)
    made = settings.configuration(brokers, topic, catalogue=catalogue, clock="wall", mode=mode)
    made["kafka"]["topics"].append({"name": second})
    made["kafka"].update(group=f"g.{topic}", properties=FAST)
    made["store"].update({"epoch": "200ms", "memory": "64MiB", **dict(store)})
    made["node"].update({**({"id": name} if name else {}), **node, "dedupe": {"ids": 1024, "horizon": "1h"}})
    spans = {"gap": f"{OURS.gap_ms}ms", "tokens": OURS.tokens, "duration": f"{OURS.duration_ms}ms"}
    made["sessions"] = {"topic": f"{mode}.{topic}", **spans, "slates": True}
    return made


class Sessions(Cluster):
    """A cluster, and a node beside it that stands alone, both of which have sessions."""

    def __init__(self, make_node, brokers, **more):
        self.make_node, self.brokers, self.has_texts, self.more = make_node, brokers, False, more
        self.topic = kafka.new_topic(brokers, PARTITIONS, prefix="cluster")
        self.second = kafka.new_topic(brokers, PARTITIONS, prefix="second")
        self.group, self.instances, self.dice = f"g.{self.topic}", {}, random.Random(5)
        self.producer = Producer(
            {"bootstrap.servers": brokers, "partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 2}
        )  # fmt: skip
        has_items = more.get("has_items", True)
        self.alone = make_node(configuration(brokers, self.topic, self.second, "standalone", has_items=has_items), "alone").start()

    def begin(self, name, is_ready=True, **more):
        if name not in self.instances:
            made = configuration(self.brokers, self.topic, self.second, "cluster", name, **self.more, **more)
            self.instances[name] = self.make_node(made, name)
        return super().begin(name, is_ready)

    def send(self, events):
        """By their time, a little at once, which comes in any order: time ends a session that nothing may then turn out to go on with."""
        times = itertools.accumulate((one["ts_ms"] for one in events), max)
        for _, some in itertools.groupby(zip(times, events, strict=True), key=lambda timed: timed[0] // TOGETHER_MS):
            for at, (_, one) in enumerate(some):
                key, value = b"%d" % one["user_id"], event_pb2.Event(**one).SerializeToString()
                self.producer.produce((self.topic, self.second)[at % 2], value, key)
            assert self.producer.flush(60) == 0

    @contextlib.contextmanager
    def sending(self, events):
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            sending = thread.submit(self.send, events)
            yield
            sending.result()

    def came(self, mode):
        """{id: record}, and how often each came."""
        found, often = {}, Counter()
        for message in committed_of(self.brokers, f"{mode}.{self.topic}"):
            session = session_pb2.Session.FromString(message.value())
            assert message.key() == b"%d" % session.user_id and not message.headers()
            assert found.setdefault(session.session_id, session) == session
            often[session.session_id] += 1
        return found, often

    def have_come(self, mode, wanted):
        try:
            return set(self.came(mode)[0]) >= set(wanted)
        except KafkaException:
            return False  # some of its partitions have no leader yet

    def check_sessions(self, wanted):
        """Each of them once, and as the node that stands alone and the oracle have them."""
        for mode in ("standalone", "cluster"):
            wait_for(lambda: self.have_come(mode, wanted), lambda: self.missing(mode, wanted), 60)  # noqa: B023
        (alone, _), (together, often) = self.came("standalone"), self.came("cluster")
        assert set(together) == set(wanted) and set(often.values()) == {1}
        assert all(sessions.is_same(sessions.told(session), wanted[identity]) for identity, session in together.items())
        assert together == alone

    def missing(self, mode, wanted):
        found = self.came(mode)[0]
        missing = sorted(one for identity, one in wanted.items() if identity not in found)
        others = sorted(sessions.told(one) for identity, one in found.items() if identity not in wanted)
        logs = [(node.name, self.owned(node), node.log()[-600:]) for node in self.running()]
        return mode, len(missing), missing[:1], len(others), others[:1], self.alone.log()[-600:], logs

    def waiting(self):
        """Bytes of open sessions, wherever they are."""
        return sum(metric(node, "freshet_sessions_bytes") for node in self.running())


def pieces(events, count):
    size = len(events) // count + 1
    return [events[at : at + size] for at in range(0, len(events), size)]


def rounds(request):
    return 25 if request.config.getoption("--long") else 3


def come_and_go(cluster, number):
    """One is killed, of which others hear or not, or drains; or comes for the first time."""
    victim = cluster.dice.choice("abc")
    time.sleep(cluster.dice.random() * 0.6)  # no condition: anywhere in an epoch
    if victim in cluster.instances and number % 3 == 2:
        cluster.instances[victim].cli("drain", "--wait")
    if victim in cluster.instances:
        cluster.instances[victim].kill()
        if number % 2 == 1:
            cluster.wait_taken_over()
    cluster.begin(victim, is_ready=False)


def transactions(node):
    """How many it has made; None: it is no more."""
    try:
        return metric(node, "freshet_cluster_transactions_total")
    except (OSError, http.client.HTTPException):
        return None


def die_between_kafka_and_the_store(cluster, node, faulty, events):  # noqa: F811
    """An epoch with sessions that ended is a transaction then, of which the store knows nothing. How many of the events came meanwhile."""
    whole, sent = node.binary, 0
    node.kill()
    node.binary, node.environment = faulty, {"FRESHET_FAULT": "after_sst_finish:6:kill"}
    node.start(is_ready=False)
    while node.process.poll() is None:
        before = transactions(node)
        cluster.send(events[sent : sent + 20])
        sent += 20
        cluster.alone.wait_applied(sent)
        wait_for(lambda: node.process.poll() is not None or transactions(node) != before, "an epoch of it, or its end")  # noqa: B023
    assert node.ended() == -9 and sent < len(events) / 2
    node.binary, node.environment = whole, {}
    node.start(is_ready=False)
    return sent


@pytest.mark.parametrize("has_standbys", [False, True])
def test_sessions_are_those_of_one_node_whoever_comes_and_goes(make_node, real_kafka, faulty, request, tmp_path, has_standbys):  # noqa: F811
    store = {"checkpoints": str(tmp_path), "checkpoint_every": "1s"} if has_standbys else {}
    cluster = Sessions(make_node, real_kafka, store=store, standbys=int(has_standbys), has_items=has_standbys)
    events = shuffled(story(3, users=40, visits=4, steps=STEPS_MS), random.Random(5), LATE_MS)
    cluster.begin("a")
    sent = die_between_kafka_and_the_store(cluster, cluster.begin("b"), faulty, events)
    parts = pieces(events[sent:], rounds(request) + 1)
    for number, part in enumerate(parts[:-1]):
        with cluster.sending(part):
            come_and_go(cluster, number)
    with cluster.sending(parts[-1]):
        come_and_go(cluster, 0)
        cluster.instances[cluster.dice.choice([*cluster.instances])].stop()
    cluster.send([end_of_time(events)])
    wanted = sessions.sessions(events, OURS, START_MS * 2)
    assert {one[3] for one in wanted.values()} == {sessions.GAP, sessions.FULL, sessions.LONG}
    cluster.check_sessions(wanted)


def owned_by(cluster, number):
    """Users of the instance with that name, and of the others."""
    mine = cluster.owned(cluster.instances[number])
    users = [user for user in range(1, 60) if kafka.murmur2_partition(b"%d" % user, PARTITIONS) in mine]
    return users, [user for user in range(1, 60) if user not in users]


def test_an_open_session_goes_with_its_user_and_is_forgotten_with_him(make_node, real_kafka):
    """None of those that wait is lost or left when who has them dies; of a forgotten user nothing waits, at whoever comes after his owner."""
    cluster = Sessions(make_node, real_kafka, has_items=False)  # so nothing but time is told to others
    first, second = cluster.begin("a"), cluster.begin("b")
    cluster.wait_shared()
    (stays, *_), (gone, forgotten, *_) = owned_by(cluster, "a")
    events = [event(START_MS + number * 1000, user) for number in range(3) for user in (stays, gone, forgotten)]
    cluster.send(events)
    cluster.wait_shared()
    each = 112 + 3 * 80
    wait_for(lambda: cluster.waiting() == 3 * each, lambda: cluster.waiting())
    for node in (second, cluster.alone):
        assert int(node.call_json("AdminService/Forget", {"userId": forgotten})["entities"]) == 2  # the user, and his tokens
    accounts = {}
    for message in committed(cluster, "changelog"):
        if message.key()[0] == SESSION_KIND:
            accounts[int.from_bytes(message.key()[1:9])] = message.value()
    assert [len(accounts[user] or b"") for user in (stays, gone, forgotten)] == [each, each, 0]
    second.kill()
    cluster.wait_shared([first])
    events += [event(START_MS + 4000, gone)]
    cluster.send(events[-1:])
    wait_for(lambda: metric(first, "freshet_sessions_bytes") == 2 * each + 80, lambda: cluster.waiting())
    cluster.begin("b")
    cluster.wait_shared()
    wait_for(lambda: cluster.waiting() == 2 * each + 80, lambda: cluster.waiting())
    cluster.send([end_of_time(events)])
    cluster.check_sessions(sessions.sessions([one for one in events if one["user_id"] != forgotten], OURS, START_MS * 2))
    wait_for(lambda: all(metric(node, "freshet_sessions_outbox_bytes") == 0 for node in cluster.running()), "nothing waits for Kafka")


def test_pairs_are_refused(make_node, tmp_path):
    made = configuration("kafka:9092", "events", "more", "cluster", "a")
    node = make_node(made)
    assert run_cli(node.binary, "check", "--config", node.file).returncode == 0
    refused = run_cli(node.binary, "check", "--config", node.file, "--set", "sessions.pairs.actions=[watch]")
    assert refused.returncode == 1 and "sessions.pairs number all that is positive in one order" in refused.stderr
