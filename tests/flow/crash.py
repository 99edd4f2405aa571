"""Lives of a node that dies at a fault point (base/include/freshet/fault.h), beside one that nothing happens to and the oracle."""

import json
import os
import pathlib
import random
import shutil
import time

import compare
import kafka
import logs
import node as node_module
import oracle
import settings
from freshet.v1 import event_pb2

T0 = 1_700_000_040_000
PIECE = 40  # records that are sent at once
PIECES_MOST = 80
DEADLINE_S = 20
ACTIONS = [oracle.ACTIONS.index(name) for name in ("click", "watch", "like", "add_to_cart", "purchase", "impression", "follow")]
USERS, ITEMS = 300, 500

# How often each point is met, at the most, before it strikes: a point that is met more often than once strikes somewhere in between.
TIMES = {
    "after_poll": 6,
    "after_decode": 6,
    "mid_apply": 6,
    "after_gate": 6,
    "mid_sst_write": 4,
    "after_sst_finish": 4,
    "mid_ingest": 4,
    "after_ingest_before_kafka_commit": 4,
    "mid_compaction": 400,
    "mid_checkpoint": 1,
    "mid_backup": 2,
    "mid_open": 2,
}
# What happens inside RocksDB: the kill comes up to so many microseconds after the call began.
INSIDE_US = {"mid_ingest": 6_000, "mid_backup": 12_000, "mid_open": 20_000}


def configuration(brokers, topic, format):
    made = settings.configuration(brokers, topic, format)
    made["store"]["epoch"] = "50ms"
    return made


class Lives:
    """One store, killed again and again; `faulty` is the binary with the points, each other node the one that ships."""

    def __init__(self, make_node, faulty, brokers, directory, seed, format="protobuf"):
        self.dice = random.Random(seed)
        self.brokers, self.topic = brokers, kafka.new_topic(brokers)
        self.format = format
        made = configuration(brokers, self.topic, format)
        self.node = make_node(made, "killed")
        self.whole, self.faulty = self.node.binary, faulty
        self.undisturbed = make_node(made, "undisturbed").start()
        self.made = oracle.Oracle(made)
        self.backups = directory / "backups"
        self.events, self.ready_s, self.kills = [], [], 0

    # ---- What is sent ----

    def some_event(self):
        """Half of them without an id: nothing but the offsets keeps these from counting twice."""
        number, dice = len(self.events), self.dice
        return {
            "event_id": dice.choice((0, number + 1)), "ts_ms": T0 + number * 200 + dice.randrange(3000),
            "user_id": dice.randrange(1, USERS), "item_id": dice.randrange(1, ITEMS), "creator_id": dice.randrange(1, 40),
            "category_id": dice.randrange(1, 8), "action": dice.choice(ACTIONS), "value": dice.randrange(80) / 4,
        }  # fmt: skip

    def send(self, count=PIECE):
        records = []
        for _ in range(count):
            event = self.some_event()
            self.events.append(event)
            self.made.apply(event)
            value = logs.json_of(event, self.dice) if self.format == "json" else event_pb2.Event(**event).SerializeToString()
            records.append((str(event["user_id"]).encode(), value))
        kafka.produce(self.brokers, self.topic, records, **{"enable.idempotence": True})  # a retry would be one more event

    # ---- A life that ends ----

    def end_at(self, point, action="kill"):
        """Until the point has struck; the exit code."""
        if action == "kill" and point in INSIDE_US and self.dice.random() < 0.7:
            action = f"kill+{self.dice.randrange(1, INSIDE_US[point])}"
        fault = f"{point}:{self.dice.randint(1, TIMES[point])}:{action}"
        self.node.binary, self.node.environment = self.faulty, {"FRESHET_FAULT": fault}
        self.node.spawn()
        line = self.node.process.stdout.readline()
        if line:
            self.node.first_line(line)
            self.trigger(point, fault)
        code = self.node.ended(DEADLINE_S)
        self.node.binary, self.node.environment = self.whole, {}
        self.kills += code == -9
        return code

    def trigger(self, point, fault):
        for _ in range(PIECES_MOST):
            if self.node.process.poll() is not None:
                return
            self.send()
            if point in ("mid_checkpoint", "mid_backup"):
                self.node.cli("backup", self.backups, "--keep", 2)
            self.pause()
        raise AssertionError(f"{fault} was not met in {PIECES_MOST} pieces: {self.node.log()[-2000:]}")

    def pause(self):
        """Lets what was sent come to the node, at most for an epoch or two: pieces at once would be one batch."""
        end = time.monotonic() + 0.1
        while self.node.process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)

    def end_somewhere(self):
        """Killed at a moment by luck, from the start of the process on."""
        self.node.spawn()
        end = time.monotonic() + self.dice.uniform(0, 1.2)
        while time.monotonic() < end:
            self.send(PIECE // 4)
        self.kills += 1
        self.node.kill()

    # ---- The life after ----

    def check(self, is_thorough=False):
        """Ready again, it answers as if nothing had been; then it is killed, too."""
        start = time.monotonic()
        self.node.start()
        self.ready_s.append(time.monotonic() - start)
        for one in (self.node, self.undisturbed):
            one.wait_applied(len(self.events))
        asked = compare.questions(self.events if is_thorough else self.events[-60:])
        compare.check_values(self.node, self.made, asked, (0, 600_000) if is_thorough else (0,))
        assert self.node.digest() == self.undisturbed.digest()
        self.kills += 1
        self.node.kill()

    def told(self):
        ready = sorted(self.ready_s)
        return (
            f"{self.kills} kills, {len(self.events)} events, {len(ready)} times compared; "
            f"ready again: p50 {ready[len(ready) // 2] * 1000:.0f} ms, p99 {ready[len(ready) * 99 // 100] * 1000:.0f} ms"
        )


def copy_of(node, make_node, name):
    """A node of the same configuration with a store of its own."""
    made = json.loads(json.dumps(node.configuration))
    made["store"]["path"] = str(node.directory / f"{name}.store")
    return make_node(made, name)


def store_of(node):
    return pathlib.Path(node.configuration["store"]["path"])


def empty(node):
    shutil.rmtree(store_of(node), ignore_errors=True)


def is_begun(node):
    return store_of(node).is_dir() and any(store_of(node).iterdir())


def restore(node, binary, backups, fault=None):
    """`freshet restore` into the store of `node`."""
    environment = {**os.environ, "FRESHET_FAULT": fault} if fault else None
    return node_module.run_cli(binary, "restore", backups, "--config", node.file, env=environment)
