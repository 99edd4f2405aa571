"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio

from . import _channel, _requests
from ._errors import Error
from ._features import Features
from ._ids import Id
from ._retry import Retry
from .v1 import admin_pb2, feature_pb2

Reply = TypeVar("Reply")


class AsyncClient:
    """A Client whose methods are coroutines: same arguments, same results, same errors.

    It belongs to the event loop that it was made in; any number of tasks may use it.
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
            self._channel = grpc.aio.insecure_channel(target, arguments)
        else:
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), arguments)
        self._is_closed = False

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection; tasks that still wait for a reply get CancelledError. More than once is fine."""
        self._is_closed = True
        await self._channel.close()

    async def get_features(
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
        """Client.get_features"""
        shape = (length, pad_left, oldest_first)
        call = _requests.get_features(user_id, item_ids, features, feature_set, room_id, as_of_ms, after, shape)
        return await self._run(call, timeout)

    async def describe(self, *, timeout: float | None = None) -> feature_pb2.DescribeResponse:
        """Client.describe"""
        return await self._run(_requests.describe(), timeout)

    async def status(self, *, timeout: float | None = None) -> admin_pb2.StatusResponse:
        """Client.status"""
        return await self._run(_requests.status(), timeout)

    async def checkpoint(self, *, timeout: float | None = None) -> admin_pb2.CheckpointResponse:
        """Client.checkpoint"""
        return await self._run(_requests.checkpoint(), timeout)

    async def digest(self, *, all: bool = False, timeout: float | None = None) -> admin_pb2.DigestResponse:
        """Client.digest"""
        return await self._run(_requests.digest(all), timeout)

    async def cluster(self, *, timeout: float | None = None) -> admin_pb2.ClusterResponse:
        """Client.cluster"""
        return await self._run(_requests.cluster(), timeout)

    async def _run(self, call: _requests.Call[Reply], timeout_s: float | None) -> Reply:
        if self._is_closed:
            raise ValueError("the client is closed")
        attempts = self._retry.begin(timeout_s)
        send = self._channel.unary_unary(call.method)
        while True:
            try:
                reply = await send(call.request, timeout=attempts.left_s(), metadata=self._metadata)
                break
            except grpc.aio.AioRpcError as failure:
                pause_s = attempts.pause_s(failure.code())
                if pause_s is None:
                    raise Error(failure.code(), failure.details() or "") from failure
            await asyncio.sleep(pause_s)
        return call.read(reply)
