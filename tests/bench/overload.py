#!/usr/bin/env python3
"""Overload: calls offered at 0.5 to 3 times what a node of one loop can answer, each with a deadline, whether or not the ones before
were answered. Finds the peak first, by doubling; then prints a row for each rate: good replies a second (answered within the
deadline), what became of the others, latency of the good, CPU seconds of the node per 1,000 good replies, its resident memory.

    tests/bench/overload.py --build build/release [--deadline 100] [--items 200] [--seconds 4] [--connections 32] [--events 1000000]
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile

from node import Node, cpu_seconds
from serve import fill, tool

RATES = (0.5, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0)


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:")) >> 10


def offer(args, node, rate, seconds):
    before = cpu_seconds(node.process.pid)
    command = [tool(args, "offer"), node.addresses["api"], args.connections, int(rate), seconds, args.items, args.deadline, "s1"]
    row = json.loads(subprocess.run([str(one) for one in command], stdout=subprocess.PIPE, check=True).stdout)
    row["cpu_per_1000_good"] = round((cpu_seconds(node.process.pid) - before) * 1000 / max(row["good"], 1), 4)
    row["resident_mib"] = resident_mib(node.process.pid)
    return row


def find_peak(args, node):
    """The rate at which the node answers no more: what it does when it is offered twice of it."""
    rate, best = 500, 0
    while True:
        good = offer(args, node, rate, 1.5)["good_per_second"]
        if good < rate * 0.8:
            return max(best, good)
        rate, best = rate * 2, good


def curve(args, node):
    peak = find_peak(args, node)
    print(json.dumps({"peak_guess": peak}), flush=True)
    rows = {}
    for times in RATES:
        rows[times] = offer(args, node, peak * times, args.seconds)
        print(json.dumps({"times": times, "offered": round(peak * times), **rows[times]}), flush=True)
    best = max(rows.values(), key=lambda row: row["good_per_second"])
    print(json.dumps({"goodput_of_peak": round(rows[3.0]["good_per_second"] / best["good_per_second"], 3),
                      "cpu_of_peak": round(rows[3.0]["cpu_per_1000_good"] / best["cpu_per_1000_good"], 3)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--events", type=int, default=1000000)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--deadline", type=int, default=100, help="of each call, in ms")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=4)
    args = parser.parse_args()
    binary, path = os.path.join(args.build, "freshet"), tempfile.mkdtemp(prefix="freshet-bench-")
    node = Node(binary, "embedded", os.path.join(path, "store"), "s1.yaml", ("store.memory=2GiB", "server.loops=1"))
    try:
        if args.events:
            fill(args, binary, node)
        curve(args, node)
    finally:
        node.stop()
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
