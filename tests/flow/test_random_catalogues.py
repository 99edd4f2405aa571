"""Random catalogues on random streams: every value and every candidate equals the oracle's. A failure is shrunk and printed.

FRESHET_SEEDS=7,8 or FRESHET_SEEDS=100-120 runs those; FRESHET_AGGREGATES=count,last (or `all`) what the catalogues are made of.
"""

import json
import os
import random
import shutil
import tempfile

import pathlib

import pytest
import yaml

import compare
import kafka
import logs
import oracle
import random_catalogue
import settings
from freshet.v1 import event_pb2
from node import CallError, run_cli

KNOWN = ("count", "sum", "min", "max", "last", "mean", "decayed", "ratio", "match")  # what the node knows of random_catalogue.ALL
WAYS = ("protobuf", "json", "produce")
EVENTS = 4_000
LATER_MS = (0, 999, 59_000, 600_000, 3_600_000, oracle.DAY_MS, 8 * oracle.DAY_MS, 31 * oracle.DAY_MS)


def seeds():
    given = os.environ.get("FRESHET_SEEDS", "1-6")
    spans = [part.partition("-") for part in given.split(",")]
    return [seed for first, _, last in spans for seed in range(int(first), int(last or first) + 1)]


def aggregates():
    given = os.environ.get("FRESHET_AGGREGATES", ",".join(KNOWN))
    return random_catalogue.ALL if given == "all" else tuple(given.split(","))


class Trial:
    """Nodes on the embedded broker, each with its catalogue and events; every one is gone at the end."""

    def __init__(self, binary, make_node, directory, seed):
        self.binary, self.make_node, self.directory, self.seed = binary, make_node, directory, seed
        self.way = WAYS[seed % len(WAYS)]
        self.lanes, self.every = 1 + seed % 3, 1

    def problem(self, made, sent):
        """What is wrong, or nothing."""
        format = "json" if self.way == "json" else "protobuf"
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        configuration = settings.configuration("embedded", format=format, catalogue=made, lanes=self.lanes)
        configuration["store"]["path"] = str(directory / "store")
        node = self.make_node(configuration, directory.name)
        try:
            node.start()
            self.load(node, sent, directory)
            judge = oracle.Oracle(node.configuration)
            for event in sent:
                judge.apply(event)
            node.wait_applied(len(sent))
            self.ask(node, judge, sent)
        except (AssertionError, CallError) as wrong:
            return str(wrong) or "an assertion"
        finally:
            node.kill()
            shutil.rmtree(directory, ignore_errors=True)
        return None

    def load(self, node, sent, directory):
        dice = random.Random(self.seed)
        if self.way == "produce":
            file = directory / "events.jsonl"
            file.write_bytes(b"".join(logs.json_of(event, dice) + b"\n" for event in sent))
            done = run_cli(self.binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", "--strict", file)
            assert done.returncode == 0, done.stderr
            return
        encode = {"json": lambda event: logs.json_of(event, dice), "protobuf": encoded}[self.way]
        kafka.produce(node.brokers, "freshet.events", ((logs.key_of(event), encode(event)) for event in sent))

    def ask(self, node, judge, sent):
        touched = [event for event in sent if oracle.verdict(event) == "applied"]
        asked = compare.questions(touched)
        compare.check_values(node, judge, asked, LATER_MS)
        if judge.recall.lists or judge.recall.covisits:
            compare.check_recall(node, judge, touched)
        outcomes = {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}
        for outcome in ("applied", "duplicate", "unknown_action"):
            right = judge.outcomes.get(outcome, 0)
            assert outcomes.get(outcome, 0) == right, f"{outcomes.get(outcome, 0)} {outcome}, not {right}"


def encoded(event):
    return event_pb2.Event(**event).SerializeToString()


def short(event):
    return {field: value for field, value in event.items() if value}


def reproducer(trial, made, sent, problem):
    text = yaml.safe_dump(made, sort_keys=False, default_flow_style=None, width=150)
    events = "\n".join(json.dumps(short(event)) for event in sent)
    return f"seed {trial.seed}, {trial.way}, {trial.lanes} lanes: {problem}\n--- catalogue\n{text}--- {len(sent)} events\n{events}"


@pytest.mark.parametrize("seed", seeds())
def test_a_random_catalogue(binary, make_node, tmp_path, seed):
    dice = random.Random(seed)
    trial = Trial(binary, make_node, tmp_path, seed)
    made = random_catalogue.catalogue(dice, aggregates())
    sent = random_catalogue.stream(dice, EVENTS, is_valid=trial.way != "protobuf")
    problem = trial.problem(made, sent)
    if problem:
        print(f"seed {seed} fails: {problem[:2000]}\nshrinking", flush=True)
        made, sent = random_catalogue.shrunk(made, sent, lambda made, sent: trial.problem(made, sent) is not None)
        pytest.fail(reproducer(trial, made, sent, trial.problem(made, sent) or problem), pytrace=False)
