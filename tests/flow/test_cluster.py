"""
Instances that share a topic on a real broker: come and go, are killed and stopped, and what they serve together is what one node that
stands alone serves. Events are of now, since a cluster's clock is the wall's; reads are as of one moment for all.
"""

import concurrent.futures
import contextlib
import copy
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

import freshet
import kafka
import oracle
import settings
from cluster_topics import committed, deltas_of, markers, partitions_of_deltas
from freshet.v1 import admin_pb2, event_pb2, model_pb2
from node import CallError, wait_for
from test_crash import faulty  # noqa: F401 (a fixture)
from test_examples import get_features  # noqa: F401 (a fixture)
from test_watch import Watching

PARTITIONS = 8
USERS, ITEMS, CREATORS = 60, 25, 5
ACTIONS = [oracle.ACTIONS.index(name) for name in ("click", "watch", "like", "purchase")]
CATALOGUE = {
    "entities": {
        "user": {"key": ["user_id"]},
        "item": {"key": ["item_id"], "parent": "creator"},
        "creator": {"key": ["creator_id"]},
        "user_creator": {"key": ["user_id", "creator_id"]},
        "tag": {"key": ["item_info.tags"]},
        "user_tag": {"key": ["user_id", "item_info.tags"]},
    },
    "tables": {"item_info": {"topic": "", "key": "item_id", "fields": {"tags": "ids", "price": "number"}}},
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
        "seen": {"entity": "user", "aggregate": "count", "windows": ["1h", "24h"]},
        "bond": {"entity": "user_creator", "aggregate": "sum", "of": "value", "windows": ["1h"]},
        "online": {"entity": "creator", "aggregate": "gauge", "up": ["click", "watch"], "down": ["purchase"], "timeout": "1h"},
        "tagged": {"entity": "tag", "aggregate": "count", "windows": ["1h"]},
        "taste": {"entity": "user_tag", "where": "item_info.price > 3", "aggregate": "count", "windows": ["1h"]},
        "together": {"entity": "item", "aggregate": "covisit", "from": "recent", "within": "1h", "half_life": "1h", "limit": 10},
        "lift": {"entity": "item", "aggregate": "lift", "of": "item_info.tags", "from": "together", "against": "tagged", "windows": ["1h"]},
        "left": {"entity": "item", "aggregate": "quota", "actions": ["watch"], "quota": 1_000_000, "newer_than": "1h", "forgotten_after": "24h"},
    },
    "feature_sets": {"small": {"user": ["seen"], "item": ["watches"]}},
    "lists": {
        "hot": {"of": "item", "rank": "heat", "scopes": ["global", "creator_id"], "limit": 20},
        "new": {"of": "item", "rank": "left", "scopes": ["global"], "limit": 50},
    },
}  # fmt: skip
INTENTS = {"buy": ["buy it", "take two", "order now"], "ask": ["how much", "which size", "what color"], "other": ["haha", "hello", "nice"]}
READ = {
    f"{entity}_{label}": {"entity": entity, "actions": ["comment"], "where": f'attributes.intent == "{label}"', "aggregate": "count", "windows": ["1h"]}
    for entity in ("item", "user")
    for label in INTENTS
}
SESSION_S = 6  # of the group's: on a busy machine an instance that hears nothing for two seconds was taken for dead now and then, and ended
FAST = {"session.timeout.ms": 1000 * SESSION_S, "heartbeat.interval.ms": 300}
LOST = "its partitions may be another's"


def rows_of(topic):
    return f"rows.{topic}"


def configuration(brokers, topic, mode, name=None, second=None, has_texts=False, **more):
    made = settings.configuration(brokers, topic, catalogue=copy.deepcopy(CATALOGUE), clock="wall", mode=mode)
    if has_texts:
        made["features"].update(copy.deepcopy(READ))
    made["tables"]["item_info"]["topic"] = rows_of(topic)
    made["learner"] = {"served": f"served.{topic}", "examples": f"examples.{topic}"}
    if mode == "standalone":  # as who trains beside a cluster does: from the rows that its instances log
        tasks = {"click": {"actions": ["click"], "policy": "fnw", "window": "1h"}}
        made["models"] = {"shop": {"feature_set": "small", "bits": 18, "sparse": ["user_id"], "tasks": tasks}}
    made["node"]["dedupe"] = {"ids": 1024, "horizon": "1h"}  # all are kept: else what comes twice depends on which topic comes first
    if second:
        made["kafka"]["topics"].append({"name": second})
    if has_texts and mode == "standalone":  # it reads what instances pass on
        made["kafka"]["topics"].append({"name": f"read.{topic}"})
    elif has_texts:
        topics = {"from": f"comments.{topic}", "labelled": f"labelled.{topic}", "to": f"read.{topic}"}
        made["texts"] = {"intent": {**topics, "labels": list(INTENTS), "bits": 12}}
    made["store"].update(epoch="200ms", memory="64MiB")
    made["kafka"].update(group=f"g.{topic}", properties=FAST)
    if name:
        made["node"]["id"] = name
    made["node"].update(more)
    return made


class Cluster:
    """Nodes of one topic: instances by name, and one that stands alone beside them."""

    served_s = 30  # what an instance has applied others serve

    def __init__(self, make_node, brokers, has_texts=False):
        self.make_node, self.brokers, self.has_texts = make_node, brokers, has_texts
        self.topic = kafka.new_topic(brokers, PARTITIONS, prefix="cluster")
        self.second = kafka.new_topic(brokers, PARTITIONS, prefix="second")
        self.group = f"g.{self.topic}"
        kafka.new_topic(brokers, 1, name=rows_of(self.topic), **{"cleanup.policy": "compact"})
        rows = [(b"%d" % item, json.dumps({"tags": [f"t{item % 4}", "all"], "price": item % 7}).encode()) for item in range(1, ITEMS + 1)]
        kafka.produce(brokers, rows_of(self.topic), rows)
        self.instances, self.produced, self.dice = {}, 0, random.Random(3)
        if has_texts:
            self.make_texts()
        self.alone = make_node(configuration(brokers, self.topic, "standalone", second=self.second, has_texts=has_texts), "alone").start()

    def make_texts(self):
        for name, partitions in (("comments", PARTITIONS), ("labelled", 1), ("read", PARTITIONS)):
            kafka.new_topic(self.brokers, partitions, name=f"{name}.{self.topic}")
        known = [(text, label) for label, texts in INTENTS.items() for text in texts]
        events = [event_pb2.Event(ts_ms=at + 1, action=event_pb2.COMMENT, text=text, attributes={"intent": label}) for at, (text, label) in enumerate(known)]
        kafka.produce(self.brokers, f"labelled.{self.topic}", [(b"", event.SerializeToString()) for event in events])

    def begin(self, name, is_ready=True, **more):
        if name not in self.instances:
            made = configuration(self.brokers, self.topic, "cluster", name, self.second, self.has_texts, **more)
            self.instances[name] = self.make_node(made, name)
        self.instances[name].start(is_ready=is_ready)
        return self.instances[name]

    def running(self):
        """Those that run. Whoever the group took for dead, on a busy machine, ended by itself and is started again, as a supervisor would."""
        for node in self.instances.values():
            if node.process and node.process.poll() is not None:
                assert node.process.returncode == 1 and "cluster: " in node.log(), node.log()[-2000:]
                node.ended()
                node.start(is_ready=False)
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

    def some_twice(self, count):
        made = list(self.events(count))
        return made + self.dice.sample(made, count // 20)

    def load(self, count):
        made = self.some_twice(count)
        records = [(str(event["user_id"]).encode(), event_pb2.Event(**event).SerializeToString()) for event in made]
        kafka.produce(self.brokers, self.topic, records[::2], **{"enable.idempotence": True})
        kafka.produce(self.brokers, self.second, records[1::2], **{"enable.idempotence": True})
        if self.has_texts:
            self.comment(count // 10)

    def comment(self, count):
        """Of users, in partitions of no meaning: where they are passed on to is their own."""
        made = [
            {**event, "user_id": event["user_id"] or 1, "action": event_pb2.COMMENT, "text": self.dice.choice(self.dice.choice(list(INTENTS.values())))}
            for event in self.events(count)
        ]
        made += self.dice.sample(made, count // 20)
        records = [(b"%d" % self.dice.randrange(100), event_pb2.Event(**event).SerializeToString()) for event in made]
        kafka.produce(self.brokers, f"comments.{self.topic}", records, **{"enable.idempotence": True})

    def passed_on(self):
        """How many comments there are, and how many records of those that are passed on, once they are: the group says so."""
        ends = [high for _, high in kafka.watermarks(self.brokers, f"comments.{self.topic}")]
        parts = [TopicPartition(f"comments.{self.topic}", number) for number in range(PARTITIONS)]
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": f"{self.group}.intent"})
        try:
            wait_for(
                lambda: all(one.offset == end or end == 0 for one, end in zip(consumer.committed(parts, 10), ends)),
                lambda: (ends, consumer.committed(parts, 10)),
            )
        finally:
            consumer.close()
        return sum(ends), sum(high for _, high in kafka.watermarks(self.brokers, f"read.{self.topic}"))

    @contextlib.contextmanager
    def loading(self, count, pieces=1):
        """While so many events come; what goes wrong with them fails at the end."""
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            loading = thread.submit(lambda: [self.load(count // pieces) for _ in range(pieces)])
            yield
            loading.result()

    def members(self, node):
        return node.call("AdminService/Cluster", admin_pb2.ClusterRequest(), admin_pb2.ClusterResponse)

    def owned(self, node):
        try:
            return [one.partition for one in self.members(node).partitions if one.here]
        except OSError:  # it ended just now; running() sees why, and starts it again
            return []

    def wait_taken_over(self):
        """Until those that run have what the one that was killed had."""
        wait_for(lambda: sum(len(self.owned(node)) for node in self.running()) == PARTITIONS, "all partitions are somebody's", 60)

    def positions(self, node):
        try:
            return {(one["topic"], one["partition"]): int(one["nextOffset"]) for one in node.status()["partitions"]}
        except OSError:
            return {}

    def wait_shared(self, nodes=None, deadline_s=60):
        """Until each partition has one owner among those that run, or these, who has applied all of it."""
        ends = {
            (topic, number): high
            for topic in (self.topic, self.second, *([f"read.{self.topic}"] if self.has_texts else []))
            for number, (_, high) in enumerate(kafka.watermarks(self.brokers, topic))
        }

        def is_shared():
            found = []
            for node in nodes or self.running():
                owned = self.owned(node)
                found += owned
                next_of = self.positions(node)
                if any(next_of.get(part, -1) < end for part, end in ends.items() if part[1] in owned):
                    return False
            return sorted(found) == list(range(PARTITIONS))

        wait_for(is_shared, lambda: [(node.name, self.owned(node), self.positions(node)) for node in nodes or self.running()], deadline_s)

    def alone_says(self, user):
        reply = self.alone.get_features(user_id=user, features=["seen.1h"])
        return dict(zip(reply.user_columns, reply.user_values))

    def owner_of(self, user):
        partition = kafka.murmur2_partition(str(user).encode(), PARTITIONS)
        owners = [node for node in self.running() if partition in self.owned(node)]
        assert len(owners) <= 1, [node.name for node in owners]
        return owners[0] if owners else None

    def check(self):
        """Every user at his owner, every item everywhere: as the node that stands alone has it."""
        if self.has_texts:
            self.passed_on()
        self.wait_shared()
        wait_for(lambda: int(self.alone.status()["lagEvents"]) == 0, "the node alone caught up")
        as_of = int(time.time() * 1000) + 300_000
        items = list(range(1, ITEMS + 1))

        def read(node, user):
            reply = node.get_features(user_id=user, item_ids=items, as_of_ms=as_of)
            for field in ("request_id", "stream_time_ms", "applied_lag_ms"):
                reply.ClearField(field)
            return reply

        wanted = read(self.alone, 0)
        for node in self.running():
            wait_for(lambda: read(node, 0) == wanted, lambda: difference(wanted, read(node, 0), node), self.served_s)  # noqa: B023
        for user in range(1, USERS):
            alone = read(self.alone, user)
            wait_for(lambda: self.read_owned(read, user) == alone, lambda: (user, self.read_owned(read, user), alone), self.served_s)  # noqa: B023

        ranked = lists(self.alone)
        assert len(ranked["hot", 0]) == min(20, len(ranked["new", 0])) > 0
        for node in self.running():
            wait_for(lambda: lists(node) == ranked, lambda: (node.name, lists(node), ranked), self.served_s)  # noqa: B023
        paired = pairs(self.running()[0])  # the node alone reads a user's topics in another order, and which of his records are near goes by that
        for node in self.running():
            wait_for(lambda: pairs(node) == paired, lambda: (node.name, pairs(node), paired), self.served_s)  # noqa: B023
        for node in self.running():  # and it stays so, whatever each reads back of what it wrote
            assert read(node, 0) == wanted, difference(wanted, read(node, 0), node)

    def read_owned(self, read, user):
        """None while his partition is on its way: an instance may come back, and join, at any time."""
        owner = self.owner_of(user)
        try:
            return read(owner, user) if owner else None
        except CallError as refused:
            assert refused.code in ("unavailable", "failed_precondition"), refused
        except OSError:  # as in owned()
            pass
        return None


def lists(node):
    """Who is on each list, in order: the scores are of the moment."""
    asked = [("hot", "global", 0), *(("hot", "creator_id", at + 1) for at in range(CREATORS)), ("new", "global", 0)]
    return {
        (name, id): node.call_json("RecallService/Trending", {"list": name, "scope": scope, "scopeId": id}).get("ids", [])
        for name, scope, id in asked
    }


def pairs(node):
    """What went with the items that all have, and which tags more than else."""
    return {
        (method, item): sorted(node.call_json(f"RecallService/{method}", {"itemId": item}).get("ids", []))
        for method in ("Related", "Labels")
        for item in range(6, 10)
    }


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


@pytest.fixture
def reading(make_node, real_kafka):
    """One that reads comments, too."""
    return Cluster(make_node, real_kafka, has_texts=True)


def rounds(request):
    return 200 if request.config.getoption("--long") else 2


def test_what_instances_serve_together_is_what_one_serves(reading, request):
    """1 -> 2 -> 3 -> 2 -> 1, with kills at random between."""
    reading.begin("a")
    reading.load(2_000)
    reading.check()
    with reading.loading(2_000, pieces=8):
        reading.begin("b")
    reading.check()
    comments, passed = reading.passed_on()
    assert 0 < comments == passed  # once each, though partitions changed hands
    reading.begin("c")
    for number in range(rounds(request)):
        with reading.loading(1_500):
            victim = reading.dice.choice("abc")
            time.sleep(reading.dice.random() * 0.6)  # no condition: anywhere in an epoch
            reading.instances[victim].kill()
            if number > 1 and reading.dice.randrange(3) == 0:
                reading.wait_taken_over()  # else it comes back in time, and keeps its partitions
            reading.begin(victim, is_ready=False)
        if number % 10 == 9:
            reading.check()
    reading.check()
    assert all(pairs(reading.instances["a"]).values())
    by_intent = reading.alone.get_features(item_ids=list(range(1, ITEMS + 1)), features=[f"item_{label}.1h" for label in INTENTS]).item_values
    assert all(sum(by_intent[at :: len(INTENTS)]) > 0 for at in range(len(INTENTS)))
    for name in "cb":
        assert reading.instances[name].stop() == 0
        reading.load(500)
        reading.check()
    assert reading.instances["a"].digest() == reading.alone.digest()


def points(request):
    """Where, and whether others get the partitions before it is back. An epoch is in Kafka then, and not in the store, but for the last."""
    some = [("after_sst_finish", True)]
    more = [("mid_sst_write", False), ("mid_ingest", True), ("mid_apply", False), ("after_ingest_before_kafka_commit", True)]
    return [*some, *more] * 4 if request.config.getoption("--long") else some


def test_killed_between_kafka_and_the_store_it_catches_up(cluster, faulty, request):  # noqa: F811
    first, second = cluster.begin("a"), cluster.begin("b")
    whole = second.binary
    for number, (point, is_away) in enumerate(points(request)):
        second.kill()
        second.binary, second.environment = faulty, {"FRESHET_FAULT": f"{point}:{4 + number % 5}:kill"}
        second.start(is_ready=False)
        while second.process.poll() is None:
            cluster.load(200)
        assert second.ended() == -9
        second.binary, second.environment = whole, {}
        if is_away:
            cluster.wait_shared([first])
        cluster.begin("b")
        cluster.check()


def test_a_zombie_wakes_and_writes_nothing(cluster):
    """One that was stopped for longer than the group waits, in the middle of events, ends by itself; nothing is there twice."""
    first, zombie = cluster.begin("a", canary="300ms"), cluster.begin("b", canary="300ms")  # so an epoch is under way most of the time
    wait_for(lambda: len(cluster.owned(first)) == len(cluster.owned(zombie)) == PARTITIONS // 2, "each has half of it")
    wait_for(lambda: canaries(zombie)["ok"] > 0, "a canary came back")
    with cluster.loading(4_000):
        wait_for(lambda: zombie.applied() > 100, "events applied")
        zombie.signal(signal.SIGSTOP)
    cluster.wait_shared([first], SESSION_S + 10)  # what it has left open would last a minute
    before = {key: count for key, count in markers(cluster).items() if key[0] == "b"}
    assert sum(before.values()) > 0
    zombie.signal(signal.SIGCONT)
    assert zombie.ended() == 1
    assert any(why in zombie.log() for why in (LOST, "is fenced", "of 'b' failed")), zombie.log()
    cluster.check()
    assert {key: count for key, count in markers(cluster).items() if key[0] == "b"} == before
    cluster.begin("b")
    cluster.check()


def canaries(node):
    found = re.findall(r'freshet_canary_total{result="(\w+)"} (\d+)', node.page("/metrics")[2].decode())
    return {outcome: int(count) for outcome, count in found}


def test_a_hot_item_is_a_delta_an_instance_and_epoch(cluster):
    for name in "ab":
        cluster.begin(name, canary="300ms")
    cluster.wait_shared()
    now = int(time.time() * 1000)
    records = [
        (b"%d" % user, event_pb2.Event(event_id=at + 1, ts_ms=now, user_id=user, item_id=7, creator_id=1, action=3).SerializeToString())
        for at in range(8_000)
        for user in (at % USERS + 1,)
    ]
    kafka.produce(cluster.brokers, cluster.topic, records)
    cluster.check()
    found = [deltas_of(message.value()) for message in committed(cluster, "deltas") if message.key() is None]
    epochs = sum(int(cluster.members(node).epoch) for node in cluster.running())
    assert 0 < len(found) == len({epoch for epoch, _ in found}) <= epochs < 400  # few entities find room in one record
    assert all(len(set(keys)) == len(keys) for _, keys in found)
    for node in cluster.running():
        wait_for(lambda: canaries(node)["ok"] > 0, "a canary that came back")  # noqa: B023
        assert not any(canaries(node)[outcome] for outcome in ("unapplied", "unread")), canaries(node)
    # the item, the creator, both of them as the list by creator has it, two tags, all events
    assert len({key for _, keys in found for key in keys}) == 6
    records = [
        (b"%d" % (item % USERS), event_pb2.Event(ts_ms=now, user_id=item % USERS, item_id=item, action=3).SerializeToString())
        for item in range(1_000, 4_000)
    ]
    kafka.produce(cluster.brokers, cluster.topic, records)
    wait_for(lambda: max(map(len, partitions_of_deltas(cluster).values())) > 2, "an epoch of several records")
    assert all(len(set(parts)) == 1 for parts in partitions_of_deltas(cluster).values())  # each partition more costs the brokers records of their own


@pytest.mark.long
@pytest.mark.alone
def test_a_hot_item_does_not_slow_the_others(binary, real_kafka):
    """Half of all events on one item: reads of others, and how old events are when they are applied, stay within 1.5 x at the same rate."""
    bench = pathlib.Path(__file__).resolve().parent.parent / "bench" / "hot.py"
    command = [sys.executable, bench, "--brokers", real_kafka, "--build", pathlib.Path(binary).parent, "--most", "1.5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_user_of_another_instance_is_refused_with_his_owners_address(cluster, get_features):
    first, second = cluster.begin("a"), cluster.begin("b")
    cluster.load(500)
    cluster.check()
    user = next(user for user in range(1, USERS) if cluster.owner_of(user) is second)
    wait_for(lambda: {one.api for one in cluster.members(first).members} == {first.api, second.api}, "both announced")
    for refused in (
        lambda: first.get_features(user_id=user, item_ids=[1]),
        lambda: first.call_json("RecallService/Recent", {"kind": "new_items", "userId": user}),
        lambda: first.call_json("AdminService/Explain", {"entity": {"entity": "user", "key": [user]}, "feature": "seen"}),
        lambda: first.call_json("AdminService/Forget", {"userId": user}),
    ):
        with pytest.raises(CallError) as told:
            refused()
        assert told.value.code == "failed_precondition" and f"at instance 'b': ask {second.api}" in told.value.message
    assert second.get_features(user_id=user, item_ids=[1]).user_present
    assert first.get_features(item_ids=[1]).item_present == [True]
    after = [{"topic": cluster.topic, "partition": kafka.murmur2_partition(b"%d" % user, PARTITIONS), "offset": "1000000"}]
    with pytest.raises(CallError) as told:  # at once: to wait is of no use
        first.call_json("FeatureService/GetFeatures", {"itemIds": [1], "after": after})
    assert told.value.code == "failed_precondition" and f"at instance 'b': ask {second.api}" in told.value.message
    with pytest.raises(CallError, match="not in clusters yet"):
        first.call_json("AdminService/Checkpoint", {"backupDir": "/x"})
    told = first.call_json("AdminService/Cluster", {})
    assert {one["instance"] for one in told["members"]} == {"a", "b"} and len(told["partitions"]) == PARTITIONS
    assert cluster.alone.call_json("AdminService/Cluster", {})["mode"] == "standalone"
    check_lag(cluster)
    before_ms = int(time.time() * 1000) - 5_000
    check_told(cluster, user)

    check_clients(cluster, get_features, user)
    event = {"event_id": 10**6, "ts_ms": before_ms, "user_id": user, "item_id": 3, "action": 3}
    kafka.produce(cluster.brokers, cluster.topic, [(b"%d" % user, event_pb2.Event(**event).SerializeToString())])
    cluster.check()  # he stays forgotten
    assert not first.get_features(user_id=user, item_ids=[1]).user_present


def blocked(node):
    return node.call_json("AdminService/Block", {"kind": "item"}).get("ids", [])


def check_told(cluster, user):
    """What people tell one instance of a user counts wherever he is later, and what they block everywhere, also for who comes with nothing."""
    first, second = cluster.instances["a"], cluster.instances["b"]
    for node in (second, cluster.alone):
        assert int(node.call_json("AdminService/Forget", {"userId": user})["entities"]) > 0
    for ids, how in (([3, 4], {"reason": "spam"}), ([4], {"unblock": True})):
        for node in (first, cluster.alone):
            node.call_json("AdminService/Block", {"kind": "item", "ids": ids, **how})
    wait_for(lambda: blocked(second) == ["3"], lambda: blocked(second))
    second.call_json("AdminService/Block", {"kind": "item", "ids": [4, 3], "unblock": True})
    second.call_json("AdminService/Block", {"kind": "item", "ids": [5]})
    wait_for(lambda: blocked(first) == ["5"], lambda: blocked(first))
    mover = next(user for user in range(1, USERS) if kafka.murmur2_partition(b"%d" % user, PARTITIONS) == PARTITIONS - 1)
    watching = Watching(second, [("user", mover), ("item", 1)])
    watching.first("user", mover)
    with forgetting(cluster, [one for one in range(1, USERS) if one not in (user, mover)][:6]):
        third = cluster.begin("c")
    wait_for(lambda: blocked(third) == ["5"], lambda: blocked(third))
    wait_for(lambda: watching.error, "the watch of who went to the third is over")
    assert watching.error.code().name == "FAILED_PRECONDITION" and f"at instance 'c': ask {third.api}" in watching.error.details()
    check_block_limit(third)
    third.stop()
    cluster.alone.call_json("AdminService/Block", {"kind": "item", "ids": [3], "unblock": True})
    cluster.alone.call_json("AdminService/Block", {"kind": "item", "ids": [5]})
    cluster.check()
    wait_for(lambda: {one.api for one in cluster.members(first).members} == {first.api, second.api}, "both announced again")


def forget(nodes, user):
    """Whether one of them has him, and did."""
    for node in nodes:
        try:
            return int(node.call_json("AdminService/Forget", {"userId": user})["tombstoneUntilMs"]) > 0
        except CallError as refused:
            assert refused.code in ("failed_precondition", "unavailable"), refused
        except OSError:  # it ended just now, as in owned()
            pass
    return False


@contextlib.contextmanager
def forgetting(cluster, users):
    """While partitions move: who is told that a user is forgotten is told so for good, and whoever is refused asks again."""
    nodes = cluster.running()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        tried = thread.submit(lambda: {user: forget(nodes, user) for user in users})
        yield
        done = tried.result()
    for user in users:
        wait_for(lambda: done[user] or forget(cluster.running(), user), f"user {user} is forgotten")  # noqa: B023
        cluster.alone.call_json("AdminService/Forget", {"userId": user})


def check_block_limit(node):
    """As many as all have room for, whoever else is told of others meanwhile."""
    ids = [str(one) for one in range(1, 32_770)]
    pieces = [ids[at : at + 10_000] for at in range(0, len(ids), 10_000)]
    for piece in pieces[:3]:
        node.call_json("AdminService/Block", {"kind": "creator", "ids": piece})
    with pytest.raises(CallError) as told:
        node.call_json("AdminService/Block", {"kind": "creator", "ids": pieces[3]})
    assert told.value.code == "resource_exhausted"
    for piece in pieces[:3]:
        node.call_json("AdminService/Block", {"kind": "creator", "ids": piece, "unblock": True})


def check_lag(cluster):
    """Of events at the owner, of deltas everywhere: nothing once all is applied."""
    for node in cluster.running():

        def lags(node=node):
            return {(one.here, one.lag_events, one.deltas_lag) for one in cluster.members(node).partitions}

        wait_for(lambda: lags() == {(True, 0, 0), (False, -1, 0)}, lags)  # noqa: B023
        status = node.status()["partitions"]
        here = {one.partition for one in cluster.members(node).partitions if one.here}
        assert {(one["partition"], one["lagEvents"]) for one in status} == {(at, "0" if at in here else "-1") for at in range(PARTITIONS)}
        figures = dict(line.split() for line in node.page("/metrics")[2].decode().splitlines() if line.startswith("freshet_cluster_"))
        assert figures["freshet_cluster_partitions"] == str(PARTITIONS) and figures["freshet_cluster_deltas_lag"] == "0"
        assert figures["freshet_cluster_owned"] == str(len(cluster.owned(node)))


def check_clients(cluster, get_features, of_second):
    """Who names one instance is led to the one that has the user, also when users move."""
    first, second = cluster.instances["a"], cluster.instances["b"]
    done = get_features(first.api, of_second, "1,2", "watches.1h")
    assert done.returncode == 0, done.stderr
    assert done.stdout == get_features(second.api, of_second, "1,2", "watches.1h").stdout
    with freshet.ClusterClient([first.api], timeout=60, retries=1_000) as client, c_client(first, 60_000, 1_000) as ask:
        for is_alone in (False, True):
            if is_alone:
                second.stop()
            for user in range(1, USERS):
                assert client.get_features(user, [1], features=["seen.1h"]).user == cluster.alone_says(user), user
            found = {client.target_of(user) for user in range(1, USERS)}
            assert found == ({first.api} if is_alone else {first.api, second.api})
            told = [ask(user, 1, "seen.1h").split() for user in range(1, USERS)]
            assert [float(value) for _, _, value in told] == [cluster.alone_says(user)["seen.1h"] for user in range(1, USERS)]
            assert {owner for owner, _, _ in told} == found
        assert ask(1, 1, "nothing").startswith("invalid_argument: ")


@contextlib.contextmanager
def c_client(node, timeout_ms, retries):
    """Asks by one client of clients/c, which keeps its connections."""
    path = node.binary.parent / "tests" / "client" / "ask"
    command = [str(one) for one in (path, node.api, timeout_ms, retries)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(*words):
            print(*words, file=process.stdin, flush=True)
            return process.stdout.readline()

        yield ask
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_users_event_in_another_partition_is_a_dead_letter(cluster):
    node = cluster.begin("a")
    now = int(time.time() * 1000)

    def event(number, user):
        return event_pb2.Event(event_id=number, ts_ms=now, user_id=user, item_id=3, action=3).SerializeToString()

    wrong = b"%d" % next(key for key in range(100) if kafka.murmur2_partition(b"%d" % key, 8) != kafka.murmur2_partition(b"5", 8))
    kafka.produce(cluster.brokers, cluster.topic, [(b"5", event(1, 5)), (wrong, event(2, 5)), (wrong, event(3, 0))])
    cluster.wait_shared()
    node.wait_applied(3)
    (letter,) = kafka.consume_all(cluster.brokers, f"{cluster.topic}.dead")
    assert dict(letter.headers())["reason"] == b"wrong_partition"
    assert {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}["wrong_partition"] == 1
    assert list(node.get_features(item_ids=[3], features=["watches.1h"]).item_values) == [2]


def test_a_node_beside_the_cluster_learns_from_what_its_instances_served(cluster):
    node = cluster.begin("a")
    request_id = node.get_features(user_id=5, item_ids=[3, 4], feature_set="small", log=True).request_id
    shown = {"user_id": 5, "item_id": 3, "request_id": request_id}
    events = [event_pb2.Event(event_id=at, ts_ms=int(time.time() * 1000) + at, action=at, **shown) for at in (1, 2)]  # impression, click
    kafka.produce(cluster.brokers, cluster.topic, [(b"5", event.SerializeToString()) for event in events])

    def learned():
        state = cluster.alone.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse).models[0]
        return (state.tasks[0].examples, state.tasks[0].positives)

    wait_for(lambda: learned() == (2, 1), learned)
