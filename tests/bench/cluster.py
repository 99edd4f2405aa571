#!/usr/bin/env python3
"""What sharing costs: the same events, at a rate or as fast as they can be produced, taken in by one node that stands alone, and by 1, 2 and 3 instances of a cluster,
turn about.

Events are like W1's, but of the last two hours, since a cluster's clock is the wall's. Of each: CPU seconds per million events of all processes, for the
last three quarters of the events, so that starts and first sights do not count: from when the first quarter is applied until every event is, and
every instance has what the others' events mean for items; seconds for that. What instances and the one node say of 200 items must be the same.

    tests/kafka/start
    tests/bench/cluster.py --brokers 127.0.0.1:29092 [--build build/release] [--events 1000000] [--rate 50000] [--instances 1 2 3] [--pairs 2] [--json]
"""
import argparse
import itertools
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from node import Node, cpu_seconds

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
USERS, ITEMS, CREATORS, PARTITIONS = 100_000, 50_000, 5_000, 8
ACTIONS = (("watch", 80), ("like", 14), ("comment", 5), ("purchase", 1))
SPAN_MS, LATE_MS, SAMPLED = 7_200_000, 5_000, 200


def zipf(dice, count):
    """Draws of 0 … count − 1, the nth as likely as 1/n^1.05."""
    weights = list(itertools.accumulate(1 / n**1.05 for n in range(1, count + 1)))
    numbers = range(count)
    while True:
        yield from dice.choices(numbers, cum_weights=weights, k=10_000)


def events(count, seed=7):
    dice = random.Random(seed)
    users, items = zipf(dice, USERS), zipf(dice, ITEMS)
    names, weights = zip(*ACTIONS)
    begin = int(time.time() * 1000) - SPAN_MS
    for number in range(count):
        item = next(items)
        yield {
            "event_id": number + 1, "ts_ms": begin + number * SPAN_MS // count - dice.randrange(LATE_MS), "user_id": next(users) + 1,
            "item_id": item + 1, "creator_id": item % CREATORS + 1, "action": dice.choices(names, weights)[0], "value": dice.randrange(240) / 4,
        }


def make_files(args, directory):
    """The first quarter, and the rest."""
    paths = [directory / "first.jsonl", directory / "rest.jsonl"]
    with open(paths[0], "w") as first, open(paths[1], "w") as rest:
        for number, event in enumerate(events(args.events)):
            (first if number < args.events // 4 else rest).write(json.dumps(event) + "\n")
    return paths


def produce(args, topic, *more):
    command = [f"{args.build}/freshet", "produce", "--brokers", args.brokers, "--topic", topic, "--format", "jsonl", "--partitions", str(PARTITIONS)]
    subprocess.run([*command, *more], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def configure(directory, topic, group, name):
    text = (TOP / "bench" / "w1.yaml").read_text()
    node = f"node: {{ lanes: 1, mode: {'cluster' if name else 'standalone'}, id: '{name}' }}"
    text = text.replace("node: { clock: event, lanes: 1 }", node).replace("name: w1,", f"name: {topic},").replace("w1.dead", f"{topic}.dead")
    file = directory / f"{name or 'alone'}.yaml"
    file.write_text(text.replace("kafka:\n", f"kafka:\n  group: {group}\n", 1))
    return str(file)


def owned(node):
    return [one.get("partition", 0) for one in node.call("AdminService/Cluster", {}).get("partitions", ()) if one.get("here")]


def applied(node, is_cluster):
    """The end of what has been applied, added up over the partitions that are the node's."""
    own = owned(node) if is_cluster else range(PARTITIONS)
    partitions = node.call("AdminService/Status", {})["partitions"]
    return sum(int(one.get("nextOffset", 0)) for one in partitions if one.get("partition", 0) in own)


def wait_applied(nodes, is_cluster, events):
    while sum(applied(node, is_cluster) for node in nodes) < events:
        time.sleep(0.1)


def wait_shared(nodes):
    while sorted(itertools.chain(*map(owned, nodes))) != list(range(PARTITIONS)) or not all(map(owned, nodes)):
        time.sleep(0.1)


def ask(node, as_of_ms):
    body = {"itemIds": list(range(1, SAMPLED + 1)), "featureSet": "rank", "asOfMs": as_of_ms}
    return node.call("FeatureService/GetFeatures", body).get("itemValues")


def run(args, files, count, wanted):
    """`count` instances, 0: one that stands alone. What it took, and what is said of the sample at `wanted["as_of"]`."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cluster."))
    name = f"bench.{uuid.uuid4().hex[:8]}"
    produce(args, name, os.devnull)
    ids = [f"i{number}" for number in range(count)] or [""]
    nodes = [Node(f"{args.build}/freshet", args.brokers, str(directory / f"store{one}"), configure(directory, name, f"g.{name}", one)) for one in ids]
    try:
        if count > 0:
            wait_shared(nodes)
        rate = ["--rate", str(args.rate)] if args.rate else []
        produce(args, name, *rate, files[0])
        wait_applied(nodes, count > 0, args.events // 4)
        before, begin = sum(cpu_seconds(node.process.pid) for node in nodes), time.monotonic()
        produce(args, name, *rate, files[1])
        wait_applied(nodes, count > 0, args.events)
        values = [ask(node, wanted["as_of"]) for node in nodes]
        while any(one != wanted.setdefault("values", values[0]) for one in values):
            time.sleep(0.1)
            values = [ask(node, wanted["as_of"]) for node in nodes]
            if time.monotonic() - begin > 120:
                sys.exit("cluster: instances do not say what one node says")
        cpu = sum(cpu_seconds(node.process.pid) for node in nodes) - before
        return {"cpu": cpu * 1e6 / (args.events - args.events // 4), "seconds": time.monotonic() - begin}
    finally:
        for node in nodes:
            node.stop()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=0, help="events a second; 0: as fast as it goes")
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory(prefix="cluster.") as directory:
        print(f"cluster: making {args.events} events", file=sys.stderr)
        files, wanted = make_files(args, pathlib.Path(directory)), {"as_of": int(time.time() * 1000)}
        for pair in range(args.pairs):
            for count in (0, *args.instances):
                row = run(args, files, count, wanted)
                rows.setdefault(count, []).append(row)
                print(f"  pair {pair + 1} of {args.pairs}  {f'{count} instances' if count else 'standalone':12} "
                      + "  ".join(f"{name} {number:.2f}" for name, number in row.items()), file=sys.stderr)
    result = {count: {name: statistics.median(row[name] for row in found) for name in found[0]} for count, found in rows.items()}
    for count, row in result.items():
        row["to_standalone"] = round(row["cpu"] / result[0]["cpu"], 3)
    if args.json:
        print(json.dumps(result))
    else:
        for count, row in result.items():
            print(count or "standalone", {name: round(number, 3) for name, number in row.items()})


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
