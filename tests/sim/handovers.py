"""
Hand-overs of real instances under load: one more comes, the oldest is drained, and so on. Of each the longest that any partition's
events stood still, and what that was made of: when who heard of it, and how long everybody took from there.
"""

import http.client
import itertools
import json
import random
import sys
import threading
import time

import real
from model import assign

LOOK_SECONDS, GAP_SECONDS = 0.01, 0.03
CHECK_SECONDS = 0.5  # librdkafka looks whether a heartbeat is due as often, from the last hand-over on: so that is what waits are spread over


class Watch(threading.Thread):
    """How far partitions are, all the time: who has moved when, and the times that each has not."""

    def __init__(self, fleet):
        super().__init__(daemon=True)
        self.fleet, self.is_stopping, self.connections = fleet, False, {}
        self.last, self.moved = [0] * real.PARTITIONS, [None] * real.PARTITIONS
        self.begin()
        self.start()

    def begin(self):
        self.gaps = [[] for _ in range(real.PARTITIONS)]  # of each partition (from, to)

    def run(self):
        while not self.is_stopping:
            found = [self.ask(node) for node in [*self.fleet.nodes, *self.fleet.leaving]]
            now = time.monotonic()
            for number, offset in itertools.chain(*found):
                if offset > self.last[number]:
                    if self.moved[number] and now - self.moved[number] > GAP_SECONDS:
                        self.gaps[number].append((self.moved[number], now))
                    self.last[number], self.moved[number] = offset, now
            time.sleep(LOOK_SECONDS)

    def ask(self, node):
        connection = self.connections.setdefault(node, http.client.HTTPConnection(node.addresses["api"], timeout=10))
        try:
            connection.request("POST", "/freshet.v1.AdminService/Status", "{}", {"Content-Type": "application/json"})
            told = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):  # it ends
            self.connections.pop(node, None)
            return []
        return [(one.get("partition", 0), int(one.get("nextOffset", 0))) for one in told.get("partitions", ())]

    def wait_moved(self, since):
        end = time.monotonic() + 60
        while not all(moved and moved > since for moved in self.moved) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)

    def stop(self):
        self.is_stopping = True
        self.join()


def of_one_moment(gaps):
    """The gap of each partition that all of them, or most, have at the same time: the hand-over, and not what else happened."""
    moments = [end - 1e-6 for some in gaps for _, end in some]
    if not moments:
        sys.exit(f"sim: no partition stood still for {GAP_SECONDS} s in a hand-over; there is nothing to tell apart")
    lasting = {at: [next((gap for gap in some if gap[0] <= at <= gap[1]), (at, at)) for some in gaps] for at in moments}
    return max(lasting.values(), key=lambda found: (sum(end > begin for begin, end in found), sum(end - begin for begin, end in found)))


def taken_apart(before, after, gaps):
    """
    Of {name: its partitions} before and after, and what each partition stood still: how long the longest was, how long after the first the
    last stood still (of a drain: of the others), and how long from there on those who were there before took, and who came.
    """
    stopped = {name: min(gaps[part][0] for part in parts) for name, parts in before.items() if parts}
    resumed = {name: max(gaps[part][1] for part in parts) for name, parts in after.items() if parts}
    last = max(at for name, at in stopped.items() if name in after)
    row = {"standstill": max(end - begin for begin, end in gaps), "spread": last - min(stopped.values())}
    row["old"] = max(at - last for name, at in resumed.items() if name in before)
    if set(after) - set(before):
        row["new"] = max(at - last for name, at in resumed.items() if name not in before)
    return {name: round(number, 4) for name, number in row.items()}


def restored(node):
    return real.metrics(node).get(real.COUNTERS["restored"], 0.0)


def change(fleet, watch, act):
    """Does it, and gives what it meant for partitions."""
    before, had = assign(fleet.names(), real.PARTITIONS), {node: restored(node) for node in fleet.nodes}
    watch.begin()
    begin = time.monotonic()
    act()
    shared = time.monotonic()
    row = {"seconds": round(shared - begin, 3), "restored": max(restored(node) - had.get(node, 0.0) for node in fleet.nodes)}
    watch.wait_moved(shared)
    return {**row, "members": len(before), **taken_apart(before, assign(fleet.names(), real.PARTITIONS), of_one_moment([list(some) for some in watch.gaps]))}


def rounds(fleet, count, rate):
    """{"joins": [...], "drains": [...]}, with as many instances in between as there are now; the fleet is of no use afterwards."""
    seconds = 20 + 12 * count  # on a machine that is busy with something else; else a quarter of it
    users = list(itertools.islice(real.zipf(random.Random(fleet.produced), fleet.shape.users), rate * seconds))
    copies = fleet.sample()["copies"]
    load = fleet.give(users, seconds, "--rate", str(rate), is_waiting=False)
    watch, found = Watch(fleet), {"joins": [], "drains": []}
    watch.wait_moved(0)
    time.sleep(1)
    rest = 0.2 + fleet.shape.epoch_ms / 1000  # until all know of each other
    for number in range(count):
        # Evenly, not by chance: when in a round of heartbeats one goes is most of how long it takes.
        wait = rest + CHECK_SECONDS * ((number + 0.5) / count)
        found["joins"].append(change(fleet, watch, fleet.add))
        time.sleep(wait)
        found["drains"].append(change(fleet, watch, fleet.drain))
        fleet.end_drained()
        time.sleep(CHECK_SECONDS)
        if load.poll() is not None:
            sys.exit("sim: hand-overs took longer than there were events; the machine is too busy to measure them")
    watch.stop()
    load.terminate()
    load.wait()
    return {**found, "copies": copies, "rate": rate, "instances": len(fleet.nodes), "heartbeat_ms": real.HEARTBEAT_MS, **fleet.shape.told()}
