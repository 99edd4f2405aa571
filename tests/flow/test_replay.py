"""`freshet replay`: what comes out is what a node that consumed the same events has."""

import json
import random
import signal
import subprocess
import threading

import pytest
from confluent_kafka import Producer

import kafka
import settings
from freshet.v1 import event_pb2
from node import Node, run_cli, wait_for

T0 = 1_700_000_040_000
ACTIONS = (event_pb2.CLICK, event_pb2.WATCH, event_pb2.LIKE, event_pb2.PURCHASE, event_pb2.FOLLOW)


def some_events(count, seed=1, first=0):
    """Events of an hour and a half, one in twenty of them twice."""
    dice = random.Random(seed)
    events = []
    for number in range(first, first + count):
        if events and dice.random() < 0.05:
            events.append(events[-1 - dice.randrange(min(len(events), 5))])
            continue
        events.append(
            event_pb2.Event(
                event_id=number + 1, ts_ms=T0 + number * 500 + dice.randrange(3000), user_id=dice.randrange(1, 60),
                item_id=dice.randrange(1, 200), creator_id=dice.randrange(1, 20), category_id=dice.randrange(1, 6),
                action=dice.choice(ACTIONS), value=dice.randrange(100) / 4, duration_s=30,
            )
        )  # fmt: skip
    return events


def records(events):
    return [(str(event.user_id).encode(), event.SerializeToString()) for event in events]


def write_jsonl(path, events):
    with open(path, "w") as file:
        for event in events:
            row = {field.json_name: value for field, value in event.ListFields()}
            file.write(json.dumps({**row, "action": event_pb2.Action.Name(event.action)}) + "\n")


def answers(node):
    """What every user and item reads, of all features."""
    reply = node.get_features(user_id=7, item_ids=list(range(1, 200)))
    users = [node.get_features(user_id=user).user_values[:] for user in range(1, 60)]
    return list(reply.item_values), users, [list(one.fields[0].ids) for one in reply.sequences]


def replay(node, state, *arguments, **options):
    """Runs it with the node's configuration: the completed process, and what it told."""
    done = run_cli(node.binary, "replay", "--config", node.file, "--state", state, "--json", "--digest", *arguments, **options)
    return done, json.loads(done.stdout) if done.returncode == 0 else None


def on_state(make_node, configuration, state, name):
    configuration = json.loads(json.dumps(configuration))
    configuration["store"]["path"] = str(state)
    return make_node(configuration, name)


def test_a_file_gives_the_state_of_a_node_that_was_sent_it(binary, make_node, tmp_path):
    file, events = tmp_path / "log.jsonl", some_events(8000)
    write_jsonl(file, events)
    with open(file, "a") as out:
        out.write('{"userId": 1, "tsMs": "0", "itemId": 3, "action": "watch", "eventId": 900000}\n{"broken\n')  # bad_time, bad_json
    node = make_node(settings.configuration("embedded")).start()
    done = run_cli(binary, "produce", "--brokers", node.brokers, "--topic", "freshet.events", file)
    assert done.returncode == 0, done.stderr
    node.wait_applied(len(events) + 1)
    done, told = replay(node, tmp_path / "state", "--events", file)
    assert done.returncode == 0, done.stderr
    assert told["digest"] == node.digest()
    outcomes = {one["outcome"]: one["events"] for one in node.status()["outcomes"]}
    assert (told["applied"], told["duplicates"]) == (outcomes["applied"], outcomes["duplicate"])
    assert int(told["duplicates"]) > 100
    assert told["rejected"] == {"bad_time": "1"} and told["skipped"] == {"bad_json": "1"}
    assert int(told["records"]) == len(events) + 1

    again = on_state(make_node, node.configuration, tmp_path / "state", "again").start()
    assert again.applied() == len(events) + 1
    assert again.digest() == node.digest()
    assert answers(again) == answers(node)


@pytest.mark.parametrize("lanes", [1, 4])
def test_lanes_and_memory_do_not_show(make_node, tmp_path, lanes):
    file = tmp_path / "log.jsonl"
    write_jsonl(file, some_events(4000))
    node = make_node(settings.configuration("embedded"))
    _, two = replay(node, tmp_path / "two", "--events", file)
    done, other = replay(
        node, tmp_path / "other", "--events", file, "--set", f"node.lanes={lanes}", "--set", "store.memory=16MiB",
        "--set", "store.epoch=50ms",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert other["digest"] == two["digest"]


def test_until_passes_later_events_over(make_node, tmp_path):
    events = some_events(2000)
    until = T0 + 400_000
    write_jsonl(tmp_path / "all.jsonl", events)
    write_jsonl(tmp_path / "early.jsonl", [event for event in events if event.ts_ms <= until])
    node = make_node(settings.configuration("embedded"))
    _, told = replay(node, tmp_path / "a", "--events", tmp_path / "all.jsonl", "--until", until)
    _, early = replay(node, tmp_path / "b", "--events", tmp_path / "early.jsonl")
    assert told["digest"] == early["digest"] and told["applied"] == early["applied"]
    assert int(told["passedOver"]) == sum(event.ts_ms > until for event in events) > 0


def test_a_running_nodes_topic_gives_its_state(make_node, tmp_path):
    events = some_events(5000)
    node = make_node(settings.configuration("embedded")).start()
    kafka.produce(node.brokers, "freshet.events", records(events))
    node.wait_applied(len(events))
    done, told = replay(node, tmp_path / "state", "--brokers", node.brokers, "--topic", "freshet.events")
    assert done.returncode == 0, done.stderr
    assert told["digest"] == node.digest()
    ends = [high for _, high in kafka.watermarks(node.brokers, "freshet.events")]
    assert [int(one["offset"]) for one in sorted(told["offsets"], key=lambda one: one["partition"])] == ends


def produce_in_transaction(brokers, topic, some):
    """The topic then ends in control records, which no consumer is handed."""
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "transactional.id": f"{topic}-loader"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for key, value in records(some):
        producer.produce(topic, value, key)
    producer.commit_transaction(30)


def test_a_topic_of_a_real_broker_gives_the_state_of_a_node(make_node, real_kafka, tmp_path):
    topic, events = kafka.new_topic(real_kafka, partitions=4), some_events(6000)
    kafka.produce(real_kafka, topic, records(events[:5000]))
    produce_in_transaction(real_kafka, topic, events[5000:])
    node = make_node(settings.configuration(real_kafka, topic)).start()
    node.wait_applied(len(events))
    done, told = replay(node, tmp_path / "state")
    assert done.returncode == 0, done.stderr
    assert told["digest"] == node.digest() and int(told["records"]) == len(events)
    again = on_state(make_node, node.configuration, tmp_path / "state", "again").start()
    assert again.applied() == len(events) and answers(again) == answers(node)


def test_from_and_to_are_offsets_of_each_partition(make_node, real_kafka, tmp_path):
    topic = kafka.new_topic(real_kafka, partitions=2)
    kafka.produce(real_kafka, topic, records(some_events(1000)))
    node = make_node(settings.configuration(real_kafka, topic))
    by_partition = {0: [], 1: []}
    for message in kafka.consume_all(real_kafka, topic):
        by_partition[message.partition()].append(message.value())
    done, told = replay(node, tmp_path / "a", "--from", 100, "--to", 300)
    assert done.returncode == 0, done.stderr
    assert int(told["records"]) == 400
    assert {(one["partition"], one["offset"]) for one in told["offsets"]} == {(0, "300"), (1, "300")}
    part = [event_pb2.Event.FromString(value) for number in (0, 1) for value in by_partition[number][100:300]]
    write_jsonl(tmp_path / "part.jsonl", part)
    assert replay(node, tmp_path / "b", "--events", tmp_path / "part.jsonl")[1]["digest"] == told["digest"]
    _, beyond = replay(node, tmp_path / "c", "--from", 100_000)
    assert int(beyond["records"]) == 0


def test_then_live_goes_on_where_the_replay_ended(make_node, real_kafka, tmp_path):
    topic, events = kafka.new_topic(real_kafka, partitions=4), some_events(9000)
    kafka.produce(real_kafka, topic, records(events[:4000]))

    def load():  # while it replays, and goes live
        for at in range(4000, 8000, 100):
            kafka.produce(real_kafka, topic, records(events[at : at + 100]))

    loader = threading.Thread(target=load)
    node = make_node(settings.configuration(real_kafka, topic), "live")
    node.command = ("replay", "--state", str(tmp_path / "state"), "--then-live")
    loader.start()
    node.start()
    loader.join()
    kafka.produce(real_kafka, topic, records(events[8000:]))
    node.wait_applied(len(events))
    undisturbed = make_node(settings.configuration(real_kafka, topic), "undisturbed").start()
    undisturbed.wait_applied(len(events))
    assert node.digest() == undisturbed.digest() and answers(node) == answers(undisturbed)
    assert "replayed" in node.log()
    assert node.stop() == 0
    node.command, node.configuration["store"]["path"] = ("run",), str(tmp_path / "state")
    node.start("store.path=" + str(tmp_path / "state"))
    node.wait_applied(len(events))
    assert node.digest() == undisturbed.digest()


def test_a_file_then_live(make_node, tmp_path):
    events = some_events(3000)
    write_jsonl(tmp_path / "log.jsonl", events[:2000])
    node = make_node(settings.configuration("embedded"))
    node.command = ("replay", "--state", str(tmp_path / "state"), "--events", str(tmp_path / "log.jsonl"), "--then-live")
    node.start()
    kafka.produce(node.brokers, "freshet.events", records(events[2000:]))
    node.wait_applied(len(events))
    write_jsonl(tmp_path / "all.jsonl", events)
    assert node.digest() == replay(node, tmp_path / "other", "--events", tmp_path / "all.jsonl")[1]["digest"]


def test_only_an_empty_directory_is_taken(make_node, tmp_path):
    write_jsonl(tmp_path / "log.jsonl", some_events(10))
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "mine").write_text("kept")
    node = make_node(settings.configuration("embedded"))
    done, _ = replay(node, tmp_path / "state", "--events", tmp_path / "log.jsonl")
    assert done.returncode == 1 and "not empty" in done.stderr
    assert [one.name for one in (tmp_path / "state").iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_replay_that_did_not_end_is_no_state(binary, make_node, tmp_path, number):
    node = make_node(settings.configuration("embedded"))
    state = tmp_path / "state"
    process = subprocess.Popen(
        [binary, "replay", "--config", node.file, "--state", state, "--events", "-", "--format", "jsonl"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        write_jsonl(tmp_path / "log.jsonl", some_events(5000))
        process.stdin.write((tmp_path / "log.jsonl").read_bytes())
        process.stdin.flush()  # it never ends
        check = ("check", "--config", node.file, "--against", state, "--json")

        def has_entities():
            done = run_cli(binary, *check)
            return done.returncode == 0 and int(json.loads(done.stdout)["entitiesOnDisk"]) > 0

        wait_for(has_entities, "an epoch with entities")
        process.send_signal(number)
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.communicate()
    stopped = Node(binary, {**node.configuration, "store": {"path": str(state)}}, tmp_path, "stopped").spawn()
    assert stopped.ended() == 1
    assert "did not come to its end" in stopped.log()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--events", "x.jsonl", "--topic", "t"), "--topic"),
        (("--from", "soon"), "--from"),
        (("--from", 5, "--to", 3), "--to"),
        (("--until", 5, "--then-live"), "--until"),
        (("--map", "a=b"), "--events"),
        (("--topic", "other", "--then-live", "--brokers", "127.0.0.1:1"), "other"),
    ],
)
def test_what_makes_no_sense_is_usage(make_node, tmp_path, arguments, word):
    done, _ = replay(make_node(settings.configuration("embedded")), tmp_path / "state", *arguments)
    assert done.returncode == 2 and word in done.stderr
    assert not (tmp_path / "state").exists()


def test_an_embedded_broker_has_no_past(make_node, tmp_path):
    done, _ = replay(make_node(settings.configuration("embedded")), tmp_path / "state")
    assert done.returncode == 1 and "embedded" in done.stderr


def test_a_missing_topic_ends_it(make_node, real_kafka, tmp_path):
    node = make_node(settings.configuration(real_kafka, "there-is-no-such-topic", partitions=4))
    done, _ = replay(node, tmp_path / "state")
    assert done.returncode == 1 and "there-is-no-such-topic" in done.stderr


def test_progress_is_for_terminals_only(make_node, tmp_path):
    write_jsonl(tmp_path / "log.jsonl", some_events(3000))
    node = make_node(settings.configuration("embedded"))
    done = run_cli(node.binary, "replay", "--config", node.file, "--state", tmp_path / "s", "--events", tmp_path / "log.jsonl")
    assert done.returncode == 0 and "\r" not in done.stderr
    assert "replayed 3,000 records" in done.stdout
