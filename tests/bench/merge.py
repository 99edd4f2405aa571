#!/usr/bin/env python3
"""How fast what an instance tells others is merged: an instance takes in events of many items, in short epochs; then replicas with an empty store.path
read its deltas, with as many lanes as is wanted, turn about. Of each: deltas, a million of them in so many seconds of the clock and of the process's CPU, once the
first twentieth is merged.

    tests/kafka/start
    tests/bench/merge.py --brokers 127.0.0.1:29092 [--build build/release] [--events 1000000] [--items 200000] [--lanes 1 2] [--rounds 3]
"""
import argparse
import json
import pathlib
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid

from cluster import configure, produce, wait_applied, wait_shared
from node import cpu_seconds
from restore import Logged, metric

USERS, MERGED = 1_000, "freshet_cluster_merged_total"


def make_file(args, path):
    dice, begin = random.Random(7), int(time.time() * 1000) - 60_000
    with open(path, "w") as file:
        for number in range(args.events):
            item = dice.randrange(args.items) + 1
            file.write(f'{{"event_id":{number + 1},"ts_ms":{begin + number * 60_000 // args.events},"user_id":{number % USERS + 1},"item_id":{item},"creator_id":{item % 5000 + 1},"action":"watch","value":1.5}}\n')


def fill(args, directory, name, config):
    """Gives how many deltas there are."""
    print(f"merge: {args.events} events of {args.items} items", file=sys.stderr, flush=True)
    produce(args, name, "/dev/null")
    make_file(args, directory / "events.jsonl")
    node = Logged(args, args.build, directory, "first", config, ("store.epoch=200ms",))
    wait_shared([node])
    produce(args, name, str(directory / "events.jsonl"))
    wait_applied([node], True, args.events)
    node.call("AdminService/Checkpoint", {})
    count = metric(node, "freshet_cluster_deltas_total")
    node.stop()
    return count


def wait_merged(node, count):
    while metric(node, MERGED) < count:
        time.sleep(0.02)
    return time.monotonic(), cpu_seconds(node.process.pid), metric(node, MERGED)


def merge(args, directory, config, count, lanes):
    start = time.monotonic()
    node = Logged(args, args.build, directory, "replica", config, ("node.mode=replica", "node.id=r", f"node.lanes={lanes}"))
    try:
        begin, cpu, first = wait_merged(node, count // 20)
        end, cpu_end, last = wait_merged(node, count)
        if first == last:  # so few came all at once
            begin, cpu, first = start, 0, 0
        million = (last - first) / 1e6
        row = {"seconds": (end - begin) / million, "cpu": (cpu_end - cpu) / million}
        print(f"  {lanes} lanes: " + "  ".join(f"{name} {number:.2f}" for name, number in row.items()), file=sys.stderr, flush=True)
        return row
    finally:
        node.stop()
        shutil.rmtree(directory / "replica", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.set = []
    directory = pathlib.Path(tempfile.mkdtemp(prefix="merge."))
    try:
        name = f"merge.{uuid.uuid4().hex[:8]}"
        config = configure(directory, name, f"g.{name}", "i")
        count = fill(args, directory, name, config)
        rows = {lanes: [] for lanes in args.lanes}
        for _ in range(args.rounds):
            for lanes in args.lanes:
                rows[lanes].append(merge(args, directory, config, count, lanes))
        for lanes, found in rows.items():
            print(json.dumps({"lanes": lanes, "deltas": count, **{key: round(statistics.median(row[key] for row in found), 2) for key in found[0]}}))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
