#!/usr/bin/env python3
"""What a hot item costs the others: two instances of a cluster take in events at a rate, in rounds turn about: with none that is hotter than Zipf has it, and
with half of all events on one item. Meanwhile other items are read at both instances, one read after another.

Of each: the median and the 99th percentile of those reads' times, and how old events are when they are applied (the mean, by Kafka's timestamps). The ratios
are of the medians over rounds. To be run on a quiet machine: whoever produces and reads is on it, too. Exit 1: a ratio is over --most.

    tests/kafka/start
    tests/bench/hot.py --brokers 127.0.0.1:29092 [--build build/release] [--rate 20000] [--seconds 5] [--rounds 7] [--most 1.5] [--json]
"""
import argparse
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

import cluster
from node import Node

HOT, OTHERS, READ_ITEMS = 1, range(1000, 3000), 50


def make_file(path, args, seed, is_hot):
    dice, begin_ms = random.Random(seed), time.time_ns() // 1_000_000
    with open(path, "w") as file:
        for event in cluster.events(args.rate * args.seconds, args.seconds * 1000, seed):
            event["ts_ms"] += begin_ms
            event["event_id"] += seed << 32
            if is_hot and dice.randrange(2):
                event["item_id"], event["creator_id"] = HOT, HOT
            file.write(json.dumps(event) + "\n")


def applied_age(nodes):
    """Seconds and batches that the histogram has seen, of all instances."""
    total = [0.0, 0.0]
    for node in nodes:
        connection = http.client.HTTPConnection(node.addresses["operations"], timeout=60)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        for at, name in enumerate(("sum", "count")):
            total[at] += float(re.search(rf"^freshet_freshness_seconds_{name} (\S+)", page, re.M).group(1))
    return total


def read(node, dice):
    body = json.dumps({"itemIds": dice.sample(OTHERS, READ_ITEMS), "featureSet": "rank"})
    begin = time.perf_counter()
    node.connection.request("POST", "/freshet.v1.FeatureService/GetFeatures", body, {"Content-Type": "application/json"})
    reply = node.connection.getresponse()
    reply.read()
    if reply.status != 200:
        sys.exit(f"hot: a read was answered with {reply.status}")
    return time.perf_counter() - begin


def run_round(args, topic, nodes, path, dice):
    command = [f"{args.build}/freshet", "produce", "--brokers", args.brokers, "--topic", topic, "--format", "jsonl", "--rate", str(args.rate), str(path)]
    before = applied_age(nodes)
    producer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    times = []
    while producer.poll() is None:
        times += [read(node, dice) for node in nodes]
    if producer.returncode != 0:
        sys.exit("hot: producing failed")
    after = applied_age(nodes)
    times.sort()
    return {
        "read p50 ms": times[len(times) // 2] * 1e3, "read p99 ms": times[len(times) * 99 // 100] * 1e3,
        "age ms": (after[0] - before[0]) / (after[1] - before[1]) * 1e3,
    }


def measure(args, directory, nodes, topic):
    dice, found = random.Random(5), {False: [], True: []}
    for number in range(args.rounds + 1):
        for is_hot in (False, True):
            path = directory / "events.jsonl"
            make_file(path, args, 2 * number + is_hot + 1, is_hot)
            row = run_round(args, topic, nodes, path, dice)
            if number > 0:  # the first ones see users and items for the first time
                found[is_hot].append(row)
                print(f"  {'hot' if is_hot else 'even':5} " + "  ".join(f"{name} {value:.3f}" for name, value in row.items()), file=sys.stderr)
    middle = {is_hot: {name: statistics.median(row[name] for row in rows) for name in rows[0]} for is_hot, rows in found.items()}
    return {name: {"even": even, "hot": middle[True][name], "ratio": middle[True][name] / even} for name, even in middle[False].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most", type=float, default=1.5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    directory, topic = pathlib.Path(tempfile.mkdtemp(prefix="hot.")), f"bench.{uuid.uuid4().hex[:8]}"
    cluster.produce(args, topic, os.devnull)
    names = ("i0", "i1")
    nodes = [Node(f"{args.build}/freshet", args.brokers, str(directory / name), cluster.configure(directory, topic, f"g.{topic}", name)) for name in names]
    try:
        cluster.wait_shared(nodes)
        for node in nodes:
            node.connection = http.client.HTTPConnection(node.addresses["api"], timeout=60)
        result = measure(args, directory, nodes, topic)
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(result) if args.json else "\n".join(f"{name}: " + "  ".join(f"{k} {v:.3f}" for k, v in row.items()) for name, row in result.items()))
    return any(row["ratio"] > args.most for row in result.values())


if __name__ == "__main__":
    sys.exit(main())
