"""SIGTERM in every state: the node ends with exit 0 within seconds and has lost nothing."""

import concurrent.futures
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import pytest

import compare
import kafka
import logs
import oracle
import settings
from node import run_cli, wait_for
from test_replay import records, some_events
from test_topics import mortal_broker

ROUNDS = 20
DEADLINE_S = 10
EXIT_S = 5  # what each end may take, whatever the state


def silent_broker():
    """Accepts connections and never answers."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener


def test_before_the_broker_answers(make_node):
    with silent_broker() as silent:
        for _ in range(3):
            brokers = f"127.0.0.1:{silent.getsockname()[1]}"
            node = make_node(settings.configuration(brokers, "events", catalogue=settings.TINY)).start(is_ready=False)
            assert node.stop(DEADLINE_S) == 0, node.log()


def test_while_no_broker_is_there(make_node):
    for _ in range(3):
        node = make_node(settings.configuration("127.0.0.1:1", "events", catalogue=settings.TINY)).start(is_ready=False)
        assert node.stop(DEADLINE_S) == 0, node.log()


@pytest.mark.parametrize("where", ["kafka", "embedded"])
def test_right_after_the_start(make_node, request, where):
    """Between the first line and readiness: assignment is under way."""
    dice = random.Random(1)
    brokers, topic = "embedded", "freshet.events"
    if where == "kafka":
        brokers = request.getfixturevalue("real_kafka")
        topic = kafka.new_topic(brokers)
    node = make_node(settings.configuration(brokers, topic, catalogue=settings.TINY))
    for _ in range(ROUNDS):
        node.start(is_ready=False)
        if dice.random() < 0.3:
            wait_for(lambda: node.status()["partitions"], "partitions are found")
        assert node.stop(DEADLINE_S) == 0, node.log()


def test_before_the_first_line(make_node):
    """The handler may not be there yet: then the signal itself ends it, and nothing is left that a start would refuse."""
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    for _ in range(ROUNDS):
        node.spawn()
        assert node.stop(DEADLINE_S) in (0, -signal.SIGTERM), node.log()
    node.start()


def test_in_the_middle_of_ingest_nothing_is_lost(make_node, real_kafka, data):
    dice = random.Random(5)
    events = logs.shuffled(logs.read_events(logs.Kuairand, data), seed=8)[:40_000]
    topic = kafka.new_topic(real_kafka)
    node = make_node(settings.configuration(real_kafka, topic, "json"))
    records = [(logs.key_of(event), logs.json_of(event, dice)) for event in events]
    loader = threading.Thread(
        target=lambda: [kafka.produce(real_kafka, topic, some) for some in compare.batches(records, 1000)]
    )
    loader.start()
    before = 0
    for _ in range(ROUNDS):
        node.start(is_ready=False)
        goal = before + dice.randint(0, 2_000)
        wait_for(lambda: node.applied() >= min(goal, len(events)), lambda: f"{goal} applied: {node.status()}")
        before = node.applied()
        assert node.stop(DEADLINE_S) == 0, node.log()
    loader.join()
    node.start()
    assert node.applied() >= before  # a clean end keeps all that was applied
    node.wait_applied(len(events))
    made = oracle.Oracle(node.configuration)
    for event in events:
        made.apply(event)
    compare.check_values(node, made, compare.questions(events), (0,))


def test_idle_and_with_open_connections(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY))
    for _ in range(2):
        node.start()
        host, _, port = node.api.rpartition(":")
        idle = socket.create_connection((host, int(port)))
        half = socket.create_connection((host, int(port)))
        half.sendall(b"POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nContent-Le")
        assert node.stop(DEADLINE_S) == 0, node.log()
        idle.close()
        half.close()


def test_sigint_and_a_second_signal(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    node.signal(signal.SIGINT)
    assert node.ended(DEADLINE_S) == 0
    node.start()
    node.signal(signal.SIGTERM)
    node.signal(signal.SIGTERM)
    assert node.ended(DEADLINE_S) in (0, 1, 128 + signal.SIGTERM, -signal.SIGTERM)


def test_systemd_is_told_when_it_may_be_asked_and_when_it_stops(make_node):
    name = f"freshet-notify-{random.getrandbits(64):x}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0{name}")
        systemd.settimeout(DEADLINE_S)
        node = make_node(settings.configuration("127.0.0.1:1", "events", catalogue=settings.TINY))
        node.environment["NOTIFY_SOCKET"] = f"@{name}"
        node.start(is_ready=False)
        assert systemd.recv(64) == b"READY=1"
        assert node.stop(DEADLINE_S) == 0, node.log()
        assert systemd.recv(64) == b"STOPPING=1"


# ---- Every state, again and again: how long an end takes ----


class Ends:
    """SIGTERM at random moments; how long the process then took."""

    def __init__(self, make_node, brokers, directory):
        self.make_node, self.brokers, self.directory = make_node, brokers, directory
        self.topic = kafka.new_topic(brokers, partitions=4)
        kafka.produce(brokers, self.topic, records(some_events(20_000)))
        self.number, self.lock, self.backup = 0, threading.Lock(), None

    def new_node(self, brokers, topic):
        with self.lock:
            self.number += 1
            configuration = settings.configuration(brokers, topic)
            configuration["store"]["epoch"] = "50ms"
            return self.make_node(configuration, f"end{self.number}")

    def end(self, process, dice, codes):
        """At a random moment within its first half second; the moment is what varies, so nothing is waited for."""
        try:
            process.wait(dice.uniform(0, 0.5))
        except subprocess.TimeoutExpired:
            pass
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(DEADLINE_S)
        assert code in codes, code
        return time.monotonic() - begun

    def end_node(self, node, dice):
        took = self.end(node.process, dice, (0,))
        node.ended()
        return took

    def nobody_there(self, dice):
        return self.end_node(self.new_node("127.0.0.1:1", "events").start(is_ready=False), dice)

    def nobody_answers(self, dice):
        with silent_broker() as silent:
            brokers = f"127.0.0.1:{silent.getsockname()[1]}"
            return self.end_node(self.new_node(brokers, "events").start(is_ready=False), dice)

    def before_assignment(self, dice):
        node = self.new_node(self.brokers, self.topic).start(is_ready=False)
        begun = time.monotonic()
        assert node.stop(DEADLINE_S) == 0, node.log()
        return time.monotonic() - begun

    def in_the_middle_of_epochs(self, dice):
        node = self.new_node(self.brokers, self.topic).start(is_ready=False)
        wait_for(lambda: node.applied() > 0, lambda: node.status())
        return self.end_node(node, dice)

    def broker_lost(self, dice):
        with mortal_broker("events") as (brokers, broker):
            node = self.new_node(brokers, "events").start()
            broker.kill()
            return self.end_node(node, dice)

    def broker_frozen(self, dice):
        """Its connections stay open, and nothing comes."""
        with mortal_broker("events") as (brokers, broker):
            node = self.new_node(brokers, "events").start()
            broker.send_signal(signal.SIGSTOP)
            return self.end_node(node, dice)

    def in_the_middle_of_a_replay(self, dice):
        node = self.new_node(self.brokers, self.topic)
        replay = subprocess.Popen(
            [str(node.binary), "replay", "--config", str(node.file), "--state", str(self.directory / f"{node.name}.state")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return self.end(replay, dice, (0, 1, -signal.SIGTERM))

    def in_the_middle_of_a_restore(self, dice):
        node = self.new_node(self.brokers, self.topic)
        restore = subprocess.Popen(
            [str(node.binary), "restore", str(self.backed_up()), "--config", str(node.file)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        took = self.end(restore, random.Random(0) if dice.random() < 0.1 else Soon(dice), (0, 1, -signal.SIGTERM))
        store = pathlib.Path(node.configuration["store"]["path"])
        if restore.returncode == 0 or (store / "CURRENT").exists():
            checked = run_cli(node.binary, "fsck", "--config", node.file)
            assert checked.returncode == 0 or restore.returncode != 0, checked.stderr
        return took

    def in_the_middle_of_a_backup(self, dice):
        return self.end_at_work(dice, lambda node: ("backup", self.directory / f"{node.name}.backup"))

    def while_all_state_is_read(self, dice):
        return self.end_at_work(dice, lambda node: ("digest",))

    def end_at_work(self, dice, command):
        """With a long call under way, which may be answered or not; the store is whole."""
        node = self.new_node(self.brokers, self.topic).start()
        asked = threading.Thread(target=node.cli, args=command(node))
        asked.start()
        took = self.end_node(node, Soon(dice))
        asked.join()
        checked = run_cli(node.binary, "fsck", "--config", node.file)
        assert checked.returncode == 0, checked.stderr
        return took

    def backed_up(self):
        with self.lock:
            if self.backup:
                return self.backup
        node = self.new_node(self.brokers, self.topic).start()
        node.wait_applied(20_000)
        backup = self.directory / f"{node.name}.backup"
        made = node.cli("backup", str(backup))
        assert made.returncode == 0, made.stderr
        assert node.stop() == 0
        with self.lock:
            self.backup = backup
        return backup


class Soon:
    """Dice for what takes milliseconds."""

    def __init__(self, dice):
        self.dice = dice

    def uniform(self, least, most):
        return self.dice.uniform(least, most / 20)


STATES = ("nobody_there", "nobody_answers", "before_assignment", "in_the_middle_of_epochs", "broker_lost", "broker_frozen",
          "in_the_middle_of_a_replay", "in_the_middle_of_a_restore", "in_the_middle_of_a_backup", "while_all_state_is_read")  # fmt: skip


def of_sorted(took):
    return f"p50 {took[len(took) // 2]:.2f} s, p99 {took[len(took) * 99 // 100]:.2f} s, worst {took[-1]:.2f} s"


def end_often(make_node, brokers, directory, each):
    """So many times in each state, the states in turn; FRESHET_BESIDE: so many nodes at once."""
    ends = Ends(make_node, brokers, directory)
    ends.backed_up()
    seed = int(os.environ.get("FRESHET_SEED", "13"))

    def one(number):
        return STATES[number % len(STATES)], getattr(ends, STATES[number % len(STATES)])(random.Random(seed * 1000 + number))

    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("FRESHET_BESIDE", "2"))) as pool:
        took = list(pool.map(one, range(each * len(STATES))))
    for state in STATES:
        print(f"{state}: {each} ends, {of_sorted(sorted(one for name, one in took if name == state))}", flush=True)
    seconds = sorted(one for _, one in took)
    print(f"all: {len(seconds)} ends, {of_sorted(seconds)}", flush=True)
    assert seconds[-1] < EXIT_S


def test_every_state_ends_soon(make_node, real_kafka, tmp_path):
    end_often(make_node, real_kafka, tmp_path, 2)


@pytest.mark.long
def test_each_state_ends_five_hundred_times_and_none_hangs(make_node, real_kafka, tmp_path):
    end_often(make_node, real_kafka, tmp_path, int(os.environ.get("FRESHET_ENDS", "500")))
