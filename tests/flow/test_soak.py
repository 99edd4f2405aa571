"""
An hour of events and reads at 70 % of what goes through here, with a node that is killed again and again, one that nothing happens to, and
a restart of the broker below both. Both end with the digest of a replay; the undisturbed one's memory and descriptors stay flat.

FRESHET_SOAK_MINUTES (60), FRESHET_SOAK_RATE (events a second instead of 70 % of the most), FRESHET_SOAK_SVG (where the picture goes).
"""

import json
import os
import pathlib
import random
import subprocess
import threading
import time

import pytest

import kafka
import node as node_module
import settings
import soak
from conftest import missing
from freshet.v1 import feature_pb2
from node import run_cli, wait_for

TOP = pathlib.Path(__file__).resolve().parents[2]
MINUTES = float(os.environ.get("FRESHET_SOAK_MINUTES", "60"))
SHARE = 0.7
RATE_MOST = 20_000  # an hour of it is 8 GB of topic
PORT = 27192
USERS, ITEMS = 20_000, 10_000
TRIAL_EVENTS = 200_000
CATCH_UP_S = 1800
SLOPE_BYTES_AN_HOUR = 1 << 20


class Broker:
    """One of its own, so that it may go away."""

    def __init__(self, directory):
        self.environment = {**os.environ, "PORT": str(PORT), "HEAP": "384m", "DATA": str(directory / "kafka")}
        self.address = f"127.0.0.1:{PORT}"

    def start(self, **more):
        code = subprocess.run([TOP / "tests/kafka/start"], env={**self.environment, **more}).returncode
        if code == 3:
            missing("no Apache Kafka here")
        assert code == 0
        return self

    def stop(self, **more):
        subprocess.run([TOP / "tests/kafka/stop"], env={**self.environment, **more}, check=True)


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path).start(FRESH="1")
    yield made
    made.stop(WIPE="1")


def configuration(brokers, topic):
    made = settings.configuration(brokers, topic)
    made["store"]["memory"] = "16MiB"  # the least, and less than the state soon takes: what a node holds in memory is full after minutes
    return made


def simulate(binary, brokers, topic, rate, seconds, seed, *more):
    return subprocess.Popen(
        [str(binary), "simulate", "--brokers", brokers, "--topic", topic, "--rate", str(rate), "--seconds", str(seconds)]
        + ["--users", str(USERS), "--items", str(ITEMS), "--seed", str(seed), *more],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def produced(brokers, topic):
    return sum(high for _, high in kafka.watermarks(brokers, topic))


def most_a_second(binary, make_node, brokers):
    """Events a second from the simulator through the broker into a node, all at once on this machine."""
    topic = kafka.new_topic(brokers)
    node = make_node(configuration(brokers, topic), "trial").start()
    start = time.monotonic()
    maker = simulate(binary, brokers, topic, 1000, TRIAL_EVENTS // 1000, 3, "--fast")
    assert maker.wait(300) == 0
    node.wait_applied(produced(brokers, topic), 300)
    rate = produced(brokers, topic) / (time.monotonic() - start)
    node.kill()
    return rate


class Reader(threading.Thread):
    """Asks the nodes by turns, 70 % of the time."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes, self.reads, self.failed, self.is_done = nodes, 0, 0, threading.Event()

    def run(self):
        dice = random.Random(4)
        while not self.is_done.is_set():
            start = time.monotonic()
            for node in self.nodes:
                self.ask(node, dice)
            self.is_done.wait((time.monotonic() - start) * (1 - SHARE) / SHARE)

    def ask(self, node, dice):
        requests = [
            feature_pb2.GetFeaturesRequest(user_id=dice.randrange(1, USERS), item_ids=[dice.randrange(1, ITEMS) for _ in range(20)])
            for _ in range(32)
        ]
        try:
            pipeline = node_module.Pipeline(node.api)
            self.reads += sum(1 for _ in pipeline.get_features(requests))
            pipeline.close()
        except (OSError, AssertionError, StopIteration):
            self.failed += 1  # it was killed meanwhile


class Soak:
    def __init__(self, make_node, binary, broker, rate):
        self.broker, self.topic = broker, kafka.new_topic(broker.address)
        made = configuration(broker.address, self.topic)
        self.steady, self.killed = make_node(made, "steady").start(), make_node(made, "killed").start()
        self.samples = {"steady": soak.Samples(), "killed": soak.Samples()}
        self.marks, self.ready_s = [], []
        self.seconds = MINUTES * 60
        self.loader = simulate(binary, broker.address, self.topic, rate, int(self.seconds), 1)
        self.start = time.monotonic()

    def now(self):
        return time.monotonic() - self.start

    def sample(self):
        for name in self.samples:
            node = getattr(self, name)
            self.samples[name].take(self.now(), node, int(node.status().get("lagEvents", 0)))

    def kill(self):
        self.marks.append((self.now(), "kill"))
        start = time.monotonic()
        self.killed.kill()
        self.killed.start(is_ready=False)
        self.ready_s.append(time.monotonic() - start)

    def restart_broker(self):
        self.marks.append((self.now(), "broker restarted"))
        self.broker.stop()
        self.broker.start()

    def run(self):
        dice = random.Random(os.environ.get("FRESHET_SEED", "5"))
        kill_at, restart_at, at = 20.0, self.seconds / 2, 0.0
        while self.now() < self.seconds:
            self.sample()
            if self.now() >= kill_at:
                self.kill()
                kill_at = self.now() + dice.uniform(10, 60)
            if self.now() >= restart_at:
                self.restart_broker()
                restart_at = float("inf")
            at += max(1.0, self.seconds / 3600)
            time.sleep(max(0.0, at - self.now()))  # a clock, not a wait for something
        wait_for(lambda: self.loader.poll() is not None, "the simulator ends", 300)

    def catch_up(self):
        count = produced(self.broker.address, self.topic)
        for node in (self.steady, self.killed):
            node.wait_applied(count, CATCH_UP_S)
        return count

    def slope_an_hour(self):
        return 3600 * soak.slope(self.samples["steady"].column(1, self.seconds / 3))

    def descriptors(self):
        """The most in the second third, and in the last."""
        column = self.samples["steady"].column(2, self.seconds / 3)
        halves = column[: len(column) // 2], column[len(column) // 2 :]
        return [max(y for _, y in half) for half in halves]


def check_digests(run, binary, tmp_path):
    digest = run.steady.digest()
    assert run.killed.digest() == digest
    done = run_cli(binary, "replay", "--config", run.steady.file, "--state", tmp_path / "replayed", "--json", "--digest", timeout_s=1800)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == digest


@pytest.mark.long
def test_an_hour_changes_nothing_and_takes_no_memory(make_node, binary, broker, tmp_path):
    rate = int(os.environ.get("FRESHET_SOAK_RATE", 0)) or min(RATE_MOST, int(SHARE * most_a_second(binary, make_node, broker.address)))
    run = Soak(make_node, binary, broker, rate)
    reader = Reader([run.steady, run.killed])
    reader.start()
    try:
        run.run()
    finally:
        reader.is_done.set()
        run.loader.kill()
    reader.join()
    fds, kills = run.descriptors(), len(run.ready_s)
    told = (
        f"{MINUTES:g} min at {rate} events/s: {reader.reads} reads, {kills} kills, one restart of the broker; "
        f"memory {run.slope_an_hour() / (1 << 20):+.2f} MiB/h after {run.seconds / 180:.0f} min, descriptors at most {fds[0]}, then {fds[1]}"
    )
    print(told, flush=True)
    picture = pathlib.Path(os.environ.get("FRESHET_SOAK_SVG", tmp_path / "soak.svg"))
    picture.write_text(soak.picture(run.samples["steady"], run.samples["killed"], run.marks, run.seconds, told))
    print(f"{run.catch_up()} events applied by both", flush=True)
    check_digests(run, binary, tmp_path)
    assert fds[1] <= fds[0] + 16, fds
    assert MINUTES < 60 or run.slope_an_hour() < SLOPE_BYTES_AN_HOUR  # a shorter run tells the noise of its own start
