"""The stack of docker-compose.yml under test: its commands, containers, ports and the clients that speak to it from outside."""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time

POLL_S = 0.2
PORTS = {
    "kafka": ("KAFKA_PORT", 9094),
    "api": ("FRESHET_API_PORT", 7070),
    "operations": ("FRESHET_OPERATIONS_PORT", 7071),
    "prometheus": ("PROMETHEUS_PORT", 9090),
}


def wait_for(condition, what, deadline_s=60):
    """Polls until `condition()` is true and returns it; fails with `what` (a string or a function) at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


def command(*arguments, **options):
    """One command to its end; what it prints."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{' '.join(arguments)}: exit {done.returncode}: {done.stderr}{done.stdout}"
    return done.stdout.strip()


def inside(container, *arguments):
    """What a command in a running container prints; None when it fails."""
    done = subprocess.run(["docker", "exec", container, *arguments], capture_output=True, text=True, timeout=300)
    return done.stdout.strip() if done.returncode == 0 else None


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Stack:
    """`compose` is the command, "docker-compose" or "docker compose". The ports are free ones: a stack may run beside it."""

    def __init__(self, compose, top):
        self.words, self.top = compose.split(), top
        self.project = os.environ["COMPOSE_PROJECT_NAME"]
        self.address = {}
        for (name, (variable, _)), port in zip(PORTS.items(), free_ports(len(PORTS))):
            os.environ[variable] = str(port)
            self.address[name] = f"127.0.0.1:{port}"

    # ---- Containers ----

    def compose(self, *arguments):
        return command(*self.words, *arguments, cwd=self.top)

    def container(self, service):
        """Its id, running or not."""
        filters = (f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}")
        return command("docker", "ps", "-aq", "--filter", filters[0], "--filter", filters[1])

    def inspect(self, service, template):
        return command("docker", "inspect", "-f", template, self.container(service))

    def wait_healthy(self, *services, deadline_s=120):
        for service in services:
            wait_for(
                lambda: self.inspect(service, "{{.State.Health.Status}}") == "healthy",
                lambda: f"{service} healthy: {self.inspect(service, '{{json .State}}')}",
                deadline_s,
            )

    def kill(self, service):
        command("docker", "kill", "-s", "KILL", self.container(service))
        assert self.inspect(service, "{{.State.Running}}") == "false"

    def start(self, service):
        command("docker", "start", self.container(service))

    def left(self):
        """What of the project docker still knows."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = (("ps", "-aq"), ("volume", "ls", "-q"), ("network", "ls", "-q"))
        return [line for kind in kinds for line in command("docker", *kind, "--filter", label).splitlines()]

    def logs(self, lines=30):
        """The end of each service's log."""
        told = []
        for service in ("prometheus", "simulate", "kafka", "freshet"):
            container = self.container(service)
            if container:
                log = subprocess.run(["docker", "logs", "--tail", str(lines), container], capture_output=True, text=True)
                state = command("docker", "inspect", "-f", "{{.RestartCount}} restarts, {{json .State}}", container)
                told.append(f"---- {service}\n{log.stdout}{log.stderr}{state}")
        return "\n".join(told)

    # ---- Freshet's image outside of the stack ----

    def alone(self, name, *options):
        """The start of a `docker run` of the image, hardened as in the stack; cleaned up by its name."""
        named = ("--rm", "--name", f"{self.project}-alone-{name}")
        hardened = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
        return ("docker", "run", *named, *hardened, "--no-healthcheck", *options)

    def producer(self, lines, rate=0):
        """Starts `freshet produce` on this machine's network, through Kafka's published port; `produced` waits for it."""
        arguments = ["produce", "--brokers", self.address["kafka"], "--topic", "freshet.events", "--format", "jsonl"]
        arguments += ["--strict"] + (["--rate", str(rate)] if rate else [])
        container = self.alone("produce", "-i", "--network", "host")
        with tempfile.TemporaryFile("w+") as file:  # a pipe would hold this process up until most is read
            file.write("".join(line + "\n" for line in lines))
            file.seek(0)
            return subprocess.Popen(
                [*container, "freshet", *arguments, "-"],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @staticmethod
    def produced(started):
        said, _ = started.communicate(timeout=180)
        assert started.returncode == 0, f"freshet produce: exit {started.returncode}: {said}"

    @staticmethod
    def log_of(container):
        done = subprocess.run(["docker", "logs", container], capture_output=True, text=True)
        return done.stdout + done.stderr

    # ---- What answers on the published ports ----

    def call(self, name, method, path, body=None):
        """One HTTP request: (status, body)."""
        connection = http.client.HTTPConnection(self.address[name], timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, name, path, message=None):
        """The page at `path`, or with a message a unary call."""
        method, body = ("GET", None) if message is None else ("POST", json.dumps(message))
        status, body = self.call(name, method, path, body)
        assert status == 200, f"{path}: HTTP {status}: {body}"
        return json.loads(body)

    def status(self):
        return self.json("operations", "/status")

    def applied(self):
        return int(self.status()["appliedEvents"])

    def query(self, expression):
        """What Prometheus answers: {labels as JSON: value}."""
        path = "/api/v1/query?query=" + "".join(f"%{byte:02x}" for byte in expression.encode())
        found = self.json("prometheus", path)["data"]["result"]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}

    def alerts(self):
        """Names of the alerts that are pending or fire."""
        return {alert["labels"]["alertname"] for alert in self.json("prometheus", "/api/v1/alerts")["data"]["alerts"]}
