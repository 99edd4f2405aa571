"""`freshet skew`: what was served is what a replay to the same offsets gives, bit by bit, and a value that is not is found."""

import json
import random
import time

import pytest

import kafka
import settings
from freshet.v1 import event_pb2, model_pb2
from node import run_cli, wait_for

ITEMS = list(range(1, 60))
ACTIONS = [number for number in event_pb2.Action.values() if number]


def some_events(first, count, t0):
    dice = random.Random(first)
    return [
        event_pb2.Event(
            event_id=number + 1, ts_ms=t0 + number * 3 + dice.randrange(3000), user_id=dice.randrange(1, 30),
            item_id=dice.randrange(1, 60), creator_id=dice.randrange(1, 9), room_id=dice.randrange(1, 5),
            category_id=dice.randrange(1, 6), action=dice.choice(ACTIONS), value=dice.randrange(100) / 4, duration_s=30,
        )
        for number in range(first, first + count)
    ]  # fmt: skip


def every_set(clock):
    catalogue = settings.every_kind()
    whole = {"user": [], "item": [], "cross": []}
    for name, feature in catalogue["features"].items():
        key = catalogue["entities"][feature["entity"]]["key"]
        whole["user" if key == ["user_id"] and "match" not in feature else "cross" if "user_id" in key or "match" in feature else "item"].append(name)
    catalogue["feature_sets"] = {"whole": whole}
    return settings.configuration("embedded", catalogue=catalogue, clock=clock)


def served(node):
    """The served records that say what was in them."""
    rows = [model_pb2.Served.FromString(one.value()) for one in kafka.consume_all(node.brokers, "freshet.served")]
    return [one for one in rows if one.applied]


def skew(node, state, *arguments):
    done = run_cli(
        node.binary, "skew", "--config", node.file, "--brokers", node.brokers, "--state", state, "--json", *arguments
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def figures_of(textfile):
    """What Prometheus would read there, by name."""
    lines = [line.split() for line in textfile.read_text().splitlines() if not line.startswith("#")]
    assert all(name.startswith("freshet_skew_") for name, _ in lines)
    return {name.removeprefix("freshet_skew_"): float(value) for name, value in lines}


@pytest.mark.parametrize("clock", ["event", "wall"])
def test_what_was_served_is_what_a_replay_gives(make_node, tmp_path, clock):
    node = make_node(every_set(clock)).start()
    t0 = int(time.time() * 1000) - 60_000
    dice = random.Random(7)
    for part in range(6):
        events = some_events(2000 * part, 2000, t0)
        kafka.produce(node.brokers, "freshet.events", [(b"%d" % one.user_id, one.SerializeToString()) for one in events])
        quiet = None
        while quiet is None or time.monotonic() < quiet + 0.6:  # while batches come, and once when none does
            node.get_features(
                user_id=dice.randrange(1, 30), item_ids=dice.sample(ITEMS, 20), room_id=dice.randrange(5), feature_set="whole",
                log=True,
            )  # fmt: skip
            if quiet is None and node.applied() == 2000 * (part + 1):
                quiet = time.monotonic()
            time.sleep(0.005)  # no condition: the embedded broker keeps the latest megabytes, and all of it is to be there at the end
    wait_for(lambda: len(served(node)) >= 5, "records that say what was in them")
    textfile = tmp_path / "skew.prom"
    code, told = skew(node, tmp_path / "state", "--samples", 100, "--textfile", textfile)
    assert code == 0, told
    assert told["compared"] == told["samples"] >= 5 and told["different"] == "0"
    assert int(told["values"]) > 5 * 20 * 50
    figures = figures_of(textfile)
    assert (figures["samples"], figures["values"], figures["values_differing"]) == (told["compared"], int(told["values"]), 0)
    assert abs(figures["time_seconds"] - time.time()) < 60
    tampered = served(node)[-1]
    tampered.item_values[17] += 1
    kafka.produce(node.brokers, "freshet.served", [(b"1", tampered.SerializeToString())])
    code, told = skew(node, tmp_path / "again", "--samples", 100, "--textfile", textfile)
    assert code == 1 and told["different"] == "1"
    assert told["differences"][0]["requestId"] == str(tampered.request_id)
    assert figures_of(textfile)["values_differing"] == 1 and [one.name for one in tmp_path.glob("skew*")] == ["skew.prom"]
    assert told["differences"][0]["served"] == pytest.approx(told["differences"][0]["replayed"] + 1)


def test_without_such_records_it_says_so(make_node, tmp_path):
    node = make_node(every_set("event")).start()
    row = model_pb2.Served(request_id=1, user_id=1, served_ms=1, item_ids=[1])
    kafka.produce(node.brokers, "freshet.served", [(b"1", row.SerializeToString())])
    code, told = skew(node, tmp_path / "state")
    assert code == 1 and "no record of 'freshet.served' says what was in it" in told
