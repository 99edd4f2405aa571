"""What a long run is made of: a share of a core for a node, events that leave state as large as it is, samples of a process, and a picture."""

import html
import json
import os
import pathlib
import random
import re
import statistics
import threading
import time

from confluent_kafka import Producer

import kafka
import node as node_module
from freshet.v1 import event_pb2, feature_pb2

TICK_S = 0.02
GAUGE = re.compile(r"^(freshet_\w+(?<!_total)) (\S+)$", re.MULTILINE)
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 150, 70, 30, 45


class Share:
    """A share of one core for a node, as a control group of its own (v2 or v1); where there can be none, the node is only watched."""

    PERIOD_US = 100_000
    ROOT = pathlib.Path("/sys/fs/cgroup")

    def __init__(self, name, cores):
        self.directory, quota_us = None, int(cores * self.PERIOD_US)
        for parent, settings in (
            (self.ROOT / "cpu", {"cpu.cfs_period_us": self.PERIOD_US, "cpu.cfs_quota_us": quota_us, "cpu.shares": 256}),
            (self.ROOT, {"cpu.max": f"{quota_us} {self.PERIOD_US}", "cpu.weight": 25}),
        ):
            made = parent / f"freshet-soak-{name}-{os.getpid()}"
            try:
                made.mkdir()
            except OSError:
                continue
            try:
                for file, value in settings.items():
                    (made / file).write_text(str(value))
                self.directory = made
                return
            except OSError:
                made.rmdir()

    def enter(self):
        """Of the process that calls it, and all that it becomes."""
        if self.directory:
            (self.directory / "cgroup.procs").write_text(str(os.getpid()))

    def told(self):
        return "enforced" if self.directory else "watched only: no control group may be made here"

    def close(self):
        if self.directory:
            self.directory.rmdir()


class Samples:
    """
    What one process is at so many seconds since the start: resident bytes, those of them that are anonymous and on huge pages, descriptors,
    CPU seconds; and each gauge of its page of metrics that has no labels. Each is kept in `file` at once, a line of JSON.
    """

    def __init__(self, file=None):
        self.rows, self.file = [], file and open(file, "w", buffering=1)

    def take(self, at_s, node):
        of_process = pathlib.Path(f"/proc/{node.process.pid}")
        kib = {}
        for name in ("status", "smaps_rollup"):
            for line in of_process.joinpath(name).read_text().splitlines():
                key, _, value = line.partition(":")
                kib[key] = value.split()[:1]
        row = {name: int(kib[key][0]) << 10 for name, key in (("resident", "VmRSS"), ("anonymous", "RssAnon"), ("huge", "AnonHugePages"))}
        row |= {"at": at_s, "descriptors": len(list(of_process.joinpath("fd").iterdir())), "cpu": cpu_s(node)}
        row |= {name.removeprefix("freshet_"): float(value) for name, value in GAUGE.findall(node.page("/metrics")[2].decode())}
        self.rows.append(row)
        if self.file:
            self.file.write(json.dumps(row) + "\n")

    def column(self, name, after_s=0.0):
        return [(row["at"], row[name]) for row in self.rows if row["at"] >= after_s]

    def cores(self, after_s):
        """How much of a core it used since then."""
        column = self.column("cpu", after_s)
        return (column[-1][1] - column[0][1]) / (column[-1][0] - column[0][0])


def cpu_s(node):
    """What its process used so far."""
    fields = pathlib.Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def floors(points):
    """
    One point a minute: what is there nine tenths of its time. An epoch and a compaction take memory and give it back; what somebody keeps
    is there between them, too.
    """
    minutes = {}
    for at_s, value in points:
        minutes.setdefault(at_s // 60, []).append(value)
    return [(minute * 60, sorted(values)[len(values) // 10]) for minute, values in minutes.items()]


def slope(points):
    """Theil and Sen's, units a second: the median of the slopes between any two, which no single step or spike moves."""
    slopes = [(y2 - y1) / (x2 - x1) for at, (x1, y1) in enumerate(points) for x2, y2 in points[at + 1 :]]
    return statistics.median(slopes) if slopes else 0.0


def slope_between(points, block=10, rounds=500):
    """
    The slope, and between which two it is with 95 %: of what the points are beside the line, blocks of ten in a row (neighbours are alike)
    are put on it again in random order, and each time the slope is taken anew.
    """
    steep, dice, found = slope(points), random.Random(1), []
    rest = [y - steep * x for x, y in points]
    for _ in range(rounds):
        starts = (dice.randrange(len(rest)) for _ in range(0, len(rest), block))
        drawn = [rest[(start + at) % len(rest)] for start in starts for at in range(block)]
        found.append(slope([(x, steep * x + one) for (x, _), one in zip(points, drawn)]))
    found.sort()
    return steep, found[rounds // 40], found[-1 - rounds // 40]


# ---- What the nodes have to do ----


class World:
    """Users, items, rooms, creators and categories that are always the same, and so are the pairs that can meet."""

    USERS, ITEMS, CREATORS, ROOMS, CATEGORIES, EACH = 2000, 1000, 100, 50, 20, 12
    ACTIONS = [event_pb2.Action.Value(name) for name in
               ("IMPRESSION", "CLICK", "WATCH", "LIKE", "COMMENT", "GIFT", "FOLLOW", "ADD_TO_CART", "PURCHASE")]  # fmt: skip
    LATE_MS, AGAIN = 60_000, 0.03

    def __init__(self, start_ms, rate, speed, seed):
        self.dice, self.start_ms, self.step_ms = random.Random(seed), start_ms, 1000 * speed / rate
        self.count, self.latest = 0, []

    def next(self):
        """(key, value) of one more event; some come again."""
        dice, number = self.dice, self.count
        self.count += 1
        if self.latest and dice.random() < self.AGAIN:
            return dice.choice(self.latest)
        user = dice.randrange(1, self.USERS + 1)
        item = (user * 37 + int(dice.random() ** 2 * self.EACH) * 83) % self.ITEMS + 1
        event = event_pb2.Event(
            event_id=number + 1, ts_ms=int(self.start_ms + number * self.step_ms) - dice.randrange(self.LATE_MS), user_id=user,
            item_id=item, creator_id=item % self.CREATORS + 1, room_id=item % self.ROOMS + 1, category_id=item % self.CATEGORIES + 1,
            action=dice.choice(self.ACTIONS), value=dice.randrange(400) / 4, duration_s=50,
        )  # fmt: skip
        record = str(user).encode(), event.SerializeToString()
        self.latest = [*self.latest[-50:], record]
        return record


class Loader(threading.Thread):
    """So many events a second into the topic; what a broker that is away did not take waits here."""

    def __init__(self, brokers, topic, world, rate, seconds):
        super().__init__(daemon=True)
        self.topic, self.world, self.rate, self.seconds = topic, world, rate, seconds
        self.is_done = threading.Event()
        self.producer = Producer({
            "bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000,
            "partitioner": "murmur2_random", "log_level": 0,
        })  # fmt: skip

    def run(self):
        start = time.monotonic()
        while (now_s := time.monotonic() - start) < self.seconds and not self.is_done.wait(TICK_S):
            while self.world.count < now_s * self.rate:
                key, value = self.world.next()
                self.producer.produce(self.topic, value, key)
            self.producer.poll(0)
        assert self.producer.flush(120) == 0


class Reader(threading.Thread):
    """Asks a node as often as makes it use `cores`: more or less of it every few seconds. A node that is killed meanwhile is asked again."""

    REQUESTS, LIST, ADJUST_S, PAUSE_MOST_S = 8, 20, 5, 1.0

    def __init__(self, node, cores, seed):
        super().__init__(daemon=True)
        self.node, self.cores, self.dice = node, cores, random.Random(seed)
        self.pause_s, self.reads, self.is_done = 0.1, 0, threading.Event()
        self.pipeline = self.asked = None  # and whom it leads to

    def run(self):
        taken = time.monotonic(), self.used_s()
        while not self.is_done.wait(self.pause_s):
            try:
                self.ask()
            except (OSError, AssertionError):
                self.asked = None
            if time.monotonic() - taken[0] >= self.ADJUST_S:
                now = time.monotonic(), self.used_s()
                used = (now[1] - taken[1]) / (now[0] - taken[0])
                if used > 0:  # less than before: another process
                    self.pause_s = min(self.PAUSE_MOST_S, max(0.001, self.pause_s * min(1.5, max(0.7, used / self.cores))))
                taken = now

    def used_s(self):
        try:
            return cpu_s(self.node)
        except (OSError, AttributeError):
            return 0.0

    def ask(self):
        dice = self.dice
        if self.asked != self.node.api:
            if self.pipeline:
                self.pipeline.close()
            self.pipeline, self.asked = node_module.Pipeline(self.node.api), self.node.api
        requests = [
            feature_pb2.GetFeaturesRequest(
                user_id=dice.randrange(1, World.USERS + 1), item_ids=[dice.randrange(1, World.ITEMS + 1) for _ in range(self.LIST)]
            )
            for _ in range(self.REQUESTS)
        ]
        self.reads += sum(1 for _ in self.pipeline.get_features(requests))


def produced(brokers, topic):
    return sum(high for _, high in kafka.watermarks(brokers, topic))


# ---- The picture ----

PANELS = [
    ("resident", "resident memory, MiB", 1 << 20),
    ("active_memory_bytes", "pages with something allocated, MiB", 1 << 20),
    ("allocated_memory_bytes", "allocated memory, MiB", 1 << 20),
    ("descriptors", "file descriptors", 1),
    ("lag_events", "lag, events", 1),
]


def panel(title, top, lines, end_s):
    most = max((y for _, points in lines for _, y in points), default=0) or 1
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{html.escape(title)}</text>'
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
    yield f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>'
    yield f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
    for (name, points), colour in zip(lines, ("#0a58ca", "#c2410c")):
        path = " ".join(f"{LEFT + x / end_s * WIDTH:.1f},{top + HEIGHT - y / most * HEIGHT:.1f}" for x, y in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}"><title>{html.escape(name)}</title></polyline>'


def picture(steady, killed, marks, end_s, caption):
    """SVG: memory, descriptors and lag of both nodes over time; `marks` are (seconds, what)."""
    drawn = []
    for number, (column, title, scale) in enumerate(PANELS):
        lines = [(name, [(x, y / scale) for x, y in one.column(column)]) for name, one in (("steady", steady), ("killed", killed))]
        drawn += panel(title, TOP + number * (HEIGHT + GAP), lines, end_s)
    bottom = TOP + len(PANELS) * (HEIGHT + GAP) - GAP
    for at_s, what in marks:
        x = LEFT + at_s / end_s * WIDTH
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="#bbb" stroke-dasharray="2,3"/>')
        if what != "kill":
            drawn.append(f'<text x="{x:.1f}" y="{bottom + 14}">{html.escape(what)}</text>')
    drawn.append(f'<text x="{LEFT}" y="{bottom + 34}">{html.escape(caption)}</text>')
    size = f'width="{WIDTH + LEFT + 20}" height="{bottom + 50}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n' + "\n".join(drawn) + "\n</svg>\n"
