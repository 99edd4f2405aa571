"""A node under test: `freshet run` with free ports, and the clients that speak to it."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time

import yaml

from freshet.v1 import admin_pb2, feature_pb2

DEADLINE_S = 60
POLL_S = 0.02


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Polls until `condition()` is true and returns it; fails with `what` (a string or a function) at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


class CallError(Exception):
    """A unary call that was answered with an error, as the Connect protocol has them."""

    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.code = body.get("code")
        self.message = body.get("message", "")


def request(address, method, path, body=None, headers=None, timeout_s=30):
    """One HTTP request on its own connection: (status, headers, body)."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


class Pipeline:
    """GetFeatures over one kept connection, many requests in flight: http.client is ten times slower than the node."""

    DEPTH = 32

    def __init__(self, api):
        host, _, port = api.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host, self.left = api, b""

    def close(self):
        self.socket.close()

    def get_features(self, requests):
        """Yields the responses in order."""
        for at in range(0, len(requests), self.DEPTH):
            some = requests[at : at + self.DEPTH]
            self.socket.sendall(b"".join(self.encoded(one) for one in some))
            for _ in some:
                yield feature_pb2.GetFeaturesResponse.FromString(self.body())

    def encoded(self, message):
        body = message.SerializeToString()
        head = (
            f"POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: {self.host}\r\n"
            f"Content-Type: application/proto\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def body(self):
        while (end := self.left.find(b"\r\n\r\n")) < 0:
            self.more()
        head, self.left = self.left[:end].decode("latin-1").lower(), self.left[end + 4 :]
        status, *lines = head.split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        while len(self.left) < length:
            self.more()
        body, self.left = self.left[:length], self.left[length:]
        assert status.startswith("http/1.1 200"), (status, body)
        return body

    def more(self):
        got = self.socket.recv(1 << 18)
        assert got, "the node closed the connection"
        self.left += got


class Node:
    """`configuration` is a dict, written as YAML to `directory`; the sockets' ports are always free ones."""

    def __init__(self, binary, configuration, directory, name="node"):
        self.binary, self.directory, self.name = binary, directory, name
        self.process = None
        self.command = ("run",)
        self.inside = ()  # a command that runs it elsewhere: in a network namespace
        self.environment = {}  # beside the process's own
        self.api = self.operations = self.brokers = None
        self.runs = 0
        self.configuration = json.loads(json.dumps(configuration))
        self.configuration.setdefault("store", {}).setdefault("path", str(directory / f"{name}.store"))
        server = self.configuration.setdefault("server", {})
        server.setdefault("listen", "127.0.0.1:0")
        server.setdefault("operations", "127.0.0.1:0")
        self.file = directory / f"{name}.yaml"
        self.file.write_text(yaml.safe_dump(self.configuration, sort_keys=False))

    # ---- The process ----

    def spawn(self, *sets, **options):
        """Starts it without waiting for anything; options are Popen's."""
        assert self.process is None
        self.runs += 1
        arguments = [*self.inside, str(self.binary), *self.command, "--config", str(self.file)]
        for one in sets:
            arguments += ["--set", one]
        with open(self.log_file(), "wb") as log:
            self.process = subprocess.Popen(
                arguments,
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                **options,
            )
        return self

    def start(self, *sets, is_ready=True):
        """Starts it and waits for the first line, and for readiness unless told otherwise."""
        self.spawn(*sets)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"exit {self.process.wait()} before the first line: {self.log()}")
        self.first_line(line)
        if is_ready:
            wait_for(self.is_ready, lambda: f"ready; it says {self.ready_page()}, its log {self.log()[-2000:]}")
        return self

    def first_line(self, line):
        first = json.loads(line)
        self.api, self.operations, self.brokers = first["api"], first["operations"], first["brokers"]

    def log_file(self):
        return self.directory / f"{self.name}.{self.runs}.log"

    def log(self):
        return self.log_file().read_text(errors="replace")

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        if self.process:
            self.process.kill()
            self.ended()

    def stop(self, deadline_s=20):
        """SIGTERM; the exit code."""
        if not self.process:
            return None
        self.process.send_signal(signal.SIGTERM)
        return self.ended(deadline_s)

    def ended(self, deadline_s=20):
        """Waits for the end of the process; its exit code."""
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still runs after {deadline_s} s: {self.log()[-2000:]}") from None
        finally:
            self.process.stdout.close()
            self.process = None
        return code

    # ---- The operations port ----

    def page(self, path):
        return request(self.operations, "GET", path)

    def ready_page(self):
        status, _, body = self.page("/readyz")
        return status, body.decode()

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"exit {self.process.returncode} before it was ready: {self.log()}")
        return self.page("/readyz")[0] == 200

    def status(self):
        code, _, body = self.page("/status")
        assert code == 200, (code, body)
        return json.loads(body)

    def applied(self):
        return int(self.status()["appliedEvents"])

    def wait_applied(self, count, deadline_s=120):
        """Until exactly so many records are finished and nothing waits."""

        def is_done():
            assert self.process.poll() is None, f"exit {self.process.returncode}: {self.log()[-2000:]}"
            now = self.applied()
            assert now <= count, f"{now} records applied, {count} produced"
            return now == count

        wait_for(is_done, lambda: f"{count} records applied: {self.status()}", deadline_s)

    # ---- The API port ----

    def call(self, method, message, response_type):
        """A unary call in protobuf."""
        status, headers, body = request(
            self.api, "POST", f"/freshet.v1.{method}", message.SerializeToString(), {"Content-Type": "application/proto"}
        )
        if status != 200:
            raise CallError(status, json.loads(body))
        assert headers["Content-Type"] == "application/proto"
        return response_type.FromString(body)

    def call_json(self, method, message):
        """A unary call in JSON; `message` is a dict or raw bytes."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        status, headers, body = request(self.api, "POST", f"/freshet.v1.{method}", body, {"Content-Type": "application/json"})
        answer = json.loads(body)
        if status != 200:
            raise CallError(status, answer)
        assert headers["Content-Type"].startswith("application/json")
        return answer

    def get_features(self, **fields):
        return self.call(
            "FeatureService/GetFeatures", feature_pb2.GetFeaturesRequest(**fields), feature_pb2.GetFeaturesResponse
        )

    def digest(self):
        return self.call("AdminService/Digest", admin_pb2.DigestRequest(), admin_pb2.DigestResponse).digest

    # ---- The command line ----

    def cli(self, *arguments, **options):
        return run_cli(self.binary, *arguments, "--api", self.api, **options)


def run_cli(binary, *arguments, timeout_s=60, **options):
    """One command to its end: the completed process, with text output."""
    return subprocess.run(
        [str(binary), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        **options,
    )
