"""The Python client, over gRPC: the values that JSON over HTTP/1.1 has, from a node it never saw as JSON."""

import asyncio
import threading

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

import compare
import freshet
import kafka
import logs
import oracle
import settings
from freshet.v1 import event_pb2, feature_pb2
from test_values import difficult_events

ITEM_FIELDS = ["item.creator_id", "item.room_id", "item.category_id", "item.duration_s"]
NAMES = [*settings.CATALOGUE["features"], *ITEM_FIELDS]
ITEMS = [*range(1, 61), 7, 0, compare.UNKNOWN_ID]


@pytest.fixture
def node(make_node):
    """A node with some of everything, idle; words as ids too."""
    node = make_node(settings.configuration("embedded")).start()
    events = [event for event in difficult_events(5, 2_000) if oracle.verdict(event) == "applied"]
    for number in range(1, 61):
        ids = {"user_id": logs.id_of("alice"), "item_id": logs.id_of(f"film é {number % 5}"), "creator_id": 7, "room_id": 3}
        events.append(
            {**ids, "action": number % 5 + 1, "ts_ms": events[-1]["ts_ms"] + number, "value": number / 4, "event_id": 0}
        )
    messages = [(logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events]
    kafka.produce(node.brokers, "freshet.events", messages)
    node.wait_applied(len(messages))
    return node


def numbers(field):
    ints = [int(one) for one in (*field["ids"], *field["ints"])]
    return ints or field["numbers"]


def of_json(answer):
    """What a JSON reply says."""
    return {
        "user": dict(zip(answer["userColumns"], np.array(answer["userValues"], np.float32).tolist())),
        "user_present": answer["userPresent"],
        "item_columns": answer["itemColumns"],
        "items": np.array(answer["itemValues"], np.float32).tolist(),
        "item_present": answer["itemPresent"],
        "item_fields": {field["name"]: numbers(field) for field in answer["itemFields"]},
        "sequences": [
            (one["name"], int(one["key"]), one["rows"], {field["name"]: numbers(field) for field in one["fields"]})
            for one in answer["sequences"]
        ],
        "stream_time_ms": int(answer["streamTimeMs"]),
        "applied_lag_ms": int(answer["appliedLagMs"]),
    }


def of_client(features):
    """The same of the client's."""
    assert features.items.shape == (len(features.item_present), len(features.item_columns))
    assert features.request_id != 0
    return {
        "user": features.user,
        "user_present": features.user_present,
        "item_columns": list(features.item_columns),
        "items": features.items.ravel().tolist(),
        "item_present": features.item_present.tolist(),
        "item_fields": {name: values.tolist() for name, values in features.item_fields.items()},
        "sequences": [
            (one.name, one.key, one.rows.tolist(), {name: values.tolist() for name, values in one.fields.items()})
            for one in features.sequences
        ],
        "stream_time_ms": features.stream_time_ms,
        "applied_lag_ms": features.applied_lag_ms,
    }


def asked_in_json(node, user_id, item_ids, **more):
    return of_json(node.call_json("FeatureService/GetFeatures", {"userId": user_id, "itemIds": item_ids, **more}))


def test_the_values_are_those_of_json(node):
    with freshet.Client(node.api) as client:
        now = client.status().read_time_ms
        for user_id in (*range(1, 41), 0, "alice", 2**64 - 1, compare.UNKNOWN_ID):
            for more in ({}, {"room_id": 2}, {"as_of_ms": now + 600_000}):
                wanted = asked_in_json(node, user_id, ITEMS, features=NAMES, **more)
                assert of_client(client.get_features(user_id, ITEMS, features=NAMES, **more)) == wanted
        assert any(wanted["user"].values()) or any(wanted["items"])


def test_words_as_ids(node):
    items = [f"film é {number}" for number in range(6)]
    with freshet.Client(node.api) as client:
        features = client.get_features("alice", items, features=NAMES)
    assert features.user_present
    assert features.item_present.tolist() == [True] * 5 + [False]
    assert features.item_fields["item.creator_id"].tolist() == [7] * 5 + [0]
    recent = next(one for one in features.sequences if one.name == "user_recent")
    assert set(recent["item_id"].tolist()) <= {freshet.id_of(item) for item in items}
    assert recent["item_id"].dtype == np.uint64
    assert of_client(features) == asked_in_json(node, "alice", items, features=NAMES)


def test_tasks_get_what_threads_get(node):
    async def ask():
        async with freshet.AsyncClient(node.api, timeout=30) as client:
            return await asyncio.gather(*(client.get_features(user, ITEMS, features=NAMES) for user in range(41)))

    answers = [None] * 41
    with freshet.Client(node.api, timeout=30) as client:

        def ask_some(first):
            for user in range(first, 41, 4):
                answers[user] = client.get_features(user, ITEMS, features=NAMES)

        threads = [threading.Thread(target=ask_some, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wanted = [asked_in_json(node, user, ITEMS, features=NAMES) for user in range(41)]
    assert [of_client(one) for one in answers] == wanted
    assert [of_client(one) for one in asyncio.run(ask())] == wanted


def test_the_other_methods(node):
    with freshet.Client(node.api) as client:
        described = node.call_json("FeatureService/Describe", {})
        assert client.describe() == json_format.ParseDict(described, feature_pb2.DescribeResponse())
        status = client.status()
        assert status.ready
        assert status.applied_events == node.applied()
        assert client.digest().digest == node.digest()
        assert client.digest(all=True).digest == node.digest()
        covered = client.checkpoint().offsets
        assert sum(one.offset for one in covered) == status.applied_events


def test_what_was_applied_need_not_be_waited_for(node):
    with freshet.Client(node.api) as client:
        applied = [(one.topic, one.partition, one.next_offset - 1) for one in client.status().partitions if one.next_offset > 0]
        assert applied
        features = client.get_features("alice", [], features=["user_events"], after=applied)
    assert features.user_present


@pytest.mark.parametrize(
    ("question", "code", "words"),
    [
        ({"features": ["item_click"]}, grpc.StatusCode.INVALID_ARGUMENT, "item_clicks"),
        ({"feature_set": "none"}, grpc.StatusCode.INVALID_ARGUMENT, "none"),
        ({"as_of_ms": 1}, grpc.StatusCode.FAILED_PRECONDITION, "as_of_ms"),
        ({"after": [("elsewhere", 0, 0)]}, grpc.StatusCode.INVALID_ARGUMENT, "elsewhere"),
    ],
)
def test_refusals_say_what_to_change(node, question, code, words):
    with freshet.Client(node.api) as client:
        with pytest.raises(freshet.Error) as refused:
            client.get_features(1, [1], **question)
    assert refused.value.code is code
    assert words in refused.value.message


def test_too_many_items_are_refused(node):
    with freshet.Client(node.api) as client:
        client.get_features(1, range(2_000))
        with pytest.raises(freshet.Error, match=r"INVALID_ARGUMENT: item_ids: 2001 given"):
            client.get_features(1, range(2_001))


def test_a_restart_is_a_pause(node):
    with freshet.Client(node.api, timeout=60, retries=1_000) as client:
        before = client.get_features("alice", ITEMS, features=NAMES)
        assert node.stop() == 0
        starting = threading.Thread(target=node.start, args=(f"server.listen={node.api}",))
        starting.start()
        try:
            after = client.get_features("alice", ITEMS, features=NAMES)
        finally:
            starting.join()
    assert of_client(after) == of_client(before)
