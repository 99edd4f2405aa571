#!/usr/bin/env python3
"""What sharing costs: the same events, at a rate or as fast as they can be produced, taken in by one node that stands alone, and by 1, 2 and 3 instances of a cluster,
turn about.

Events are like W1's. At a rate they are live: each is of the second in which it is produced, or up to 5 s late. Otherwise, or with --span, they are of the last so
many seconds, as after an outage. Of each: CPU seconds per million events of all processes, for the last three quarters of the events, so that starts
and first sights do not count: from when the first quarter is applied until every event is, and every instance has what the others' events mean for
items; seconds for that. What instances and the one node say of 200 items must be the same. Live runs begin with a minute, so that panes are the same.

    tests/kafka/start
    tests/bench/cluster.py --brokers 127.0.0.1:29092 [--build build/release] [--events 1000000] [--rate 50000] [--span 7200] [--instances 1 2 3] [--pairs 2] [--json]
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
OLD_S, LATE_MS, SAMPLED, MINUTE_MS, PREPARE_MS = 7200, 5_000, 200, 60_000, 15_000


def zipf(dice, count):
    """Draws of 0 … count − 1, the nth as likely as 1/n^1.05."""
    weights = list(itertools.accumulate(1 / n**1.05 for n in range(1, count + 1)))
    numbers = range(count)
    while True:
        yield from dice.choices(numbers, cum_weights=weights, k=10_000)


def events(count, span_ms, seed=7):
    """Their times are from 0 to span_ms."""
    dice = random.Random(seed)
    users, items = zipf(dice, USERS), zipf(dice, ITEMS)
    names, weights = zip(*ACTIONS)
    for number in range(count):
        item = next(items)
        yield {
            "event_id": number + 1, "user_id": next(users) + 1, "item_id": item + 1, "creator_id": item % CREATORS + 1,
            "action": dice.choices(names, weights)[0], "value": dice.randrange(240) / 4, "ts_ms": number * span_ms // count - dice.randrange(LATE_MS),
        }


def make_events(args):
    """The heads of their lines, and the times that end them."""
    heads, times = [], []
    for event in events(args.events, args.span * 1000):
        times.append(event.pop("ts_ms"))
        heads.append(json.dumps(event)[:-1])
    return heads, times


def make_files(args, directory, made, begin_ms):
    """The first quarter, and the rest."""
    paths, quarter = [directory / "first.jsonl", directory / "rest.jsonl"], args.events // 4
    for path, part in zip(paths, (slice(0, quarter), slice(quarter, None))):
        with open(path, "w") as file:
            file.writelines(f'{head}, "ts_ms": {begin_ms + ts_ms}}}\n' for head, ts_ms in zip(made[0][part], made[1][part]))
    return paths


def begin(args):
    """When the events' times begin, and a moment to read at, which lies as far behind in each run."""
    now_ms = time.time_ns() // 1_000_000
    begin_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS if args.is_live else (now_ms // MINUTE_MS) * MINUTE_MS - args.span * 1000
    if args.is_live and begin_ms - now_ms < PREPARE_MS:
        begin_ms += MINUTE_MS
    return begin_ms, begin_ms + args.span * 1000


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


def run(args, made, count, wanted):
    """`count` instances, 0: one that stands alone. What it took; what is said of the sample must be `wanted["values"]`."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cluster."))
    begin_ms, as_of_ms = begin(args)
    files = make_files(args, directory, made, begin_ms)
    name = f"bench.{uuid.uuid4().hex[:8]}"
    produce(args, name, os.devnull)
    ids = [f"i{number}" for number in range(count)] or [""]
    nodes = [Node(f"{args.build}/freshet", args.brokers, str(directory / f"store{one}"), configure(directory, name, f"g.{name}", one)) for one in ids]
    try:
        if count > 0:
            wait_shared(nodes)
        rate = ["--rate", str(args.rate)] if args.rate else []
        while args.is_live and time.time() * 1000 < begin_ms:
            time.sleep(0.01)
        produce(args, name, *rate, files[0])
        wait_applied(nodes, count > 0, args.events // 4)
        before, since = sum(cpu_seconds(node.process.pid) for node in nodes), time.monotonic()
        produce(args, name, *rate, files[1])
        wait_applied(nodes, count > 0, args.events)
        values = [ask(node, as_of_ms) for node in nodes]
        while any(one != wanted.setdefault("values", values[0]) for one in values):
            time.sleep(0.1)
            values = [ask(node, as_of_ms) for node in nodes]
            if time.monotonic() - since > 120:
                sys.exit("cluster: instances do not say what one node says")
        cpu = sum(cpu_seconds(node.process.pid) for node in nodes) - before
        return {"cpu": cpu * 1e6 / (args.events - args.events // 4), "seconds": time.monotonic() - since}
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
    parser.add_argument("--span", type=int, help="seconds that the events' times span; live at a rate, else 7200")
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.is_live = args.rate > 0 and args.span is None
    args.span = args.span or (args.events // args.rate if args.is_live else OLD_S)
    rows, wanted = {}, {}
    print(f"cluster: making {args.events} events", file=sys.stderr)
    made = make_events(args)
    for pair in range(args.pairs):
        for count in (0, *args.instances):
            row = run(args, made, count, wanted)
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
