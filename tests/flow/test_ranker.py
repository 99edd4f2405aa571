"""A ranker that asks Score against popularity and chance: simulated users answer, and the node learns from what they were shown.

`FRESHET_FIGURES=DIR tests/flow/run --all tests/flow/test_ranker.py -s` leaves the figures for tests/bench/learning.py.
"""

import heapq
import itertools
import json
import os
import pathlib
import random

import numpy as np
import pytest

import crowd
import freshet
import kafka
from freshet.v1 import event_pb2, model_pb2
from node import run_cli, wait_for

T0 = 1_700_000_000_000
ROUND_MS = 600_000
RATE = {"windows": ["7d"], "prior": "global"}
CONFIGURATION = {
    "node": {"clock": "event"},
    "kafka": {"brokers": "embedded", "topics": [{"name": "events", "format": "protobuf", "partitions": 4}]},
    "store": {"epoch": "100ms"},
    "learner": {"serve_ttl": "10m"},
    "entities": {
        "user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}, "user_category": {"key": ["user_id", "category_id"]},
    },
    "features": {
        "my_shown": {"entity": "user_category", "actions": ["impression"], "aggregate": "count", "windows": ["7d"]},
        "my_clicks": {"entity": "user_category", "actions": ["click"], "aggregate": "count", "windows": ["7d"]},
        "my_rate": {"entity": "user_category", "aggregate": "ratio", "of": ["my_clicks", "my_shown"], "strength": 8, **RATE},
        "shown": {"entity": "item", "actions": ["impression"], "aggregate": "count", "windows": ["7d"]},
        "clicks": {"entity": "item", "actions": ["click"], "aggregate": "count", "windows": ["7d"]},
        "paid": {"entity": "item", "actions": ["purchase"], "aggregate": "sum", "of": "value", "windows": ["7d"]},
        "click_rate": {"entity": "item", "aggregate": "ratio", "of": ["clicks", "shown"], "strength": 20, **RATE},
        "pay_rate": {"entity": "item", "aggregate": "ratio", "of": ["paid", "shown"], "strength": 20, **RATE},
    },
    "feature_sets": {"mall": {"item": ["click_rate", "pay_rate"], "cross": ["my_clicks", "my_rate"]}},
    "models": {
        "mall": {
            "feature_set": "mall", "bits": 18, "factors": 0,
            "dense": {"click_rate": "standard", "my_clicks": "log", "my_rate": "standard"},
            "sparse": ["item_id", "item.category_id", ["user_id", "item.category_id"]],
            "tasks": {"click": {"actions": ["click"], "policy": "fnw", "window": "10m"}},
            "optimiser": {"alpha": 0.15}, "publish": "20ms",
        }
    },
}  # fmt: skip


class Show:
    """Rounds in which every user is shown a slate: what each arm would show is judged, what Score shows happens."""

    CANDIDATES, SLATE, CHANCE_SLATE, JUDGES = 40, 8, 25, 5

    def __init__(self, node, people, seed):
        self.node, self.people, self.dice = node, people, random.Random(seed)
        self.client = freshet.Client(node.api)
        self.all_items = list(people.items)
        self.late = []  # purchases that are still to come
        self.event_ids = itertools.count(1)
        self.produced = self.examples = 0
        self.is_judged = True
        self.arms = {}  # name: (round, user, clicks, money)

    def event(self, action, ts_ms, user, item, request, **fields):
        return event_pb2.Event(
            event_id=next(self.event_ids), ts_ms=ts_ms, user_id=user, item_id=item, action=action,
            category_id=self.people.category(item) if item else 0, request_id=request, scene=event_pb2.MALL, **fields,
        )  # fmt: skip

    def round(self, number, users, is_by_chance):
        at_ms = T0 + number * ROUND_MS
        late = [self.event(event_pb2.WATCH, at_ms, users[0], 0, 0)]  # so that it is that time when rows are served
        while self.late and self.late[0][0] <= at_ms:
            late.append(heapq.heappop(self.late)[2])
        self.produce(late)
        step_ms = ROUND_MS // (len(users) + 1)
        shown = (self.serve(number, user, at_ms + place * step_ms, is_by_chance) for place, user in enumerate(users, 1))
        self.produce(itertools.chain(*shown))
        wait_for(lambda: self.learned() >= self.examples, lambda: f"{self.examples} examples learned: {self.learned()}")

    def produce(self, events):
        events = sorted(events, key=lambda one: one.ts_ms)
        records = ((str(one.user_id).encode(), one.SerializeToString()) for one in events)
        self.produced += kafka.produce(self.node.brokers, "events", records)
        self.examples += sum(one.action == event_pb2.CLICK for one in events)
        wait_for(lambda: self.node.applied() >= self.produced, "applied")

    def learned(self):
        told = self.node.call("ModelService/Status", model_pb2.ModelStatusRequest(), model_pb2.ModelStatusResponse)
        return told.models[0].examples

    def candidates(self, user):
        """As the simulated shop recalls them: what is not to the user's taste is drawn again up to three times."""
        found = {}
        while len(found) < self.CANDIDATES:
            for _ in range(4):
                item = self.dice.choice(self.all_items)
                if self.people.category(item) in self.people.tastes[user]:
                    break
            found[item] = True
        return list(found)

    def serve(self, number, user, at_ms, is_by_chance):
        """The events of what was shown: a longer slate by chance at first, then Score's."""
        items = self.candidates(user)
        scored = self.node.call(
            "ModelService/Score", model_pb2.ScoreRequest(user_id=user, item_ids=items, log_items=items), model_pb2.ScoreResponse
        )
        known = self.client.get_features(user, items, feature_set="mall")
        ranks = {
            "chance": np.array([self.dice.random() for _ in items]),
            "clicked most": known.column("click_rate.7d"),
            "earned most": known.column("pay_rate.7d"),
            "Score": np.array(scored.scores),
        }
        slates = {
            arm: [items[place] for place in np.argsort(-rank, kind="stable")[: self.SLATE]] for arm, rank in ranks.items()
        }
        moments = range(self.JUDGES * number, self.JUDGES * (number + 1))
        for arm, slate in slates.items() if self.is_judged else ():
            answers = [self.people.answer(user, item, moment) for item in slate for moment in moments]
            row = (number, user, sum(one.is_clicked for one in answers), sum(one.paid for one in answers))
            self.arms.setdefault(arm, []).append(row)
        shown = items[: self.CHANCE_SLATE] if is_by_chance else slates["Score"]
        return list(self.happen(moments[0], user, shown, at_ms, scored.request_id))

    def happen(self, moment, user, slate, at_ms, request):
        for place, item in enumerate(slate):
            answer = self.people.answer(user, item, moment)
            yield self.event(event_pb2.IMPRESSION, at_ms, user, item, request, position=place)
            self.examples += 1  # a negative at once
            if answer.is_clicked:
                yield self.event(event_pb2.CLICK, at_ms + 3000, user, item, request)
            if answer.bought_after_s is not None:
                bought_ms = at_ms + 20_000 + int(answer.bought_after_s * 1000)
                purchase = self.event(event_pb2.PURCHASE, bought_ms, user, item, request, value=answer.paid)
                heapq.heappush(self.late, (bought_ms, purchase.event_id, purchase))


def lift(arms, than, measure, draws=2000):
    """How much more Score gets, in shares of the other's: (share, lower and upper end of 95 %), users drawn again and again."""
    users = sorted({row[1] for row in arms["Score"]})
    sums = {arm: np.array([sum(row[measure] for row in arms[arm] if row[1] == user) for user in users], float) for arm in arms}
    picks = np.random.default_rng(1).integers(0, len(users), (draws, len(users)))
    ratios = sums["Score"][picks].sum(1) / sums[than][picks].sum(1) - 1
    return sums["Score"].sum() / sums[than].sum() - 1, *map(float, np.quantile(ratios, (0.025, 0.975)))


def run(make_node, binary, tmp_path, seed, users, items, chance_rounds, rounds, is_curve=False):
    truth = tmp_path / "truth.jsonl"
    world = ("--users", users, "--items", items, "--seed", seed, "--truth", truth)
    done = run_cli(binary, "simulate", "--rate", 1, "--seconds", 1, "--fast", *world)
    assert done.returncode == 0, done.stderr
    node = make_node(CONFIGURATION).start()
    people = crowd.Crowd(truth.read_text().splitlines(), seed)
    show = Show(node, people, seed)
    for number in range(chance_rounds + rounds):
        show.is_judged = is_curve or number >= chance_rounds
        show.round(number, people.users, number < chance_rounds)
    show.client.close()
    return show.arms


def check(arms, chance_rounds, file=None):
    judged = {arm: [row for row in rows if row[0] >= chance_rounds] for arm, rows in arms.items()}
    lifts = {
        f"{name} against {other}": lift(judged, other, measure)
        for measure, name in ((2, "clicks"), (3, "revenue"))
        for other in judged
        if other != "Score"
    }
    for line, (mean, low, high) in lifts.items():
        print(f"{line}: {mean:+.1%} ({low:+.1%} to {high:+.1%})")
    if file:
        told = {"judges": Show.JUDGES, "chance_rounds": chance_rounds, "arms": arms, "lifts": lifts}
        pathlib.Path(file).write_text(json.dumps(told))
    for line, (mean, low, high) in lifts.items():
        assert low > 0, f"{line}: {mean:+.1%} ({low:+.1%} to {high:+.1%})"


def test_score_beats_popularity_and_chance_on_clicks_and_revenue(make_node, binary, tmp_path):
    check(run(make_node, binary, tmp_path, seed=14, users=40, items=150, chance_rounds=6, rounds=7), 6)


@pytest.mark.long
@pytest.mark.parametrize("seed", (21, 22, 23))
def test_score_beats_popularity_and_chance_on_clicks_and_revenue_for_long(make_node, binary, tmp_path, seed):
    arms = run(make_node, binary, tmp_path, seed=seed, users=200, items=600, chance_rounds=10, rounds=40, is_curve=True)
    check(arms, 10, os.environ.get("FRESHET_FIGURES") and f"{os.environ['FRESHET_FIGURES']}/ranker-{seed}.json")
