"""What a join of served rows and events has to give, computed from the lists of both: docs/examples.md in Python."""

import bisect
import collections
import dataclasses
import struct

import xxhash

import causal
from number import float32_of

SLIVER_MS, STEP_MS = 30_000, 100
RANKED = ("wait", "first_only")  # policies whose tasks may have ranks, and whose examples' places in the order are known here


@dataclasses.dataclass
class Task:
    name: str
    actions: tuple
    policy: str
    window_ms: int
    negatives: float = 1.0
    label: str = "outcome"


def example_id(model, task, request_id, user_id, item_id, step):
    return xxhash.xxh64_intdigest(struct.pack("<QQQQ", request_id, user_id, item_id, step) + f"{model}.{task}".encode())


def is_kept(identity, rate):
    return (xxhash.xxh64_intdigest(struct.pack("<Q", identity), seed=1) >> 11) * 2.0**-53 < rate


@dataclasses.dataclass
class Outcome:
    ms: int
    action: str
    place: tuple  # (the log's clock, number of the event)
    bucket: tuple | None  # (length, time) of a watch; None: it says no length


def step_of(ms):
    """The place of what time makes."""
    return (-(-ms // STEP_MS) * STEP_MS, 0)


class Ranks:
    """What the examples of a task had watched so far: of each length the times, sorted."""

    def __init__(self):
        self.times = collections.defaultdict(list)

    def rank(self, bucket):
        times, time = self.times[bucket[0]], bucket[1]
        below, not_above = bisect.bisect_left(times, time), bisect.bisect_right(times, time)
        return float32_of((below + (not_above - below + 1) / 2) / (len(times) + 1))

    def count(self, bucket):
        bisect.insort(self.times[bucket[0]], bucket[1])


class Shown:
    """An impression with its rows, and the outcomes that are its own, in the order of the log."""

    def __init__(self, event, served):
        self.event, self.served = event, served
        self.ms = event["ts_ms"]
        self.outcomes = []
        self.exit_ms = None

    def found(self, task):
        """The outcomes of a task that lie in its window, the earliest first; of one moment the first that came."""
        found = (one for one in self.outcomes if one.action in task.actions and 0 <= one.ms - self.ms < task.window_ms)
        return sorted((one for one in found if task.policy != "sliver" or one.ms <= self.last(task)), key=lambda one: one.ms)

    def labels(self, task):
        """Their times."""
        return [one.ms for one in self.found(task)]

    def place(self, task, label):
        """Where the example of a policy in RANKED lies among all."""
        return self.found(task)[0].place if label and task.policy == "first_only" else step_of(self.last(task))

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
        self.shown_of = collections.defaultdict(list)  # by user and item
        for (user, request, item), shown in self.shown.items():
            self.shown_of[user, item].append((shown.ms, request, shown))
        clock_ms = 0
        for number, event in enumerate(events, 1):
            user, item, request = event["user_id"], event["item_id"], event["request_id"]
            clock_ms = max(clock_ms, event["ts_ms"])
            if event["action"] == "leave_room":
                self.leave(event)
            if event["action"] in names:
                shown = self.shown.get((user, request, item)) if request else self.latest_of(event)
                bucket = causal.watch(event) if event.get("duration_s", 0) > 0 else None
                if shown:
                    shown.outcomes.append(Outcome(event["ts_ms"], event["action"], (clock_ms, number), bucket))

    def leave(self, event):
        for (user, _, _), shown in self.shown.items():
            is_there = not shown.event["room_id"] or not event["room_id"] or shown.event["room_id"] == event["room_id"]
            if user == event["user_id"] and is_there and shown.ms <= event["ts_ms"]:
                shown.exit_ms = min(shown.exit_ms or event["ts_ms"], event["ts_ms"])

    def latest_of(self, event):
        longest = max(task.window_ms for task in self.tasks if event["action"] in task.actions)
        shown = self.shown_of[event["user_id"], event["item_id"]]
        found = [one for one in shown if 0 <= event["ts_ms"] - one[0] < longest]
        return max(found)[2] if found else None

    def made(self):
        """(user, request, item, number of the task, step, label, delay, when) of each example, in their order where that is known here."""
        made = []
        for (user, request, item), shown in self.shown.items():
            if not shown.served or item not in shown.served.item_ids:
                continue
            for number, task in enumerate(self.tasks):
                for step, *told in shown.steps(task):
                    place = shown.place(task, told[0]) if task.policy in RANKED else ()
                    made.append(((place, user, request, item, number, step), told))
        is_ordered = all(task.policy in RANKED for task in self.tasks)
        assert is_ordered or all(task.label == "outcome" for task in self.tasks)
        return [(*of[1:], *told) for of, told in (sorted(made) if is_ordered else made)]

    def value(self, shown, task, label, ranks):
        """The label; None: nobody can tell it."""
        if not label or task.label == "outcome":
            return float(label)
        bucket = shown.found(task)[0].bucket
        return ranks[task.name].rank(bucket) if bucket else None

    def examples(self):
        """{example_id: what it says}."""
        found, ranks, self.unranked = {}, {task.name: Ranks() for task in self.tasks}, 0
        for user, request, item, number, step, label, delay, at_ms in self.made():
            shown, task = self.shown[user, request, item], self.tasks[number]
            identity = example_id(self.model, task.name, request, user, item, step)
            value = self.value(shown, task, label, ranks)
            self.unranked += value is None
            if value is None or not label and not is_kept(identity, task.negatives):
                continue
            labels = [(task.name, value, 1.0, True, delay)]
            for other in self.tasks:
                if other is not task:
                    observed, other_label, other_delay = shown.final(other, at_ms)
                    other_value = self.value(shown, other, other_label, ranks)
                    if other_value is None:
                        observed, other_value, other_delay = False, 0.0, 0
                    labels.append((other.name, other_value, float(observed), observed, other_delay))
            if label and task.label == "watch_rank":
                ranks[task.name].count(shown.found(task)[0].bucket)
            assert identity not in found
            found[identity] = (request, user, item, shown.served.served_ms, task.policy, tuple(labels))
        return found


def told(example):
    """The same of an Example that came."""
    labels = tuple((label.task, label.value, label.weight, label.observed, label.delay_ms) for label in example.labels)
    return (example.request_id, example.user_id, example.item_id, example.served_ms, example.policy, labels)
