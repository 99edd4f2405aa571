"""Random catalogues on random streams: every value and every candidate equals the oracle's. A failure is shrunk and printed.

FRESHET_SEEDS=7,8 or FRESHET_SEEDS=100-120 runs those; FRESHET_AGGREGATES=count,last (default: all) what the catalogues are made of.
"""

import json
import os
import pathlib
import random
import shutil
import tempfile

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

WAYS = ("protobuf", "json", "produce")
EVENTS = 4_000
LATER_MS = (0, 999, 59_000, 600_000, 3_600_000, oracle.DAY_MS, 8 * oracle.DAY_MS, 31 * oracle.DAY_MS)


def seeds():
    given = os.environ.get("FRESHET_SEEDS", "1-20")
    spans = [part.partition("-") for part in given.split(",")]
    return [seed for first, _, last in spans for seed in range(int(first), int(last or first) + 1)]


def aggregates():
    given = os.environ.get("FRESHET_AGGREGATES", "all")
    return random_catalogue.ALL if given == "all" else tuple(given.split(","))


class Trial:
    """
    Nodes on the embedded broker, each with its catalogue and events, asked half-way and at the end, some after a restart. Every
    one is gone at the end.
    """

    def __init__(self, binary, make_node, directory, seed):
        self.binary, self.make_node, self.directory, self.seed = binary, make_node, directory, seed
        self.way, self.lanes, self.restarts = WAYS[seed % 3], 1 + seed // 3 % 3, seed % 2 == 0

    def problem(self, made, sent):
        """What is wrong, or nothing."""
        format = "json" if self.way == "json" else "protobuf"
        directory = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        configuration = settings.configuration("embedded", format=format, catalogue=made, lanes=self.lanes)
        configuration["store"]["path"] = str(directory / "store")
        node = self.make_node(configuration, directory.name)
        try:
            node.start()
            judge = oracle.Oracle(node.configuration)
            half, before = len(sent) // 2, {}
            for part, total, later_ms in ((sent[:half], half, LATER_MS[::4]), (sent[half:], len(sent), LATER_MS)):
                self.load(node, part, directory)
                for event in part:
                    judge.apply(event)
                node.wait_applied(total)
                self.ask(node, judge, sent[:total], later_ms, before)
                if self.restarts and total < len(sent):
                    assert node.stop() == 0
                    before = dict(judge.outcomes)
                    node.start()
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

    def ask(self, node, judge, sent, later_ms, before):
        """`before`: the outcomes of the runs before this one."""
        touched = [event for event in sent if oracle.verdict(event) == "applied"]
        if not touched:
            return
        compare.check_values(node, judge, compare.questions(touched), later_ms)
        if judge.recall.lists or judge.recall.covisits:
            compare.check_recall(node, judge, touched)
        counted = {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}
        for outcome in ("applied", "duplicate", "unknown_action"):
            right = judge.outcomes.get(outcome, 0) - before.get(outcome, 0)
            assert counted[outcome] == right, f"{counted[outcome]} {outcome} in this run, not {right}"


def encoded(event):
    return event_pb2.Event(**event).SerializeToString()


def short(event):
    return {field: value for field, value in event.items() if value}


def reproducer(trial, made, sent, problem):
    text = yaml.safe_dump(made, sort_keys=False, default_flow_style=None, width=150)
    events = "\n".join(json.dumps(short(event)) for event in sent)
    return f"seed {trial.seed}, {trial.way}, {trial.lanes} lanes, restarts {trial.restarts}: {problem}\n--- catalogue\n{text}--- {len(sent)} events\n{events}"


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


class Forger(Trial):
    """Sends one event other than the oracle is told."""

    def load(self, node, sent, directory):
        super().load(node, [{**sent[0], "item_id": sent[0]["item_id"] + 1}, *sent[1:]], directory)


def test_one_forged_event_is_found(binary, make_node, tmp_path):
    counted = {"entity": "item", "aggregate": "count", "windows": ["30d"]}
    made = {"entities": {"user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}}, "features": {"all": counted}}
    sent = random_catalogue.stream(random.Random(1), 300, is_valid=True)
    assert Trial(binary, make_node, tmp_path, 1).problem(made, sent) is None
    assert "all.30d of item" in Forger(binary, make_node, tmp_path, 1).problem(made, sent)


def test_what_fails_is_shrunk_to_what_it_takes():
    made = random_catalogue.catalogue(random.Random(3), features=30)
    ratio = next(name for name, one in made["features"].items() if one["aggregate"] == "ratio")
    sent = random_catalogue.stream(random.Random(3), 2_000)
    needed = [sent[700], sent[1500]]

    def fails(made, sent):
        return ratio in made["features"] and all(event in sent for event in needed)

    small, few = random_catalogue.shrunk(made, sent, fails, tries=150)
    assert sorted(small["features"]) == sorted([ratio, *made["features"][ratio]["of"]]) and "lists" not in small
    assert few == needed


def test_catalogues_use_what_they_may_and_nothing_else():
    used = set()
    for seed in range(40):
        made = random_catalogue.catalogue(random.Random(seed), ("count", "sum", "last"))
        assert {one["aggregate"] for one in made["features"].values()} == {"count", "sum", "last"}
        assert not any({"emit", "match"} & set(one) for one in made["features"].values()) and "lists" not in made
        made = random_catalogue.catalogue(random.Random(seed))
        oracle.Oracle(made)
        assert yaml.safe_load(yaml.safe_dump(made)) == made
        used |= {"match" if "match" in one else one["aggregate"] for one in made["features"].values()} | {"lists"} & set(made)
        used |= {"bounds" for one in made["features"].values() if {"lower", "upper"} & set(one.get("emit", ()))}
        used |= {"emit" for one in made["features"].values() if "emit" in one}
    assert used == set(random_catalogue.ALL)
