"""The two ports: JSON beside protobuf, every field printed, Describe, /status beside Status, metrics, health."""

import json
import re

import pytest
from google.protobuf import json_format

import kafka
import settings
from freshet.v1 import admin_pb2, event_pb2, feature_pb2
from node import request, wait_for

T0 = 1_700_000_040_000
LARGE_ID = 18_446_744_073_709_551_557


@pytest.fixture
def node(make_node):
    """A node with a few events, idle."""
    node = make_node(settings.configuration("embedded")).start()
    events = [
        event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number, user_id=LARGE_ID, item_id=number % 3 + 1, creator_id=7, category_id=5,
            room_id=9, action=event_pb2.Action.Value(("WATCH", "LIKE", "PURCHASE", "CLICK")[number % 4]), value=number + 0.25,
            duration_s=30,
        )
        for number in range(20)
    ]  # fmt: skip
    kafka.produce(node.brokers, "freshet.events", [(str(LARGE_ID).encode(), event.SerializeToString()) for event in events])
    node.wait_applied(len(events))
    return node


def camel(field):
    return field.json_name


def is_list(field):
    return getattr(field, "is_repeated", None) if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def check_every_field(descriptor, printed):
    """Every field of the message and nothing else; 64-bit integers as strings."""
    assert set(printed) == {camel(field) for field in descriptor.fields}, descriptor.name
    for field in descriptor.fields:
        value = printed[camel(field)]
        for one in value if is_list(field) else [value]:
            if field.message_type:
                check_every_field(field.message_type, one)
            elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
                assert isinstance(one, str) and re.fullmatch(r"0|-?[1-9][0-9]*", one), (field.name, one)
            elif field.cpp_type == field.CPPTYPE_BOOL:
                assert isinstance(one, bool)
            elif field.cpp_type != field.CPPTYPE_STRING:
                assert isinstance(one, (int, float)), (field.name, one)


FULL = {
    "userId": str(LARGE_ID),
    "itemIds": [1, "2", 3, 99],
    "features": ["user_recent", "item_watch_time", "item.creator_id", "item.category_id"],
}


@pytest.mark.parametrize(
    ("method", "question", "request_type", "response_type"),
    [
        ("FeatureService/GetFeatures", FULL, feature_pb2.GetFeaturesRequest, feature_pb2.GetFeaturesResponse),
        ("FeatureService/GetFeatures", {}, feature_pb2.GetFeaturesRequest, feature_pb2.GetFeaturesResponse),
        ("FeatureService/Describe", {}, feature_pb2.DescribeRequest, feature_pb2.DescribeResponse),
        ("AdminService/Digest", {}, admin_pb2.DigestRequest, admin_pb2.DigestResponse),
    ],
)
def test_json_and_protobuf_say_the_same(node, method, question, request_type, response_type):
    printed = node.call_json(method, question)
    check_every_field(response_type.DESCRIPTOR, printed)
    answer = node.call(method, json_format.ParseDict(question, request_type()), response_type)
    for field in ("request_id", "epoch"):  # of this call, not of the state
        if field in response_type.DESCRIPTOR.fields_by_name:
            answer.ClearField(field)
            printed[camel(response_type.DESCRIPTOR.fields_by_name[field])] = "0"
    assert json_format.ParseDict(printed, response_type()) == answer


@pytest.mark.parametrize(
    "question",
    [
        {"userId": LARGE_ID, "itemIds": [1, 2]},
        {"user_id": str(LARGE_ID), "item_ids": ["1", "2"]},
        {"userId": str(LARGE_ID), "item_ids": [1, "2"], "asOfMs": None, "features": []},
    ],
)
def test_both_forms_of_names_and_ids_are_taken(node, question):
    wanted = node.call_json("FeatureService/GetFeatures", {"userId": str(LARGE_ID), "itemIds": ["1", "2"]})
    answer = node.call_json("FeatureService/GetFeatures", question)
    for one in (wanted, answer):
        one.pop("requestId")
    assert answer == wanted
    assert answer["userPresent"] and answer["itemPresent"] == [True, True]


def test_an_id_that_is_a_word_is_its_hash(make_node):
    import xxhash

    node = make_node(settings.configuration("embedded", format="json", catalogue=settings.TINY)).start()
    record = {"tsMs": T0, "action": "watch", "userId": "alice", "itemId": "film é", "value": 2}
    kafka.produce(node.brokers, "freshet.events", [(b"alice", json.dumps(record).encode())])
    node.wait_applied(1)
    number = xxhash.xxh64_intdigest("film é".encode())
    for item_id in ("film é", str(number), number):
        answer = node.call_json("FeatureService/GetFeatures", {"userId": "alice", "itemIds": [item_id]})
        assert answer["userPresent"] and answer["itemPresent"] == [True]
        assert answer["sequences"][0]["fields"][0] == {"name": "item_id", "ids": [str(number)], "ints": [], "numbers": []}


def test_the_columns_of_a_feature_set(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    reply = node.get_features(feature_set="small", item_ids=[1])
    assert list(reply.item_columns) == ["item_watches.1m", "item_watches.1h"]
    assert [sequence.name for sequence in reply.sequences] in ([], ["user_recent"])
    reply = node.get_features(feature_set="small", features=["item_seconds.1h"], item_ids=[1])
    assert list(reply.item_columns) == ["item_watches.1m", "item_watches.1h", "item_seconds.1h"]


def test_describe_tells_the_catalogue(node):
    described = node.call("FeatureService/Describe", feature_pb2.DescribeRequest(), feature_pb2.DescribeResponse)
    entities = {entity.name: entity for entity in described.entities}
    assert list(entities["user_category"].key) == ["user_id", "category_id"]
    assert entities["item"].parent == "creator"
    assert entities["item"].retention_ms == 30 * 86_400_000
    assert entities["category"].retention_ms == 0
    features = {feature.name: feature for feature in described.features}
    assert set(features) == set(settings.CATALOGUE["features"])
    clicks = features["item_clicks"]
    assert (clicks.entity, clicks.aggregate, list(clicks.columns)) == (
        "item", "count", [f"item_clicks.{window}" for window in ("1m", "5m", "1h", "24h", "7d")],
    )  # fmt: skip
    assert list(clicks.windows_ms) == [60_000, 300_000, 3_600_000, 86_400_000, 604_800_000]
    assert list(clicks.resolutions_ms) == [1_000, 10_000, 60_000, 3_600_000, 21_600_000]
    assert list(features["user_recent"].fields) == ["item_id", "action", "ts_ms", "value"]
    assert features["user_recent"].limit == 20


def test_status_is_the_services_status(node):
    page = node.status()
    check_every_field(admin_pb2.StatusResponse.DESCRIPTOR, page)
    service = node.call_json("AdminService/Status", {})
    moving = {"memoryBytes", "epoch", "staleMs", "partitions"}
    assert {name: value for name, value in page.items() if name not in moving} == {
        name: value for name, value in service.items() if name not in moving
    }
    assert page["ready"] is True
    assert page["brokers"] == node.brokers
    assert (page["appliedEvents"], page["lagEvents"], page["streamTimeMs"]) == ("20", "0", str(T0 + 19))
    assert len(page["partitions"]) == 8
    assert sum(int(one["nextOffset"]) for one in page["partitions"]) == 20
    assert {feature["name"] for feature in page["features"]} == set(settings.CATALOGUE["features"])


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)')


def parse_metrics(text):
    """A small reader of the Prometheus text format: {name: (type, {labels: value})}; refuses what Prometheus would."""
    assert text.endswith("\n")
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types and kind in ("counter", "gauge", "histogram", "summary", "untyped")
            types[name] = kind
        elif line and not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            assert (name, labels) not in samples, f"{line} twice"
            samples[name, labels] = float(value)
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert name in types or types.get(family) == "histogram", f"{name} has no type"
    return types, samples


def test_metrics_are_prometheus_text(node):
    status, headers, body = node.page("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    types, samples = parse_metrics(body.decode())
    assert types and all(name.startswith("freshet_") for name in types)
    assert all(name.endswith("_total") for name, kind in types.items() if kind == "counter")
    assert any(value == 20 for (name, _), value in samples.items() if name.startswith("freshet_") and "events" in name)
    for name, kind in types.items():
        if kind == "histogram":
            for (sample, labels), count in samples.items():
                if sample == f"{name}_count":
                    inside = (labels or "{}")[1:-1].rstrip(",")
                    infinite = [
                        value
                        for (other, of), value in samples.items()
                        if (other, 'le="+Inf"' in (of or "")) == (f"{name}_bucket", True)
                        and all(p in of for p in inside.split(","))
                    ]
                    assert count in infinite


def test_health_and_readiness(node):
    assert node.page("/healthz")[0] == 200
    assert node.page("/readyz")[0] == 200
    status, headers, body = node.page("/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and b"freshet" in body.lower()
    assert node.page("/nothing")[0] == 404


def test_a_foreign_host_is_refused_on_the_operations_port(node):
    assert request(node.operations, "GET", "/status", headers={"Host": "evil.example"})[0] in (400, 403, 421)
    port = node.operations.rpartition(":")[2]
    assert request(node.operations, "GET", "/status", headers={"Host": f"localhost:{port}"})[0] == 200


def test_offsets_reach_the_group_for_lag_tools(node):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": node.brokers, "group.id": "freshet"})
    partitions = [TopicPartition("freshet.events", number) for number in range(8)]

    def committed():
        return sum(max(one.offset, 0) for one in consumer.committed(partitions, timeout=10))

    wait_for(lambda: committed() == 20, lambda: f"20 records committed, not {committed()}", 20)
    consumer.close()
