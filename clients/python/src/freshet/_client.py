"""The client for threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc

from . import _channel, _requests
from ._errors import Error
from ._features import Features
from ._ids import Id
from ._retry import Retry
from .v1 import admin_pb2, feature_pb2

Reply = TypeVar("Reply")


class Client:
    """A connection to a node, kept and made anew as needed. Any number of threads may use one; make one a node, not one a call.

    target            "host:port", or any name that gRPC resolves
    token             sent as `authorization: Bearer …`; without TLS, only where nobody listens in
    tls               None: plaintext
    timeout           seconds for a call with all its attempts; each method takes its own, too
    retries           attempts after the first, with growing pauses partly of chance: after UNAVAILABLE and RESOURCE_EXHAUSTED,
                      and only while the deadline leaves room
    keepalive         seconds between pings, whether calls run or not; None: no pings. The connection counts as lost when a ping
                      is not answered within `keepalive_timeout` seconds
    options           more arguments of the gRPC channel

    Methods raise freshet.Error for what the node or the network answered, ValueError and TypeError for arguments that cannot be
    sent and for a client that is closed. Don't use a client made before fork() in the child.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        tls: _channel.TLS | None = None,
        timeout: float = 5.0,
        retries: int = 5,
        keepalive: float | None = 30.0,
        keepalive_timeout: float = 10.0,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self._retry = Retry(timeout, retries)
        self._metadata = _channel.metadata(token)
        arguments = _channel.options(tls, keepalive, keepalive_timeout, options)
        if tls is None:
            self._channel = grpc.insecure_channel(target, arguments)
        else:
            self._channel = grpc.secure_channel(target, tls.credentials(), arguments)
        self._is_closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; calls that still run fail with CANCELLED. More than once is fine."""
        self._is_closed = True
        self._channel.close()

    def get_features(
        self,
        user_id: Id,
        item_ids: _requests.Ids,
        *,
        features: Iterable[str] = (),
        feature_set: str = "",
        room_id: Id = 0,
        as_of_ms: int = 0,
        after: Iterable[tuple[str, int, int]] = (),
        length: int = 0,
        pad_left: bool = False,
        oldest_first: bool = False,
        timeout: float | None = None,
    ) -> Features:
        """The features of a user and of up to 2,000 items, in the order of `item_ids`.

        Columns are those of `feature_set`, then `features` ("f", "f.window" or "item.creator_id"). A `room_id` takes the place
        of every item's own room; `as_of_ms` (Unix ms) that of the node's time; `after` names records, as (topic, partition,
        offset), that must be applied first. With a `length` sequences are arrays of so many records a row, in `padded`: padded
        behind the records or (`pad_left`) before them, newest first or `oldest_first`.
        """
        shape = (length, pad_left, oldest_first)
        call = _requests.get_features(user_id, item_ids, features, feature_set, room_id, as_of_ms, after, shape)
        return self._run(call, timeout)

    def describe(self, *, timeout: float | None = None) -> feature_pb2.DescribeResponse:
        """The catalogue: entities, features and their columns, feature sets, lists."""
        return self._run(_requests.describe(), timeout)

    def status(self, *, timeout: float | None = None) -> admin_pb2.StatusResponse:
        """Readiness, lag, partitions, memory, what became of the records."""
        return self._run(_requests.status(), timeout)

    def checkpoint(self, *, timeout: float | None = None) -> admin_pb2.CheckpointResponse:
        """Makes all that is applied durable now; the epoch and the offsets that it covers."""
        return self._run(_requests.checkpoint(), timeout)

    def digest(self, *, all: bool = False, timeout: float | None = None) -> admin_pb2.DigestResponse:
        """A hash of the whole state, equal on nodes that hold the same; with `all`, another of the bounded lists."""
        return self._run(_requests.digest(all), timeout)

    def cluster(self, *, timeout: float | None = None) -> admin_pb2.ClusterResponse:
        """Who has which partitions, as this instance knows it."""
        return self._run(_requests.cluster(), timeout)

    def _stream(self, method: str, request: bytes, timeout_s: float | None) -> Any:
        """The replies of a streaming method as bytes; cancel() ends it."""
        if self._is_closed:
            raise ValueError("the client is closed")
        return self._channel.unary_stream(method)(request, timeout=timeout_s, metadata=self._metadata)

    def _run(self, call: _requests.Call[Reply], timeout_s: float | None) -> Reply:
        if self._is_closed:
            raise ValueError("the client is closed")
        attempts = self._retry.begin(timeout_s)
        send = self._channel.unary_unary(call.method)
        while True:
            try:
                reply = send(call.request, timeout=attempts.left_s(), metadata=self._metadata)
                break
            except grpc.RpcError as failure:
                pause_s = attempts.pause_s(failure.code())
                if pause_s is None:
                    raise Error(failure.code(), failure.details() or "") from failure
            time.sleep(pause_s)
        return call.read(reply)
