"""What a join of served rows and events has to give, computed from the lists of both: docs/examples.md in Python."""

import dataclasses
import struct

import xxhash

SLIVER_MS = 30_000


@dataclasses.dataclass
class Task:
    name: str
    actions: tuple
    policy: str
    window_ms: int
    negatives: float = 1.0


def example_id(model, task, request_id, user_id, item_id, step):
    return xxhash.xxh64_intdigest(struct.pack("<QQQQ", request_id, user_id, item_id, step) + f"{model}.{task}".encode())


def is_kept(identity, rate):
    return (xxhash.xxh64_intdigest(struct.pack("<Q", identity), seed=1) >> 11) * 2.0**-53 < rate


class Shown:
    """An impression with its rows, and the outcomes that are its own, by action, each list in the order of time."""

    def __init__(self, event, served):
        self.event, self.served = event, served
        self.ms = event["ts_ms"]
        self.outcomes = []
        self.exit_ms = None

    def labels(self, task):
        """Times of the outcomes of a task that lie in its window."""
        found = (ms for ms, action in self.outcomes if action in task.actions and 0 <= ms - self.ms < task.window_ms)
        return sorted(ms for ms in found if task.policy != "sliver" or ms <= self.last(task))

    def sliver(self, ms):
        begin = self.ms + xxhash.xxh64_intdigest(struct.pack("<QQ", self.event["request_id"], self.event["item_id"])) % SLIVER_MS
        return 0 if ms < begin else 1 + (ms - begin) // SLIVER_MS

    def last(self, task):
        """When nothing more can come."""
        end = self.ms + task.window_ms
        return min(self.exit_ms or end, end) if task.policy == "sliver" else end

    def steps(self, task):
        """(step, label, delay, when) of a task's examples."""
        end, labels = self.last(task), self.labels(task)
        if task.policy == "wait":
            return [(0, 1, labels[0] - self.ms, end) if labels else (0, 0, task.window_ms, end)]
        if task.policy == "fnw":
            return [(0, 0, 0, self.ms)] + [(1, 1, ms - self.ms, ms) for ms in labels[:1]]
        if task.policy == "first_only":
            return [(0, 1, labels[0] - self.ms, labels[0])] if labels else [(1, 0, task.window_ms, end)]
        firsts = {}
        for ms in labels:
            firsts.setdefault(self.sliver(ms), ms)
        if firsts:
            return [(step, 1, ms - self.ms, ms) for step, ms in firsts.items()]
        return [(self.sliver(end), 0, end - self.ms, end)]

    def final(self, task, at_ms):
        """(observed, label, delay) of another task at a moment."""
        labels = [ms for ms in self.labels(task) if ms <= at_ms]
        if labels:
            return True, 1, labels[0] - self.ms
        if at_ms >= self.last(task):
            return True, 0, self.last(task) - self.ms
        return False, 0, 0


class Join:
    """All events, in order, and all served rows, in any. The rows are messages, the events dicts."""

    def __init__(self, model, tasks, ttl_ms, served, events):
        self.model, self.tasks = model, tasks
        rows = {}
        for message in served:
            rows.setdefault((message.user_id, message.request_id), message)
        self.shown = {}
        names = {action for task in tasks for action in task.actions}
        for event in events:
            user, item, request = event["user_id"], event["item_id"], event["request_id"]
            if event["action"] == "impression" and request:
                message = rows.get((user, request))
                if message and abs(event["ts_ms"] - message.served_ms) > ttl_ms:
                    message = None
                self.shown.setdefault((user, request, item), Shown(event, message))
        for event in events:
            user, item, request = event["user_id"], event["item_id"], event["request_id"]
            if event["action"] == "leave_room":
                self.leave(event)
            if event["action"] in names:
                shown = self.shown.get((user, request, item)) if request else self.latest_of(event)
                if shown:
                    shown.outcomes.append((event["ts_ms"], event["action"]))

    def leave(self, event):
        for (user, _, _), shown in self.shown.items():
            is_there = not shown.event["room_id"] or not event["room_id"] or shown.event["room_id"] == event["room_id"]
            if user == event["user_id"] and is_there and shown.ms <= event["ts_ms"]:
                shown.exit_ms = min(shown.exit_ms or event["ts_ms"], event["ts_ms"])

    def latest_of(self, event):
        longest = max(task.window_ms for task in self.tasks if event["action"] in task.actions)
        found = [
            (shown.ms, request, shown)
            for (user, request, item), shown in self.shown.items()
            if (user, item) == (event["user_id"], event["item_id"]) and 0 <= event["ts_ms"] - shown.ms < longest
        ]
        return max(found)[2] if found else None

    def examples(self):
        """{example_id: what it says}."""
        found = {}
        for (user, request, item), shown in self.shown.items():
            if not shown.served or item not in shown.served.item_ids:
                continue
            for task in self.tasks:
                for step, label, delay, at_ms in shown.steps(task):
                    identity = example_id(self.model, task.name, request, user, item, step)
                    if not label and not is_kept(identity, task.negatives):
                        continue
                    labels = [(task.name, float(label), 1.0, True, delay)]
                    for other in self.tasks:
                        if other is not task:
                            observed, value, other_delay = shown.final(other, at_ms)
                            labels.append((other.name, float(value), float(observed), observed, other_delay))
                    assert identity not in found
                    found[identity] = (request, user, item, shown.served.served_ms, task.policy, tuple(labels))
        return found


def told(example):
    """The same of an Example that came."""
    labels = tuple((label.task, label.value, label.weight, label.observed, label.delay_ms) for label in example.labels)
    return (example.request_id, example.user_id, example.item_id, example.served_ms, example.policy, labels)
