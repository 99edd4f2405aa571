"""The examples, built and run as a reader would."""

import pathlib
import re
import shutil
import socket
import subprocess
import threading

import pytest

import kafka
import logs
import oracle
import settings
from conftest import missing
from freshet.v1 import event_pb2
from test_values import difficult_events

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"
NAMES = [*settings.CATALOGUE["features"], "item.creator_id", "item.duration_s"]
ITEMS = [1, 2, 3, 2**64 - 1, 3]
STANDS_ALONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"  # a ClusterResponse without partitions


@pytest.fixture(scope="session")
def get_features(tmp_path_factory):
    """Runs the C example."""
    for tool in ("cmake", "protoc-c"):
        if not shutil.which(tool):
            missing(f"no {tool} here")
    build = tmp_path_factory.mktemp("example")
    warnings = "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror -fsanitize=address,undefined"
    for command in (["cmake", "-S", EXAMPLES / "c", "-B", build, warnings], ["cmake", "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def run(*arguments):
        command = [build / "example_get_features", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    return run


def test_the_c_client_is_installed_and_found(tmp_path):
    """As clients/c/README.md says; a program then needs nothing of this repository."""
    for command in (
        ["cmake", "-S", EXAMPLES.parent / "clients" / "c", "-B", tmp_path / "build"],
        ["cmake", "--build", tmp_path / "build"],
        ["cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "usr"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "main.c").write_text("#include <freshet/client.h>\nint main(void)\n{\n    return (int)freshet_client_partition(7, 1);\n}\n")
    found = subprocess.run(["pkg-config", "--cflags", "--libs", "libprotobuf-c"], capture_output=True, text=True, check=True).stdout.split()
    command = ["cc", tmp_path / "main.c", f"-I{tmp_path}/usr/include", f"-L{tmp_path}/usr/lib", "-lfreshet_client", *found, "-o", tmp_path / "main"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([tmp_path / "main"]).returncode == 0


@pytest.fixture
def node(make_node):
    node = make_node(settings.configuration("embedded")).start()
    events = [event for event in difficult_events(6, 1_000) if oracle.verdict(event) == "applied"]
    messages = [(logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events]
    kafka.produce(node.brokers, "freshet.events", messages)
    node.wait_applied(len(messages))
    return node


def printed_field(field):
    values = [*map(str, field.ids), *map(str, field.ints), *(f"{number:.17g}" for number in field.numbers)]
    return " ".join([f"  {field.name}:", *values])


def printed(user_id, item_ids, reply):
    """The lines that the example should print."""

    def known(is_present):
        return "" if is_present else " (unknown)"

    yield f"user {user_id}{known(reply.user_present)}"
    for column, value in zip(reply.user_columns, reply.user_values):
        yield f"  {column}: {value:.9g}"
    for row, item_id in enumerate(item_ids):
        yield f"item {item_id}{known(reply.item_present[row])}"
        for number, column in enumerate(reply.item_columns):
            yield f"  {column}: {reply.item_values[row * len(reply.item_columns) + number]:.9g}"
    if reply.item_fields:
        yield "items"
    yield from map(printed_field, reply.item_fields)
    for sequence in reply.sequences:
        yield f"sequence {sequence.name}"
        yield from map(printed_field, sequence.fields)


def test_the_c_example_prints_what_the_node_knows(node, get_features):
    for user_id in (1, 2, 3, 2**64 - 1, 4_711):
        done = get_features(node.api, user_id, ",".join(map(str, ITEMS)), ",".join(NAMES))
        assert (done.returncode, done.stderr) == (0, "")
        reply = node.get_features(user_id=user_id, item_ids=ITEMS, features=NAMES)
        assert done.stdout.splitlines() == list(printed(user_id, ITEMS, reply))
        assert len(done.stdout) > 1_000


def test_the_c_example_asks_for_a_user_alone(node, get_features):
    for user_id in (1, 4_711):
        done = get_features(node.api, user_id)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == list(printed(user_id, [], node.get_features(user_id=user_id)))
    assert done.stdout.startswith("user 4711 (unknown)\n")


def test_the_c_example_tells_a_refusal(node, get_features):
    done = get_features(node.api, 1, "1", "item_click")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("get_features: invalid_argument: ")
    assert "item_clicks" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "usage"),
        (("127.0.0.1:1", "-1"), 2, "-1: an id is"),
        (("127.0.0.1:1", "1", f"{2**64}"), 2, "an id is"),
        (("127.0.0.1:1", "1", "1,x"), 2, "x: an id is"),
        (("127.0.0.1:1", "1", "1," * 2_001), 2, "2,000"),
        (("127.0.0.1", "1"), 1, "HOST:PORT"),
        (("127.0.0.1:1", "1"), 1, "refused"),
        (("no.such.host.invalid:1", "1"), 1, "no.such.host.invalid"),
    ],
)
def test_the_c_example_refuses_what_it_cannot_do(get_features, arguments, code, words):
    done = get_features(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_the_c_client_asks_others_when_one_is_silent(node):
    ask = node.binary.parent / "tests" / "client" / "ask"

    def said(addresses):
        command = [ask, addresses, "1000", "5"]
        return subprocess.run(command, input="4711 1 user_events.1h\n", capture_output=True, text=True, timeout=30).stdout

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(12):  # whom it asks who has what, and then for the user, is chance
            assert said(f"{address},{node.api}") == "- 0 0\n"
        assert said(address).startswith("deadline_exceeded: ")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x4a\x02\x01\x01",  # two items where one was asked for
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x4a\x01\x01\x3a\x00",  # a column without its value
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\nclosed",
    ],
)
def test_the_c_example_trusts_no_answer(get_features, answer):
    """Whoever answers so when asked who has what, or for features after that."""

    def serve(server, told):
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return  # closed
            with connection, connection.makefile("rb") as asked:
                while line := asked.readline():
                    head = b"".join(iter(asked.readline, b"\r\n")).lower()
                    asked.read(int(head.partition(b"content-length:")[2].split()[0]))
                    is_cluster = b"/Cluster" in line
                    connection.sendall(told if is_cluster else answer)
                    if not is_cluster or told is answer:
                        break

    for told in (answer, STANDS_ALONE):
        with socket.create_server(("127.0.0.1", 0)) as server:
            serving = threading.Thread(target=serve, args=(server, told))
            serving.start()
            done = get_features(f"127.0.0.1:{server.getsockname()[1]}", 1, "5")
            server.shutdown(socket.SHUT_RDWR)
        serving.join()
        assert (done.returncode, done.stdout) == (1, "")
        assert re.match("get_features: (unavailable|internal): .*(closed|HTTP|no ClusterResponse|reply)", done.stderr), done.stderr
