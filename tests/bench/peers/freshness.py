#!/usr/bin/env python3
"""From the moment a marked event is given to a producer until a ranker could read its effect, at a steady load of W1 beside it: a node, and
Kafka Streams (hand-tuned) with interactive queries, turn about.

The clock is that of this process for both ends, and the looking is the same for both: one connection of HTTP/1.1 is kept, the marked user
asked for, and again 0.2 ms after an answer that lacks him: GetFeatures there, GET of the user's key in the store here. One marked event at a
time, each of a user nobody else is; the next goes out 5 ms after the one before was seen.

    tests/kafka/start
    tests/bench/peers/freshness.py --brokers 127.0.0.1:29092 [--rate 5000] [--pairs 3] [--seconds 20] [--settle 15]

Needs a JDK (17 or later) and Maven.
"""
import argparse
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

import beside

beside.within("python")
import confluent_kafka  # noqa: E402
import confluent_kafka.admin  # noqa: E402
from beside import TOP, Node  # noqa: E402
from table import varint  # noqa: E402

PARTITIONS = 8
MARKED = 1 << 63  # W1's ids have 63 bits
START_MS = 1_760_000_000_000  # W1's
LOOK_S, GAP_S = 0.0002, 0.005
PATIENCE_S = 30
WATCH = 3


class Looker:
    """Asks for a user until he is there."""

    def __init__(self, address, request):
        host, port = address.rsplit(":", 1)
        self.connection = socket.create_connection((host, int(port)))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request

    def answer(self, user):
        self.connection.sendall(self.request(user))
        text = b""
        while True:
            more = self.connection.recv(1 << 16)
            assert more, "the one who was asked hung up"
            text += more
            head, end, body = text.partition(b"\r\n\r\n")
            if end and len(body) >= length(head):
                assert head.split()[1] == b"200", text
                return body

    def wait(self, user):
        """When he was there."""
        until = time.monotonic() + PATIENCE_S
        while b'"userPresent":true' not in self.answer(user):
            assert time.monotonic() < until, f"an event was not readable after {PATIENCE_S} s"
            time.sleep(LOOK_S)
        return time.monotonic()


def length(head):
    return next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))


def ask_node(user):
    body = f'{{"userId":"{user}","features":["user_recent"]}}'.encode()
    return (b"POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body  # fmt: skip


def ask_streams(user):
    return b"GET /users/%d HTTP/1.1\r\nHost: x\r\n\r\n" % user


def event(user):
    """freshet.v1.Event: a second of watching by a marked user."""
    return (b"\x10" + varint(START_MS) + b"\x18" + varint(user) + b"\x20" + varint(1) + b"\x28" + varint(1) + b"\x48" + varint(WATCH) + b"\x51"
            + struct.pack("<d", 1.0))  # fmt: skip


class Probes:
    """Marked events and how long each took."""

    def __init__(self, args, topic):
        self.topic = topic
        self.producer = confluent_kafka.Producer({"bootstrap.servers": args.brokers, "linger.ms": 0, "partitioner": "murmur2_random"})
        self.sent = 0

    def send(self, looker):
        user = MARKED + self.sent
        self.sent += 1
        begin = time.monotonic()
        self.producer.produce(self.topic, event(user), str(user))
        self.producer.poll(0)
        return looker.wait(user) - begin

    def run(self, looker, seconds):
        latencies, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            latencies.append(self.send(looker))
            time.sleep(GAP_S)
        return sorted(latencies)


def pour(args, topic):
    return subprocess.Popen([args.binary, "bench", "pour_w1", "--brokers", args.brokers, "--topic", topic, "--events", str(args.rate)])


def measure(args, probes, pid, looker):
    probes.run(looker, args.settle)  # caches, and a JVM's compiler
    before, begin = beside.tree_cpu(pid), time.monotonic()
    latencies = probes.run(looker, args.seconds)
    cpu = (beside.tree_cpu(pid) - before) / (time.monotonic() - begin)
    part = {f"{name}_ms": latencies[int(len(latencies) * share)] * 1e3 for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
    return {**part, "events": len(latencies), "cpu_seconds_a_second": round(cpu, 4)}


def run_freshet(args, probes, directory):
    node = Node(str(args.binary), args.brokers, f"{directory}/state", TOP / "bench" / "w1.yaml",
                (f"kafka.topics=[{{name: {probes.topic}, format: protobuf}}]", "kafka.start=latest"))  # fmt: skip
    load = None
    try:
        while not node.call("AdminService/Status", {})["ready"]:
            time.sleep(0.05)
        load = pour(args, probes.topic)
        return measure(args, probes, node.process.pid, Looker(node.addresses["api"], ask_node))
    finally:
        end(load)
        node.stop()


def run_streams(args, probes, directory, class_path):
    peer = beside.Jvm(class_path, args.brokers, probes.topic, "tuned", directory, f"freshet-bench-{uuid.uuid4().hex[:8]}", "http")
    load = None
    try:
        address = peer.line("http")
        load = pour(args, probes.topic)
        peer.wait(args.rate)  # from the end of each partition once it has it: all have begun by then
        peer.drink()
        return measure(args, probes, peer.process.pid, Looker(address, ask_streams))
    finally:
        end(load)
        peer.stop()


def end(process):
    if process:
        process.terminate()
        process.wait(30)


def say(name, run):
    print(f"  {name:8} p50 {run['p50_ms']:8.2f}  p99 {run['p99_ms']:8.2f}  p99.9 {run['p999_ms']:8.2f} ms  of {run['events']} events, "
          f"{run['cpu_seconds_a_second']:.3f} CPU s/s", file=sys.stderr)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--binary", type=pathlib.Path, default=TOP / "build" / "release" / "freshet")
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="that are measured, of each run")
    parser.add_argument("--settle", type=float, default=15, help="seconds of the same before that")
    args = parser.parse_args()
    class_path = beside.install("streams")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": args.brokers})
    topic = f"freshet.bench.freshness.{uuid.uuid4().hex[:8]}"
    admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1)])[topic].result()
    probes = Probes(args, topic)
    runs = {"freshet": [], "kafka_streams": []}
    try:
        for _ in range(args.pairs):
            for name in runs:
                with tempfile.TemporaryDirectory(prefix="freshet-bench-") as directory:
                    run = run_freshet(args, probes, directory) if name == "freshet" else run_streams(args, probes, directory, class_path)
                say(name, run)
                runs[name].append(run)
    finally:
        probes.producer.flush(10)
        admin.delete_topics([topic])[topic].result()
    versions = {"freshet": beside.freshet_version(args.binary), "java": beside.java_version(),
                "kafka-streams": beside.version_of(class_path, "kafka-streams")}  # fmt: skip
    beside.tell("freshness", "ms, p99", runs, "p99_ms", versions, also=("p50_ms", "p999_ms", "cpu_seconds_a_second"),
                events_per_second=args.rate)  # fmt: skip


if __name__ == "__main__":
    main()
