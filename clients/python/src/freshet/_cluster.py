"""The client of a cluster, for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import grpc

from . import _requests
from ._client import Client
from ._errors import Error
from ._features import Features
from ._ids import Id, id_of
from ._retry import Attempts, Retry
from ._routes import LEARN_S, Routes


class ClusterClient:
    """A Client of each instance of a cluster, that asks for a user where the user is, and for items alone anywhere.

    targets           some of the instances, to begin with; the others are learned from them
    dial              makes of the address that an instance announces the one to connect to, where they differ
    timeout, retries  of a call, wherever it goes
    options           other arguments of Client, for each of them

    Who has what is asked at the first call, and again when an instance refuses a user or is not there; meanwhile he is read from
    a copy, where one is known that its instance shows (server.stale_reads). A node that stands alone
    is a cluster of one. Threads and errors are Client's.
    """

    def __init__(
        self,
        targets: Iterable[str],
        *,
        dial: Callable[[str], str] = lambda api: api,
        timeout: float = 5.0,
        retries: int = 5,
        **options: Any,
    ) -> None:
        self._routes = Routes(targets, dial)
        self._retry = Retry(timeout, retries)
        self._options = options
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> ClusterClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections. More than once is fine."""
        with self._lock:
            self._is_closed = True
            for client in self._clients.values():
                client.close()

    def client(self, target: str) -> Client:
        """The client of one instance, for what is asked of an instance: status(), digest(), checkpoint()."""
        with self._lock:
            if self._is_closed:
                raise ValueError("the client is closed")
            if target not in self._clients:
                self._clients[target] = Client(target, timeout=self._retry.timeout_s, retries=0, **self._options)
            return self._clients[target]

    def target_of(self, user_id: Id, *, timeout: float | None = None) -> str:
        """Where the user is asked for, as far as is known."""
        return self._target_of(id_of(user_id), self._retry.begin(timeout))

    def get_features(
        self, user_id: Id, item_ids: _requests.Ids, *, timeout: float | None = None, **arguments: Any
    ) -> Features:
        """Client.get_features, of the instance that has the user."""
        user = id_of(user_id)
        attempts = self._retry.begin(timeout)
        while True:
            target = ""
            try:
                target = self._target_of(user, attempts)
                client = self.client(target)
                return client.get_features(user, item_ids, timeout=_some(attempts.left_s()), **arguments)
            except Error as failure:
                copied = self._of_copy(failure, user, target, attempts, item_ids, arguments)
                if copied is not None:
                    return copied
                pause_s = self._pause_s(failure, user, target, attempts)
                if pause_s is None:
                    raise
            time.sleep(pause_s)

    def _of_copy(
        self,
        failure: Error,
        user: int,
        target: str,
        attempts: Attempts,
        item_ids: _requests.Ids,
        arguments: dict[str, Any],
    ) -> Features | None:
        """Of a user whose owner is not there: from a copy, where an instance is known to have one and may show it."""
        copy = self._routes.copy_of(user, target) if failure.code is grpc.StatusCode.UNAVAILABLE else None
        if copy is None:
            return None
        try:
            features = self.client(copy).get_features(user, item_ids, timeout=_some(attempts.left_s()), **arguments)
        except Error:
            return None
        self._routes.forget()  # the next call asks who has the user by then
        return features

    def _target_of(self, user: int, attempts: Attempts) -> str:
        target = self._routes.target_of(user)
        while target is None:
            self._learn(self._routes.known(), attempts)
            target = self._routes.target_of(user)
        return target

    def _pause_s(self, failure: Error, user: int, target: str, attempts: Attempts) -> float | None:
        """How long to wait before the user is asked for again; None: the failure stands."""
        if failure.code is not grpc.StatusCode.FAILED_PRECONDITION or not target:
            self._routes.forget()
            return attempts.pause_s(failure.code)
        # The instance knows where the user went. If it says here, it refused for another reason.
        self._learn([target], attempts)
        return None if self._routes.is_owner(target, user) else attempts.pause_s(grpc.StatusCode.UNAVAILABLE)

    def _learn(self, targets: list[str], attempts: Attempts) -> None:
        """Asks one after another who has what. Raises what the last one failed with."""
        for at, target in enumerate(targets):
            try:
                reply = self.client(target).cluster(timeout=_some(min(attempts.left_s(), LEARN_S)))
            except Error:
                if at == len(targets) - 1:
                    raise
            else:
                self._routes.take(reply, target)
                return


def _some(left_s: float) -> float:
    """A call with no time left is sent with next to none, and fails as it has to."""
    return max(left_s, 1e-3)
