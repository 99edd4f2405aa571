"""The command line: exit codes, what goes to stdout, and that commands answer what a ranker would read."""

import contextlib
import gzip
import json
import re
import subprocess

import pytest

import kafka
import logs
import settings
from freshet.v1 import event_pb2
from node import request, run_cli, wait_for

T0 = 1_700_000_040_000
COMMANDS = (
    *("run", "check", "produce", "get", "top", "related", "status", "explain", "digest", "simulate", "demo", "replay", "bench"),
)


def test_help_names_every_command(binary):
    done = run_cli(binary, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\b", done.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_and_refuses_unknown_options(binary, command):
    done = run_cli(binary, command, "--help")
    assert (done.returncode, done.stderr) == (0, "") and "usage" in done.stdout.lower()
    done = run_cli(binary, command, "--levitate")
    assert done.returncode == 2 and done.stdout == "" and "levitate" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("levitate",), ("run",), ("check",), ("produce",), ("run", "--config")])
def test_wrong_usage_is_exit_2(binary, arguments):
    done = run_cli(binary, *arguments)
    assert done.returncode == 2 and done.stderr


@pytest.mark.parametrize("command", [("get", "--user", "1"), ("status",), ("explain", "item", "1", "f"), ("digest",)])
def test_without_a_node_exit_1_names_the_address(binary, command):
    done = run_cli(binary, *command, "--api", "127.0.0.1:1")
    assert done.returncode == 1 and done.stdout == ""
    assert "127.0.0.1:1" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.fixture
def node(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    events = [
        event_pb2.Event(event_id=n + 1, ts_ms=T0 + n, user_id=42, item_id=n % 2 + 1, action=event_pb2.WATCH, value=1.5)
        for n in range(4)
    ]
    kafka.produce(node.brokers, "freshet.events", [(b"42", event.SerializeToString()) for event in events])
    node.wait_applied(4)
    return node


def test_get_shows_what_a_ranker_reads(node):
    done = node.cli("get", "--user", 42, "--items", "1,2,3", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["itemPresent"] == [True, True, False]
    assert answer["itemColumns"] == ["item_watches.1m", "item_watches.1h", "item_seconds.1h"]
    assert answer["itemValues"] == [2, 2, 3, 2, 2, 3, 0, 0, 0]
    done = node.cli("get", "--user", 42, "--items", "1", "--features", "item_watches.1m,user_recent")
    assert done.returncode == 0 and "item_watches.1m" in done.stdout and "user_recent" in done.stdout
    done = node.cli("get", "--user", 42, "--features", "nothing")
    assert done.returncode == 1 and "nothing" in done.stderr


def test_the_address_comes_from_the_environment_too(binary, node, monkeypatch):
    monkeypatch.setenv("FRESHET_API", node.api)
    assert run_cli(binary, "status", "--json").returncode == 0


def test_status_and_digest(node):
    done = node.cli("status", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["appliedEvents"] == "4"
    assert node.cli("status").returncode == 0
    done = node.cli("digest")
    assert done.returncode == 0 and re.fullmatch(r"[0-9a-f]+\n", done.stdout)
    assert done.stdout.strip() == node.digest()


def test_produce_reads_every_format_compressed_or_not(binary, make_node, tmp_path):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    row = {"tsMs": T0, "action": "watch", "userId": 1, "itemId": 2, "value": 5}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({**row, "eventId": number}) + "\n" for number in (1, 2)))
    with gzip.open(tmp_path / "b.csv.gz", "wt") as file:
        file.write(f"who,item_id,at,action,value,event_id\n1,2,{T0 // 1000},WATCH,5,3\n1,2,{T0 // 1000},watch,5,4\n")
    subprocess.run(["zstd", "-q", tmp_path / "a.jsonl", "-o", tmp_path / "c.jsonl.zst"], check=True)
    load = ("produce", "--brokers", node.brokers, "--topic", "freshet.events")
    for count, arguments in (
        (2, (tmp_path / "a.jsonl",)),
        (4, ("--map", "who=user_id,at:s=ts_ms", tmp_path / "b.csv.gz")),
        (6, (tmp_path / "c.jsonl.zst",)),
    ):
        done = run_cli(binary, *load, *arguments)
        assert done.returncode == 0, done.stderr
        node.wait_applied(count)
    assert list(node.get_features(item_ids=[2], features=["item_watches.1m"]).item_values) == [4]  # the ids of c are a's

    done = subprocess.run(
        [binary, *load, "--format", "jsonl", "-"],
        input=json.dumps({**row, "eventId": 9}),
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    node.wait_applied(7)


def test_produce_names_what_it_cannot_do(binary, node, tmp_path):
    load = ("produce", "--brokers", node.brokers, "--topic", "freshet.events")
    file = tmp_path / "log.csv"
    file.write_text(f"user_id,ts_ms,action\n1,{T0},watch\n")
    for map_text, word in (
        ("tim:s=ts_ms", "tim"),
        ("ts_ms:furlong=ts_ms", "furlong"),
        ("action=actoin", "action"),
        ("action=action(watch:like", "("),
    ):
        done = run_cli(binary, *load, "--map", map_text, file)
        assert done.returncode in (1, 2) and word in done.stderr, done.stderr
    assert run_cli(binary, *load, tmp_path / "none.csv").returncode == 1
    assert node.applied() == 4


def test_simulate_is_the_same_for_the_same_seed(binary):
    arguments = ("simulate", "--rate", 200, "--seconds", 2, "--seed", 7)
    first, second = run_cli(binary, *arguments), run_cli(binary, *arguments)
    assert first.returncode == 0, first.stderr
    events = [json.loads(line) for line in first.stdout.splitlines()]
    assert 200 <= len(events) <= 800
    assert {"WATCH", "LIKE", "COMMENT"} <= {event["action"].upper() for event in events}

    def shape(text):
        """Without the absolute times, which may be those of the run."""
        events = [json.loads(line) for line in text.splitlines()]
        return [{k: v for k, v in event.items() if k not in ("tsMs", "eventId", "requestId")} for event in events]

    assert shape(first.stdout) == shape(second.stdout)
    other = run_cli(binary, "simulate", "--rate", 200, "--seconds", 2, "--seed", 8)
    assert shape(other.stdout) != shape(first.stdout)


def test_the_truth_of_a_simulation_names_everybody_and_all_that_happens_in_it(binary, tmp_path):
    file = tmp_path / "truth.jsonl"
    arguments = ("simulate", "--rate", 500, "--seconds", 60, "--fast", "--swing", 20, "--truth", file)
    done = run_cli(binary, *arguments, "--users", 900, "--items", 1000)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    truth = [json.loads(line) for line in file.read_text().splitlines()]
    of = {kind: [one for one in truth if one["truth"] == kind] for kind in {one["truth"] for one in truth}}
    assert set(of) == {"world", "user", "item", "maker", "room", "burst", "creator", "purchase", "comment"}
    assert {one["tier"] for one in of["maker"]} == {"new", "known", "top"} and len(of["maker"]) == int(of["world"][0]["creators"])
    items = {one["itemId"]: one for one in of["item"]}
    assert (len(of["user"]), len(items)) == (900, 1000)
    shown = [event for event in events if event["action"] == "IMPRESSION"]
    assert all(items[event["itemId"]]["categoryId"] == event["categoryId"] for event in shown)
    said = {event["eventId"] for event in events if event["action"] == "COMMENT"}
    assert said == {one["eventId"] for one in of["comment"]}
    refused = run_cli(binary, *arguments[:5], "--swing", 91)
    assert refused.returncode == 2 and "--swing 91: use 0 to 90" in refused.stderr


@contextlib.contextmanager
def demo(binary, tmp_path, *arguments):
    """A running `freshet demo --json`: gives its first line; ends it with SIGTERM and exit 0."""
    command = [str(binary), "demo", "--json", *map(str, arguments)]
    for one in (f"store.path={tmp_path / 'store'}", "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0"):
        command += ["--set", one]
    with open(tmp_path / "demo.log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
    try:
        line = process.stdout.readline()
        assert line, (tmp_path / "demo.log").read_text()
        yield json.loads(line)
        process.terminate()
        assert process.wait(20) == 0, (tmp_path / "demo.log").read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def applied(first):
    return int(json.loads(request(first["operations"], "GET", "/status")[2])["appliedEvents"])


def test_the_demo_serves_its_traffic(binary, tmp_path):
    with demo(binary, tmp_path) as first:
        assert set(first) == {"api", "operations", "brokers"}
        wait_for(lambda: request(first["operations"], "GET", "/readyz")[0] == 200, "ready")
        wait_for(lambda: applied(first) > 500, lambda: f"500 events, {applied(first)} so far")


def test_the_demo_replays_a_log(binary, data, tmp_path):
    with demo(binary, tmp_path, "--events", data / logs.Rees46.file, "--map", logs.Rees46.map) as first:
        wait_for(lambda: applied(first) == 1000, lambda: f"1000 events, {applied(first)} so far")
