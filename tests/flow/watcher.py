"""
What instances of a cluster say all the time, while a test does things to them: no two of them own a partition, and none that has caught up
refuses a read of what belongs to no user, answers it without a word, or forgets what it said before.
"""

import contextlib
import threading
import time

from node import CallError

BETWEEN_S = 0.05
ENDING_S = 20  # a node that ends has its sockets closed before it is gone
SHUTTING_DOWN = "the node is shutting down"
FEATURES = ["likes.24h", "watches.24h"]


class Watcher:
    """Asks one after the other, for ever; `failures` are sentences. `cluster` has running(), owned(node)."""

    def __init__(self, cluster):
        self.cluster, self.failures, self.reads, self.slowest_s = cluster, [], 0, 0
        self.lock = threading.Lock()  # of one question at a time, and of who is asked
        self.asked, self.ended = {}, False  # by name: what it owned when asked last, and when
        self.told = {}  # by process: the counts that it told last
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.thread.join()

    @contextlib.contextmanager
    def without(self, node):
        """A time in which something is done to it; afterwards it is asked when it is ready again."""
        with self.lock:
            self.asked.pop(node.name, None)
            self.cluster.away.add(node.name)
        try:
            yield
        finally:
            with self.lock:
                self.cluster.away.discard(node.name)

    def run(self):
        while not self.ended:
            for node in list(self.cluster.instances.values()):
                with self.lock:
                    if node.process and node.api and node.name not in self.cluster.away:
                        self.ask(node)
            time.sleep(BETWEEN_S)

    def ask(self, node):
        process, api = node.process, node.api
        if not process:
            return
        try:
            if node.name not in self.asked and node.page("/readyz")[0] != 200:
                return
            owned = set(self.cluster.owned(node))
            began = time.monotonic()
            reply = node.get_features(item_ids=[1, 2], features=FEATURES)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.reads += 1
            self.compare(node.name, owned)
            self.remember(node, process, list(reply.item_values))
        except CallError as refused:
            self.asked.pop(node.name, None)
            if not (SHUTTING_DOWN in refused.message and has_ended(node, process, api)):
                self.failures.append(f"{node.name} has caught up, and refused items: {refused}")
        except OSError as silent:
            self.asked.pop(node.name, None)
            if not has_ended(node, process, api):  # else running() of the cluster looks why
                self.failures.append(f"{node.name} runs, and does not answer: {silent!r}")
        except Exception as other:
            self.failures.append(f"{node.name}: {other!r}")

    def remember(self, node, process, values):
        """Counts of a day only grow, as long as it is the same process."""
        before = self.told.get(process.pid, [])
        if any(now < was for now, was in zip(values, before)):
            self.failures.append(f"{node.name} said {before} of items, and then {values}")
        self.told[process.pid] = values

    def compare(self, name, owned):
        """What it had when it was asked last and has now it had all the time: who said so between shared it."""
        before, now = self.asked.get(name), time.monotonic()
        for other, said in self.asked.items():
            if before and other != name and said[1] > before[1] and before[0] & owned & said[0]:
                self.failures.append(f"{name} and {other} both own {before[0] & owned & said[0]}")
        self.asked[name] = owned, now


def has_ended(node, process, api):
    """Whether it was about to, or another is started in its place, whose address is known only when it says so."""

    def is_over():
        return process.poll() is not None or node.process is not process or node.api != api

    end = time.monotonic() + ENDING_S
    while not is_over() and time.monotonic() < end:
        time.sleep(BETWEEN_S)
    return is_over()
