"""Retries and deadlines, of both clients."""

import threading
import time

import grpc
import pytest

import freshet
import stub
from freshet._retry import Retry

UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, "not ready")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_refusal_that_passes_is_tried_again(node, connect, code):
    node.failures = [(code, "later")] * 3
    connect(node.target, timeout=30).status()
    assert len(node.calls) == 4


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code.name not in ("OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED")]
)
def test_any_other_failure_stands(node, connect, code):
    node.failures = [(code, "no")]
    with pytest.raises(freshet.Error) as failed:
        connect(node.target, timeout=30).status()
    assert (failed.value.code, failed.value.message) == (code, "no")
    assert len(node.calls) == 1


def test_the_last_failure_is_told_when_retries_are_used_up(node, connect):
    node.failures = [(grpc.StatusCode.UNAVAILABLE, f"not ready {number}") for number in range(9)]
    with pytest.raises(freshet.Error, match="not ready 2"):
        connect(node.target, timeout=30, retries=2).status()
    assert len(node.calls) == 3


def test_without_retries_the_first_failure_stands(node, connect):
    node.failures = [UNAVAILABLE]
    with pytest.raises(freshet.Error, match="UNAVAILABLE: not ready"):
        connect(node.target, retries=0).status()
    assert len(node.calls) == 1


def test_retries_end_with_the_deadline(node, connect):
    node.failures = [UNAVAILABLE] * 1000
    started = time.monotonic()
    with pytest.raises(freshet.Error, match="UNAVAILABLE: not ready"):
        connect(node.target, timeout=0.5, retries=1000).status()
    assert time.monotonic() - started < 2
    assert 2 <= len(node.calls) <= 12


def test_every_attempt_has_what_is_left_of_the_deadline(node, connect):
    node.failures = [UNAVAILABLE] * 3
    connect(node.target, timeout=2).status()
    left = [seconds for *_, seconds in node.calls]
    assert left[0] <= 2.1  # on the wire a time has two or three digits
    assert left[3] <= left[0] - 0.1  # the pauses were 0.175 s at least


def test_a_call_ends_at_its_deadline(node, connect):
    node.hold = threading.Event()
    client = connect(node.target, timeout=30)
    started = time.monotonic()
    with pytest.raises(freshet.Error) as failed:
        client.get_features(1, [1], timeout=0.2)
    assert failed.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.15 < time.monotonic() - started < 5
    assert len(node.calls) == 1


def test_nobody_there_is_unavailable(connect):
    with pytest.raises(freshet.Error) as failed:
        connect("127.0.0.1:1", timeout=5, retries=1).status()
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE


def test_a_call_survives_a_restart_of_the_node(connect):
    with stub.Node() as first:
        client = connect(first.target, timeout=30, retries=30)
        client.status()
    second = stub.Node(address=first.target)
    timer = threading.Timer(0.3, second.server.start)
    timer.start()
    try:
        client.status()
    finally:
        timer.join()
        second.__exit__()
    assert len(second.calls) == 1


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"timeout": float("inf")}, {"retries": -1}])
def test_options_that_cannot_be(connect, options):
    with pytest.raises(ValueError):
        connect("127.0.0.1:1", **options)


def test_pauses_grow_to_a_second_and_half_of_each_is_chance():
    bounds = [0.05, 0.1, 0.2, 0.4, 0.8, 1, 1]
    seen = []
    for _ in range(200):
        attempts = Retry(1000, len(bounds)).begin(None)
        seen.append([attempts.pause_s(grpc.StatusCode.UNAVAILABLE) for _ in bounds])
        assert attempts.pause_s(grpc.StatusCode.UNAVAILABLE) is None
    for bound, pauses in zip(bounds, zip(*seen)):
        assert bound / 2 <= min(pauses) < 0.6 * bound
        assert 0.9 * bound < max(pauses) <= bound


def test_no_pause_reaches_the_deadline():
    attempts = Retry(5, 9).begin(0.02)
    assert attempts.pause_s(grpc.StatusCode.UNAVAILABLE) is None
