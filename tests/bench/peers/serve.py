#!/usr/bin/env python3
"""S1 (one user of 32 floats and 100 ids, 200 items of 64 floats, among 100,000 items) read from a node, from a grpc++ callback server with
a table that never changes, and from Feast's Python server on Redis, turn about. A node is filled from Kafka, the others with what it
answers; before each run a sample of requests must get the same values. Redis MGET of packed blobs is in `freshet bench serve`.

Of each run: requests/s, p50 and p99 as the client sees them, CPU seconds of the server per 1,000 requests (the process and all below it,
Redis too; what it takes without requests is measured before and taken off). The node (one loop) and grpc++ (as many threads as it likes)
are asked over gRPC by tests/bench/load with 16 connections; Feast gets two requests of JSON, the user's and the items', over 4.

    tests/bench/peers/serve.py [--peers grpc,feast] [--pairs 3] [--seconds 5] [--build build/release]
"""
import argparse
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time

import beside

beside.within("python")
import grpc  # noqa: E402
import table  # noqa: E402

SAMPLED = 100
FEAST_SAMPLED = 5
FEAST_ITEMS, FEAST_USERS = 5000, 500  # it takes long to fill; what a request costs does not depend on it
FEAST_CONNECTIONS = 4
PATIENCE_S = 120


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class GrpcServer:
    """The node, or the other."""

    def __init__(self, args, pid, address):
        self.args, self.pids, self.address = args, [pid], address

    def check(self, sample):
        with grpc.insecure_channel(self.address) as channel:
            call = channel.unary_unary(table.PATH, request_serializer=bytes, response_deserializer=bytes)
            for asked, reply in sample:
                assert table.answer(call(asked)) == table.answer(reply), f"another answer from {self.address}"

    def load(self, seconds, seed):
        done = subprocess.run([f"{self.args.build}/tests/bench/load", self.address, "grpc", "16", str(seconds), str(self.args.items), str(seed),
                               "", str(self.args.users)], stdout=subprocess.PIPE, check=True)  # fmt: skip
        return json.loads(done.stdout)


class Feast:
    """Redis, and `feast serve` over it."""

    def __init__(self, args, rows, directory, processes):
        self.args, self.rows = args, rows
        self.repository = pathlib.Path(directory, "feast")
        self.repository.mkdir()
        self.python = beside.install("feast")
        redis = free_port()
        self.port = free_port()
        self.redis = subprocess.Popen(["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
                                      stdout=subprocess.DEVNULL)  # fmt: skip
        processes.append(self.redis)
        self.write_values()
        environment = {**os.environ, "FEAST_USAGE": "False", "FEAST_TELEMETRY": "False"}
        subprocess.run([self.python, beside.HERE / "feast" / "fill.py", self.repository, f"127.0.0.1:{redis}"], stdout=sys.stderr, env=environment,
                       check=True)  # fmt: skip
        self.server = subprocess.Popen([pathlib.Path(self.python).parent / "feast", "-c", self.repository, "serve", "-h", "127.0.0.1", "-p",
                                        str(self.port), "--no-access-log", "--workers", str(args.feast_workers)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)  # fmt: skip
        processes.append(self.server)
        self.pids = [self.server.pid, self.redis.pid]
        self.wait()

    def write_values(self):
        """What fill.py reads: rows as the node has them."""
        items = [table.ident(table.ITEM, number) for number in range(FEAST_ITEMS)]
        users = [table.ident(table.USER, number) for number in range(FEAST_USERS)]
        found = {"items": {}, "users": {}}
        for reply, at in zip(self.rows.ask([table.request(0, items[at : at + 1000]) for at in range(0, FEAST_ITEMS, 1000)]),
                             range(0, FEAST_ITEMS, 1000)):  # fmt: skip
            values = table.floats(dict(table.fields(reply))[8])
            width = len(values) // 1000
            found["items"] |= {items[at + i]: values[i * width : (i + 1) * width] for i in range(1000)}
        for user, reply in zip(users, self.rows.ask([table.request(user, []) for user in users])):
            found["users"][user] = [table.floats(dict(table.fields(reply))[5]), table.ids(reply)]
        (self.repository / "values.json").write_text(json.dumps(found))
        self.found = found

    def wait(self):
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self.post(http.client.HTTPConnection("127.0.0.1", self.port), *self.bodies(0, [0])):
                    return
            except OSError:
                assert self.server.poll() is None and time.monotonic() < until, "feast serve does not answer"
                time.sleep(0.2)

    def bodies(self, user, items):
        """By number; what a ranker has to ask for S1."""
        return (json.dumps({"feature_service": "users", "entities": {"user_id": [table.ident(table.USER, user)]}}),
                json.dumps({"feature_service": "items", "entities": {"item_id": [table.ident(table.ITEM, item) for item in items]}}))  # fmt: skip

    def post(self, connection, *bodies):
        answers = []
        for body in bodies:
            connection.request("POST", "/get-online-features", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answers.append(response.read())
            assert response.status == 200, answers[-1][:500]
        return answers

    def draw(self):
        some = self.rows.random
        return some.randrange(FEAST_USERS), [some.randrange(FEAST_ITEMS) for _ in range(self.args.items)]

    def check(self, _):
        """Against what the node said; the names are feature numbers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        for _ in range(FEAST_SAMPLED):
            user, items = self.draw()
            one, many = (columns(json.loads(answer)) for answer in self.post(connection, *self.bodies(user, items)))
            values, recent = self.found["users"][table.ident(table.USER, user)]
            assert [one[f"u{i}"][0] for i in range(len(values))] == values and one["recent"][0] == recent
            for row, item in enumerate(items):
                wanted = self.found["items"][table.ident(table.ITEM, item)]
                assert [many[f"i{i}"][row] for i in range(len(wanted))] == wanted

    def load(self, seconds, _):
        latencies, lock, end = [], threading.Lock(), time.monotonic() + seconds

        def ask():
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            while time.monotonic() < end:
                with lock:
                    bodies = self.bodies(*self.draw())
                begin = time.monotonic()
                answers = self.post(connection, *bodies)
                with lock:
                    latencies.append((time.monotonic() - begin, sum(map(len, answers))))

        begin = time.monotonic()
        threads = [threading.Thread(target=ask) for _ in range(FEAST_CONNECTIONS)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        spent = time.monotonic() - begin
        sorted_us = sorted(latency * 1e6 for latency, _ in latencies)
        return {"requests": len(latencies), "seconds": spent, "per_second": len(latencies) / spent, "p50_us": sorted_us[len(sorted_us) // 2],
                "p99_us": sorted_us[len(sorted_us) * 99 // 100], "reply_bytes": latencies[-1][1]}  # fmt: skip


def columns(answer):
    """Name → values, one an entity."""
    return {name: result["values"] for name, result in zip(answer["metadata"]["feature_names"], answer["results"])}


def cpu(server):
    return sum(beside.tree_cpu(pid) for pid in server.pids)


def run(name, server, args, sample, seed):
    server.check(sample)
    server.load(0.5, seed + 1)  # warm
    before, begin = cpu(server), time.monotonic()
    time.sleep(args.seconds * 0.3)
    idle = (cpu(server) - before) / (time.monotonic() - begin)
    before = cpu(server)
    row = server.load(args.seconds * (args.feast_longer if name == "feast" else 1), seed)
    used = cpu(server) - before
    row["cpu_seconds_per_1000"] = (max(used - idle * row["seconds"], 0) or used) * 1000 / row["requests"]
    row["idle_cpu"] = round(idle, 4)
    print(f"  {name:10} {row['per_second']:9,.1f} requests/s {row['cpu_seconds_per_1000']:9.4f} CPU s per 1,000  p50 {row['p50_us']:,.0f} "
          f"p99 {row['p99_us']:,.0f} µs", file=sys.stderr)  # fmt: skip
    return row


def start_grpc(args, directory, processes):
    process = subprocess.Popen([beside.install("grpc"), f"{directory}/table"], stdout=subprocess.PIPE, text=True)
    processes.append(process)
    line = json.loads(process.stdout.readline())
    assert line["items"] > 0 and line["users"] == args.users, line
    return GrpcServer(args, process.pid, line["api"]), line["grpc"]


def compare(args, rows, directory, processes):
    kinds = args.peers.split(",")
    servers = {"freshet": GrpcServer(args, rows.node.process.pid, rows.node.addresses["api"])}
    versions = {"freshet": beside.freshet_version(f"{args.build}/freshet")}
    if "grpc" in kinds:
        rows.write(f"{directory}/table")
        servers["grpc_cpp"], versions["grpc_cpp"] = start_grpc(args, directory, processes)
    if "feast" in kinds:
        servers["feast"] = Feast(args, rows, directory, processes)
        versions |= {"feast": beside.package_version(servers["feast"].python, "feast"),
                     "redis": subprocess.run(["redis-server", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()[2][2:]}  # fmt: skip
    runs = {name: [] for name in servers}
    for pair in range(args.pairs):
        sample = rows.sample(SAMPLED, args.items)
        for name, server in servers.items():
            runs[name].append(run(name, server, args, sample, 1000 * (pair + 1)))
    beside.tell("serve", "CPU seconds per 1,000 requests", runs, "cpu_seconds_per_1000", versions, also=("per_second",),
                workload={"name": "S1", "items": args.items, "users": args.users}, sampled=SAMPLED)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=beside.TOP / "build" / "release")
    parser.add_argument("--peers", default="grpc,feast")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--feast-longer", type=float, default=2, help="times as long for Feast, which answers few")
    parser.add_argument("--feast-workers", type=int, default=1, help="its processes; 1 is its default")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--users", type=int, default=20_000, help="100 events each")
    args = parser.parse_args()
    processes = []
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as directory:
        rows = table.Rows(args.build, args.users, directory)
        try:
            compare(args, rows, directory, processes)
        finally:
            for one in processes:
                one.terminate()
                one.wait(30)
            rows.node.stop()


if __name__ == "__main__":
    main()
