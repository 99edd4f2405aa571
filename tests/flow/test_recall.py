"""RecallService on the wire: by JSON, protobuf and gRPC the candidates of the oracle, through a restart; names that are wrong; the commands."""

import json

import grpc
import pytest
import yaml
from google.protobuf import json_format

import compare
import kafka
import logs
import oracle
import settings
from freshet.v1 import admin_pb2, event_pb2, recall_pb2
from node import CallError
from test_values import difficult_events

CATALOGUE = yaml.safe_load(
    """
entities:
  user:    { key: [user_id] }
  item:    { key: [item_id], retention: 7d }
  creator: { key: [creator_id] }
  room:    { key: [room_id], retention: 7d }
features:
  recent:    { entity: user, actions: [watch, like, click], aggregate: last, limit: 40, fields: [item_id, ts_ms] }
  seen:      { entity: user, actions: [impression], aggregate: last, limit: 20, fields: [item_id], seen: true }
  heat:      { entity: item, actions: [watch, like, purchase], weights: { like: 3, purchase: 20 }, aggregate: decayed, half_life: 1h }
  room_heat: { entity: room, aggregate: decayed, half_life: 10m }
  fame:      { entity: creator, actions: [follow, watch], aggregate: decayed, half_life: 1d }
  related:   { entity: item, aggregate: covisit, from: recent, within: 30m, half_life: 1d, limit: 50 }
lists:
  trending: { of: item, rank: heat, scopes: [global, category_id, region, scene, creator_id, room_id], limit: 20 }
  rooms:    { of: room, rank: room_heat, scopes: [global, scene], limit: 10 }
  creators: { of: creator, rank: fame, scopes: [global, creator_id], limit: 10 }
"""
)


@pytest.fixture
def node(make_node):
    return make_node(settings.configuration("embedded", catalogue=CATALOGUE)).start()


@pytest.fixture
def judged(node):
    """The oracle, and the events that it and the node took."""
    judge, events = oracle.Oracle(node.configuration), []
    for event in difficult_events(11, 5_000):
        if judge.apply(event) == "applied":
            events.append(event)
    kafka.produce(
        node.brokers,
        "freshet.events",
        [(logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events],
    )
    node.wait_applied(len(events))
    return judge, events


def digest_of(node):
    reply = node.call("AdminService/Digest", admin_pb2.DigestRequest(all=True), admin_pb2.DigestResponse)
    return reply.digest, reply.lists_digest


def test_candidates_are_the_oracles_and_outlive_the_process(node, judged):
    judge, events = judged
    asked = compare.check_recall(node, judge, events)
    assert asked > 500
    digest = digest_of(node)
    assert len(digest[1]) == 32 and digest[0] == node.digest() != digest[1]
    assert node.stop() == 0
    node.start()
    assert digest_of(node) == digest
    assert compare.check_recall(node, judge, events) == asked


def test_json_and_grpc_say_the_same(node, judged):
    asked = compare.recall_questions(*judged, every=7)
    filled = 0
    with grpc.insecure_channel(node.api) as channel:
        for method, request, _ in asked:
            call = channel.unary_unary(
                f"/freshet.v1.RecallService/{method}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=recall_pb2.Candidates.FromString,
            )
            reply = call(request, timeout=10)
            answer = node.call_json(f"RecallService/{method}", json_format.MessageToDict(request))
            assert list(answer) == ["ids", "scores", "streamTimeMs", "appliedLagMs"]
            assert [int(one) for one in answer["ids"]] == list(reply.ids)
            assert json_format.ParseDict(answer, recall_pb2.Candidates()) == reply
            filled += bool(reply.ids)
    assert filled > len(asked) / 4


@pytest.mark.parametrize(
    "method, message, what",
    [
        ("Trending", {"list": "trendin"}, "list: unknown list 'trendin'; did you mean 'trending'?"),
        ("Trending", {}, "list: unknown list ''"),
        ("Trending", {"list": "trending", "scope": "regions"}, "scope: unknown scope 'regions'; did you mean 'region'?"),
        ("Trending", {"list": "creators", "scope": "region"}, "scope: unknown scope 'region'"),
        ("Related", {"itemId": 1, "feature": "relate"}, "feature: unknown covisit feature 'relate'; did you mean 'related'?"),
        ("Related", {"itemId": 1, "feature": "heat"}, "feature: unknown covisit feature 'heat'"),
        ("Recent", {"kind": "room_live"}, "kind: unknown kind 'room_live'; did you mean 'rooms_live'?"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(node, method, message, what):
    with pytest.raises(CallError) as refused:
        node.call_json(f"RecallService/{method}", message)
    assert refused.value.code == "invalid_argument" and what in refused.value.message


def test_what_goes_off_leaves_every_reply_at_the_next_read_and_comes_back(node):
    count = 0

    def happen(**fields):
        nonlocal count
        count += 1
        event = event_pb2.Event(event_id=count, ts_ms=1_700_000_000_000 + count, **fields)
        kafka.produce(node.brokers, "freshet.events", [(b"7", event.SerializeToString())])
        node.wait_applied(count)

    def shown():
        ask = {
            "trending": ("Trending", {"list": "trending"}),
            "rooms": ("Trending", {"list": "rooms"}),
            "related": ("Related", {"itemId": 1}),
            "new": ("Recent", {"kind": "new_items"}),
            "live": ("Recent", {"kind": "rooms_live"}),
            "creators": ("Recent", {"kind": "creators_live"}),
        }
        return {name: [int(one) for one in node.call_json(f"RecallService/{method}", {**message, "limit": 9})["ids"]]
                for name, (method, message) in ask.items()}  # fmt: skip

    for item_id, room_id in ((1, 0), (2, 5), (3, 6)):
        happen(action=event_pb2.WATCH, user_id=7, item_id=item_id, room_id=room_id, creator_id=room_id * 10)
    everything = {"trending": [3, 2, 1], "rooms": [6, 5], "related": [3, 2], "new": [3, 2, 1], "live": [6, 5], "creators": [60, 50]}
    assert shown() == everything
    happen(action=event_pb2.ITEM_OFF, item_id=2)
    assert shown() == {**everything, "trending": [3, 1], "related": [3], "new": [3, 1]}
    happen(action=event_pb2.ITEM_ON, item_id=2)
    assert shown() == everything
    happen(action=event_pb2.ROOM_END, room_id=6)
    gone = {"trending": [2, 1], "rooms": [5], "related": [2], "new": [2, 1], "live": [5], "creators": [50]}
    assert shown() == gone
    happen(action=event_pb2.IMPRESSION, user_id=8, item_id=2)  # which user 8 has seen now, and user 7 has not
    for user_id, items in ((7, [2, 1]), (8, [1])):
        asked = {"list": "trending", "excludeSeenBy": str(user_id)}
        assert [int(one) for one in node.call_json("RecallService/Trending", asked)["ids"]] == items
    happen(action=event_pb2.ROOM_START, room_id=6)
    assert {name: sorted(ids) for name, ids in shown().items()} == {name: sorted(ids) for name, ids in everything.items()}


def test_describe_has_the_lists(node):
    lists = {one["name"]: one for one in node.call_json("FeatureService/Describe", {})["lists"]}
    assert lists.keys() == CATALOGUE["lists"].keys()
    plain = {"weigh": "", "without": ""}
    assert lists["rooms"] == {"name": "rooms", "entity": "room", "rank": "room_heat", "scopes": ["global", "scene"], "limit": 10, **plain}


def test_the_commands_show_what_the_calls_give(node, judged):
    item = next(event["item_id"] for event in judged[1] if event["item_id"] and event["action"] == event_pb2.WATCH)
    for arguments, method, message in (
        (("top", "trending", "--limit", "5"), "Trending", {"list": "trending", "limit": 5}),
        (("top", "rooms", "--scope", "scene", "--id", "live"), "Trending", {"list": "rooms", "scope": "scene", "scopeId": 1}),
        (("related", str(item)), "Related", {"itemId": item}),
    ):
        right = node.call_json(f"RecallService/{method}", message)
        done = node.cli(*arguments, "--json")
        assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout) == right
        lines = node.cli(*arguments).stdout.splitlines()
        assert [line.split()[1] for line in lines[1:-1]] == right["ids"] and lines[0].split()[0] == "rank"
    assert node.cli("top", "trendin").returncode == 1 and "did you mean" in node.cli("top", "trendin").stderr
    assert node.cli("top").returncode == 2
