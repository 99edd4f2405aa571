"""The example catalogue `causal` with its model: on the simulated world and on a log with durations its columns are the oracle's, and its labels
the ranks that a plain count of what was watched gives."""

import collections
import copy
import csv
import gzip
import itertools
import pathlib
import random

import pytest
import yaml

import compare
import event
import joined
import kafka
import logs
import oracle
import settings
import test_join
import world
from freshet.v1 import event_pb2, model_pb2
from node import wait_for

CAUSAL = yaml.safe_load((pathlib.Path(__file__).resolve().parents[2] / "examples/catalogues/causal.yaml").read_text())
TASKS = (
    joined.Task("long", ("watch",), "wait", 600_000, label="watch_rank"),
    joined.Task("click", ("click",), "first_only", 600_000),
    joined.Task("begin", ("watch",), "first_only", 60_000, label="watch_rank"),
)
TTL_MS, NEAR = 600_000, 1e-6


def catalogue():
    made = copy.deepcopy(CAUSAL)
    tasks = made["models"]["watching"]["tasks"]
    assert tasks == {task.name: {**tasks[task.name], "policy": task.policy, "window": "10m"} for task in TASKS[:2]}
    tasks["begin"] = {"actions": ["watch"], "policy": "first_only", "window": "1m", "label": "watch_rank"}
    return made


def rows_of(described, events):
    """What was served for each request: all that it showed, when it showed the first."""
    shown = collections.defaultdict(dict)
    for one in events:
        if one["action"] == "impression" and one["request_id"]:
            shown[one["user_id"], one["request_id"]].setdefault(one["item_id"], one["ts_ms"])
    for (user, request), items in shown.items():
        message = model_pb2.Served(request_id=request, user_id=user, served_ms=min(items.values()), schema=described.schema)
        message.item_ids.extend(items)
        message.user_values.extend([1.0] * len(described.user_columns))
        message.item_values.extend(item % 7 for item in items for _ in described.item_columns)
        yield message


def learned(make_node, events):
    """A node that has joined and learned them, what it made, and what the join in Python says."""
    node = make_node(settings.configuration("embedded", partitions=1, lanes=1, catalogue=catalogue())).start()
    described = node.call("FeatureService/Describe", test_join.feature_pb2.DescribeRequest(), test_join.feature_pb2.DescribeResponse)
    served = list(rows_of(next(one for one in described.feature_sets if one.name == "causal"), events))
    records = ((str(message.user_id).encode(), message.SerializeToString()) for message in served)
    count = kafka.produce(node.brokers, "freshet.served", records)
    node.wait_applied(count)
    last = test_join.event_of("search", events[-1]["ts_ms"] + 3_600_000, 999_999, event_id=1)
    count += test_join.produce_events(node.brokers, "freshet.events", [*events, last])
    node.wait_applied(count)
    join = joined.Join("watching", TASKS, TTL_MS, served, events)
    wanted = join.examples()
    wait_for(lambda: test_join.metric(node, "freshet_examples_sent_total") >= len(wanted), lambda: test_join.story_of(node))
    found = test_join.examples_of(node.brokers, "freshet") if wanted else {}
    return node, join, wanted, {identity: joined.told(example) for identity, example in found.items()}


def check_labels(node, join, wanted, found):
    assert set(found) == set(wanted)
    for identity, (*told, labels) in wanted.items():
        *found_told, found_labels = found[identity]
        assert found_told == told
        for (task, value, *rest), (found_task, found_value, *found_rest) in zip(labels, found_labels, strict=True):
            assert (found_task, found_rest) == (task, rest) and abs(found_value - value) <= NEAR, (task, found_value, value)
    assert test_join.joined_count(node, "watches_without_length") == join.unranked
    ranks = [labels[0][1] for *_, labels in wanted.values() if labels[0][0] == "long" and labels[0][1]]
    assert len(set(ranks)) > 100 and 0 < min(ranks) < 0.1 and 0.9 < max(ranks) < 1
    return ranks


def check_model(node, wanted):
    """It learned them all, and says of each task how well."""
    request = model_pb2.ModelStatusRequest(model="watching")
    state = node.call("ModelService/Status", request, model_pb2.ModelStatusResponse).models[0]
    assert (state.examples, state.rejected) == (len(wanted), 0)
    report = node.cli("model", "report")
    assert report.returncode == 0, report.stderr
    for task in state.tasks:
        labels = [labels[0][1] for *_, labels in wanted.values() if labels[0][0] == task.name]
        assert (task.examples, task.positives) == (len(labels), sum(label > 0 for label in labels))
        line = next(line.split() for line in report.stdout.splitlines() if line.split()[:1] == [task.name])
        assert line[1:6] == [str(task.examples), *(f"{one:.4f}" for one in (task.log_loss, task.normalized_entropy, task.auc)), f"{task.calibration:.3f}"]
        assert task.name == "click" or (0 < task.log_loss < 1 and 0.7 < task.calibration < 1.4)


@pytest.fixture(scope="module")
def simulated(binary, tmp_path_factory):
    """Of the simulated page, in the order of time; with propensities, which the simulator does not know, and some that are none, and with places
    beyond the curve's."""
    made = world.World(binary, tmp_path_factory.mktemp("world"), rate=10, seconds=300, seed=4, items=1200, users=100)
    dice, events = random.Random(4), []
    for one in sorted(made.events, key=lambda one: (one.ts_ms, one.event_id)):
        told = {field.name: value for field, value in one.ListFields() if field.name not in ("attributes", "text")}
        told["propensity"] = dice.choice((0.5, 0.25, 0.125, 0.01, 0, -0.5, 1.5))
        told["position"] = told.get("position", 0) * dice.choice((1, 1, 10))
        events.append({**dict.fromkeys(("item_id", "request_id", "user_id", "room_id"), 0), **told, "action": event.ACTIONS[one.action]})
    return events


def test_the_causal_catalogue_on_the_simulated_world_is_the_oracles(make_node, simulated):
    node, join, wanted, found = learned(make_node, simulated)
    check_labels(node, join, wanted, found)
    assert join.unranked > 0 and any(not labels[0][1] for *_, labels in wanted.values())
    check_model(node, wanted)
    judge = oracle.Oracle(node.configuration)
    for one in simulated:
        judge.apply(oracle.normal({**one, "action": event.ACTIONS.index(one["action"])}))
    judge.apply(oracle.normal({"ts_ms": simulated[-1]["ts_ms"] + 3_600_000, "user_id": 999_999, "action": event.ACTIONS.index("search"), "event_id": 1}))
    items = sorted({one["item_id"] for one in simulated if one["action"] == "impression"})
    users = sorted({one["user_id"] for one in simulated})[::20]
    compare.check_values(node, judge, [(0, items[::4]), *((user, items[:3]) for user in users)], (0,))
    shown = {one["position"] for one in simulated if one["action"] == "impression"}
    assert max(shown) > CAUSAL["features"]["item_coec"]["positions"]


def test_labels_of_a_log_with_durations_are_the_ranks_of_a_plain_count(make_node, data):
    """Each row is a video that was shown, and what was watched of it when that was over; one in five or so says no length."""
    events = []
    with gzip.open(data / logs.Kuairand.file, "rt") as text:
        for number, row in enumerate(itertools.islice(csv.DictReader(text), 0, None, 12), 1):
            shown_ms, watched_ms = int(row["time_ms"]), int(row["play_time_ms"])
            of = {"user": int(row["user_id"]), "item": int(row["video_id"]), "request": number}
            events.append(test_join.event_of("impression", shown_ms, **of, event_id=4 * number))
            length = {"value": watched_ms / 1000, "duration_s": int(row["duration_ms"]) / 1000}
            events.append(test_join.event_of("watch", shown_ms + max(watched_ms, 1), **of, event_id=4 * number + 2, **length))
            if row["is_click"] == "1":
                events.append(test_join.event_of("click", shown_ms, **of, event_id=4 * number + 1))
    events.sort(key=lambda one: (one["ts_ms"], one["event_id"]))
    node, join, wanted, found = learned(make_node, events)
    ranks = check_labels(node, join, wanted, found)
    assert len(ranks) > 2000 and join.unranked > 300
    check_model(node, wanted)
