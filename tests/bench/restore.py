#!/usr/bin/env python3
"""What a share takes to be restored from the changelog: an instance takes in events of many users and ends; then, as often as is wanted, it starts with an
empty store.path and reads its partitions anew. Of each start: milliseconds of the assignment (the log's "after … ms", without joining the group), records that
were read, microseconds a record on the clock and of the process's CPU from its start until it has its partitions, and until its first epochs are through.
With --checkpoints the partitions' files are written first, and each round restores once without and once with them.

    tests/kafka/start
    tests/bench/restore.py --brokers 127.0.0.1:29092 [--build build/release [other/build ...]] [--users 600000] [--events 3] [--rounds 3] [--set KEY=VALUE ...]
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
import uuid

from cluster import PARTITIONS, configure, produce, wait_applied, wait_shared
from node import Node, cpu_seconds

ITEMS = 50_000


def make_file(args, path):
    """A user's events one after another, so that an epoch has them all and writes two records of his."""
    begin, count = int(time.time() * 1000) - 3_600_000, args.users * args.events
    with open(path, "w") as file:
        for number in range(count):
            item = number * 7919 % ITEMS + 1
            file.write(f'{{"event_id":{number + 1},"ts_ms":{begin + number * 3_000_000 // count},"user_id":{number // args.events + 1},"item_id":{item},"creator_id":{item % 5000 + 1},"action":"watch","value":1.5}}\n')


class Logged(Node):
    """A node whose log is kept."""

    def __init__(self, args, build, directory, name, config, settings=()):
        self.file = directory / f"{name}.log"
        with open(self.file, "w") as log:
            super().__init__(f"{build}/freshet", args.brokers, str(directory / name), config, (*args.set, *settings), log)

    def took_ms(self):
        return [int(ms) for ms in re.findall(r"has \d+ of \d+ partitions, after (\d+) ms", self.file.read_text())]


def metric(node, name):
    text = urllib.request.urlopen(f"http://{node.addresses['operations']}/metrics").read().decode()
    return int(float(re.search(rf"^{name} (\S+)", text, re.M).group(1)))


def fill(args, build, directory, name, config):
    print(f"restore: {args.users * args.events} events into --topic {name}", file=sys.stderr, flush=True)
    args.build = build  # whose `produce` it is
    produce(args, name, "/dev/null")
    make_file(args, directory / "events.jsonl")
    node = Logged(args, build, directory, "first", config)
    wait_shared([node])
    produce(args, name, str(directory / "events.jsonl"))
    wait_applied([node], True, args.users * args.events)
    node.stop()


def ship(args, build, directory, config):
    """Files of all partitions, how long a round of them takes, and how large they are."""
    (directory / "shared").mkdir()
    settings = (f"store.checkpoints={directory}/shared", "store.checkpoint_every=1s")
    node = Logged(args, build, directory, "shipping", config, settings)
    wait_shared([node])
    begin = time.time()
    while metric(node, "freshet_cluster_checkpoints_seconds") == 0:
        time.sleep(0.05)
    seconds = time.time() - begin
    node.stop()
    bytes_of = sum(file.stat().st_size for file in (directory / "shared").glob("*.users"))
    print(f"restore: files of {bytes_of >> 20} MiB, {seconds:.1f} s after it had its partitions", file=sys.stderr, flush=True)
    shutil.rmtree(directory / "shipping")
    return (settings[0], "store.checkpoint_every=1d")


def restore(args, build, directory, config, number, settings=()):
    node = Logged(args, build, directory, f"store{number}", config, settings)
    try:
        wait_shared([node])
        cpu = cpu_seconds(node.process.pid)
        records = metric(node, "freshet_cluster_restored_total") + (metric(node, "freshet_cluster_checkpoints_records_total") if settings else 0)
        time.sleep(3)  # no condition: what is still to be written is written by then
        later = cpu_seconds(node.process.pid)
        ms = node.took_ms()[-1]
        print(f"  {build}{', with checkpoints' if settings else ''}: {ms} ms, {records} records", file=sys.stderr, flush=True)
        return {"ms": ms, "records": records, "us": ms * 1000 / records, "cpu_us": cpu * 1e6 / records, "cpu_us_later": later * 1e6 / records}
    finally:
        node.stop()
        shutil.rmtree(directory / f"store{number}", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", nargs="+", default=["build/release"])
    parser.add_argument("--users", type=int, default=600_000)
    parser.add_argument("--events", type=int, default=3, help="of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--topic", help="one that an earlier run has filled, as it said")
    parser.add_argument("--checkpoints", action="store_true", help="also from those")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    builds, directory = args.build, pathlib.Path(tempfile.mkdtemp(prefix="restore."))
    try:
        name = args.topic or f"restore.{uuid.uuid4().hex[:8]}"
        config = configure(directory, name, f"g.{name}", "i")
        if not args.topic:
            fill(args, builds[0], directory, name, config)
        settings = ship(args, builds[-1], directory, config) if args.checkpoints else ()
        rows = {build: [] for build in builds}
        for number in range(args.rounds):
            for build in builds:
                rows[build].append(restore(args, build, directory, config, number))
                if settings:
                    rows.setdefault(f"{build}, with checkpoints", []).append(restore(args, build, directory, config, number, settings))
        for build, found in rows.items():
            print(json.dumps({"build": build, "partitions": PARTITIONS, **{key: round(statistics.median(row[key] for row in found), 2) for key in found[0]}}))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
