"""The embedded broker: nothing is trimmed before it is applied, and a restart keeps the state."""

import gzip
import random

import compare
import kafka
import logs
import oracle
import settings
from node import run_cli

KEPT_BYTES = 5 << 20  # what the mock keeps of a partition, as compressed by the producer
TEXT_BYTES = 60  # that no producer can compress away


def slow_catalogue():
    """So many features that applying is slower than loading."""
    features = {}
    for number in range(400):
        features[f"slow_{number}"] = {
            "entity": ("item", "user")[number % 2], "where": f"value + {number} * duration_s >= {number}", "aggregate": "sum",
            "of": "value", "windows": ["1m", "5m", "1h", "24h", "7d"],
        }  # fmt: skip
    return {"entities": settings.TINY["entities"], "features": {**settings.TINY["features"], **features}}


def write_log(path, count):
    dice = random.Random(1)
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("user_id,item_id,ts_ms,action,value,event_id,text\n")
        for number in range(count):
            user, item = int(dice.paretovariate(0.4)) % 5_000 + 1, int(dice.paretovariate(0.4)) % 3_000 + 1
            text = dice.randbytes(TEXT_BYTES).hex()
            file.write(f"{user},{item},{1_700_000_000_000 + number * 20},watch,{dice.randint(0, 60)},{number + 1},{text}\n")


def status_of_partitions(node):
    return node.status()["partitions"]


def test_a_log_larger_than_the_broker_keeps_is_applied_whole(binary, make_node, tmp_path):
    count = 3 * KEPT_BYTES // TEXT_BYTES // 2
    write_log(tmp_path / "log.csv.gz", count)
    node = make_node(settings.configuration("embedded", partitions=1, catalogue=slow_catalogue(), lanes=1)).start()
    done = run_cli(
        binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", tmp_path / "log.csv.gz", timeout_s=300
    )
    assert done.returncode == 0, done.stderr
    node.wait_applied(count, deadline_s=300)
    low, high = kafka.watermarks(node.brokers, "freshet.events")[0]
    assert high == count and low > 0, "the log was to be larger than what the broker keeps"
    assert [int(partition["gapEvents"]) for partition in status_of_partitions(node)] == [0]
    outcomes = {one["outcome"]: int(one["events"]) for one in node.status()["outcomes"]}
    assert outcomes["applied"] == count


def test_a_consumer_slower_than_the_loader_loses_nothing(make_node, data):
    node = make_node(settings.configuration("embedded", format="json", catalogue=slow_catalogue(), lanes=1)).start()
    dice = random.Random(2)
    events = logs.shuffled(logs.read_events(logs.Taobao, data), seed=6)
    records = [(logs.key_of(event), logs.json_of(event, dice)) for event in events]
    kafka.produce(node.brokers, "freshet.events", records)
    behind = len(events) - node.applied()
    node.wait_applied(len(events))
    assert behind > 0, "the consumer was to be slower than the loader"
    assert {low for low, _ in kafka.watermarks(node.brokers, "freshet.events")} == {0}
    assert {int(partition["gapEvents"]) for partition in status_of_partitions(node)} == {0}


def test_a_restart_keeps_the_state_and_counts_on(make_node, data):
    events = logs.shuffled(logs.read_events(logs.Rees46, data), seed=7)
    dice = random.Random(3)
    node = make_node(settings.configuration("embedded", format="json"))
    made = oracle.Oracle(node.configuration)
    half = len(events) // 2
    for part, total in ((events[:half], half), (events[half:], len(events))):
        node.start()
        kafka.produce(node.brokers, "freshet.events", ((logs.key_of(event), logs.json_of(event, dice)) for event in part))
        for event in part:
            made.apply(event)
        node.wait_applied(total)
        compare.check_values(node, made, compare.questions(events[:total]))
        assert node.stop() == 0
