"""Sequences as arrays of one shape: as they are in `sequences`, padded by numpy."""

import random

import numpy as np
import pytest

import kafka
import logs
import node as node_module
import settings
from freshet.v1 import event_pb2, feature_pb2

T0 = 1_700_000_000_000
LIMIT = 12
CATALOGUE = {
    "entities": {"user": {"key": ["user_id"]}, "item": {"key": ["item_id"]}, "room": {"key": ["room_id"]}},
    "features": {
        "user_recent": {
            "entity": "user", "actions": ["watch", "like"], "aggregate": "last", "limit": LIMIT,
            "fields": ["item_id", "action", "value", "category_id", "ts_ms"],
        },
        "in_category": {"entity": "user", "aggregate": "last", "of": "user_recent", "match": "category_id", "limit": 4},
        "user_top": {"entity": "user", "aggregate": "top_values", "of": "user_recent.category_id", "limit": 3},
        "item_users": {"entity": "item", "actions": ["watch"], "aggregate": "last", "limit": 3, "fields": ["user_id"]},
        "room_pulse": {"entity": "room", "actions": ["watch", "like"], "aggregate": "series", "bin": "10s", "bins": 6},
    },
}  # fmt: skip
USERS, ITEMS = 4, 9


@pytest.fixture
def node(make_node):
    dice = random.Random(3)
    node = make_node(settings.configuration("embedded", catalogue=CATALOGUE)).start()
    events = [
        {
            "event_id": number + 1, "ts_ms": T0 + number * 1000, "user_id": dice.randint(1, USERS), "item_id": dice.randint(1, ITEMS),
            "category_id": dice.choice((0, 1, 1, 2)), "room_id": dice.randint(1, 3), "action": dice.choice((1, 3, 4)), "value": number / 4,
        }
        for number in range(150)
    ]  # fmt: skip
    kafka.produce(node.brokers, "freshet.events", [(logs.key_of(event), event_pb2.Event(**event).SerializeToString()) for event in events])
    node.wait_applied(len(events))
    return node


def values_of(field):
    return list(field.ids) or list(field.ints) or list(field.numbers)


def shaped(values, shape, is_series):
    """One field of one sequence as its row."""
    kept = values[max(len(values) - shape.length, 0) :] if is_series else values[: shape.length]
    if shape.oldest_first and not is_series:
        kept = kept[::-1]
    padding = [0] * (shape.length - len(kept))
    return padding + kept if shape.pad_left else kept + padding


def check(one, sequences, shape, items):
    """A padded sequence against those of its feature as they are without a shape."""
    widths = [len(names) for names in (one.id_fields, one.int_fields, one.number_fields)]
    blocks = [
        np.array(block, kind).reshape(len(one.keys), shape.length, width)
        for block, kind, width in zip((one.ids, one.ints, one.numbers), (np.uint64, np.int64, float), widths)
    ]
    mask = np.array(one.mask, bool).reshape(len(one.keys), shape.length)
    assert (one.length, len(one.lengths)) == (shape.length, len(one.keys))
    by_item = {row: sequence for sequence in sequences for row in sequence.rows}
    rows = {0: sequences[0]} if not one.item_rows and one.name.startswith("user") else None
    rows = rows or {one.item_rows[item]: by_item.get(item) for item in range(items)}
    assert sorted(rows) == list(range(len(one.keys)))
    for row, sequence in rows.items():
        fields = sequence.fields if sequence else []
        count = len(values_of(fields[0])) if fields else 0
        is_series = one.name == "room_pulse"
        assert one.keys[row] == (sequence.key if sequence else 0) and one.lengths[row] == min(count, shape.length)
        assert mask[row].tolist() == shaped([True] * count, shape, is_series)
        for field in fields:
            names, block = next(pair for pair in zip((one.id_fields, one.int_fields, one.number_fields), blocks) if field.name in pair[0])
            wanted = shaped(values_of(field), shape, is_series)
            assert block[row, :, list(names).index(field.name)].tolist() == wanted, (one.name, field.name)
        if not fields:
            assert not any(block[row].any() for block in blocks)


def test_a_shape_pads_what_is_there_and_keeps_the_newest(node):
    items = [*range(1, ITEMS + 1), 77, 0, 3]
    names = ["user_recent", "in_category", "user_top", "room_pulse"]
    padded = 0
    for user in (*range(1, USERS + 1), 99):
        plain = node.get_features(user_id=user, item_ids=items, features=names)
        assert not plain.padded and plain.sequences
        for length in (1, 3, 5, LIMIT, 40):
            for pad_left, oldest_first in ((False, False), (True, False), (False, True), (True, True)):
                shape = feature_pb2.Shape(length=length, pad_left=pad_left, oldest_first=oldest_first)
                reply = node.get_features(user_id=user, item_ids=items, features=names, shape=shape)
                assert not reply.sequences and sorted(one.name for one in reply.padded) == sorted(names)
                for one in reply.padded:
                    check(one, [each for each in plain.sequences if each.name == one.name], shape, len(items))
                    padded += 1
    assert padded == 5 * 5 * 4 * 4


def test_the_shape_does_not_depend_on_what_anybody_did(node):
    shape = feature_pb2.Shape(length=3)
    nobody = node.get_features(user_id=99, item_ids=[77], features=["user_recent", "in_category", "room_pulse"], shape=shape)
    somebody = node.get_features(user_id=1, item_ids=[1], features=["user_recent", "in_category", "room_pulse"], shape=shape)
    for absent, there in zip(nobody.padded, somebody.padded):
        assert len(absent.keys) == len(there.keys) == 1 and not any(absent.mask)
        for block in ("id_fields", "int_fields", "number_fields", "mask", "ids", "ints", "numbers"):
            assert len(getattr(absent, block)) == len(getattr(there, block)), (absent.name, block)
    without = node.get_features(user_id=1, features=["in_category"], shape=shape)
    assert [(one.name, list(one.item_rows), list(one.keys)) for one in without.padded] == [("in_category", [], [])]


def test_a_shape_that_is_none_is_refused(node):
    for length in (0, 10_001, 2**32 - 1):
        with pytest.raises(node_module.CallError) as refused:
            node.get_features(user_id=1, features=["user_recent"], shape=feature_pb2.Shape(length=length))
        assert refused.value.code == "invalid_argument" and "shape.length" in refused.value.message
    with pytest.raises(node_module.CallError) as refused:  # 2,000 rows of 10,000 ids are 160 MB: more than a call may take
        node.get_features(item_ids=range(1, 2001), features=["item_users"], shape=feature_pb2.Shape(length=10_000))
    assert refused.value.code == "resource_exhausted"
