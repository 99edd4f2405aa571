"""
An hour of events and reads at 70 % of a node's share of a core, with a node that is killed again and again, one beside it on the same topic
that nothing happens to, and a restart of the broker below both. Both end with the digest of a replay; memory and descriptors of the
undisturbed one stay flat. Time of events runs so fast that every window and every retention is full before that is looked at, and what
there is of users, items and pairs stays the same: what grows then is a leak.

FRESHET_SOAK_MINUTES (60), FRESHET_SOAK_WARM_UP (minutes before these), FRESHET_SOAK_RATE (events a second), FRESHET_SOAK_CORES (each node's
share), FRESHET_SOAK_DIR (where the picture and the samples go), FRESHET_SOAK_MALLOC (MALLOC_CONF of the nodes).
"""

import json
import os
import pathlib
import random
import statistics
import time

import pytest

import kafka
import settings
import soak
from broker import Broker
from node import run_cli, wait_for

MINUTES = float(os.environ.get("FRESHET_SOAK_MINUTES", "60"))
RATE = int(os.environ.get("FRESHET_SOAK_RATE", "1000"))
CORES = float(os.environ.get("FRESHET_SOAK_CORES", "0.4"))
LOAD = 0.7
SPEED = 1500  # of events' time: the longest window, 7 days, takes 7 minutes
WARM_UP_S = 60 * float(os.environ.get("FRESHET_SOAK_WARM_UP", MINUTES / 6))
START_MS = 1_700_000_040_000
CATCH_UP_S = 1800
SLOPE_BYTES_AN_HOUR = 1 << 20
# Freed pages go back to the kernel at once, and none is a huge one: then what is resident is what is in use. As shipped, it is that and what
# was freed in the last ten seconds: twice as much here, and by 15 MiB more or less from one quarter of an hour to the next.
MALLOC = os.environ.get("FRESHET_SOAK_MALLOC", "thp:default,dirty_decay_ms:0,muzzy_decay_ms:0")
MEMORY = {"resident": "resident", "active_memory_bytes": "active", "allocated_memory_bytes": "allocated"}


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path / "broker").start()
    yield made
    made.stop(WIPE="1")


def configuration(brokers, topic):
    """Every aggregate, and less memory than the state takes."""
    made = settings.configuration(brokers, topic, catalogue=settings.every_kind())
    for entity in made["entities"].values():
        entity.setdefault("retention", "7d")
    made["store"]["memory"] = "16MiB"
    return made


class Soak:
    def __init__(self, make_node, broker, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.broker, self.topic = broker, kafka.new_topic(broker.address)
        made = configuration(broker.address, self.topic)
        self.nodes = {name: make_node(made, name) for name in ("steady", "killed")}
        for node in self.nodes.values():
            node.environment = {"MALLOC_CONF": MALLOC} if MALLOC else {}
        self.shares = {name: soak.Share(name, CORES) for name in self.nodes}
        self.samples = {name: soak.Samples(directory / f"{name}.jsonl") for name in self.nodes}
        self.marks, self.ready_s, self.seconds = [], [], WARM_UP_S + MINUTES * 60

    def begin(self, name):
        node = self.nodes[name]
        node.spawn(preexec_fn=self.shares[name].enter)
        node.first_line(node.process.stdout.readline())

    def now(self):
        return time.monotonic() - self.start

    def sample(self):
        for name, node in self.nodes.items():
            self.samples[name].take(self.now(), node)

    def kill(self):
        """And until it is ready again, at its share of a core."""
        node = self.nodes["killed"]
        self.marks.append((self.now(), "kill"))
        node.kill()
        start = time.monotonic()
        self.begin("killed")
        wait_for(node.is_ready, lambda: f"ready again: {node.ready_page()}, {node.log()[-2000:]}")
        self.ready_s.append(time.monotonic() - start)

    def restart_broker(self):
        self.marks.append((self.now(), "broker restarted"))
        self.broker.stop()
        self.broker.start()

    def run(self):
        dice = random.Random(os.environ.get("FRESHET_SEED", "5"))
        for name in self.nodes:
            self.begin(name)
        self.start = time.monotonic()
        loader = soak.Loader(self.broker.address, self.topic, soak.World(START_MS, RATE, SPEED, 1), RATE, self.seconds)
        readers = [soak.Reader(node, LOAD * CORES, seed) for seed, node in enumerate(self.nodes.values())]
        workers = [loader, *readers]
        for worker in workers:
            worker.start()
        try:
            self.disturb(dice)
        finally:
            for worker in workers:
                worker.is_done.set()
        for worker in workers:
            worker.join()
        return readers[0].reads

    def disturb(self, dice):
        kill_at, restart_at, at = 20.0, self.seconds / 2, 0.0
        while self.now() < self.seconds:
            self.sample()
            if self.now() >= kill_at:
                self.kill()
                kill_at = self.now() + dice.uniform(10, 60)
            if self.now() >= restart_at:
                self.restart_broker()
                restart_at = float("inf")
            at = max(at + 1.0, self.now())
            time.sleep(max(0.0, at - self.now()))  # a clock, not a wait for something

    def catch_up(self):
        count = soak.produced(self.broker.address, self.topic)
        for node in self.nodes.values():
            node.wait_applied(count, CATCH_UP_S)
        return count

    def memory(self):
        """Of each kind: each minute's, and its slope in bytes an hour, with between which two it is."""
        found = {}
        for column, name in MEMORY.items():
            points = soak.floors(self.samples["steady"].column(column, WARM_UP_S))
            found[name] = points, [3600 * one for one in soak.slope_between(points)]
        return found

    def entities(self):
        """The least and the most there were after the warm-up."""
        column = [y for _, y in self.samples["steady"].column("state_entities", WARM_UP_S)]
        return min(column), max(column)

    def descriptors(self):
        """In the first half after the warm-up and in the second: usually, and at most (each file of the store that is open is one)."""
        column = [y for _, y in self.samples["steady"].column("descriptors", WARM_UP_S)]
        halves = column[: len(column) // 2], column[len(column) // 2 :]
        return [(statistics.median(half), max(half)) for half in halves]

    def told(self, reads):
        ready, fds, entities = sorted(self.ready_s), self.descriptors(), self.entities()
        memory = "; ".join(
            f"{name} {points[0][1] / 1048576:.2f} to {points[-1][1] / 1048576:.2f} MiB, {slopes[0] / 1024:+.0f} KiB/h "
            f"({slopes[1] / 1024:+.0f} to {slopes[2] / 1024:+.0f})"
            for name, (points, slopes) in self.memory().items()
        )
        return (
            f"{MINUTES:g} min after {WARM_UP_S / 60:g}, {RATE} events/s, {reads / self.seconds:.0f} reads/s; a node has {CORES:g} core "
            f"({self.shares['steady'].told()}) and used {self.samples['steady'].cores(WARM_UP_S):.3f}; {len(ready)} kills, ready again "
            f"p50 {ready[len(ready) // 2]:.2f} s, worst {ready[-1]:.2f} s; {entities[0]:.0f} to {entities[1]:.0f} entities; "
            f"memory: {memory}; descriptors {fds[0][0]:.0f}, at most {fds[0][1]}; in the second half {fds[1][0]:.0f}, at most {fds[1][1]}"
        )


def keep(run, told, directory):
    picture = soak.picture(run.samples["steady"], run.samples["killed"], run.marks, run.seconds, told)
    directory.joinpath("soak.svg").write_text(picture)


def check_digests(run, binary, tmp_path):
    steady, killed = run.nodes.values()
    digest = steady.digest()
    assert killed.digest() == digest
    done = run_cli(binary, "replay", "--config", steady.file, "--state", tmp_path / "replayed", "--json", "--digest", timeout_s=CATCH_UP_S)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == digest


def test_a_leak_is_told_from_epochs_and_compactions():
    """An hour of samples: epochs, compactions now and then, a level that wanders; and the same with 2 MiB more at its end."""
    dice, level, samples = random.Random(3), 0.0, []
    for at_s in range(3600):
        level = 0.995 * level + dice.gauss(0, 0.01)
        samples.append((at_s, 32 + level + (dice.random() < 0.3) * dice.uniform(0, 4) + (at_s % 400 < 8) * 20))
    for leak, is_shown in ((0, False), (2, True)):
        _, least, most = soak.slope_between(soak.floors([(at_s, mib + leak * at_s / 3600) for at_s, mib in samples]), rounds=100)
        assert (3600 * most < 1) != is_shown and (3600 * least > 0) == is_shown, (3600 * least, 3600 * most)


@pytest.mark.long
def test_an_hour_changes_nothing_and_takes_no_memory(make_node, binary, broker, tmp_path):
    directory = pathlib.Path(os.environ.get("FRESHET_SOAK_DIR", tmp_path))
    run = Soak(make_node, broker, directory)
    told = run.told(run.run())
    print(told, flush=True)
    keep(run, told, directory)
    print(f"{run.catch_up()} events applied by both", flush=True)
    check_digests(run, binary, tmp_path)
    print("the digests of both and of a replay are equal", flush=True)
    for node, share in zip(run.nodes.values(), run.shares.values()):
        node.kill()
        share.close()
    first, second = run.descriptors()
    assert second[0] <= first[0] + 2 and second[1] <= first[1] + 8, (first, second)
    if MINUTES >= 60:  # a shorter run tells the noise of its own start
        slopes = {name: slopes for name, (_, slopes) in run.memory().items()}
        assert slopes["resident"][2] < SLOPE_BYTES_AN_HOUR, slopes  # with 95 %
        assert max(steep for steep, _, _ in slopes.values()) < SLOPE_BYTES_AN_HOUR, slopes
