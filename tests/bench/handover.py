#!/usr/bin/env python3
"""How long partitions stand still while instances hand over: three with users' state and without copies of it share the partitions of a topic under a steady load;
the middle one is drained and started again with an empty store.path. Of each of the two: the longest time in which nobody took in events of a partition, apart for
those that stayed where they were and those that moved.

    tests/kafka/start
    tests/bench/handover.py --brokers 127.0.0.1:29092 [--build build/release [other/build ...]] [--users 200000] [--rate 2000]
"""
import argparse
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "sim"))
from node import Node  # noqa: E402
from real import PARTITIONS, Fleet, Shape  # noqa: E402

NAMES = ("i01", "i02", "i03")


class Gaps(threading.Thread):
    """Looks every 15 ms how far partitions are, and keeps the longest time each did not move."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.is_stopping, self.longest = fleet, False, [0.0] * PARTITIONS
        self.start()

    def run(self):
        last, moved = [0] * PARTITIONS, [None] * PARTITIONS
        while not self.is_stopping:
            found, now = self.fleet.offsets(), time.monotonic()
            for number in range(PARTITIONS):
                if found[number] > last[number]:
                    if moved[number]:
                        self.longest[number] = max(self.longest[number], now - moved[number])
                    last[number], moved[number] = found[number], now
            time.sleep(0.015)

    def stop(self):
        self.is_stopping = True
        self.join()
        return self.longest


class Logged(Fleet):
    """Instances whose logs are kept, in the order of their names."""

    def start(self, name):
        with open(self.directory / f"{name}.log", "a") as log:
            settings = (f"store.epoch={self.shape.epoch_ms}ms",)
            return Node(f"{self.args.build}/freshet", self.args.brokers, str(self.directory / name), self.configure(name), settings, log)

    def owned(self, node):
        try:
            return super().owned(node)
        except OSError:  # it is on its way out
            return []

    def owners(self):
        return [next((name for name, node in zip(NAMES, self.nodes) if number in self.owned(node)), None) for number in range(PARTITIONS)]

    def offsets(self):
        found = [0] * PARTITIONS
        for node in list(self.nodes):
            try:
                told = node.call("AdminService/Status", {}).get("partitions", ())
            except OSError:
                continue
            for one in told:
                found[one.get("partition", 0)] = max(found[one.get("partition", 0)], int(one.get("nextOffset", 0)))
        return found


def measure(fleet, args, change, is_over):
    """While events come: the longest gap of each partition around a change, and who had it before and has it after."""
    seconds = args.seconds
    before = fleet.owners()
    load = fleet.give([random.randint(1, args.users) for _ in range(args.rate * seconds)], seconds, "--rate", str(args.rate), is_waiting=False)
    time.sleep(1)
    gaps = Gaps(fleet)
    time.sleep(1.5)
    change()
    end = time.monotonic() + seconds
    while not is_over() and time.monotonic() < end:
        time.sleep(0.05)
    load.wait()
    fleet.wait_applied()
    longest, after = gaps.stop(), fleet.owners()
    stayed = [gap for gap, one, other in zip(longest, before, after) if one == other]
    moved = [gap for gap, one, other in zip(longest, before, after) if one != other]
    return {"stayed": max(stayed, default=0), "moved": max(moved, default=0), "of them": len(moved)}


def run(args, build):
    args.build = build
    with Logged(args, Shape(args.users, 1000, 500)) as fleet:
        for _ in NAMES:
            fleet.add()
        fleet.give([user for user in range(1, args.users + 1) for _ in range(2)], 1)
        fleet.wait_applied()
        fleet.settle()
        second = fleet.nodes[1]

        def drain():
            subprocess.run([f"{build}/freshet", "drain", "--api", second.addresses["api"]], stdout=subprocess.DEVNULL, check=False)

        def begin():
            second.stop()
            shutil.rmtree(fleet.directory / "i02")
            fleet.nodes[1] = fleet.start("i02")

        rows = {}
        time.sleep(6)  # no condition: what is another's is dropped after five seconds
        for name, change, is_over in (
            ("drained", drain, lambda: not fleet.owned(second) and all(fleet.owners())),
            ("comes back empty", begin, lambda: fleet.owned(fleet.nodes[1]) and all(fleet.owners())),
        ):
            rows[name] = measure(fleet, args, change, is_over)
            print(f"  {build}: {name}: " + ", ".join(f"{key} {number:.2f}" for key, number in rows[name].items()), file=sys.stderr, flush=True)
            if args.verbose:
                for one in NAMES:
                    lines = [line for line in (fleet.directory / f"{one}.log").read_text().splitlines() if " cluster" in line]
                    print(*lines[-8:], sep="\n", file=sys.stderr)
            time.sleep(6)
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", nargs="+", default=["build/release"])
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--rate", type=int, default=2000, help="events a second")
    parser.add_argument("--seconds", type=int, default=25, help="of load around each change")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="also what they logged of it")
    args = parser.parse_args()
    builds = args.build
    rows = {build: [] for build in builds}
    for _ in range(args.rounds):
        for build in builds:
            rows[build].append(run(args, build))
    for build, found in rows.items():
        for name in found[0]:
            print(build, name, {key: round(statistics.median(row[name][key] for row in found), 2) for key in found[0][name]})


if __name__ == "__main__":
    main()
