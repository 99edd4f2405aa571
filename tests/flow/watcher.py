"""
What instances of a cluster say all the time, while a test does things to them: no two of them own a partition, and none that has caught up
refuses a read of what belongs to no user.
"""

import contextlib
import threading
import time

from node import CallError

BETWEEN_S = 0.05


class Watcher:
    """Asks one after the other, for ever; `failures` are sentences. `cluster` has running(), owned(node)."""

    def __init__(self, cluster):
        self.cluster, self.failures, self.reads = cluster, [], 0
        self.lock = threading.Lock()  # of one question at a time, and of who is asked
        self.asked, self.ended = {}, False  # by name: what it owned when asked last, and when; None: never
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
        try:
            if node.name not in self.asked and node.page("/readyz")[0] != 200:
                return
            owned = set(self.cluster.owned(node))
            reply = node.get_features(item_ids=[1, 2], features=["likes.1h"])
            assert len(reply.item_present) == 2
            self.reads += 1
            self.compare(node.name, owned)
        except CallError as refused:
            self.failures.append(f"{node.name} has caught up, and refused items: {refused}")
        except OSError:
            self.asked.pop(node.name, None)  # it ended by itself; running() of the cluster looks why
        except Exception as other:
            self.failures.append(f"{node.name}: {other!r}")

    def compare(self, name, owned):
        """What it had when it was asked last and has now it had all the time: who said so between shared it."""
        before, now = self.asked.get(name), time.monotonic()
        for other, said in self.asked.items():
            if before and other != name and said[1] > before[1] and before[0] & owned & said[0]:
                self.failures.append(f"{name} and {other} both own {before[0] & owned & said[0]}")
        self.asked[name] = owned, now
