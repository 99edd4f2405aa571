"""
The same events, the same digest: on 1, 2 and 4 lanes, in their order or shuffled, with memory for all or too little, by a node, one that
is killed, or a replay of the topic or of a file. Each two of these meet in some run; --all runs every combination. (Sizes of
batches are no setting: tests/unit/aggregators/test_ways.c has them.)
"""

import itertools
import pathlib
import random

import pytest
import yaml

import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2
from node import wait_for
from test_replay import replay, write_jsonl

CATALOGUE = yaml.safe_load(pathlib.Path(__file__).with_name("every.yaml").read_text())
EVERY = set(
    "count sum mean min max decayed ratio distinct quantile last match gauge series covisit lists "
    "coec watch_rank ips burst capped actor".split()
)
EVENTS = 12_000
T0 = 1_700_000_040_000
DIMENSIONS = {
    "lanes": (1, 2, 4),
    "order": ("sent", "shuffled"),
    "memory": ("256MiB", "16MiB"),  # the least; the state takes about twice as much
    "way": ("node", "killed", "replay", "replay of a file"),
}
ACTIONS = [oracle.ACTIONS.index(name) for name in ("click", "watch", "like", "add_to_cart", "purchase", "impression", "follow")]


def some_events(seed):
    """Four hours of thousands of users and items, late by up to two more; one in twenty comes again."""
    dice = random.Random(seed)
    events = []
    for number in range(EVENTS):
        if events and dice.random() < 0.05:
            events.append(dice.choice(events[-2_000:]))
            continue
        late_ms = int(dice.expovariate(1 / dice.choice((1_000, 60_000, 2 * 3_600_000))))
        ts_ms = T0 + number * 14_400_000 // EVENTS - late_ms
        grain = dice.choice((1, 1, 1_000, 60_000))
        events.append(
            {
                "event_id": number + 1, "ts_ms": ts_ms // grain * grain, "action": dice.choice(ACTIONS),
                "user_id": dice.choice((0, *[dice.randint(1, 4_000)] * 9, *[dice.randint(1, 20)] * 5)),
                "item_id": dice.choice((0, *[dice.randint(1, 6_000)] * 9, *[dice.randint(1, 20)] * 5)),
                "category_id": dice.randint(0, 30), "creator_id": dice.randint(0, 9),
                "value": dice.randrange(4_000) / 40, "duration_s": dice.randrange(100) / 4,
            }
        )  # fmt: skip
    return events


def combinations(is_every):
    """All, or the fewest that a greedy choice finds so that each two values meet."""
    rest = list(itertools.product(*DIMENSIONS.values()))
    if is_every:
        return rest
    chosen, met = [], set()
    while True:
        best = max(rest, key=lambda one: len(pairs(one) - met))
        if not pairs(best) - met:
            return chosen
        chosen.append(best)
        met |= pairs(best)


def pairs(one):
    return set(itertools.combinations(enumerate(one), 2))


@pytest.fixture
def holders(make_node):
    """order → a node whose embedded broker holds the events in that order, and the same events."""
    events, held = some_events(3), {}
    for order in DIMENSIONS["order"]:
        configuration = settings.configuration("embedded", catalogue=CATALOGUE, dedupe={"ids": 1024, "horizon": "30d"})
        node = make_node(configuration, order).start()
        if order == "shuffled":
            events = random.Random(4).sample(events, len(events))
        messages = [event_pb2.Event(**event) for event in events]
        kafka.produce(
            node.brokers, "freshet.events", ((logs.key_of(one), sent.SerializeToString()) for one, sent in zip(events, messages))
        )
        node.wait_applied(EVENTS)
        held[order] = node, messages
    return held


def run_node(node):
    node.start()
    node.wait_applied(EVENTS)


def run_and_kill(node, dice):
    """Killed on its way, more than once; what no epoch had comes again."""
    for _ in range(3):
        node.start(is_ready=False)
        goal = dice.randrange(node.applied(), EVENTS)
        wait_for(lambda: node.applied() >= goal, lambda: f"{goal} records applied: {node.status()}")
        node.kill()
    run_node(node)


def evictions(node):
    lines = node.page("/metrics")[2].decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("freshet_state_evictions_total "))


def digest_of(make_node, holders, directory, number, lanes, order, memory, way):
    holder, messages = holders[order]
    configuration = {**holder.configuration, "node": {**holder.configuration["node"], "lanes": lanes}}
    configuration["kafka"] = {**configuration["kafka"], "brokers": holder.brokers}
    configuration["store"] = {"memory": memory, "epoch": "100ms"}
    node = make_node(configuration, f"run{number}")
    if way.startswith("replay"):
        source = ("--brokers", holder.brokers, "--topic", "freshet.events")
        if way == "replay of a file":
            file = directory / f"{order}.jsonl"
            if not file.exists():
                write_jsonl(file, messages)
            source = ("--events", file)
        done, told = replay(node, directory / f"replayed{number}", *source)
        assert done.returncode == 0, done.stderr
        return told["digest"]
    if way == "killed":
        run_and_kill(node, random.Random(number))
    else:
        run_node(node)
        wait_for(lambda: memory == "256MiB" or evictions(node) > 0, "entities leave memory")
        assert (evictions(node) > 0) == (memory != "256MiB")
    digest = node.digest()
    node.kill()
    return digest


def check(make_node, holders, directory, is_every):
    wanted = holders["sent"][0].digest()
    assert holders["shuffled"][0].digest() == wanted
    ran = combinations(is_every)
    for number, one in enumerate(ran):
        assert digest_of(make_node, holders, directory, number, *one) == wanted, dict(zip(DIMENSIONS, one))
    print(f"{len(ran)} ways, {EVENTS} events, {holders['sent'][0].status()['entities']} entities: {wanted}")


def test_whichever_way_they_come_the_digest_is_the_same(make_node, holders, tmp_path):
    check(make_node, holders, tmp_path, is_every=False)


@pytest.mark.long
def test_whichever_of_all_ways(make_node, holders, tmp_path):
    check(make_node, holders, tmp_path, is_every=True)


def test_one_event_that_differs_shows(make_node, holders, tmp_path):
    node, messages = holders["sent"]
    write_jsonl(tmp_path / "same.jsonl", messages)
    messages[0].value += 1
    write_jsonl(tmp_path / "other.jsonl", messages)
    same, other = (replay(node, tmp_path / name, "--events", tmp_path / f"{name}.jsonl")[1]["digest"] for name in ("same", "other"))
    assert same == node.digest() and other != same


def test_every_aggregate_is_in_it():
    kinds = {"match" if "match" in one else one["aggregate"] for one in CATALOGUE["features"].values()}
    assert kinds | {"lists"} & set(CATALOGUE) == EVERY
