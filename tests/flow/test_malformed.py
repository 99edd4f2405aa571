"""Malformed requests by all three ways in: each is refused as specified, the next good one answered, and all are counted."""

import collections
import json
import re
import urllib.parse

import pytest

import malformed
import malformed_wire
import settings
import wire
from node import Node, wait_for

CONNECT, GRPC = list(malformed.by_connect()), list(malformed.by_grpc())
GRPC_CODES = {number: code for code, (number, _) in malformed.CODES.items()}
REPEATED = 5
GROWTH_BYTES = 16 << 20  # of memory, by all of it five times over


@pytest.fixture(scope="module")
def node(binary, tmp_path_factory):
    configuration = settings.configuration("embedded", catalogue=settings.TINY)
    configuration["server"] = {"limits": {"message": malformed.MESSAGE_BYTES}}
    node = Node(binary, configuration, tmp_path_factory.mktemp("malformed"))
    try:
        yield node.start()
    finally:
        node.kill()


@pytest.fixture
def tally():
    """What the node's counters should have grown by; the last test compares."""
    return collections.Counter()


def refused(method, code, protocol):
    return f'freshet_requests_total{{method="{method}",code="{code}",protocol="{protocol}"}}'


def broken(reason):
    return f'freshet_http_errors_total{{reason="{reason}"}}'


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case[0] if isinstance(case, tuple) else case.name)


# ---- A good request ----


def good_http1(connection):
    body = b"{}"
    connection.send(
        f"POST {malformed.GET_FEATURES} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    )
    answer = connection.answer()
    assert answer.status == 200 and "requestId" in json.loads(answer.body)


def good_http2(connection):
    stream = connection.request(malformed_wire.JSON_HEAD, b"{}")
    answer = connection.answer(stream)
    assert answer.status == 200 and "requestId" in json.loads(answer.body), answer


def good_grpc(connection):
    stream = connection.request(malformed_wire.GRPC_HEAD, malformed.prefixed(b""))
    answer = connection.answer(stream)
    assert (answer.status, answer.fields["grpc-status"], answer.body[:1]) == (200, "0", b"\0"), answer


def still_answers(node):
    with wire.Http2(node.api) as connection:
        good_grpc(connection)


# ---- Calls ----


def expect_connect(case, answer):
    assert answer.status == case.http_status(), answer
    for name, value in case.reply:
        assert answer.fields[name] == value
    if case.verb == "HEAD":
        assert answer.body == b""
        return
    assert answer.fields["content-type"] == "application/json"
    expect_words(case, answer.body)


def expect_words(case, body):
    said = json.loads(body)
    assert set(said) == {"code", "message"}
    assert said["code"] == case.code, said
    for word in case.words:
        assert word in said["message"], said


def call_http1(node, case, tally):
    head = [f"{case.verb} {case.path} HTTP/1.1", "Host: a", f"Content-Length: {len(case.body)}"]
    head += [f"{name}: {value}" for name, value in case.head()]
    with wire.Http1(node.api) as connection:
        connection.send("\r\n".join([*head, "\r\n"]).encode("latin-1") + case.body)
        answer = connection.answer(case.verb == "HEAD")
        expect_connect(case, answer)
        assert answer.is_over == case.closes
        if not case.closes:
            good_http1(connection)
    tally[refused(case.method, case.code, "http1")] += 1
    if case.closes:
        tally[broken("body_large")] += 1


def http2_head(case):
    return [(":method", case.verb), (":scheme", "http"), (":path", case.path), (":authority", "a"), *case.head()]


def call_http2(node, case, tally):
    with wire.Http2(node.api) as connection:
        answer = connection.answer(connection.request(http2_head(case), case.body))
        expect_connect(case, answer)
        good_http2(connection)
    tally[refused(case.method, case.code, "http2")] += 1


def expect_grpc(case, answer):
    codec = "application/grpc+json" if case.content_type == "application/grpc+json" else "application/grpc"
    assert (answer.status, answer.fields["content-type"], answer.body) == (case.status or 200, codec, b"")
    said = urllib.parse.unquote(answer.fields["grpc-message"], errors="strict")
    assert GRPC_CODES.get(int(answer.fields["grpc-status"])) == case.code, said
    for word in case.words:
        assert word in said, said
    for name, value in case.reply:
        assert answer.fields[name] == value


def call_grpc(node, case, tally):
    with wire.Http2(node.api) as connection:
        answer = connection.answer(connection.request([*http2_head(case), ("te", "trailers")], case.body))
        expect_grpc(case, answer)
        good_grpc(connection)
    tally[refused(case.method, case.code, "grpc")] += 1


@named(CONNECT)
def test_a_call_over_http1_is_refused(node, tally, case):
    call_http1(node, case, tally)
    still_answers(node)


@named(CONNECT + malformed.NO_GRPC)
def test_a_call_over_http2_is_refused(node, tally, case):
    call_http2(node, case, tally)
    still_answers(node)


@named(GRPC)
def test_a_call_by_grpc_is_refused(node, tally, case):
    call_grpc(node, case, tally)
    still_answers(node)


@pytest.mark.parametrize("is_grpc", [False, True])
@named(malformed_wire.LARGE)
def test_a_head_over_http2_may_be_too_large(node, tally, case, is_grpc):
    _, more = case
    with wire.Http2(node.api) as connection:
        head, body = (malformed_wire.GRPC_HEAD, malformed.prefixed(b"")) if is_grpc else (malformed_wire.JSON_HEAD, b"{}")
        fields = wire.block([*head, *more])
        pieces = [fields[at : at + 16384] for at in range(0, len(fields), 16384)]
        kinds = [wire.HEADERS, *[wire.CONTINUATION] * (len(pieces) - 1)]
        flags = [*[0] * (len(pieces) - 1), wire.END_HEADERS]
        connection.send(b"".join(wire.frame(kind, flag, 1, one) for kind, flag, one in zip(kinds, flags, pieces)))
        connection.send(wire.frame(wire.DATA, wire.END_STREAM, 1, body))
        answer = connection.answer(1)
        words = ("too large or has too many",)
        if is_grpc:
            expect_grpc(malformed.Call("", "resource_exhausted", words), answer)
        else:
            expect_connect(malformed.Call("", "resource_exhausted", words, status=431), answer)
        connection.next_stream = 3
        good_http2(connection)
    tally[refused("unknown", "resource_exhausted", "grpc" if is_grpc else "http2")] += 1
    tally[broken("headers_large")] += 1


# ---- Bytes ----


def send_http1(node, case, tally):
    _, sent, fault = case
    with wire.Http1(node.api) as connection:
        connection.send(sent, ends=fault is None)
        answer = connection.answer()
    assert answer.is_over
    if fault in malformed_wire.FAULTS:
        status, code, words = malformed_wire.FAULTS[fault]
        expect_connect(malformed.Call("", code, (words,), status=status), answer)
    else:
        assert answer.status == 0
    if fault:
        tally[broken(fault)] += 1


def send_http2(node, case, tally):
    with wire.Http2(node.api, case.preface) as connection:
        connection.send(case.sent)
        reset, goaway = connection.error(case.stream)
        assert (reset or goaway) in case.errors, (reset, goaway)
        if reset:
            connection.next_stream = 3
            good_http2(connection)
    tally[broken("http2")] += 1


@named(malformed_wire.HTTP1)
def test_http1_that_is_none_is_answered_and_closed(node, tally, case):
    send_http1(node, case, tally)
    still_answers(node)


@named(malformed_wire.CONNECTIONS)
def test_http2_that_breaks_its_connection_ends_it(node, tally, case):
    send_http2(node, case, tally)
    still_answers(node)


@named(malformed_wire.STREAMS)
def test_http2_that_breaks_a_stream_resets_it(node, tally, case):
    send_http2(node, case, tally)
    still_answers(node)


@named(malformed_wire.GOOD)
def test_http2_that_is_only_odd_is_answered(node, case):
    with wire.Http2(node.api) as connection:
        connection.send(case[1])
        answer = connection.answer(1)
        assert answer.status == 200 and answer.fields.get("grpc-status", "0") == "0", answer
        connection.next_stream = 3
        good_http2(connection)


def test_streams_above_the_limit_are_refused(node, tally):
    with wire.Http2(node.api) as connection:
        streams = [connection.request(malformed_wire.JSON_HEAD, ends=False) for _ in range(129)]
        assert connection.answer(streams[-1]).reset in ("REFUSED_STREAM", "PROTOCOL_ERROR")  # RFC 9113 5.1.2
    still_answers(node)


# ---- What is left of it ----


def metrics(node):
    status, _, body = node.page("/metrics")
    assert status == 200
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", body.decode(), re.MULTILINE)}


def open_connections(node):
    """The one that asks is one of them."""
    return sum(count for name, count in metrics(node).items() if name.startswith("freshet_connections{"))


def errors(node):
    """The counters of what went wrong, but for calls whose stream broke under them."""
    return {
        name: count
        for name, count in metrics(node).items()
        if name.startswith(("freshet_requests_total{", "freshet_http_errors_total{"))
        and 'code="ok"' not in name and 'code="canceled"' not in name and count > 0
    }  # fmt: skip


def all_of_it(node, tally):
    for one, cases in (
        (call_http1, CONNECT), (call_http2, CONNECT + malformed.NO_GRPC), (call_grpc, GRPC), (send_http1, malformed_wire.HTTP1),
        (send_http2, malformed_wire.CONNECTIONS + malformed_wire.STREAMS),
    ):  # fmt: skip
        for case in cases:
            one(node, case, tally)


def test_memory_stays_bounded_and_everything_is_counted(node):
    assert len(CONNECT) * 2 + len(GRPC) + len(malformed_wire.HTTP1 + malformed_wire.CONNECTIONS + malformed_wire.STREAMS) > 400
    all_of_it(node, collections.Counter())  # for itself too, this test has seen it once before it measures
    before, memory, tally = errors(node), metrics(node)["freshet_resident_memory_bytes"], collections.Counter()
    for _ in range(REPEATED):
        all_of_it(node, tally)
    now = metrics(node)
    assert {name: count - before.get(name, 0) for name, count in errors(node).items() if count != before.get(name, 0)} == tally
    assert now["freshet_resident_memory_bytes"] - memory < GROWTH_BYTES
    wait_for(lambda: open_connections(node) <= 1, lambda: f"the connections are gone: {open_connections(node)}")
