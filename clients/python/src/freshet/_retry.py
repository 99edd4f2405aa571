"""When a failed call is sent again: after a refusal that passes, and only while its deadline leaves room."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import grpc

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True)
class Retry:
    """How a client retries: `timeout_s` is for a call with all its attempts, of which `retries` follow the first."""

    timeout_s: float
    retries: int

    def __post_init__(self) -> None:
        _check_timeout(self.timeout_s)
        if self.retries < 0:
            raise ValueError(f"retries {self.retries}: use 0 or more")

    def begin(self, timeout_s: float | None) -> Attempts:
        """Starts the clock of one call; `timeout_s` is its own, None for the client's."""
        if timeout_s is None:
            timeout_s = self.timeout_s
        _check_timeout(timeout_s)
        return Attempts(time.monotonic() + timeout_s, self.retries)


@dataclass
class Attempts:
    """One call's attempts. All methods are idempotent, so it does not matter whether a failed one was carried out."""

    deadline_s: float
    retries_left: int
    bound_s: float = _FIRST_PAUSE_S

    def left_s(self) -> float:
        return max(self.deadline_s - time.monotonic(), 0)

    def pause_s(self, code: grpc.StatusCode) -> float | None:
        """How long to wait before the next attempt; None: the failure stands."""
        # Half of the pause is chance: clients that were refused together don't come back together.
        pause_s = random.uniform(self.bound_s / 2, self.bound_s)
        if code not in _PASSING or self.retries_left == 0 or pause_s >= self.left_s():
            return None
        self.retries_left -= 1
        self.bound_s = min(2 * self.bound_s, _LONGEST_PAUSE_S)
        return pause_s


def _check_timeout(timeout_s: float) -> None:
    if not 0 < timeout_s < float("inf"):
        raise ValueError(f"timeout {timeout_s}: use seconds, more than 0")
