#!/usr/bin/env python3
"""S1: GetFeatures of one user (32 floats, 100 ids) and 200 items of 64 floats, beside a static reply of the same bytes by the same
server module on one loop, in pairs, turn about: what `freshet bench serve` measures, over HTTP/1.1 too, from any broker, and held
for a profiler. Fills a node of 100,000 users and 100,000 items from an embedded broker (or
--brokers), checks that a reply is whole, then loads both with the same client, ids drawn anew for each request. Of each run:
requests/s, p50 and p99 as the client sees them, CPU seconds of the server per 1,000 requests; then the medians, and the medians of
the pairs' ratios, ours / static. `idle_cpu` is what the node takes without requests, in CPU seconds a second.

    tests/bench/serve.py --build build/release [--brokers 127.0.0.1:19092] [--pairs 3] [--seconds 5] [--loops 1]
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from node import Node, cpu_seconds, read_varint

USER_FLOATS, USER_IDS, ITEM_FLOATS = 32, 100, 64
FIGURES = ("per_second", "p50_us", "p99_us", "cpu_per_1000")


class Static:
    """The server that answers fixed bytes."""

    def __init__(self, args, reply):
        self.process = subprocess.Popen([os.path.join(args.build, "freshet"), "bench", "static", "--topic", reply],
                                        stdout=subprocess.PIPE, text=True)
        self.addresses = json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def tool(args, name):
    return os.path.join(args.build, "tests", "bench", name)


def fill(args, binary, node):
    while not node.call("AdminService/Status", {})["ready"]:
        time.sleep(0.05)
    writer = subprocess.Popen([tool(args, "s1"), str(args.events)], stdout=subprocess.PIPE)
    subprocess.run([binary, "produce", "--brokers", node.addresses["brokers"], "--topic", "s1", "--format", "pb", "-"],
                   stdin=writer.stdout, check=True)
    if writer.wait() != 0:
        sys.exit("s1 failed")
    status = node.wait(args.events)
    node.call("AdminService/Checkpoint", {})
    print(json.dumps({"entities": int(status["entities"]), "memory_mib": int(status["memoryBytes"]) >> 20}), flush=True)


def load(args, server, protocol, connections, seconds, seed, save=()):
    before = cpu_seconds(server.process.pid)
    done = subprocess.run([tool(args, "load"), server.addresses["api"], protocol, str(connections), str(seconds), str(args.items),
                           str(seed), *save], stdout=subprocess.PIPE, check=True)
    row = json.loads(done.stdout)
    row["cpu_per_1000"] = (cpu_seconds(server.process.pid) - before) * 1000 / row["requests"]
    return row


def fields_of(message):
    """Number → bytes (or value) of the top-level fields; the last of each."""
    fields, at = {}, 0
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            fields[tag >> 3], at = read_varint(message, at)
        else:
            length, at = (8, at) if tag & 7 == 1 else read_varint(message, at)
            fields[tag >> 3] = message[at:at + length]
            at += length
    return fields


def check(args, path):
    """A reply that lacked something would be a flattering one."""
    with open(path, "rb") as file:
        fields = fields_of(file.read())
    recent = fields_of(fields_of(fields[11])[4])
    ids, at = 0, 0
    while at < len(recent[2]):
        _, at = read_varint(recent[2], at)
        ids += 1
    found = {"user_floats": len(fields[5]) // 4, "user_present": fields[6], "item_floats": len(fields[8]) // 4,
             "items_present": sum(fields[9]), "ids": ids}
    wanted = {"user_floats": USER_FLOATS, "user_present": 1, "item_floats": args.items * ITEM_FLOATS, "items_present": args.items,
              "ids": min(USER_IDS, args.events // 100000)}
    if found != wanted:
        sys.exit(f"not S1's reply: {found}, wanted {wanted}")


def idle_cpu(node):
    before, start = cpu_seconds(node.process.pid), time.monotonic()
    time.sleep(3)
    return (cpu_seconds(node.process.pid) - before) / (time.monotonic() - start)


def pairs(args, servers, protocol, connections):
    rows = {name: [] for name in servers}
    for i in range(args.pairs):
        for name, server in servers.items():
            row = load(args, server, protocol, connections, args.seconds, 1000 * i + connections)
            rows[name].append(row)
            print(json.dumps({"server": name, "protocol": protocol, "connections": connections, **row}), flush=True)
    result = {"protocol": protocol, "connections": connections, "reply_bytes": rows["ours"][0]["reply_bytes"]}
    for name in servers:
        result[name] = {key: round(statistics.median(row[key] for row in rows[name]), 4) for key in FIGURES}
    result["ratio"] = {key: round(statistics.median(ours[key] / static[key] for ours, static in zip(rows["ours"], rows["static"])), 3)
                       for key in FIGURES}
    return result


def measure(args, node, path):
    reply = os.path.join(path, "reply")
    load(args, node, "grpc", 1, 1, 7, [reply])
    check(args, reply)
    static = Static(args, reply)
    load(args, static, "grpc", 1, 1, 7)
    print(json.dumps({"idle_cpu": round(idle_cpu(node), 4)}), flush=True)
    results = [pairs(args, {"static": static, "ours": node}, protocol, int(connections))
               for protocol in args.protocols.split(",") for connections in args.connections.split(",")]
    static.stop()
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", default="embedded")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--events", type=int, default=10000000, help="100,000 for each id of a user's sequence")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--loops", type=int, default=1, help="of each server; the client wants a core too")
    parser.add_argument("--connections", default="16,1")
    parser.add_argument("--protocols", default="grpc,http1")
    parser.add_argument("--hold", action="store_true", help="then keep both up until stdin ends, for a profiler")
    args = parser.parse_args()
    binary, path = os.path.join(args.build, "freshet"), tempfile.mkdtemp(prefix="freshet-bench-")
    node = Node(binary, args.brokers, os.path.join(path, "store"), "s1.yaml", ("store.memory=8GiB", f"server.loops={args.loops}"))
    try:
        fill(args, binary, node)
        for result in measure(args, node, path):
            print(json.dumps(result), flush=True)
        if args.hold:
            print(json.dumps({"pid": node.process.pid, "api": node.addresses["api"]}), flush=True)
            sys.stdin.read()
    finally:
        node.stop()
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
