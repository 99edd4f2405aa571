"""What others wrote to judge servers, against the server module with the services that they ask for (tests/conformance/)."""

import json
import pathlib
import re
import subprocess

import pytest

import clients
from conftest import missing

HERE = pathlib.Path(__file__).parent
CONFORMANCE = HERE.parent / "conformance"

# Of gRPC's interop cases, those for what the server claims: unary calls, streams of replies, and small streams both ways. Not these:
# client_streaming and ping_pong (requests of a stream are 32 KiB at most here), and what is about a client's credentials or load balancing.
INTEROP = """
    empty_unary large_unary server_streaming empty_stream status_code_and_message special_status_message custom_metadata
    unimplemented_method unimplemented_service timeout_on_sleeping_server cancel_after_begin cancel_after_first_response
    rpc_soak channel_soak
""".split()

# Answered as the conventions say, and not as the runner reads it; tests/README.md says what it does.
KNOWN_FAILING = ("Unexpected Requests/HTTPVersion:2/Protocol:PROTOCOL_GRPC/**/unexpected-content-type",)
# What connectconformance 1.0.7 has for what connect.yaml claims; the latter are those, in plaintext and by TLS.
PASSED, FAILED_AS_KNOWN = 953, 2


@pytest.fixture(scope="module")
def program(binary):
    path = pathlib.Path(binary).parent / "tests" / "conformance" / "conformance_server"
    return path if path.exists() else missing(f"no {path}: build with FRESHET_TESTS=ON")


@pytest.fixture(scope="module")
def interop(program):
    server = subprocess.Popen([str(program), "interop"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(server.stdout.readline())["api"]
    finally:
        server.stdin.close()
        assert server.wait(20) == 0


@pytest.mark.parametrize("case", INTEROP)
def test_grpcs_interop_client_is_content(interop, case):
    host, _, port = interop.rpartition(":")
    command = [clients.tool("client"), "-server_host", host, "-server_port", port, "-test_case", case]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


def test_connects_conformance_suite_is_content(program):
    command = [clients.tool("connectconformance"), "--mode", "server", "--conf", str(CONFORMANCE / "connect.yaml"), "-v"]
    for pattern in KNOWN_FAILING:
        command += ["--known-failing", pattern]
    done = subprocess.run([*command, "--", str(program), "connect"], capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    print(said[-300:])
    assert done.returncode == 0, said[-4000:]
    counts = re.search(r"^(\d+) passed, (\d+) failed\n\(Another (\d+) failed as expected", said, re.MULTILINE)
    assert counts and [int(count) for count in counts.groups()] == [PASSED, 0, FAILED_AS_KNOWN], said[-500:]
