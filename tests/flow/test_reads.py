"""Reads while events come in: a row is of one instant, and time goes forward."""

import threading

import pytest

import kafka
import node as node_module
import settings
from freshet.v1 import event_pb2, feature_pb2
from test_watch import Watching

T0 = 1_700_000_040_000
COUNT = 120_000
ITEMS = 4

TWINS = {
    "entities": {**settings.TINY["entities"], "creator": {"key": ["creator_id"]}},
    "features": {
        "one": {"entity": "item", "aggregate": "count", "windows": ["1m", "24h"]},
        "two": {"entity": "item", "aggregate": "count", "windows": ["1m", "24h"]},
        "sum": {"entity": "item", "aggregate": "sum", "of": "value", "windows": ["1m", "24h"]},
        "maker_one": {"entity": "creator", "aggregate": "count", "windows": ["1m", "24h"]},
        "maker_two": {"entity": "creator", "actions": ["watch"], "aggregate": "count", "windows": ["1m", "24h"]},
        "maker_sum": {"entity": "creator", "aggregate": "sum", "of": "value", "windows": ["1m", "24h"]},
        "user_recent": {"entity": "user", "aggregate": "last", "limit": 10, "fields": ["ts_ms", "value"]},
        "user_total": {"entity": "user", "aggregate": "count", "windows": ["24h"]},
    },
}


def events():
    for number in range(COUNT):
        user_id, item_id = number % 3 + 1, number % ITEMS + 1
        event = event_pb2.Event(
            event_id=number + 1, ts_ms=T0 + number, user_id=user_id, item_id=item_id, creator_id=item_id % 2 + 1,
            action=event_pb2.WATCH, value=1.0,
        )  # fmt: skip
        yield str(event.user_id).encode(), event.SerializeToString()


def is_of_one_instant(values):
    """Two counts and a sum of ones, for each of two windows."""
    return list(values[0:2]) == list(values[2:4]) == list(values[4:6]) and len(values) == 6


def check(reply, previous):
    """One reply read while state changes; what must hold of it, alone and after the one before."""
    columns = list(reply.item_columns)
    rows = [reply.item_values[at : at + len(columns)] for at in range(0, len(reply.item_values), len(columns))]
    for row in rows:
        for entity in (row[:6], row[6:]):
            assert is_of_one_instant(entity), dict(zip(columns, row))
    assert reply.stream_time_ms >= previous.stream_time_ms
    totals = [row[1] for row in rows]
    assert all(now >= before for now, before in zip(totals, list(previous.item_values)[1 :: len(columns)]))
    times = list(reply.sequences[0].fields[0].ints) if reply.sequences else []
    assert times == sorted(times, reverse=True) and len(times) <= 10
    assert all(later - earlier == 3 for later, earlier in zip(times, times[1:]))  # the user's own events, none missing


@pytest.mark.parametrize("lanes", [1, 4])
def test_a_row_is_of_one_instant(make_node, lanes):
    node = make_node(settings.configuration("embedded", catalogue=TWINS, lanes=lanes)).start()
    loader = threading.Thread(target=lambda: kafka.produce(node.brokers, "freshet.events", events()))
    loader.start()
    watching = Watching(node, [("creator", 1), ("item", 2), ("creator", 2)])
    pipeline = node_module.Pipeline(node.api)
    question = feature_pb2.GetFeaturesRequest(user_id=1, item_ids=range(1, ITEMS + 1))
    previous, replies = feature_pb2.GetFeaturesResponse(), 0
    while loader.is_alive() or previous.stream_time_ms < T0 + COUNT - 1:
        for reply in pipeline.get_features([question] * 16):
            check(reply, previous)
            previous, replies = reply, replies + 1
    pipeline.close()
    loader.join()
    node.wait_applied(COUNT)
    assert replies > 50
    node_module.wait_for(lambda: watching.of("creator", 1)[-1].values[1] == COUNT / 2, "the watch sees the last event")
    watching.close()
    assert all(is_of_one_instant(update.values) for update in watching.updates), watching.updates
    final = node.get_features(user_id=1, item_ids=range(1, ITEMS + 1), features=["one.24h", "user_total"])
    assert (list(final.item_values), list(final.user_values)) == ([COUNT / ITEMS] * ITEMS, [COUNT / 3])


def test_what_is_applied_can_be_asked_for_by_offset(make_node):
    node = make_node(settings.configuration("embedded", partitions=1, catalogue=settings.TINY)).start()
    event = event_pb2.Event(ts_ms=T0, user_id=1, item_id=2, action=event_pb2.WATCH).SerializeToString()
    kafka.produce(node.brokers, "freshet.events", [(b"1", event)])
    node.wait_applied(1)
    after = feature_pb2.Offset(topic="freshet.events", partition=0, offset=0)
    assert list(node.get_features(item_ids=[2], features=["item_watches.1m"], after=[after]).item_values) == [1]
    for wrong in ({"topic": "other"}, {"topic": "freshet.events", "partition": 7}):
        with pytest.raises(node_module.CallError) as refused:
            node.get_features(item_ids=[2], after=[feature_pb2.Offset(**wrong)])
        assert refused.value.code == "invalid_argument" and "after" in refused.value.message
