"""Diversity and fatigue on the simulated world: what a user was shown and took by creator, category and tag, how his sequence is spread, what he
saw lately."""

import collections
import math
import pathlib

import pytest
import yaml

import world
from event import ACTIONS
from freshet.v1 import recall_pb2
from number import float32, float32_beside

FATIGUE = yaml.safe_load((pathlib.Path(__file__).parents[2] / "examples/catalogues/fatigue.yaml").read_text())
TAKEN = [ACTIONS.index(action) for action in ("click", "watch", "like", "purchase")]
IMPRESSION, CLICK, WATCH, PURCHASE = (ACTIONS.index(action) for action in ("impression", "click", "watch", "purchase"))
USERS, KEPT, SEEN = 30, 100, 500


@pytest.fixture(scope="module")
def simulated(binary, tmp_path_factory):
    return world.World(binary, tmp_path_factory.mktemp("world"), rate=8, seconds=400, seed=5, items=150, users=USERS)


@pytest.fixture(scope="module")
def node(simulated, module_node):
    return simulated.run(module_node, FATIGUE)


def of_user(simulated, user, actions):
    """In the order of time."""
    found = [event for event in simulated.events if event.user_id == user and event.action in actions]
    return sorted(found, key=lambda event: (event.ts_ms, event.event_id))


def recent(simulated, user, field):
    """The values of the field in the user's sequence."""
    return [value for value in (getattr(event, field) for event in of_user(simulated, user, TAKEN)[-KEPT:]) if value]


def entropy(values):
    counts = collections.Counter(values)
    return sum(counts[value] / len(values) * math.log2(len(values) / counts[value]) for value in sorted(counts))


def top(values, limit):
    counts = collections.Counter(values)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def seen(simulated, user, within_s):
    shown = of_user(simulated, user, [IMPRESSION])[-SEEN:]
    return {event.item_id for event in shown if within_s == 0 or simulated.time_ms - event.ts_ms < within_s * 1000}


def test_a_sequence_is_spread_as_its_records_are(node, simulated):
    spread = set()
    for user in range(1, USERS + 2):  # of the last one nobody heard
        reply = node.get_features(user_id=user, features=["category_entropy", "creator_entropy", "category_top"])
        for value, field in zip(reply.user_values, ("category_id", "creator_id")):
            right = float32(entropy(recent(simulated, user, field)))
            assert value in (right, float32_beside(right, -1), float32_beside(right, 1)), (user, field)
            spread.add(value)
        (sequence,) = reply.sequences
        assert [field.name for field in sequence.fields] == ["category_id", "count"]
        wanted = top(recent(simulated, user, "category_id"), 5)
        assert list(zip(sequence.fields[0].ids, sequence.fields[1].ints)) == wanted
    assert len(spread) > USERS / 2  # the others did nothing, or one thing


def test_what_was_shown_and_taken_is_counted_by_creator_category_and_tag(node, simulated):
    names = ["creator_shown.1h", "creator_taken.24h", "category_shown.24h", "category_taken.1h", "tag_shown.1h", "tag_taken.24h"]
    greatest = collections.Counter()
    for user in range(1, USERS + 1):
        counts = collections.Counter()
        for actions, what in (([IMPRESSION], "shown"), (TAKEN, "taken")):
            for event in of_user(simulated, user, actions):
                tags = simulated.items[event.item_id]["tags"] if event.item_id in simulated.items else ()
                counts.update([(what, "creator", event.creator_id), (what, "category", event.category_id)])
                counts.update((what, tag) for tag in tags)
        items = sorted({event.item_id for event in of_user(simulated, user, [IMPRESSION, *TAKEN])} - {0})
        reply = node.get_features(user_id=user, item_ids=items, features=names)
        for row, item in enumerate(items):
            told = simulated.items[item]
            creator, category = ("creator", int(told["creatorId"])), ("category", int(told["categoryId"]))
            wanted = [counts[what, *of] for of in (creator, category) for what in ("shown", "taken")]
            wanted += [max((counts[what, tag] for tag in told["tags"]), default=0) for what in ("shown", "taken")]
            assert list(reply.item_values[row * len(names) : (row + 1) * len(names)]) == wanted, (user, item)
            greatest.update({name: value > 1 for name, value in zip(names, wanted)})
    assert all(greatest[name] > 10 for name in names)


def test_what_was_seen_a_while_ago_may_come_again(node, simulated):
    def ask(**asked):
        return set(node.call("RecallService/Trending", recall_pb2.TrendingRequest(list="hot", **asked), recall_pb2.Candidates).ids)

    hot, sizes = ask(), set()
    taken = {event.item_id for event in simulated.events if event.action in (CLICK, WATCH, PURCHASE)}
    assert len(hot) > 40 and hot <= taken and all(simulated.items[item]["stock"] > 0 for item in hot)
    users = sorted(range(1, USERS + 1), key=lambda user: -len(seen(simulated, user, 0) & hot))[:3]
    for user in users:
        for within_s in (0, 1, 30, 200, 4_000_000_000):
            assert ask(exclude_seen_by=user, seen_within_s=within_s) == hot - seen(simulated, user, within_s), (user, within_s)
            sizes.add(len(hot - seen(simulated, user, within_s)))
    assert len(sizes) > 3  # the bound shows
