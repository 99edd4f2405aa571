"""What topics do in real life: transactions, retention, several topics, new partitions, a broker that goes away."""

import contextlib
import random
import subprocess
import sys
import time

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2
from node import wait_for

T0 = 1_700_000_040_000


def event(number, **fields):
    return event_pb2.Event(
        **{
            "event_id": number + 1,
            "ts_ms": T0 + number,
            "action": event_pb2.WATCH,
            "user_id": 1,
            "item_id": 2,
            "value": 1.0,
            **fields,
        }
    ).SerializeToString()


def watches(node):
    return node.get_features(item_ids=[2], features=["item_watches.1h"]).item_values[0]


def test_control_records_and_aborted_events_leave_no_lag(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    producer = Producer({"bootstrap.servers": real_kafka, "transactional.id": topic})
    producer.init_transactions(30)
    number = 0
    for is_committed in (True, False, True, False):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(topic, event(number), b"1")
            number += 1
        producer.flush(30)
        (producer.commit_transaction if is_committed else producer.abort_transaction)(30)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    wait_for(lambda: watches(node) == 20 and node.status()["lagEvents"] == "0", lambda: node.status())
    assert node.applied() == 20
    node.stop()
    node.start()
    wait_for(lambda: node.status()["lagEvents"] == "0", lambda: node.status())
    assert (watches(node), node.applied()) == (20, 20)


def test_what_retention_took_is_counted_as_a_gap(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    admin = AdminClient({"bootstrap.servers": real_kafka})
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(100)))
    node.wait_applied(100)
    node.stop()
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(100, 200)))
    for deleted in admin.delete_records([TopicPartition(topic, 0, 150)]).values():
        deleted.result(30)
    node.start()
    node.wait_applied(150)
    status = node.status()
    assert (status["partitions"][0]["gapEvents"], status["partitions"][0]["nextOffset"], status["lagEvents"]) == (
        "50",
        "200",
        "0",
    )
    assert watches(node) == 150


def test_a_topic_made_anew_while_the_node_was_down_is_refused_or_adopted(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(20)))
    node.wait_applied(20)
    assert node.stop() == 0
    node.start()  # the same topic is no other
    assert node.stop() == 0
    kafka.remake(real_kafka, topic)
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(100, 130)))  # its offset 20 is there again
    node.spawn()
    assert node.ended() == 1
    assert "made anew" in node.log() and "kafka.recreated" in node.log() and topic in node.log()
    node.start("kafka.recreated=adopt")
    node.wait_applied(50)
    assert watches(node) == 50
    assert "freshet_ingest_recreated_total 1" in node.page("/metrics")[2].decode()
    assert node.stop() == 0
    node.start()
    assert (watches(node), node.applied()) == (50, 50)


def notices(node):
    """Waits until it misses the topic."""
    wait_for(lambda: "is gone from" in node.log(), lambda: f"the topic is missed: {node.log()}")


@pytest.mark.parametrize("count", [5, 30])
def test_a_topic_made_anew_under_a_running_node_is_refused(make_node, real_kafka, count):
    topic = kafka.new_topic(real_kafka, partitions=1)
    node = make_node(settings.configuration(real_kafka, topic, catalogue=settings.TINY)).start()
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(20)))
    node.wait_applied(20)
    # One that ends before the old offset shows by that; the other has a record there, and its time away is what shows.
    kafka.remake(real_kafka, topic, between=(lambda: notices(node)) if count > 20 else lambda: None)
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(100, 100 + count)))
    assert node.ended(30) == 1
    assert "made anew" in node.log() and topic in node.log()


@pytest.mark.parametrize(("start", "count"), [("earliest", 15), ("latest", 5)])
def test_where_an_unknown_partition_begins(make_node, real_kafka, start, count):
    topic = kafka.new_topic(real_kafka, partitions=1)
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(10)))
    configuration = settings.configuration(real_kafka, topic, catalogue=settings.TINY)
    configuration["kafka"]["start"] = start
    node = make_node(configuration).start()
    kafka.produce(real_kafka, topic, ((b"1", event(number)) for number in range(10, 15)))
    wait_for(lambda: watches(node) == count, lambda: node.status())
    node.stop()
    node.start()
    node.wait_applied(count)  # known by now: it goes on from its offset


def test_an_unknown_partition_can_be_refused(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    configuration = settings.configuration(real_kafka, topic, catalogue=settings.TINY)
    configuration["kafka"]["start"] = "fail"
    node = make_node(configuration).spawn()
    assert node.ended() == 1
    assert topic in node.log() and "kafka.start" in node.log()


def test_topics_of_both_formats_feed_one_state(make_node, data):
    configuration = settings.configuration("embedded")
    configuration["kafka"]["topics"] = [
        {"name": "wire", "format": "protobuf", "partitions": 3},
        {"name": "text", "format": "json", "partitions": 2},
    ]
    node = make_node(configuration).start()
    events = logs.read_events(logs.Rees46, data)
    dice = random.Random(1)
    made = oracle.Oracle(node.configuration)
    for one in events:
        made.apply(one)
    as_text = [dice.random() < 0.5 for _ in events]
    kafka.produce(
        node.brokers,
        "wire",
        [(logs.key_of(one), event_pb2.Event(**one).SerializeToString()) for one, text in zip(events, as_text) if not text],
    )
    kafka.produce(
        node.brokers, "text", [(logs.key_of(one), logs.json_of(one, dice)) for one, text in zip(events, as_text) if text]
    )
    node.wait_applied(len(events))
    assert {(one["topic"], one["partition"]) for one in node.status()["partitions"]} == {
        *(("wire", number) for number in range(3)),
        *(("text", number) for number in range(2)),
    }
    compare.check_values(node, made, compare.questions(events), (0,))


def test_a_new_partition_is_found_and_read_from_its_first_offset(make_node, real_kafka):
    topic = kafka.new_topic(real_kafka, partitions=1)
    configuration = settings.configuration(real_kafka, topic, catalogue=settings.TINY)
    configuration["kafka"]["properties"] = {"topic.metadata.refresh.interval.ms": 500}  # documented: 10 s
    configuration["kafka"]["start"] = "latest"  # which is for what was there at the start
    node = make_node(configuration).start()
    admin = AdminClient({"bootstrap.servers": real_kafka})
    for made in admin.create_partitions([NewPartitions(topic, 3)]).values():
        made.result(30)
    wait_for(lambda: len(kafka.watermarks(real_kafka, topic)) == 3, "three partitions")
    kafka.produce(real_kafka, topic, ((str(number).encode(), event(number, user_id=number + 1)) for number in range(50)))
    node.wait_applied(50)
    assert len(node.status()["partitions"]) == 3


BROKER = """
import sys
from confluent_kafka import Producer
holder = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "ignored", "log_level": 0})
holder.produce(sys.argv[1], b"", partition=0)
holder.flush(30)
broker = next(iter(holder.list_topics(timeout=30).brokers.values()))
print(f"{broker.host}:{broker.port}", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def mortal_broker(topic):
    """A broker in a process of its own: (address, process)."""
    process = subprocess.Popen([sys.executable, "-c", BROKER, topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_lost_broker_shows_as_staleness_and_the_node_keeps_serving(make_node):
    with mortal_broker("events") as (brokers, broker):
        node = make_node(settings.configuration(brokers, "events", catalogue=settings.TINY)).start()
        kafka.produce(brokers, "events", [(b"1", event(0))])
        wait_for(lambda: watches(node) == 1, lambda: node.status())
        assert node.status()["staleMs"] == "0"
        broker.kill()
        wait_for(lambda: int(node.status()["staleMs"]) > 1_000, lambda: node.status())
        before, at = int(node.status()["staleMs"]), time.monotonic()
        wait_for(lambda: int(node.status()["staleMs"]) >= before + 1_000, lambda: node.status())
        assert time.monotonic() - at > 0.5
        assert watches(node) == 1
        assert node.is_ready() and node.page("/healthz")[0] == 200
        assert node.stop(10) == 0
