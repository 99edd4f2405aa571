"""WatchFeatures: the values of GetFeatures, sent when they change, the newest for who is slow; limits; how it ends."""

import copy
import re
import threading
import time

import grpc
import pytest

import compare
import kafka
import logs
import oracle
import settings
import wire
from freshet.v1 import event_pb2, feature_pb2
from malformed import WATCH, prefixed
from malformed_wire import GRPC_HEAD
from node import wait_for
from test_values import difficult_events

T0 = 1_700_000_040_000
ENTITIES_MOST, VALUES_MOST = 1000, 1_000_000  # unless they are set
LIMITS = {"watches": 100, "watch_entities": 20, "watch_values": 100}


class Watching:
    """A stream, and what has come of it, by entity."""

    def __init__(self, node, entities, features=(), interval_ms=100, channel=None, timeout_s=None):
        self.channel = channel or grpc.insecure_channel(node.api)
        watch = self.channel.unary_stream(
            WATCH,
            request_serializer=feature_pb2.WatchFeaturesRequest.SerializeToString,
            response_deserializer=feature_pb2.WatchFeaturesUpdate.FromString,
        )
        keys = [feature_pb2.EntityKey(entity=kind, key=key) for kind, *key in entities]
        self.began = time.monotonic()
        self.call = watch(
            feature_pb2.WatchFeaturesRequest(entities=keys, features=features, interval_ms=interval_ms), timeout=timeout_s
        )
        self.updates, self.error = [], None
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        try:
            for update in self.call:
                self.updates.append(update)
        except grpc.RpcError as error:
            self.error = error

    def of(self, kind, *key):
        return [one for one in self.updates if (one.entity.entity, *one.entity.key) == (kind, *key)]

    def first(self, kind, *key):
        wait_for(lambda: self.of(kind, *key) or self.error, f"an update of {kind} {key}")
        assert not self.error, self.error
        return self.of(kind, *key)[0]

    def refused(self):
        self.thread.join(20)
        assert self.error and not self.updates
        return self.error.code().name, self.error.details()

    def close(self):
        self.call.cancel()
        self.thread.join(20)


def metric(node, name):
    _, _, body = node.page("/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", body.decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def readings(node):
    return metric(node, "freshet_watch_read_seconds_count")


def event(number, item_id=1, user_id=7):
    made = event_pb2.Event(event_id=number + 1, ts_ms=T0 + number, user_id=user_id, item_id=item_id, action=event_pb2.WATCH, value=2)
    return str(user_id).encode(), made.SerializeToString()


@pytest.fixture
def node(make_node):
    return make_node(settings.configuration("embedded", catalogue=settings.TINY)).start()


@pytest.fixture
def limited(make_node):
    configuration = settings.configuration("embedded", catalogue=settings.TINY)
    configuration["server"] = {"limits": LIMITS}
    return make_node(configuration).start()


# ---- Values ----


def shown(node, catalogue, events):
    """Of every kind some entities with the columns that GetFeatures shows: {(kind, *key): {column: value}}."""
    items = sorted({one["item_id"] for one in events if one["item_id"]})
    users = sorted({one["user_id"] for one in events if one["user_id"]})[::7]
    kinds = {name: kind["key"] for name, kind in catalogue["entities"].items()}
    kind_of = {name: feature["entity"] for name, feature in catalogue["features"].items()}
    fields = ["item.creator_id", "item.room_id", "item.category_id"]
    found = {}
    for user_id in users:
        reply = node.get_features(user_id=user_id, item_ids=items, features=[*kind_of, *fields])
        found["user", user_id] = dict(zip(reply.user_columns, reply.user_values))
        remembered = {field.name[5:]: list(field.ids) for field in reply.item_fields}
        width = len(reply.item_columns)
        for row, item_id in enumerate(items):
            ids = {"user_id": user_id, "item_id": item_id, **{name: of[row] for name, of in remembered.items()}}
            values = dict(zip(reply.item_columns, reply.item_values[row * width : (row + 1) * width]))
            for kind, key in kinds.items():
                if kind != "user" and all(ids[field] for field in key):
                    columns = {name: value for name, value in values.items() if kind_of[name.split(".")[0]] == kind}
                    found[(kind, *(ids[field] for field in key))] = columns
    return found


def test_a_watch_has_the_values_of_get_features(make_node):
    catalogue = settings.every_kind()
    node = make_node(settings.configuration("embedded", catalogue=catalogue)).start()
    judge = oracle.Oracle(node.configuration)
    events = [one for one in difficult_events(5, 4000) if judge.apply(one) == "applied"]
    kafka.produce(
        node.brokers, "freshet.events", [(logs.key_of(one), event_pb2.Event(**one).SerializeToString()) for one in events]
    )
    node.wait_applied(len(events))
    right = shown(node, catalogue, events)
    assert {key[0] for key in right} == set(catalogue["entities"])
    for attempt in range(2):
        for some in compare.batches(list(right), ENTITIES_MOST):
            watching = Watching(node, some)
            wait_for(lambda: len(watching.updates) == len(some) or watching.error, lambda: f"{len(watching.updates)} of {len(some)}")
            for update in watching.updates:
                key = (update.entity.entity, *update.entity.key)
                assert dict(zip(update.columns, update.values)) == right[key], key
                assert update.stream_time_ms == judge.stream_time_ms and update.skipped == update.applied_lag_ms == 0
            watching.close()
        if attempt == 0:  # and when only the disk has them
            assert node.stop() == 0
            node.start()


def test_columns_are_those_asked_for_in_their_order(node):
    watching = Watching(node, [("item", 5), ("user", 7), ("item", 0)], ["item_seconds", "item_watches.1h", "item_watches"])
    assert watching.refused() == ("INVALID_ARGUMENT", "entities[1]: features names no column of kind 'user'; name one, or leave the entity out")
    watching = Watching(node, [("item", 5), ("item", 0)], ["item_seconds", "item_watches.1h", "item_watches"])
    for key in (5, 0):
        assert list(watching.first("item", key).columns) == ["item_seconds.1h", "item_watches.1h", "item_watches.1m", "item_watches.1h"]
        assert list(watching.first("item", key).values) == [0] * 4
    watching.close()


def test_only_what_changed_is_sent_again(node):
    watching = Watching(node, [("item", 1), ("item", 2)], ["item_watches.1h"])
    for item_id in (1, 2):
        assert list(watching.first("item", item_id).values) == [0]
    for number in range(3):
        kafka.produce(node.brokers, "freshet.events", [event(number)])
        wait_for(lambda: len(watching.of("item", 1)) == number + 2, f"update {number}")
        before = readings(node)
        wait_for(lambda: readings(node) >= before + 2, "two more readings")
    assert [list(one.values) for one in watching.of("item", 1)] == [[0], [1], [2], [3]]
    assert len(watching.of("item", 2)) == 1
    assert [one.skipped for one in watching.updates] == [0] * 5
    assert watching.of("item", 1)[-1].stream_time_ms == T0 + 2
    watching.close()


def test_it_is_read_once_an_interval(node):
    watching = Watching(node, [("item", 1)], interval_ms=300)
    watching.first("item", 1)
    wait_for(lambda: readings(node) >= 4, "four readings")
    took = time.monotonic() - watching.began
    assert 0.89 <= took < 10  # at 0, 300, 600 and 900 ms; 10 s: a busy machine
    watching.close()


# ---- A slow client ----


def updates_of(body):
    found = []
    while body:
        length = int.from_bytes(body[1:5], "big")
        found.append(feature_pb2.WatchFeaturesUpdate.FromString(body[5 : 5 + length]))
        body = body[5 + length :]
    return found


def test_a_slow_client_gets_the_newest_and_how_many_it_replaced(node):
    request = feature_pb2.WatchFeaturesRequest(
        entities=[feature_pb2.EntityKey(entity="item", key=[1])], features=["item_watches.1h"], interval_ms=100
    )
    no_window = wire.PREFACE + wire.frame(wire.SETTINGS, 0, 0, b"\0\x04\0\0\0\0")  # of a stream: 0 bytes
    with wire.Http2(node.api, no_window) as connection:
        head = [(name, WATCH if name == ":path" else value) for name, value in GRPC_HEAD]
        stream = connection.request(head, prefixed(request.SerializeToString()))
        name = 'freshet_watch_updates_total{outcome="%s"}'
        wait_for(lambda: metric(node, name % "sent") == 1, "the first message waits for room")
        for number in range(4):
            kafka.produce(node.brokers, "freshet.events", [event(number)])
            node.wait_applied(number + 1)
            before = readings(node)
            wait_for(lambda: readings(node) >= before + 2, "it is read")
            assert metric(node, name % "replaced") == number
        connection.send(wire.frame(wire.WINDOW_UPDATE, 0, stream, (100_000).to_bytes(4, "big")))
        wait_for(lambda: connection.take_frame() and len(updates_of(connection.answers[stream].body)) == 2, "two messages")
        first, last = updates_of(connection.answers[stream].body)
    assert (list(first.values), first.skipped) == ([0], 0)
    assert (list(last.values), last.skipped) == ([4], 3)


# ---- Limits, and the end ----


def test_what_is_too_much_is_refused_and_room_comes_back(make_node):
    catalogue = copy.deepcopy(settings.TINY)
    for number in range(98):
        catalogue["features"][f"item_{number}"] = {"entity": "item", "aggregate": "count", "windows": ["1h"]}
    node = make_node(settings.configuration("embedded", catalogue=catalogue)).start()
    entities = [("item", number + 1) for number in range(ENTITIES_MOST)]
    code, words = Watching(node, [*entities, ("item", 1)]).refused()
    assert code == "RESOURCE_EXHAUSTED" and words.startswith("entities: 1001 given")
    columns = 98 + 3
    channel = grpc.insecure_channel(node.api)
    fits = VALUES_MOST // (ENTITIES_MOST * columns)
    held = [Watching(node, entities, interval_ms=60_000, channel=channel) for _ in range(fits)]
    wait_for(lambda: metric(node, "freshet_watches") == fits, "all of them watch")
    assert metric(node, "freshet_watched_entities") == fits * ENTITIES_MOST
    code, words = Watching(node, entities, channel=channel).refused()
    assert code == "RESOURCE_EXHAUSTED" and "watch fewer" in words
    held.pop().close()
    wait_for(lambda: metric(node, "freshet_watches") == fits - 1, "one is gone")
    Watching(node, entities, channel=channel).first("item", 1000)
    channel.close()
    wait_for(lambda: metric(node, "freshet_watches") == 0, "all are gone")
    assert metric(node, "freshet_watched_entities") == 0


def test_what_limits_are_set_are_kept(limited):
    node, features = limited, ["item_watches.1h"]
    code, words = Watching(node, [("item", 1)] * 21, features).refused()
    assert code == "RESOURCE_EXHAUSTED" and "at most 20 a stream (server.limits.watch_entities)" in words
    channel = grpc.insecure_channel(node.api)
    many = [Watching(node, [("item", 1)] * 20, features, interval_ms=60_000, channel=channel) for _ in range(5)]
    wait_for(lambda: metric(node, "freshet_watched_entities") == 100, "a hundred values")
    code, words = Watching(node, [("item", 1)], features).refused()
    assert code == "RESOURCE_EXHAUSTED" and "100 columns of entities at most (server.limits.watch_values)" in words
    for one in many:
        one.close()
    wait_for(lambda: metric(node, "freshet_watches") == 0, "all are gone")
    held = [Watching(node, [("item", 1)], features, interval_ms=60_000, channel=channel) for _ in range(100)]
    wait_for(lambda: metric(node, "freshet_watches") == 100, "a hundred streams")
    code, words = Watching(node, [("item", 1)], features).refused()
    assert code == "RESOURCE_EXHAUSTED" and "100 watches are open on this node already (server.limits.watches)" in words
    assert list(node.get_features(item_ids=[1], features=["item_watches.1h"]).item_values) == [0]
    for one in held:
        one.call.cancel()
    wait_for(lambda: metric(node, "freshet_watches") == 0, "all are gone")
    channel.close()


def test_a_deadline_and_a_stop_end_it(node):
    brief = Watching(node, [("item", 1)], timeout_s=0.3)
    long = Watching(node, [("item", 1)], interval_ms=60_000)
    long.first("item", 1)
    brief.thread.join(20)
    assert brief.error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and len(brief.updates) == 1
    assert node.stop() == 0
    long.thread.join(20)
    assert long.error.code() == grpc.StatusCode.UNAVAILABLE
