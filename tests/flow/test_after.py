"""Reads that follow a write: with the offset that a delivery report gave, the reply contains the event, or says why not in time."""

import concurrent.futures
import json
import re
import time

import grpc
import pytest
from confluent_kafka import Producer

import kafka
import node as node_module
import settings
from freshet.v1 import event_pb2, feature_pb2

ROUNDS = 200
DEADLINE_S = 5
TOPIC = "freshet.events"
GET_FEATURES = "/freshet.v1.FeatureService/GetFeatures"


class Writer:
    """Produces one event after the other; gives the offset of each as its delivery report has it."""

    def __init__(self, brokers, topic=TOPIC):
        self.topic, self.reported = topic, None
        self.producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random", "linger.ms": 0})

    def write(self, user_id, item_id):
        event = event_pb2.Event(ts_ms=time.time_ns() // 1_000_000, user_id=user_id, item_id=item_id, action=event_pb2.WATCH)
        self.producer.produce(self.topic, event.SerializeToString(), str(user_id).encode(), on_delivery=self.on_delivery)
        assert self.producer.flush(30) == 0
        return self.reported

    def on_delivery(self, error, message):
        assert not error, error
        self.reported = feature_pb2.Offset(topic=message.topic(), partition=message.partition(), offset=message.offset())


def by_grpc(node):
    channel = grpc.insecure_channel(node.api)
    call = channel.unary_unary(
        GET_FEATURES,
        request_serializer=feature_pb2.GetFeaturesRequest.SerializeToString,
        response_deserializer=feature_pb2.GetFeaturesResponse.FromString,
    )
    return lambda after, item_id: list(
        call(
            feature_pb2.GetFeaturesRequest(item_ids=[item_id], features=["item_watches.1h"], after=after), timeout=DEADLINE_S
        ).item_values
    )


def json_of(after, item_id):
    offsets = [{"topic": one.topic, "partition": one.partition, "offset": str(one.offset)} for one in after]
    return {"itemIds": [str(item_id)], "features": ["item_watches.1h"], "after": offsets}


def waiting_calls(node):
    found = re.findall(r"^freshet_calls_waiting\{\S+\} (\S+)$", node.page("/metrics")[2].decode(), re.MULTILINE)
    return sum(float(one) for one in found)


def post(node, message, timeout_ms):
    headers = {"Content-Type": "application/json"}
    if timeout_ms:
        headers["Connect-Timeout-Ms"] = str(timeout_ms)
    status, _, body = node_module.request(node.api, "POST", GET_FEATURES, json.dumps(message), headers)
    return status, json.loads(body)


def by_json(node):
    def get(after, item_id):
        status, reply = post(node, json_of(after, item_id), DEADLINE_S * 1000)
        assert status == 200, reply
        return reply["itemValues"]

    return get


@pytest.mark.parametrize("where", ["embedded", "kafka"])
def test_a_read_after_its_own_write_contains_it(make_node, request, where):
    brokers = "embedded" if where == "embedded" else request.getfixturevalue("real_kafka")
    topic = TOPIC if where == "embedded" else kafka.new_topic(brokers, 4)
    node = make_node(settings.configuration(brokers, topic, catalogue=settings.TINY, clock="wall")).start()
    writer, ways = Writer(node.brokers, topic), [by_grpc(node), by_json(node)]
    for number in range(2 * ROUNDS):
        after = [writer.write(number % 7 + 1, 1)]
        assert ways[number % 2](after, 1) == [number + 1]


def test_all_that_is_named_is_waited_for_and_calls_that_wait_hold_nothing_up(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY, clock="wall"))
    node.start("server.loops=1")
    channel = grpc.insecure_channel(node.api)
    call = channel.unary_unary(
        GET_FEATURES,
        request_serializer=feature_pb2.GetFeaturesRequest.SerializeToString,
        response_deserializer=feature_pb2.GetFeaturesResponse.FromString,
    )
    ends = [feature_pb2.Offset(topic=TOPIC, partition=number, offset=0) for number in range(8)]
    waiting = [
        call.future(feature_pb2.GetFeaturesRequest(item_ids=[1], features=["item_watches.1h"], after=ends), timeout=60)
        for _ in range(100)
    ]
    node_module.wait_for(lambda: waiting_calls(node) == 100, lambda: f"100 calls wait: {waiting_calls(node)}")
    for _ in range(20):
        began = time.monotonic()
        node.get_features(item_ids=[1], features=["item_watches.1h"])
        assert time.monotonic() - began < 1
    users = {}
    for user_id in range(1, 1000):
        users.setdefault(kafka.murmur2_partition(str(user_id).encode(), 8), user_id)
    writer = Writer(node.brokers)
    for number, user_id in enumerate(users.values()):
        assert not any(one.done() for one in waiting), number
        writer.write(user_id, 1)
    assert [list(one.result().item_values) for one in waiting] == [[8]] * 100
    node_module.wait_for(lambda: waiting_calls(node) == 0, "nobody waits any more")


def waiting_calls(node):
    _, _, body = node.page("/metrics")
    return sum(float(value) for value in re.findall(r"^freshet_calls_waiting\{.*\} (\S+)$", body.decode(), re.MULTILINE))


def test_a_deadline_that_passes_says_what_was_waited_for_and_where_applying_stands(make_node):
    node = make_node(settings.configuration("embedded", partitions=1, catalogue=settings.TINY)).start()
    writer = Writer(node.brokers)
    after = writer.write(1, 1)
    node.wait_applied(1)
    after.offset += 4
    began = time.monotonic()
    status, reply = post(node, json_of([after], 1), 300)
    assert 0.3 <= time.monotonic() - began < 5
    assert (status, reply["code"]) == (504, "deadline_exceeded")
    assert "after[0]: offset 4 of freshet.events/0" in reply["message"] and "all before 1" in reply["message"]
    with grpc.insecure_channel(node.api) as channel:
        call = channel.unary_unary(GET_FEATURES)
        with pytest.raises(grpc.RpcError) as late:
            call(feature_pb2.GetFeaturesRequest(after=[after]).SerializeToString(), timeout=0.2)
    assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_what_else_is_wrong_is_told_before_the_wait(make_node):
    node = make_node(settings.configuration("embedded", partitions=1, catalogue=settings.TINY)).start()
    never = [feature_pb2.Offset(topic=TOPIC, offset=1000)]
    for wrong in ({"features": ["item_watch"]}, {"item_ids": [1] * 2001}, {"feature_set": "smal"}):
        with pytest.raises(node_module.CallError) as refused:
            node.get_features(after=never, **wrong)
        assert refused.value.code == "invalid_argument"


@pytest.mark.long
def test_a_call_without_a_deadline_waits_ten_seconds_and_no_more_than_allowed_wait(make_node):
    configuration = settings.configuration("embedded", partitions=1, catalogue=settings.TINY)
    configuration["server"] = {"limits": {"early_calls": 2}}
    node = make_node(configuration).start()
    never = json_of([feature_pb2.Offset(topic=TOPIC)], 1)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(post, node, never, None) for _ in range(2)]
        node_module.wait_for(lambda: waiting_calls(node) == 2, "two calls wait")
        status, reply = post(node, never, None)
        assert (status, reply["code"]) == (429, "resource_exhausted") and reply["message"].startswith("2 calls wait already")
        for one in waiting:
            status, reply = one.result()
            assert (status, reply["code"]) == (504, "deadline_exceeded") and 9.9 < time.monotonic() - began < 15
    assert waiting_calls(node) == 0


def test_a_node_that_has_no_partitions_yet_waits_for_them(make_node):
    node = make_node(settings.configuration("127.0.0.1:9", catalogue=settings.TINY)).start(is_ready=False)
    status, reply = post(node, json_of([feature_pb2.Offset(topic="whatever", offset=3)], 1), 200)
    assert (status, reply["code"]) == (504, "deadline_exceeded")
    assert "offset 3 of whatever/0" in reply["message"] and "no broker answers" in reply["message"]


def test_the_command_waits_too(make_node):
    node = make_node(settings.configuration("embedded", partitions=2, catalogue=settings.TINY)).start()
    writer = Writer(node.brokers)
    one, other = writer.write(1, 5), writer.write(2, 5)
    after = ",".join(f"{at.topic}:{at.partition}:{at.offset}" for at in (one, other))
    done = node.cli("get", "--items", "5", "--features", "item_watches.1h", "--after", after, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["itemValues"] == [2], done.stderr
    for wrong in ("freshet.events", "freshet.events:0", "freshet.events:0:x", ":0:1", "freshet.events:-1:0"):
        done = node.cli("get", "--items", "5", "--after", wrong)
        assert done.returncode == 1 and f"--after: '{wrong}'" in done.stderr and "topic:partition:offset" in done.stderr
    done = node.cli("get", "--items", "5", "--after", "freshet.event:0:0")
    assert done.returncode == 1 and "did you mean 'freshet.events'?" in done.stderr
