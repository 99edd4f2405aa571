"""docker-compose.yml from `up` to `down -v`: events in from outside, features out, faults between, every count exact.

usage: check.py COMPOSE TOP CLIENT; run by tests/compose/run. CLIENT: a Python environment with the client.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import newcomer
import stack
import traffic
from stack import wait_for

BATCH, RATE = 4000, 1000
NOT_HERE = ("freshet_model_", "freshet_outbox_", "freshet_tls_certificate_", "freshet_table_", "freshet_skew_", "freshet_cluster_")  # what this node is not asked to have
BEGUN_S = time.monotonic()
LATE_CLOCK = pathlib.Path(__file__).resolve().parents[2] / "build/release/tests/faults/libother_clock.so"


def say(what):
    print(f"compose: check {time.monotonic() - BEGUN_S:5.1f} s  {what}", flush=True)


def read_http1_json(under_test, request):
    return under_test.json("api", "/freshet.v1.FeatureService/GetFeatures", request)


def grpcurl():
    """The stock client, where the flow tests' Go programs are; mandatory in CI."""
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    found = shutil.which("grpcurl") or shutil.which("grpcurl", path=os.path.join(cache, "freshet-tests", "go"))
    if not found:
        assert os.environ.get("CI") != "true", "grpcurl is missing; tests/flow/run builds it with Go"
        say("skipped: features over gRPC: grpcurl is missing; tests/flow/run builds it with Go")
    return found


def read_grpc(under_test, request):
    command = [GRPCURL, "-plaintext", "-emit-defaults", "-max-time", "10", "-d", json.dumps(request), under_test.address["api"]]
    return json.loads(stack.command(*command, "freshet.v1.FeatureService/GetFeatures"))


# How features are read from outside: a function of the stack and a GetFeaturesRequest as JSON has it, to the response likewise.
GRPCURL = grpcurl()
READERS = (("HTTP/1.1 JSON", read_http1_json), *([("gRPC by grpcurl", read_grpc)] if GRPCURL else []))


def check_served(under_test, sent):
    """Every reader gets what was produced, for every user and item; and nobody fell and was picked up on the way."""
    for service in ("kafka", "freshet", "prometheus"):
        assert under_test.inspect(service, "{{.RestartCount}}") == "0", f"{service} ended by itself; its log tells more"
    for name, read in READERS:
        for user, request in sent.requests():
            try:
                sent.check(user, read(under_test, request))
            except AssertionError as error:
                raise AssertionError(f"by {name}: {error}") from None


def wait_applied(under_test, count):
    """Until exactly so many records are finished and nothing waits."""

    def is_done():
        status = under_test.status()
        now = int(status["appliedEvents"])
        assert now <= count, f"{now} records applied, {count} produced"
        return now == count and status["lagEvents"] == "0"

    wait_for(is_done, lambda: f"{count} records applied: {under_test.status()}")


def check_hardened(under_test):
    node = under_test.container("freshet")
    assert stack.inside(node, "id", "-u") == "10001"
    assert stack.inside(node, "touch", "/usr/x") is None, "the root can be written"
    assert stack.inside(node, "touch", "/tmp/x") is not None, "/tmp cannot be written"
    process = stack.inside(node, "cat", "/proc/1/status")
    assert "CapBnd:\t0000000000000000" in process and "NoNewPrivs:\t1" in process, process
    assert under_test.inspect("freshet", "{{.HostConfig.Memory}}") == str(1 << 30)
    for service in ("kafka", "freshet", "prometheus"):
        ports = json.loads(under_test.inspect(service, "{{json .NetworkSettings.Ports}}"))
        hosts = {bound["HostIp"] for bindings in ports.values() for bound in bindings or ()}
        assert hosts == {"127.0.0.1"}, f"{service} is published at {hosts}"


def check_memory(under_test):
    """What the process may have is its container's limit; without one the machine's, and the log says which to set."""
    status = under_test.status()
    assert int(status["machineMemoryBytes"]) == 1 << 30 and int(status["memoryBudgetBytes"]) == 1 << 29, status
    assert "memory" not in stack.command("docker", "logs", under_test.container("freshet")), "it has twice its budget, and warns"
    run = ("freshet", "demo", "--json", "--rate", "1", "--set", "server.listen=127.0.0.1:7070", "--set", "server.operations=127.0.0.1:7071")
    for name, limit, told in (
        ("unlimited", (), "this container has no memory limit, so it may take all of the machine's"),
        ("small", ("--memory", "256m"), "this process may have 256 MiB in all"),
    ):
        container = stack.command(*under_test.alone(name, "-d", "--tmpfs", "/tmp", *limit), *run)
        wait_for(lambda: told in under_test.log_of(container), lambda: f"{told}: {under_test.log_of(container)}")
        assert re.search(r"set (the limit to twice that, \d+m|store\.memory to 192MiB or less)", under_test.log_of(container))
        stack.command("docker", "kill", container)


def check_refused(under_test):
    """A volume that is another user's ends the node with a line that says whose it should be."""
    with tempfile.TemporaryDirectory() as volume:
        os.chmod(volume, 0o755)  # of whoever runs this, who is not the image's user
        run = ("freshet", "run", "--config", "/etc/freshet/freshet.yaml", "--set", "kafka.brokers=embedded")
        configuration = pathlib.Path(under_test.top, "ops/compose/freshet.yaml")
        mounts = ("-v", f"{volume}:/var/lib/freshet", "-v", f"{configuration}:/etc/freshet/freshet.yaml:ro")
        done = subprocess.run([*under_test.alone("refused", *mounts), *run], capture_output=True, text=True, timeout=120)
    told = [line for line in done.stderr.splitlines() if "Permission denied for user 10001; give it to that user (chown)" in line]
    assert done.returncode == 1 and len(told) == 1, (done.returncode, done.stdout, done.stderr)


def check_canary(under_test):
    """It sings once a second, and none of its events is among those that are counted."""
    sung = 'freshet_canary_total{result="ok"}'
    wait_for(lambda: sum(under_test.query(sung).values()) >= 3, lambda: f"canaries in Prometheus: {under_test.query(sung)}")
    p50, p99 = (f"histogram_quantile({q}, sum by (le) (rate(freshet_canary_seconds_bucket[1m])))" for q in (0.5, 0.99))
    wait_for(lambda: under_test.query(p50) and under_test.query(p99), "a rate, which is of two scrapes")
    outcomes = {one["outcome"]: int(one["events"]) for one in under_test.status()["outcomes"]}
    assert outcomes["canary"] >= 3 and outcomes["unknown_action"] == 0, outcomes
    return [f"{1000 * value:.0f} ms" for quantile in (p50, p99) for value in under_test.query(quantile).values()]


def produce(under_test, sent, count):
    under_test.produced(under_test.producer(sent.lines(count)))
    wait_applied(under_test, sent.records)
    check_served(under_test, sent)


def produce_garbage(under_test, sent):
    """A record that is no event, by Kafka's own tool."""
    tool = "/opt/kafka/bin/kafka-console-producer.sh --bootstrap-server kafka:9092 --topic freshet.events"
    kafka = under_test.container("kafka")
    assert stack.inside(kafka, "sh", "-c", f"echo 'no event' | {tool}") is not None
    sent.records += 1
    wait_applied(under_test, sent.records)
    under_test.json("api", "/freshet.v1.AdminService/Checkpoint", {})  # dead letters are in Kafka before the epoch
    tool = "/opt/kafka/bin/kafka-get-offsets.sh --bootstrap-server kafka:9092 --topic freshet.dead"
    ends = stack.inside(kafka, *tool.split())
    assert ends and sum(int(line.rsplit(":", 1)[1]) for line in ends.splitlines()) == 1, ends


def produce_through(under_test, sent, service):
    """Kills `service` in the middle of a batch and starts it again."""
    before = sent.records
    producer = under_test.producer(sent.lines(BATCH), RATE)
    applied = wait_for(lambda: max(0, under_test.applied() - before - BATCH // 8), "events flow")
    assert applied < BATCH // 2, "too late for a fault amid events"
    under_test.kill(service)
    killed_s = time.monotonic()
    if service == "kafka":
        wait_for(lambda: int(under_test.status()["staleMs"]) > 1000, lambda: f"stale: {under_test.status()}")
        assert under_test.call("operations", "GET", "/readyz")[0] == 200, "reads go on without a broker, so it stays ready"
        under_test.json("api", "/freshet.v1.FeatureService/GetFeatures", next(sent.requests())[1])
        lost = rb'freshet_canary_total\{result="unproduced"\} [1-9]'
        wait_for(lambda: re.search(lost, under_test.call("operations", "GET", "/metrics")[1]), "the canary says that Kafka is away")
    under_test.start(service)
    started_s = time.monotonic()
    under_test.wait_healthy(service)
    healthy_s = time.monotonic()
    under_test.produced(producer)
    wait_applied(under_test, sent.records)
    done_s = time.monotonic()
    check_served(under_test, sent)
    away, well, all_applied = started_s - killed_s, healthy_s - started_s, done_s - healthy_s
    say(f"{service} away for {away:.1f} s, healthy {well:.1f} s after its start, all applied {all_applied:.1f} s later")


def simulate(under_test, sent):
    """The profile's own service, for a while."""
    under_test.compose("--profile", "simulate", "up", "-d", "--no-build", "simulate")
    wait_for(lambda: under_test.applied() > sent.records + 1000, "simulated events flow")
    container = under_test.container("simulate")
    stack.command("docker", "stop", "-t", "30", container)
    said = stack.command("docker", "logs", container)
    assert under_test.inspect("simulate", "{{.State.ExitCode}}") == "0", said
    sent.records += int(re.search(r"produced (\d+) events", said)[1])
    wait_applied(under_test, sent.records)
    check_served(under_test, sent)


def compare_digests(under_test, sent):
    """A second node, the image alone, reads all of it once more in other batches and without a fault, by a clock an hour ahead."""
    configuration = pathlib.Path(under_test.top, "ops/compose/freshet.yaml")
    options = ("-d", "--network", f"{under_test.project}_default", "-v", f"{configuration}:/etc/freshet/freshet.yaml:ro")
    if LATE_CLOCK.exists():
        options += ("-v", f"{LATE_CLOCK}:/late.so:ro", "-e", "LD_PRELOAD=/late.so", "-e", "FRESHET_CLOCK_AHEAD=3600")
    else:
        assert os.environ.get("CI") != "true", f"no {LATE_CLOCK}; build the tests"
        say(f"skipped: a node whose clock is ahead: no {LATE_CLOCK}; build the tests")
    settings = ("--set", "kafka.group=second", "--set", "kafka.dead_letters=", "--set", "node.lanes=1")
    run = ("run", "--config", "/etc/freshet/freshet.yaml", *settings)
    nodes = (under_test.container("freshet"), stack.command(*under_test.alone("second", *options), "freshet", *run))
    applied = under_test.applied()

    def has_all():
        status = stack.inside(nodes[1], "freshet", "status", "--json")
        return status and int(json.loads(status)["appliedEvents"]) == applied

    wait_for(has_all, f"the second node has all {applied} events")
    digests = [stack.inside(node, "freshet", "digest") for node in nodes]
    assert digests[0] and digests[0] == digests[1], digests
    if LATE_CLOCK.exists():
        under_test.produced(under_test.producer(sent.lines(100)))  # events of now, which are old by that clock
        wait_applied(under_test, sent.records)
        wait_for(lambda: "set this clock (NTP)" in (stack.inside(nodes[1], "freshet", "status") or ""), "a clock ahead is told")
        assert under_test.status()["clockTrouble"] == "", "this one's is right"
    stack.command("docker", "stop", nodes[1])
    return digests[0]


def check_prometheus(under_test, sent):
    def sees():
        up = under_test.query('up{job="freshet"}')
        return list(up.values()) == [1] and list(under_test.query("freshet_applied_events").values()) == [sent.records]

    wait_for(sees, lambda: f"Prometheus sees {sent.records} events: {under_test.query('freshet_applied_events')}")
    groups = under_test.json("prometheus", "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 5
    for rule in rules:
        assert rule["health"] == "ok", rule
        for name in set(re.findall(r"freshet_\w+", rule["query"])):
            assert name.startswith(NOT_HERE) or under_test.query(name), f"{rule['name']} asks for {name}, and there is none"
    assert "FreshetDeadLetters" in under_test.alerts(), under_test.alerts()
    dashboard = json.loads(pathlib.Path(under_test.top, "ops/compose/grafana/dashboards/node.json").read_text())
    asked = [target["expr"].replace("$instance", ".+") for panel in dashboard["panels"] for target in panel.get("targets", ())]
    for expression in asked:
        assert any(name in expression for name in NOT_HERE) or under_test.query(expression), f"no data for {expression}"
    return len(rules), len(asked)


def stop_node(under_test):
    """An orderly end, and Prometheus notices."""
    under_test.compose("stop", "freshet")
    assert under_test.inspect("freshet", "{{.State.ExitCode}}") == "0"
    wait_for(lambda: "FreshetDown" in under_test.alerts(), "FreshetDown is pending")


def check_all(under_test, sent):
    under_test.compose("up", "-d", "--no-build")
    under_test.wait_healthy("kafka", "freshet", "prometheus")
    say("up and healthy")
    check_hardened(under_test)
    say("not root, no capabilities, a read-only root, published on the loopback only")
    check_memory(under_test)
    say("what the process may have: its container's limit; without one, or with a small one, it says which to set")
    check_refused(under_test)
    say("a volume of another user: refused, with whose it should be")
    p50, p99 = check_canary(under_test)
    say(f"the canary: an event a second, through the topic to a read, p50 {p50}, p99 {p99}")
    produce(under_test, sent, 1000)
    say(f"{sent.records} events from outside, features read from outside by {', '.join(name for name, _ in READERS)}: exact")
    produce_garbage(under_test, sent)
    say("a record that is no event: dead letter, counted")
    produce_through(under_test, sent, "kafka")
    say(f"broker killed amid events and started: {sent.records} applied, exact")
    produce_through(under_test, sent, "freshet")
    say(f"node killed amid events and started: {sent.records} applied, exact")
    simulate(under_test, sent)
    say(f"profile simulate: {sent.records} applied, exact")
    newcomer.follow(under_test, sys.argv[3], say)
    sent.records += newcomer.ROWS
    wait_applied(under_test, sent.records)
    digest = compare_digests(under_test, sent)
    say(f"a second node, whose clock is an hour ahead, read it all at once, has the same digest and names its clock: {digest}")
    rules, panels = check_prometheus(under_test, sent)
    say(f"prometheus: target up, freshet_applied_events {sent.records}, {rules} rules and {panels} panels ask for what there is")
    stop_node(under_test)
    say("stopped: exit 0, FreshetDown is pending")
    under_test.compose("--profile", "simulate", "down", "-v")
    assert not under_test.left(), under_test.left()
    say("down -v: nothing is left")


def main():
    under_test = stack.Stack(sys.argv[1], sys.argv[2])
    try:
        check_all(under_test, traffic.Traffic(seed=4))
    except Exception:
        print(under_test.logs(), traceback.format_exc(), sep="\n", flush=True)
        say("failed")
        sys.exit(1)


if __name__ == "__main__":
    main()
