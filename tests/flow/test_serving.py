"""When reads are answered, and how old what they say is: without a broker, before a node is ready, by who asks."""

import re
import time

import grpc
import pytest

import kafka
import settings
from freshet.v1 import event_pb2, feature_pb2, recall_pb2
from node import CallError, request
from test_recall import CATALOGUE
from test_watch import Watching

NOWHERE = "127.0.0.1:9"


def test_a_new_node_without_a_broker_serves_nothing_rather_than_zeros(make_node):
    node = make_node(settings.configuration(NOWHERE, catalogue=CATALOGUE)).start(is_ready=False)
    with pytest.raises(CallError) as features:
        node.get_features(item_ids=[1])
    with pytest.raises(CallError) as trending:
        node.call("RecallService/Trending", recall_pb2.TrendingRequest(list="trending"), recall_pb2.Candidates)
    for refused in (features, trending):
        assert (refused.value.status, refused.value.code) == (503, "unavailable")
        assert "not ready: no broker answers" in refused.value.message
    assert Watching(node, [("item", 1)]).refused()[0] == "UNAVAILABLE"
    assert node.call_json("FeatureService/Describe", {})["features"] and node.status()["ready"] is False


def test_state_is_served_without_a_broker_and_says_how_old_it_is(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY, clock="wall")).start()
    at = time.time_ns() // 1_000_000 - 30_000
    event = event_pb2.Event(ts_ms=at, user_id=1, item_id=2, action=event_pb2.WATCH)
    kafka.produce(node.brokers, "freshet.events", [(b"1", event.SerializeToString())])
    node.wait_applied(1)
    reply = node.get_features(item_ids=[2], features=["item_watches.1h"])
    assert (list(reply.item_values), reply.stream_time_ms, reply.applied_lag_ms) == ([1], at, 0)
    assert node.stop() == 0
    node.start(f"kafka.brokers={NOWHERE}", is_ready=False)
    assert node.ready_page()[0] == 503
    reply = node.get_features(item_ids=[2], features=["item_watches.1h"])
    now = time.time_ns() // 1_000_000
    assert (list(reply.item_values), reply.stream_time_ms) == ([1], at) and 30_000 <= reply.applied_lag_ms <= now - at
    watching = Watching(node, [("item", 2)], ["item_watches.1h"])
    update = watching.first("item", 2)
    assert list(update.values) == [1] and update.applied_lag_ms >= 30_000
    watching.close()


def served(node):
    _, _, body = node.page("/metrics")
    found = re.findall(r'^freshet_served_lag_seconds_count\{caller="(.*)"\} (\d+)$', body.decode(), re.MULTILINE)
    return {name: int(count) for name, count in found}


def ask(node, **fields):
    message = feature_pb2.GetFeaturesRequest(item_ids=[1]).SerializeToString()
    head = {"Content-Type": "application/proto", **fields}
    assert request(node.api, "POST", "/freshet.v1.FeatureService/GetFeatures", message, head)[0] == 200


def test_freshness_is_kept_by_caller(make_node):
    node = make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()
    assert served(node) == {"other": 0}
    ask(node)
    ask(node, **{"X-Freshet-Caller": "ranker"})
    ask(node, **{"X-Freshet-Caller": "ranker", "User-Agent": "curl/7.88"})
    ask(node, **{"User-Agent": "curl/7.88 (x86_64)"})
    ask(node, **{"X-Freshet-Caller": 'a"b\\c/d é' + "x" * 100})
    with grpc.insecure_channel(node.api) as channel:
        get = channel.unary_unary("/freshet.v1.FeatureService/GetFeatures")
        get(b"")
        get(b"", metadata=[("x-freshet-caller", "ranker")])
    assert served(node) == {
        "other": 0, "unnamed": 1, "ranker": 3, "curl": 1, "a_b_c_d" + "_" * 2 + "x" * 22: 1, "grpc-python": 1
    }  # fmt: skip
    for number in range(100):
        ask(node, **{"X-Freshet-Caller": f"caller-{number}"})
    assert len(served(node)) == 33 and served(node)["other"] == 100 - (32 - 5) and served(node)["caller-0"] == 1
