#!/usr/bin/env python3
"""W1 drained from a full topic by Freshet, by Flink and by Kafka Streams, hand-tuned and as its manual teaches it, turn about on one broker.

Of each: CPU seconds per million events of the process, start and end included (a JVM's start is 3 to 20 s of it, of the DSL's many stores
more), and of the last three quarters of the events alone; events/s, resident memory, bytes of its store. Those that are tuned by hand are
asked for windows of items, which must equal Freshet's.

    tests/kafka/start
    build/release/freshet bench ingest --brokers 127.0.0.1:29092 --pairs 1      # fills the topic
    tests/bench/peers/ingest.py --brokers 127.0.0.1:29092 [--events 2000000] [--peers flink,tuned,dsl] [--dsl-events 200000] [--pairs 2]

The topic of --dsl-events is filled likewise (freshet bench ingest --events 200000). Needs a JDK (17 or later) and Maven.
"""
import argparse
import pathlib
import sys
import tempfile
import time
import uuid

import beside
from beside import TOP, Node

ACTIONS = ("watches", "likes", "comments", "purchases", "watch_time")
SPANS = {"5m": 300_000, "1h": 3_600_000}
SAMPLED = 200
NAMES = {"tuned": "streams_tuned", "dsl": "streams_dsl", "flink": "flink"}


def start(kind, class_path, args, topic, directory):
    group = f"freshet-bench-{uuid.uuid4().hex[:8]}"
    if kind == "flink":
        return beside.Jvm(class_path, args.brokers, topic, directory, group)
    return beside.Jvm(class_path, args.brokers, topic, kind, directory, group)


def run_peer(kind, class_path, args, topic, events):
    """The figures, and what it says of some items: {(item, span): sums}."""
    with tempfile.TemporaryDirectory(prefix="freshet-peer-") as directory:
        before, begin = beside.children(), time.monotonic()
        peer = start(kind, class_path, args, topic, directory)
        late = late_cpu(peer.process.pid, peer.wait(events), events)
        seconds = time.monotonic() - begin
        answers = {}
        if kind != "dsl":
            items = peer.ask(f"sample {SAMPLED}", "sample")
            answers = {(item, span): peer.ask(f"item {item} {span}", "sums") for item in items for span in SPANS.values()}
        resident = beside.memory(peer.process.pid, "VmHWM")
        peer.stop()
        # What Flink leaves is its last checkpoint: the cluster's own copies are not counted.
        store = pathlib.Path(directory, "checkpoints") if kind == "flink" else directory
        return figures(events, seconds, beside.children() - before, late, resident, store), answers


def run_freshet(args, topic, events, answers):
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as directory:
        before, begin = beside.children(), time.monotonic()
        node = Node(str(args.binary), args.brokers, f"{directory}/state", TOP / "bench" / "w1.yaml",
                    (f"kafka.topics=[{{name: {topic}, format: protobuf}}]",))  # fmt: skip
        try:
            late = late_cpu(node.process.pid, applied(node, events), events)
            seconds = time.monotonic() - begin
            node.call("AdminService/Checkpoint", {})
            resident = beside.memory(node.process.pid, "VmHWM")
            for those in answers:
                check(node, those)
        finally:
            node.stop()
        return figures(events, seconds, beside.children() - before, late, resident, directory)


def applied(node, events):
    """How many it has applied, until these are."""
    while (count := int(node.call("AdminService/Status", {})["appliedEvents"])) < events:
        yield count
        time.sleep(0.02)
    node.wait(events)
    yield events


def late_cpu(pid, counts, events):
    """CPU seconds per million of the later three quarters: without the start, and with most of what is to be compiled compiled."""
    begun = None
    for count in counts:
        if begun is None and count >= events / 4:
            begun = count, beside.tree_cpu(pid)
    count, cpu = begun
    return (beside.tree_cpu(pid) - cpu) / (events - count) * 1e6 if count < events else None


def figures(events, seconds, cpu, late, resident, directory):
    return {"cpu_seconds_per_million": cpu / events * 1e6, "late_cpu_seconds_per_million": late,
            "events_per_second": events / seconds, "resident_bytes": resident, "store_bytes": beside.size(directory)}  # fmt: skip


def check(node, answers):
    """What a peer said of items is what the node says; watch time in micro-units there, in float32 here."""
    names = [f"item_{action}.{window}" for window in SPANS for action in ACTIONS]
    items = sorted({item for item, _ in answers})
    assert len(items) == SAMPLED
    reply = node.call("FeatureService/GetFeatures", {"itemIds": [str(item) for item in items], "features": names})
    assert any(reply["itemValues"])
    for row, item in enumerate(items):
        values = reply["itemValues"][row * len(names) : (row + 1) * len(names)]
        for at, span in enumerate(SPANS.values()):
            ours = values[at * len(ACTIONS) : (at + 1) * len(ACTIONS)]
            theirs = answers[item, span]
            assert [round(value) for value in ours[:4]] == theirs[:4], (item, span, ours, theirs)
            assert abs(ours[4] - theirs[4] / 1e6) <= 1e-6 * max(1, ours[4]), (item, span, ours, theirs)


def say(name, run):
    late = run["late_cpu_seconds_per_million"] or float("nan")  # it was through before anybody looked
    print(f"  {name:14} {run['cpu_seconds_per_million']:8.2f} CPU s/M ({late:.2f} late)  {run['events_per_second']:10,.0f} events/s "
          f"{run['resident_bytes'] / 2**20:7.0f} MiB resident  {run['store_bytes'] / 2**20:6.0f} MiB on disk", file=sys.stderr)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--binary", type=pathlib.Path, default=TOP / "build" / "release" / "freshet")
    parser.add_argument("--peers", default="flink,tuned,dsl", help="whom, of these")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--dsl-events", type=int, default=200_000, help="of the DSL, which is slow; 0: leave it out")
    parser.add_argument("--pairs", type=int, default=2)
    args = parser.parse_args()
    kinds = [kind for kind in args.peers.split(",") if kind != "dsl" or args.dsl_events]
    paths = {kind: beside.install("flink" if kind == "flink" else "streams") for kind in kinds}
    runs = {"freshet": [], **{NAMES[kind]: [] for kind in kinds}}
    for _ in range(args.pairs):
        answers = []
        for kind in kinds:
            events = args.dsl_events if kind == "dsl" else args.events
            run, said = run_peer(kind, paths[kind], args, f"freshet.bench.w1.{events}", events)
            say(NAMES[kind], run)
            runs[NAMES[kind]].append(run)
            answers += [said] if said else []
        ours = run_freshet(args, f"freshet.bench.w1.{args.events}", args.events, answers)
        say("freshet", ours)
        runs["freshet"].append(ours)
    jars = {"flink": "flink-runtime", "tuned": "kafka-streams", "dsl": "kafka-streams"}
    versions = {"freshet": beside.freshet_version(args.binary), "java": beside.java_version(),
                **{jars[kind]: beside.version_of(paths[kind], jars[kind]) for kind in kinds}}  # fmt: skip
    is_late = all(run["late_cpu_seconds_per_million"] for those in runs.values() for run in those)
    beside.tell("ingest", "CPU seconds per million events", runs, "cpu_seconds_per_million", versions,
                also=("late_cpu_seconds_per_million",) if is_late else (), events=args.events,
                dsl_events=args.dsl_events, items_checked=SAMPLED)  # fmt: skip


if __name__ == "__main__":
    main()
