#!/usr/bin/env python3
"""W1 drained from a full topic by Freshet and by Kafka Streams, hand-tuned and as its manual teaches it, turn about on one broker.

Of each: CPU seconds per million events of the process (start and end included: a JVM's start is some 3 s of it), events/s, resident
memory, bytes of its store. The hand-tuned one is asked for windows of items and creators, which must equal Freshet's.

    tests/kafka/start
    build/release/freshet bench ingest --brokers 127.0.0.1:29092 --pairs 1      # fills the topic
    tests/bench/peers/ingest.py --brokers 127.0.0.1:29092 [--events 2000000] [--dsl-events 200000] [--pairs 2]

The topic of --dsl-events is filled likewise (freshet bench ingest --events 200000). Needs a JDK (17 or later) and Maven.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent.parent
sys.path.insert(0, str(HERE.parent))

from node import Node  # noqa: E402

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "freshet-tests" / "peers"
ACTIONS = ("watches", "likes", "comments", "purchases", "watch_time")
SPANS = {"5m": 300_000, "1h": 3_600_000}
SAMPLED = 200


def build_streams():
    """The class path; jars and classes are kept in the user's cache."""
    jars, classes = CACHE / "streams-jars", CACHE / "streams-classes"
    sources = sorted((HERE / "streams").glob("*.java"))
    if not (jars / ".complete").exists():
        print("peers: fetching Kafka Streams", file=sys.stderr)
        subprocess.run(["mvn", "-q", "-B", "-f", HERE / "streams" / "pom.xml", "dependency:copy-dependencies", "-DincludeScope=runtime",
                        f"-DoutputDirectory={jars}"], check=True)
        (jars / ".complete").touch()
    shutil.rmtree(classes, ignore_errors=True)
    subprocess.run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, *sources], check=True)
    return f"{classes}:{jars}/*"


def resident(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def size(directory):
    return sum(path.stat().st_size for path in pathlib.Path(directory).rglob("*") if path.is_file())


class Streams:
    """A Kafka Streams application over the topic, until all of it is processed and flushed."""

    def __init__(self, class_path, args, topic, kind, directory):
        self.process = subprocess.Popen(
            ["java", "-Xmx2g", "-XX:+UseParallelGC", "-cp", class_path, "Main", args.brokers, topic, kind, directory,
             f"freshet-bench-{uuid.uuid4().hex[:8]}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def line(self, key):
        while True:
            text = self.process.stdout.readline()
            assert text, "the peer died"
            found = json.loads(text)
            if key in found:
                return found[key]

    def drain(self, events):
        start = time.monotonic()
        while (processed := self.line("processed")) < events:
            print(f"\r  {processed:,} of {events:,}", end="", file=sys.stderr) if sys.stderr.isatty() else None
        self.seconds = time.monotonic() - start

    def send(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def ask(self, item, span):
        self.send(f"item {item} {span}")
        return self.line("sums")

    def stop(self):
        self.process.stdin.close()
        while self.process.stdout.readline():
            pass
        self.process.wait(120)


def children():
    times = os.times()
    return times.children_user + times.children_system


def run_streams(class_path, args, topic, kind, events):
    """The figures, and what it says of some items: {(item, span): sums}."""
    with tempfile.TemporaryDirectory(prefix="freshet-streams-") as directory:
        before = children()
        peer = Streams(class_path, args, topic, kind, directory)
        peer.drain(events)
        answers = {}
        if kind == "tuned":
            peer.send(f"sample {SAMPLED}")
            answers = {(item, span): peer.ask(item, span) for item in peer.line("sample") for span in SPANS.values()}
        memory = resident(peer.process.pid)
        peer.stop()
        return figures(events, peer.seconds, children() - before, memory, directory), answers


def run_freshet(args, topic, events, answers):
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as directory:
        before, start = children(), time.monotonic()
        node = Node(str(args.binary), args.brokers, f"{directory}/state", TOP / "bench" / "w1.yaml",
                    (f"kafka.topics=[{{name: {topic}, format: protobuf}}]",))  # fmt: skip
        try:
            node.wait(events)
            seconds = time.monotonic() - start
            node.call("AdminService/Checkpoint", {})
            memory = resident(node.process.pid)
            check(node, answers)
        finally:
            node.stop()
        return figures(events, seconds, children() - before, memory, directory)


def figures(events, seconds, cpu, memory, directory):
    return {"cpu_seconds_per_million": cpu / events * 1e6, "events_per_second": events / seconds, "resident_bytes": memory,
            "store_bytes": size(directory)}  # fmt: skip


def check(node, answers):
    """What the peer said of items is what the node says; watch time in micro-units there, in float32 here."""
    names = [f"item_{action}.{window}" for window in SPANS for action in ACTIONS]
    items = sorted({item for item, _ in answers})
    reply = node.call("FeatureService/GetFeatures", {"itemIds": [str(item) for item in items], "features": names})
    for row, item in enumerate(items):
        values = reply["itemValues"][row * len(names) : (row + 1) * len(names)]
        for at, span in enumerate(SPANS.values()):
            ours = values[at * len(ACTIONS) : (at + 1) * len(ACTIONS)]
            theirs = answers[item, span]
            assert [round(value) for value in ours[:4]] == theirs[:4], (item, span, ours, theirs)
            assert abs(ours[4] - theirs[4] / 1e6) <= 1e-6 * max(1, ours[4]), (item, span, ours, theirs)


def say(name, run):
    print(f"  {name:14} {run['cpu_seconds_per_million']:8.2f} CPU s/M  {run['events_per_second']:10,.0f} events/s "
          f"{run['resident_bytes'] / 2**20:7.0f} MiB resident  {run['store_bytes'] / 2**20:6.0f} MiB on disk", file=sys.stderr)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--binary", type=pathlib.Path, default=TOP / "build" / "release" / "freshet")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--dsl-events", type=int, default=200_000, help="0: leave the DSL out")
    parser.add_argument("--pairs", type=int, default=2)
    args = parser.parse_args()
    class_path = build_streams()
    runs = {"freshet": [], "streams_tuned": [], "streams_dsl": []}
    for _ in range(args.pairs):
        topic = f"freshet.bench.w1.{args.events}"
        tuned, answers = run_streams(class_path, args, topic, "tuned", args.events)
        say("streams tuned", tuned)
        ours = run_freshet(args, topic, args.events, answers)
        say("freshet", ours)
        runs["streams_tuned"].append(tuned)
        runs["freshet"].append(ours)
        if args.dsl_events:
            dsl, _ = run_streams(class_path, args, f"freshet.bench.w1.{args.dsl_events}", "dsl", args.dsl_events)
            say("streams DSL", dsl)
            runs["streams_dsl"].append(dsl)

    def median(name):
        return statistics.median(run["cpu_seconds_per_million"] for run in runs[name]) if runs[name] else None

    peers = {name: median(name) for name in ("streams_tuned", "streams_dsl") if runs[name]}
    ratios = {name: statistics.median(a["cpu_seconds_per_million"] / b["cpu_seconds_per_million"]
                                      for a, b in zip(runs["freshet"], runs[name])) for name in peers}  # fmt: skip
    print(json.dumps({"name": "ingest", "unit": "CPU seconds per million events", "ours": median("freshet"), "peers": peers,
                      "ratio": ratios, "pairs": args.pairs, "items_checked": SAMPLED, "runs": runs}))  # fmt: skip


if __name__ == "__main__":
    main()
