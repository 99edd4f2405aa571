#!/usr/bin/env python3
"""First figures: CPU seconds per million events of W1 beside a bare librdkafka consumer in the same run, memory per entity, and the
latency of GetFeatures with 200 items. Wants a broker that is up and a build folder:

    tests/bench/ingest.py --brokers 127.0.0.1:19092 --build build/release [--events 2000000] [--pairs 3]
"""
import argparse
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Node:
    def __init__(self, binary, brokers, path, config="w1.yaml", settings=()):
        command = [binary, "run", "--config", os.path.join(HERE, config)]
        for setting in (f"kafka.brokers={brokers}", f"store.path={path}", "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0",
                        "store.memory=4GiB", *settings):
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addresses = json.loads(self.process.stdout.readline())

    def call(self, method, body):
        connection = http.client.HTTPConnection(self.addresses["api"], timeout=60)
        connection.request("POST", f"/freshet.v1.{method}", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return json.loads(response.read())

    def wait(self, events):
        while True:
            status = self.call("AdminService/Status", {})
            if int(status["appliedEvents"]) >= events and int(status["lagEvents"]) == 0:
                return status
            time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def make_topic(args, binary):
    """A node makes the topics that it reads."""
    path = tempfile.mkdtemp(prefix="freshet-bench-")
    node = Node(binary, args.brokers, path)
    while not node.call("AdminService/Status", {})["ready"]:
        time.sleep(0.05)
    node.stop()
    shutil.rmtree(path)


def load(args, binary):
    make_topic(args, binary)
    writer = subprocess.Popen([os.path.join(args.build, "tests", "bench", "w1"), str(args.events)], stdout=subprocess.PIPE)
    subprocess.run([binary, "produce", "--brokers", args.brokers, "--topic", args.topic, "--format", "pb", "-"], stdin=writer.stdout,
                   check=True)
    if writer.wait() != 0:
        sys.exit("w1 failed")


def one_pair(args, binary, keep):
    bare = json.loads(subprocess.run([os.path.join(args.build, "tests", "bench", "bare_consumer"), args.brokers, args.topic],
                                     stdout=subprocess.PIPE, check=True).stdout)
    path = tempfile.mkdtemp(prefix="freshet-bench-")
    start = time.monotonic()
    node = Node(binary, args.brokers, path)
    status = node.wait(args.events)
    seconds = time.monotonic() - start
    node.call("AdminService/Checkpoint", {})
    ours = cpu_seconds(node.process.pid) * 1e6 / args.events
    row = {"bare": bare["cpu_per_million"], "ours": ours, "ratio": ours / bare["cpu_per_million"], "seconds": seconds,
           "entities": int(status["entities"]), "bytes_per_entity": int(status["memoryBytes"]) / int(status["entities"]),
           "resident_mib": resident_mib(node.process.pid)}
    print(json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)
    if keep:
        row["read"] = read_latency(node, args)
    node.stop()
    shutil.rmtree(path)
    return row


def read_latency(node, args):
    """p50 and p99 of one connection, as the client sees it, JSON-free: the request and reply are protobuf bytes."""
    writer = subprocess.run([os.path.join(args.build, "tests", "bench", "w1"), "20000"], stdout=subprocess.PIPE, check=True).stdout
    users, items = ids_of(writer)
    connection = http.client.HTTPConnection(node.addresses["api"])
    draw, times = random.Random(1), []
    before = cpu_seconds(node.process.pid)
    for _ in range(3000):
        body = varint_field(1, draw.choice(users)) + packed_field(2, [draw.choice(items) for _ in range(200)]) + text_field(4, "rank")
        start = time.perf_counter()
        connection.request("POST", "/freshet.v1.FeatureService/GetFeatures", body, {"Content-Type": "application/proto"})
        response = connection.getresponse()
        answer = response.read()
        times.append((time.perf_counter() - start) * 1e6)
        if response.status != 200:
            sys.exit(f"GetFeatures: {response.status} {answer[:200]!r}")
    cpu = cpu_seconds(node.process.pid) - before
    times.sort()
    row = {"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100], "reply_bytes": len(answer),
           "server_cpu_s_per_1000": cpu / 3}
    print(json.dumps({key: round(value, 3) for key, value in row.items()}), flush=True)
    return row


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_field(number, value):
    return varint(number << 3) + varint(value)


def packed_field(number, values):
    body = b"".join(varint(value) for value in values)
    return varint(number << 3 | 2) + varint(len(body)) + body


def text_field(number, text):
    return varint(number << 3 | 2) + varint(len(text)) + text.encode()


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def ids_of(data):
    """User and item ids of length-delimited events: fields 3 and 4."""
    users, items, at = [], [], 0
    while at < len(data):
        length, at = read_varint(data, at)
        end = at + length
        while at < end:
            tag, at = read_varint(data, at)
            if tag & 7 == 0:
                value, at = read_varint(data, at)
                if tag >> 3 == 3:
                    users.append(value)
                elif tag >> 3 == 4:
                    items.append(value)
            elif tag & 7 == 1:
                at += 8
            elif tag & 7 == 2:
                size, at = read_varint(data, at)
                at += size
            else:
                at += 4
    return users, items


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--topic", default="w1")
    parser.add_argument("--events", type=int, default=2000000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--loaded", action="store_true", help="the topic is full already")
    args = parser.parse_args()
    binary = os.path.join(args.build, "freshet")
    if not args.loaded:
        load(args, binary)
    rows = [one_pair(args, binary, keep=i == args.pairs - 1) for i in range(args.pairs)]
    print(json.dumps({key: round(statistics.median(row[key] for row in rows), 3) for key in ("bare", "ours", "ratio", "bytes_per_entity")}))


if __name__ == "__main__":
    main()
