#!/usr/bin/env python3
"""What an item takes with six measures over five windows (memory.yaml), after all of W1: in a node, and in Kafka Streams (hand-tuned, items
alone) with its store in RocksDB and in the heap.

Of each, divided by the items that there are: bytes in memory (the node's own count; of a JVM what its heap has in use after a collection),
bytes that the process is resident, bytes on disk; each less that of a run without items: a node keeps who was here of each user, so its
other run has users alone, a peer's an empty topic. Windows of 5 min and an hour of 200 items must be equal.

    tests/kafka/start
    build/release/freshet bench ingest --brokers 127.0.0.1:29092 --pairs 1      # fills the topic
    tests/bench/peers/memory.py --brokers 127.0.0.1:29092 [--events 2000000] [--pairs 1]

Needs a JDK (17 or later) and Maven.
"""
import argparse
import pathlib
import sys
import tempfile
import uuid

import beside

beside.within("python")
import confluent_kafka.admin  # noqa: E402
from beside import HERE, TOP, Node  # noqa: E402

ACTIONS = ("watches", "likes", "comments", "purchases", "watch_time", "spend")
COUNTS = 4
SPANS = {"5m": 300_000, "1h": 3_600_000}
SAMPLED = 200
PARTITIONS = 8
KINDS = {"items": "streams_rocksdb", "items_in_memory": "streams_heap"}
LITTLE_MEMORY = "-XX:+UseSerialGC"
USERS_ALONE = ("entities={user: {key: [user_id]}}",
               "features={user_gifts: {entity: user, actions: [gift], aggregate: count, windows: [1m]}}")  # fmt: skip


def run_peer(args, class_path, topic, kind, events):
    """{memory, resident, disk}, and what it says of some items."""
    with tempfile.TemporaryDirectory(prefix="freshet-peer-") as directory:
        peer = beside.Jvm(class_path, args.brokers, topic, kind, directory, f"freshet-bench-{uuid.uuid4().hex[:8]}", collector=LITTLE_MEMORY)
        peer.wait(events)
        answers = {}
        if events:
            items = peer.ask(f"sample {SAMPLED}", "sample")
            answers = {(item, span): peer.ask(f"item {item} {span}", "sums") for item in items for span in SPANS.values()}
        heap = peer.ask("heap", "heap")
        found = {"memory": heap, "resident": beside.memory(peer.process.pid)}
        peer.stop()
        return {**found, "disk": beside.size(directory)}, answers


def run_node(args, answers, settings=()):
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as directory:
        node = Node(str(args.binary), args.brokers, f"{directory}/state", HERE / "memory.yaml",
                    (f"kafka.topics=[{{name: freshet.bench.w1.{args.events}, format: protobuf}}]", *settings))  # fmt: skip
        try:
            status = node.wait(args.events)
            node.call("AdminService/Checkpoint", {})
            for those in answers:
                check(node, those)
            found = {"memory": int(status["memoryBytes"]), "resident": beside.memory(node.process.pid)}
        finally:
            node.stop()
        return {**found, "disk": beside.size(directory)}, int(status["entities"])


def check(node, answers):
    """What a peer said of items is what the node says; sums in micro-units there, in float32 here."""
    names = [f"item_{action}.{window}" for window in SPANS for action in ACTIONS]
    items = sorted({item for item, _ in answers})
    assert len(items) == SAMPLED
    values = iter(node.call("FeatureService/GetFeatures", {"itemIds": [str(item) for item in items], "features": names})["itemValues"])
    for item in items:
        for span in SPANS.values():
            ours, theirs = [next(values) for _ in ACTIONS], answers[item, span]
            assert [round(value) for value in ours[:COUNTS]] == theirs[:COUNTS], (item, span, ours, theirs)
            for one, other in zip(ours[COUNTS:], theirs[COUNTS:]):
                assert abs(one - other / 1e6) <= 1e-6 * max(1, one), (item, span, ours, theirs)


def each(full, without, items):
    """Bytes an item."""
    return {name: (full[name] - without[name]) / items for name in full}


def measure(args, class_path, empty_topic, runs):
    found, answers = {}, []
    for kind in KINDS:
        full, said = run_peer(args, class_path, f"freshet.bench.w1.{args.events}", kind, args.events)
        found[kind] = full, run_peer(args, class_path, empty_topic, kind, 0)[0]
        answers.append(said)
    full, entities = run_node(args, answers)
    without, users = run_node(args, [], USERS_ALONE)
    items = entities - users
    runs["freshet"].append(each(full, without, items))
    for kind, name in KINDS.items():
        runs[name].append(each(*found[kind], items))
    for name, rows in runs.items():
        run = rows[-1]
        print(f"  {name:15} bytes an item: {run['memory']:7.0f} in memory, {run['resident']:7.0f} resident, {run['disk']:7.0f} on disk",
              file=sys.stderr)  # fmt: skip
    return items


def ratios(runs):
    """Ours in memory against a store of theirs, where that is; and disk against disk."""
    heap, rocksdb = runs["streams_heap"], runs["streams_rocksdb"]
    pairs = {"memory_to_heap": ("memory", heap, "memory"), "memory_to_disk": ("memory", rocksdb, "disk"),
             "disk_to_disk": ("disk", rocksdb, "disk")}  # fmt: skip
    return {name: beside.spread([a[ours] / b[theirs] for a, b in zip(runs["freshet"], rows)]) for name, (ours, rows, theirs) in pairs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--binary", type=pathlib.Path, default=TOP / "build" / "release" / "freshet")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=1, help="the bytes hardly differ")
    args = parser.parse_args()
    class_path = beside.install("streams")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": args.brokers})
    empty = f"freshet.bench.empty.{uuid.uuid4().hex[:8]}"
    admin.create_topics([confluent_kafka.admin.NewTopic(empty, PARTITIONS, 1)])[empty].result()
    runs = {"freshet": [], **{name: [] for name in KINDS.values()}}
    try:
        for _ in range(args.pairs):
            items = measure(args, class_path, empty, runs)
    finally:
        admin.delete_topics([empty])[empty].result()
    versions = {"freshet": beside.freshet_version(args.binary), "java": beside.java_version(),
                "kafka-streams": beside.version_of(class_path, "kafka-streams")}  # fmt: skip
    beside.tell("memory", "resident bytes an item", runs, "resident", versions, ratios=ratios(runs), items=items,
                events=args.events, items_checked=SAMPLED)  # fmt: skip


if __name__ == "__main__":
    main()
