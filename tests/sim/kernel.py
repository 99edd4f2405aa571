"""Simulated time: a heap of what happens next, and a pipe whose bandwidth is shared by who uses it."""

import heapq
import itertools
import random


class Kernel:
    """The same seed gives the same run: what is due at one time happens in the order in which it was asked for."""

    def __init__(self, seed=1):
        self.now, self.dice = 0.0, random.Random(seed)
        self._heap, self._serial = [], itertools.count()

    def after(self, seconds, function, *arguments):
        """Calls it later; what is returned has `is_off`, which cancels it when true."""
        call = Call(function, arguments)
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), next(self._serial), call))
        return call

    def run(self, until):
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            if not call.is_off:
                call.function(*call.arguments)
        self.now = until


class Call:
    def __init__(self, function, arguments):
        self.function, self.arguments, self.is_off = function, arguments, False


class Pipe:
    """Bytes a second that flows share evenly, none faster than its own limit. `history` has (time, bytes a second in all)."""

    def __init__(self, kernel, bytes_per_second):
        self.kernel, self.bytes_per_second = kernel, bytes_per_second
        self.flows, self.history, self.total = [], [], 0.0
        self._last, self._next = 0.0, None

    def send(self, size, limit, done):
        self._advance()
        flow = Flow(size, limit, done)
        self.flows.append(flow)
        self._share()
        return flow

    def stop(self, flow):
        self._advance()
        if flow in self.flows:
            self.flows.remove(flow)
        self._share()

    def resize(self, bytes_per_second):
        self._advance()
        self.bytes_per_second = bytes_per_second
        self._share()

    def _advance(self):
        span = self.kernel.now - self._last
        for flow in self.flows:
            moved = min(flow.left, flow.rate * span)
            flow.left -= moved
            self.total += moved
        self._last = self.kernel.now

    def _share(self):
        left, count = self.bytes_per_second, len(self.flows)
        for flow in sorted(self.flows, key=lambda one: one.limit):
            flow.rate = min(flow.limit, left / count)
            left -= flow.rate
            count -= 1
        self.history.append((self.kernel.now, sum(flow.rate for flow in self.flows)))
        if self._next:
            self._next.is_off = True
        self._next = self.kernel.after(min(flow.left / flow.rate for flow in self.flows), self._ended) if self.flows else None

    def _ended(self):
        self._next = None
        self._advance()
        done = [flow for flow in self.flows if flow.left <= max(1e-6, flow.rate * 1e-9)]
        self.flows = [flow for flow in self.flows if flow not in done]
        self._share()
        for flow in done:
            flow.done()


class Flow:
    def __init__(self, size, limit, done):
        self.left, self.limit, self.done, self.rate = max(size, 1e-3), limit, done, 0.0
