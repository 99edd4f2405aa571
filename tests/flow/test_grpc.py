"""One port, whatever is spoken: stock clients get over gRPC and HTTP/2 what JSON over HTTP/1.1 says; h2spec and floods."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
import time

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

import kafka
from conftest import missing
from freshet.v1 import event_pb2, feature_pb2

T0 = 1_700_000_040_000
SERVICE = "freshet.v1.FeatureService"
CONFIGURATION = {
    "node": {"clock": "event"},
    "kafka": {"brokers": "embedded", "topics": [{"name": "freshet.events", "format": "protobuf", "partitions": 2}]},
    "entities": {"user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}},
    "features": {
        "item_watch_time": {"entity": "item", "aggregate": "sum", "of": "value", "windows": ["5m", "1h"]},
        "user_recent": {"entity": "user", "aggregate": "last", "limit": 10, "fields": ["item_id", "action", "ts_ms", "value"]},
    },
}
QUESTION = {"userId": "77", "itemIds": ["1", "2", "3", "99"], "features": ["user_recent", "item_watch_time", "item.creator_id"]}
H2SPEC_PASSED, H2SPEC_TESTS = 144, 145  # 5.1.1/2 fails inside nghttp2, as it does for nghttpd
GO_TOOLS = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@latest",
    "ghz": "github.com/bojand/ghz/cmd/ghz@latest",
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec@latest",
}


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory):
    """A node with a few events, idle."""
    from node import Node

    node = Node(binary, CONFIGURATION, tmp_path_factory.mktemp("grpc"))
    events = [
        event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number, user_id=77, item_id=number % 3 + 1, creator_id=7, category_id=5,
            action=event_pb2.Action.Value(("WATCH", "LIKE", "PURCHASE")[number % 3]), value=number + 0.25, duration_s=30,
        )
        for number in range(30)
    ]  # fmt: skip
    try:
        node.start()
        kafka.produce(node.brokers, "freshet.events", [(b"77", event.SerializeToString()) for event in events])
        node.wait_applied(len(events))
        yield node
    finally:
        node.kill()


def without_id(answer):
    answer = dict(answer)
    answer.pop("requestId")
    return answer


@pytest.fixture(scope="module")
def expected(node):
    answer = without_id(node.call_json("FeatureService/GetFeatures", QUESTION))
    assert answer["itemPresent"] == [True, True, True, False]
    return answer


def as_json(message):
    """As the node prints it: every field."""
    return without_id(json.loads(json_format.MessageToJson(message, always_print_fields_with_no_presence=True)))


def tool(name):
    """A Go program of that name, from the path or built into the user's cache."""
    found = shutil.which(name)
    if found:
        return found
    directory = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "freshet-tests", "go")
    path = os.path.join(directory, name)
    if not os.path.exists(path):
        if not shutil.which("go"):
            missing(f"no {name}, and no go to build it with")
        build = subprocess.run(
            ["go", "install", GO_TOOLS[name]], env={**os.environ, "GOBIN": directory}, capture_output=True, text=True
        )
        if build.returncode != 0:
            missing(f"no {name}: {build.stderr.strip()[-200:]}")
    return path


def system_tool(name, package):
    return shutil.which(name) or missing(f"no {name}; package {package} has it")


class Reflected:
    """The messages of a method, learned from the node alone."""

    def __init__(self, channel, service, method):
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        self.path = f"/{service}/{method}"
        self.request = message_factory.GetMessageClass(found.input_type)
        self.response = message_factory.GetMessageClass(found.output_type)

    def callable(self, channel, kind="unary_unary"):
        return getattr(channel, kind)(
            self.path, request_serializer=self.request.SerializeToString, response_deserializer=self.response.FromString
        )


@pytest.fixture(scope="module")
def get_features(node):
    with grpc.insecure_channel(node.api) as channel:
        yield Reflected(channel, SERVICE, "GetFeatures")


# ---- Stock clients ----


def test_grpcio_by_reflection(node, get_features, expected):
    with grpc.insecure_channel(node.api) as channel:
        answer = get_features.callable(channel)(json_format.ParseDict(QUESTION, get_features.request()), timeout=10)
    assert as_json(answer) == expected


def test_grpcio_aio_by_reflection(node, get_features, expected):
    async def ask():
        async with grpc.aio.insecure_channel(node.api) as channel:
            call = get_features.callable(channel)
            question = json_format.ParseDict(QUESTION, get_features.request())
            return await asyncio.gather(*(call(question, timeout=30) for _ in range(500)))

    for answer in asyncio.run(ask()):
        assert as_json(answer) == expected


def test_grpcurl(node, expected):
    grpcurl = tool("grpcurl")
    services = subprocess.run([grpcurl, "-plaintext", node.api, "list"], capture_output=True, text=True, check=True).stdout
    assert SERVICE in services and "grpc.health.v1.Health" in services
    answer = subprocess.run(
        [grpcurl, "-plaintext", "-emit-defaults", "-d", json.dumps(QUESTION), node.api, f"{SERVICE}/GetFeatures"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert without_id(json.loads(answer)) == expected


def test_ghz(node):
    ghz = tool("ghz")
    arguments = ["--insecure", "--call", f"{SERVICE}/GetFeatures", "-d", json.dumps(QUESTION), "-n", "5000", "-c", "20"]
    report = subprocess.run([ghz, *arguments, "-O", "json", node.api], capture_output=True, text=True, check=True).stdout
    assert json.loads(report)["statusCodeDistribution"] == {"OK": 5000}


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl(node, expected, version):
    curl = system_tool("curl", "curl")
    url = f"http://{node.api}/{SERVICE}/GetFeatures"
    arguments = [curl, "-sS", "-w", "\n%{http_code} %{http_version}", "-H", "content-type: application/json"]
    output = subprocess.run(
        [*arguments, version, "-d", json.dumps(QUESTION), url], capture_output=True, text=True, check=True
    ).stdout
    body, _, status = output.rpartition("\n")
    assert status == ("200 1.1" if version == "--http1.1" else "200 2")
    assert without_id(json.loads(body)) == expected


def test_h2load(node, tmp_path):
    h2load = system_tool("h2load", "nghttp2-client")
    question = tmp_path / "question"
    question.write_text(json.dumps(QUESTION))
    output = subprocess.run(
        [h2load, "-n", "20000", "-c", "8", "-m", "32", "-H", "content-type: application/json", "-d", question,
         f"http://{node.api}/{SERVICE}/GetFeatures"], capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "20000 succeeded, 0 failed, 0 errored" in output
    assert "status codes: 20000 2xx" in output


def test_h2spec(node):
    host, _, port = node.api.rpartition(":")
    output = subprocess.run([tool("h2spec"), "-h", host, "-p", port, "-o", "5"], capture_output=True, text=True).stdout
    tests, passed = map(int, re.search(r"(\d+) tests, (\d+) passed", output).groups())
    assert (passed, tests) == (H2SPEC_PASSED, H2SPEC_TESTS), output[-3000:]
    assert "Sends stream identifier that is numerically smaller than previous" in output.split("Failures:")[1]


# ---- Errors and streams (deadlines: tests/unit/server; a client may see its own before ours) ----


@pytest.mark.parametrize(
    ("question", "options", "code", "part"),
    [
        ({"features": ["item_watch_tim"]}, {}, "INVALID_ARGUMENT", "did you mean 'item_watch_time'"),
        ({"features": ["ämter %"]}, {}, "INVALID_ARGUMENT", "ämter %"),
        ({"asOfMs": "1"}, {}, "FAILED_PRECONDITION", ""),
        ({"features": ["item_watch_time"] * 100}, {"compression": grpc.Compression.Gzip}, "UNIMPLEMENTED", "compressed"),
    ],
)
def test_an_error_has_its_code_and_text(node, get_features, question, options, code, part):
    with grpc.insecure_channel(node.api) as channel, pytest.raises(grpc.RpcError) as caught:
        get_features.callable(channel)(json_format.ParseDict(question, get_features.request()), **options)
    assert caught.value.code() == grpc.StatusCode[code]
    assert part in caught.value.details()


def test_health_is_checked_and_watched(node):
    with grpc.insecure_channel(node.api) as channel:
        check = Reflected(channel, "grpc.health.v1.Health", "Check")
        watch = Reflected(channel, "grpc.health.v1.Health", "Watch")
        assert json_format.MessageToDict(check.callable(channel)(check.request())) == {"status": "SERVING"}
        stream = watch.callable(channel, "unary_stream")(watch.request(service="no.Such"))
        assert json_format.MessageToDict(next(stream)) == {"status": "SERVICE_UNKNOWN"}
        stream.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            check.callable(channel)(check.request(service="no.Such"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_drained_node_fails_no_call_of_a_client_that_retries(make_node):
    """Calls go on while the node stops: each is answered, or was never begun and is refused as UNAVAILABLE."""
    node = make_node(CONFIGURATION).start()
    message = feature_pb2.GetFeaturesRequest()
    codes, answered = set(), threading.Event()

    def ask():
        with grpc.insecure_channel(node.api) as channel:
            call = channel.unary_unary(f"/{SERVICE}/GetFeatures", request_serializer=type(message).SerializeToString)
            while True:
                try:
                    call(message, timeout=10)
                    answered.set()
                except grpc.RpcError as error:
                    codes.add((error.code(), "refused" in error.details() or "GOAWAY" in error.details()))
                    return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    assert answered.wait(10)
    began = time.monotonic()
    assert node.stop() == 0
    assert time.monotonic() - began < 10
    for client in clients:
        client.join()
    assert {code for code, _ in codes} == {grpc.StatusCode.UNAVAILABLE}, codes
