"""Real instances on a real broker, with a workload whose counts are known, and what kernel and nodes say of a stretch of time."""

import http.client
import itertools
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests" / "bench"))

from node import Node, cpu_seconds  # noqa: E402

PARTITIONS, EXPONENT, DEPTH, CREATORS_PER_ITEM = 8, 1.05, 16, 0.1
HEARTBEAT_MS, SESSION_MS = 450, 10_000  # sent every half second, by all members at once: group.py says why
ACTIONS = (("watch", 80), ("like", 14), ("comment", 5), ("purchase", 1))
COUNTERS = {
    "transactions": "freshet_cluster_transactions_total", "copies": "freshet_cluster_copies_total",
    "deltas": "freshet_cluster_deltas_total", "merged": "freshet_cluster_merged_total", "restored": "freshet_cluster_restored_total",
    "epoch_seconds": "freshet_epoch_seconds_sum", "epochs": "freshet_epoch_seconds_count",
    "entities": "freshet_state_table_entities", "memory": "freshet_state_bytes",
}  # fmt: skip
LINE = '{"event_id":%d,"ts_ms":%d,"user_id":%d,"item_id":%d,"creator_id":%d,"action":"%s","value":%g}\n'
SERIAL = itertools.count(1)  # ids are new in each file, or they were duplicates


class Shape:
    """A configuration: what is drawn from, and how the nodes are set."""

    def __init__(self, users, items, epoch_ms):
        self.users, self.items, self.epoch_ms = users, items, epoch_ms
        self.creators = max(1, int(items * CREATORS_PER_ITEM))

    def told(self):
        return {"users": self.users, "items": self.items, "creators": self.creators, "epoch_ms": self.epoch_ms}


def zipf(dice, count):
    """Draws of 1 … count, the nth as likely as 1/n^EXPONENT."""
    weights = list(itertools.accumulate(1 / n**EXPONENT for n in range(1, count + 1)))
    while True:
        yield from dice.choices(range(1, count + 1), cum_weights=weights, k=10_000)


def write(path, shape, users, seconds, seed):
    """Events of these users, as old as they will be when they are produced evenly over so many seconds from now on."""
    dice = random.Random(seed)
    items, actions = zipf(dice, shape.items), dice.choices(*zip(*ACTIONS), k=len(users))
    begin = int(time.time() * 1000)
    with open(path, "w") as file:
        file.writelines(
            LINE % (next(SERIAL), begin + int(number * seconds * 1000 / len(users)), user, item, item % shape.creators + 1, action, 7.25)
            for number, (user, item, action) in enumerate(zip(users, items, actions))
        )


def wire_bytes(pids, port):
    """(sent, received) over the connections to brokers that these processes have now."""
    told = subprocess.run(["ss", "-tinpHO"], stdout=subprocess.PIPE, text=True, check=True).stdout
    sent = received = 0
    for line in told.splitlines():
        owner = re.search(r"pid=(\d+),", line)
        if owner and int(owner[1]) in pids and line.split()[4].endswith(f":{port}"):
            sent += sum(map(int, re.findall(r"bytes_sent:(\d+)", line)))
            received += sum(map(int, re.findall(r"bytes_received:(\d+)", line)))
    return sent, received


def busy_cores(seconds=1.5):
    """How many cores others keep busy, before anything here is started."""
    def read():
        numbers = list(map(int, open("/proc/stat").readline().split()[1:9]))
        return sum(numbers) - numbers[3] - numbers[4], sum(numbers)

    (busy, whole), _ = read(), time.sleep(seconds)
    now_busy, now = read()
    return round((now_busy - busy) / max(now - whole, 1) * os.cpu_count(), 2)


class Fleet:
    """Instances of one cluster, or with `is_cluster` false one node that stands alone."""

    def __init__(self, args, shape, is_cluster=True):
        self.args, self.shape, self.is_cluster = args, shape, is_cluster
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sim."))
        self.topic = f"sim.{uuid.uuid4().hex[:8]}"
        self.nodes, self.leaving, self.ended = [], [], []
        self.produced, self.made, self.copies_gone = 0, 0, 0.0
        self.produce("/dev/null")

    def __enter__(self):
        return self

    def tell_logs(self):
        for file in sorted(self.directory.glob("*.log")):
            print(f"---- {file.name}", *file.read_text().splitlines()[-20:], sep="\n", file=sys.stderr)

    def __exit__(self, kind, *_):
        if kind:
            self.tell_logs()
        for node in self.nodes + self.leaving:
            node.process.terminate()
        for node in self.nodes + self.leaving + self.ended:
            node.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def produce(self, file, *more, is_waiting=True):
        command = [f"{self.args.build}/freshet", "produce", "--brokers", self.args.brokers, "--topic", self.topic, "--format", "jsonl"]
        command += ["--partitions", str(PARTITIONS), *more, str(file)]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet)
        if is_waiting and process.wait() != 0:
            sys.exit(f"sim: {' '.join(command)} failed; it says why when it is run by hand")
        return process

    def configure(self, name):
        text = (TOP / "bench" / "w1.yaml").read_text().replace("limit: 50", f"limit: {DEPTH}")
        mode = f"mode: cluster, id: {name}" if self.is_cluster else "mode: standalone"
        text = text.replace("node: { clock: event, lanes: 1 }", f"node: {{ lanes: 1, {mode}, dedupe: {{ ids: {DEPTH}, horizon: 1h }} }}")
        text = text.replace("name: w1,", f"name: {self.topic},").replace("w1.dead", f"{self.topic}.dead")
        properties = f"  properties: {{ session.timeout.ms: {SESSION_MS}, heartbeat.interval.ms: {HEARTBEAT_MS} }}\n"
        text = text.replace("kafka:\n", f"kafka:\n  group: g.{self.topic}\n{properties if self.is_cluster else ''}", 1)
        file = self.directory / f"{name}.yaml"
        file.write_text(text)
        return str(file)

    def start(self, name):
        settings = (f"store.epoch={self.shape.epoch_ms}ms",)
        with open(self.directory / f"{name}.log", "w") as log:
            return Node(f"{self.args.build}/freshet", self.args.brokers, str(self.directory / name), self.configure(name), settings, log)

    def add(self):
        """One more instance, which has its share when this returns."""
        self.made += 1
        self.nodes.append(self.start(f"i{self.made:02}"))
        self.wait_shared()

    def names(self):
        return [f"i{self.made - back:02}" for back in reversed(range(len(self.nodes)))]

    def drain(self):
        """The oldest goes; the others have its share when this returns. It is refused until it knows of another, which an epoch tells it."""
        self.leaving = [self.nodes.pop(0)]
        while "code" in self.leaving[0].call("AdminService/Drain", {}):
            time.sleep(0.05)
        self.wait_shared()

    def end_drained(self):
        node = self.leaving.pop()
        self.copies_gone += metrics(node).get(COUNTERS["copies"], 0.0)
        node.process.terminate()
        self.ended.append(node)

    def owned(self, node):
        return [one.get("partition", 0) for one in node.call("AdminService/Cluster", {}).get("partitions", ()) if one.get("here")]

    def wait_shared(self):
        end = time.monotonic() + 120
        while self.is_cluster and (
            sorted(itertools.chain(*map(self.owned, self.nodes))) != list(range(PARTITIONS)) or not all(map(self.owned, self.nodes))
        ):
            if time.monotonic() > end:
                sys.exit("sim: the instances did not share the partitions within two minutes; what they logged last is told with this")
            time.sleep(0.05)

    def offsets(self):
        """By partition, how far anybody has applied it."""
        found = [0] * PARTITIONS
        for node in list(self.nodes):
            for one in node.call("AdminService/Status", {}).get("partitions", ()):
                number = one.get("partition", 0)
                found[number] = max(found[number], int(one.get("nextOffset", 0)))
        return found

    def wait_applied(self):
        while sum(self.offsets()) < self.produced:
            time.sleep(0.05)

    def settle(self):
        """Until what was applied is durable, told and merged: nothing is counted any more. Seldom asked, since to answer takes CPU that is counted."""
        last = None
        while (found := [self.sample()[name] for name in ("copies", "deltas", "merged")]) != last:
            last = found
            time.sleep(0.3 + 1.5 * self.shape.epoch_ms / 1000)

    def sample(self):
        """Totals of all nodes so far."""
        total = dict.fromkeys(COUNTERS, 0.0)
        pids = {node.process.pid for node in self.nodes}
        for node in self.nodes:
            told = metrics(node)
            for name, metric in COUNTERS.items():
                total[name] += told.get(metric, 0.0)
        total["cpu"] = sum(map(cpu_seconds, pids))
        total["sent"], total["received"] = wire_bytes(pids, self.args.brokers.rsplit(":", 1)[1])
        total["at"] = time.monotonic()
        return total

    def fill(self):
        """As many events of every user as his entity keeps, so that it is as large as it gets."""
        users = [user for _ in range(DEPTH) for user in range(1, self.shape.users + 1)]
        self.give(users, 1)
        self.wait_applied()
        self.settle()

    def give(self, users, seconds, *more, is_waiting=True):
        path = self.directory / "events.jsonl"
        write(path, self.shape, users, seconds, seed=self.produced + 1)
        self.produced += len(users)
        return self.produce(path, *more, is_waiting=is_waiting)

    def window(self, rate, seconds):
        """What `seconds` of events at `rate`, or of none, took until everybody had merged them."""
        before = self.sample()
        if rate:
            users = list(itertools.islice(zipf(random.Random(self.produced), self.shape.users), int(rate * seconds)))
            before = self.sample()
            self.give(users, seconds, "--rate", str(rate))
            self.wait_applied()
            self.settle()
        else:
            time.sleep(seconds)
        after = self.sample()
        row = {name: after[name] - before[name] for name in after if name not in ("entities", "memory")}
        row["seconds"] = row.pop("at")
        row.update(instances=len(self.nodes), rate=rate, events=int(rate * seconds), loaded_seconds=seconds if rate else 0)
        return {name: round(number, 4) for name, number in row.items()}


def metrics(node):
    """By name, added up over labels."""
    connection = http.client.HTTPConnection(node.addresses["operations"], timeout=60)
    connection.request("GET", "/metrics")
    found = {}
    for line in connection.getresponse().read().decode().splitlines():
        if not line.startswith("#"):
            name, number = line.rsplit(" ", 1)
            found[name.split("{")[0]] = found.get(name.split("{")[0], 0.0) + float(number)
    return found
