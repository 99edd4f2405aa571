"""A reply as numpy arrays: every value as protobuf has it, none copied that need not be."""

import random

import grpc
import numpy as np
import pytest

import freshet
from freshet import _packed
from freshet.v1 import feature_pb2

MAX_ID = 2**64 - 1


def reply(**more):
    return feature_pb2.GetFeaturesResponse(
        request_id=MAX_ID,
        stream_time_ms=1_700_000_000_000,
        applied_lag_ms=12,
        user_columns=["user_likes.1h", "user_likes.24h"],
        user_values=[2, 0.1],
        user_present=True,
        item_columns=["item_watches.1m", "item_watches.1h", "item_heat"],
        item_values=[1, 2, 3.5, 4, 5, 6.5],
        item_present=[True, False],
        item_fields=[
            feature_pb2.Field(name="item.creator_id", ids=[MAX_ID, 0]),
            feature_pb2.Field(name="item.duration_s", numbers=[1.25, 0]),
        ],
        sequences=[
            feature_pb2.Sequence(
                name="user_recent",
                fields=[
                    feature_pb2.Field(name="item_id", ids=[MAX_ID, 2, 1]),
                    feature_pb2.Field(name="ts_ms", ints=[3, 2, -1]),
                    feature_pb2.Field(name="value", numbers=[0.5, 0, 1e300]),
                ],
            ),
            feature_pb2.Sequence(name="user_in_category", key=9, rows=[0, 1], fields=[feature_pb2.Field(name="action")]),
        ],
        **more,
    )


def test_what_a_reply_becomes():
    features = freshet.Features.decode(reply().SerializeToString())
    assert features.user == {"user_likes.1h": 2.0, "user_likes.24h": pytest.approx(0.1)}
    assert features.user_columns == ("user_likes.1h", "user_likes.24h")
    assert features.user_values.tolist() == [2, np.float32(0.1)]
    assert features.user_present is True
    assert features.items.dtype == np.float32
    assert features.items.tolist() == [[1, 2, 3.5], [4, 5, 6.5]]
    assert features.item_columns == ("item_watches.1m", "item_watches.1h", "item_heat")
    assert features.item_present.dtype == np.bool_
    assert features.item_present.tolist() == [True, False]
    assert features.stream_time_ms == 1_700_000_000_000
    assert features.applied_lag_ms == 12
    assert features.request_id == MAX_ID


def test_a_column_by_name():
    features = freshet.Features.decode(reply().SerializeToString())
    assert features.column("item_heat").tolist() == [3.5, 6.5]
    with pytest.raises(KeyError, match="item_love"):
        features.column("item_love")


def test_fields_keep_their_types():
    fields = freshet.Features.decode(reply().SerializeToString()).item_fields
    assert fields["item.creator_id"].dtype == np.uint64
    assert fields["item.creator_id"].tolist() == [MAX_ID, 0]
    assert fields["item.duration_s"].dtype == np.float64
    assert fields["item.duration_s"].tolist() == [1.25, 0]


def test_sequences_keep_their_types():
    recent, matched = freshet.Features.decode(reply().SerializeToString()).sequences
    assert (recent.name, recent.key, recent.rows.tolist(), len(recent)) == ("user_recent", 0, [], 3)
    assert [recent[name].dtype for name in ("item_id", "ts_ms", "value")] == [np.uint64, np.int64, np.float64]
    assert recent["item_id"].tolist() == [MAX_ID, 2, 1]
    assert recent["ts_ms"].tolist() == [3, 2, -1]
    assert recent["value"].tolist() == [0.5, 0, 1e300]
    assert (matched.name, matched.key, matched.rows.tolist(), len(matched)) == ("user_in_category", 9, [0, 1], 0)
    assert matched.rows.dtype == np.uint32


def padded():
    return feature_pb2.GetFeaturesResponse(
        item_present=[True, True, False],
        padded=[
            feature_pb2.PaddedSequence(
                name="user_recent", length=3, keys=[0], lengths=[2], mask=[True, True, False],
                id_fields=["item_id", "creator_id"], ids=[MAX_ID, 2, 3, 4, 0, 0], int_fields=["ts_ms"], ints=[5, -4, 0],
            ),
            feature_pb2.PaddedSequence(
                name="user_in_category", length=1, item_rows=[1, 0, 1], keys=[9, 0], lengths=[1, 0], mask=[True, False],
                number_fields=["value"], numbers=[0.5, 0],
            ),
        ],
    ).SerializeToString()  # fmt: skip


def test_padded_sequences_are_blocks_of_the_bytes():
    data = padded()
    blocks = freshet.Features.decode(data).padded
    recent, matched = blocks["user_recent"], blocks["user_in_category"]
    assert recent.ids.shape == (1, 3, 2) and recent.ids.dtype == np.uint64 and recent.numbers.shape == (1, 3, 0)
    assert recent.ids[0].tolist() == [[MAX_ID, 2], [3, 4], [0, 0]]
    assert recent["creator_id"].tolist() == [[2, 4, 0]] and recent["ts_ms"].tolist() == [[5, -4, 0]]
    assert (recent.mask.tolist(), recent.lengths.tolist(), len(recent.item_rows)) == ([[True, True, False]], [2], 0)
    assert matched["value"][matched.item_rows].tolist() == [[0], [0.5], [0]] and matched.keys.tolist() == [9, 0]
    with pytest.raises(KeyError, match="item_id"):
        matched["item_id"]
    whole = np.frombuffer(data, np.uint8)
    assert all(np.shares_memory(block, whole) for block in (recent.ids, recent.ints, recent.mask, matched.numbers))
    assert not any(block.flags.writeable for block in (recent.ids, recent.mask, matched.item_rows))


def test_padded_sequences_that_are_cut_short_are_told():
    data = padded()
    for length in range(1, len(data)):
        try:
            freshet.Features.decode(data[:length])
        except freshet.Error as error:
            assert error.code == grpc.StatusCode.INTERNAL


def test_empty_fields_have_the_type_of_their_name():
    names = ["item_id", "item.room_id", "ts_ms", "scene", "value", "item.duration_s", "add_to_cart"]
    fields = [feature_pb2.Field(name=name) for name in names]
    features = freshet.Features.decode(feature_pb2.GetFeaturesResponse(item_fields=fields).SerializeToString())
    kinds = [np.uint64, np.uint64, np.int64, np.int64, np.float64, np.float64, np.int64]
    assert [features.item_fields[name].dtype for name in names] == kinds


def test_no_items_are_an_empty_matrix_with_columns():
    message = feature_pb2.GetFeaturesResponse(item_columns=["a", "b"])
    features = freshet.Features.decode(message.SerializeToString())
    assert features.items.shape == (0, 2)
    assert features.item_present.shape == (0,)
    assert features.user == {}


def test_items_without_columns_are_rows_of_nothing():
    message = feature_pb2.GetFeaturesResponse(item_present=[True, True, False])
    assert freshet.Features.decode(message.SerializeToString()).items.shape == (3, 0)


def test_floats_are_views_of_the_bytes():
    data = reply().SerializeToString()
    features = freshet.Features.decode(data)
    whole = np.frombuffer(data, np.uint8)
    for array in (features.items, features.user_values, features.item_present):
        assert np.shares_memory(array, whole)


def test_every_array_is_read_only():
    features = freshet.Features.decode(reply().SerializeToString())
    arrays = [features.items, features.user_values, features.item_present, *features.item_fields.values()]
    for sequence in features.sequences:
        arrays += [sequence.rows, *sequence.fields.values()]
    assert not any(array.flags.writeable for array in arrays)
    with pytest.raises(AttributeError):
        features.items = None


def varint(number):
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def floats(field, values):
    packed = np.array(values, "<f4").tobytes()
    return varint(field << 3 | 2) + varint(len(packed)) + packed


ITEM_VALUES, ITEM_PRESENT = 8, 9
TWO_ITEMS = feature_pb2.GetFeaturesResponse(item_columns=["a"]).SerializeToString()


@pytest.mark.parametrize(
    "encoded",
    [
        floats(ITEM_VALUES, [1, 2]) + b"\x4a\x02\x01\x00",
        b"\x4a\x02\x01\x00" + floats(ITEM_VALUES, [1, 2]),
        floats(ITEM_VALUES, [1]) + floats(ITEM_VALUES, [2]) + b"\x4a\x02\x01\x00",
        b"".join(b"\x45" + np.array([value], "<f4").tobytes() for value in (1, 2)) + b"\x4a\x02\x01\x00",
        floats(ITEM_VALUES, [1, 2]) + b"\x48\x01\x48\x00",
        floats(ITEM_VALUES, [1, 2]) + b"\x4a\x03\x81\x00\x00",
        floats(ITEM_VALUES, [1, 2]) + b"\x4a\x02\x07\x00",
        floats(ITEM_VALUES, [1, 2]) + b"\x4a\x02\x01\x00" + b"\xa2\x06\x03new" + b"\xa8\x06\x01" + b"\xb5\x06\x01\x02\x03\x04",
        floats(ITEM_VALUES, [1, 2]) + b"\x4a\x02\x01\x00" + b"\xa3\x06\xa4\x06",
        b"\x42\x00" + floats(ITEM_VALUES, [1, 2]) + b"\x4a\x02\x01\x00",
    ],
    ids=[
        "packed", "in another order", "in two pieces", "one by one", "bools one by one", "a bool of two bytes", "a bool of 7",
        "with fields of the future", "with a group", "an empty piece first",
    ],
)  # fmt: skip
def test_every_legal_encoding_gives_the_same(encoded):
    data = TWO_ITEMS + encoded
    wanted = feature_pb2.GetFeaturesResponse.FromString(data)
    assert (list(wanted.item_values), list(wanted.item_present)) == ([1, 2], [True, False])
    features = freshet.Features.decode(data)
    assert features.items.tolist() == [[1], [2]]
    assert features.item_present.tolist() == [True, False]


def random_reply(dice):
    rows, columns = dice.choice([0, 1, 200]), dice.choice([0, 1, 130])
    return feature_pb2.GetFeaturesResponse(
        request_id=dice.choice([0, dice.getrandbits(64)]),
        stream_time_ms=dice.choice([0, -1, dice.getrandbits(62)]),
        user_columns=["é" * dice.randint(0, 200)],
        user_values=[dice.random()],
        item_columns=[f"c{i}" for i in range(columns)],
        item_values=np.random.default_rng(dice.getrandbits(30)).random(rows * columns, np.float32).tolist(),
        item_present=[dice.random() < 0.5 for _ in range(rows)],
        item_fields=[feature_pb2.Field(name="item.room_id", ids=[dice.getrandbits(64) for _ in range(rows)])],
    )


def test_random_replies_are_as_protobuf_reads_them():
    dice = random.Random(4)
    for _ in range(60):
        message = random_reply(dice)
        data = message.SerializeToString()
        features = freshet.Features.decode(data)
        rest, _ = _packed.cut(data, {5: "<f4", 8: "<f4", 9: "u1"})
        assert features.items.ravel().tolist() == list(message.item_values)
        assert features.item_present.tolist() == list(message.item_present)
        assert features.item_fields["item.room_id"].tolist() == list(message.item_fields[0].ids)
        for field in ("user_values", "item_values", "item_present"):
            message.ClearField(field)
        assert feature_pb2.GetFeaturesResponse.FromString(rest) == message


def test_a_reply_cut_anywhere_is_an_error_or_a_shorter_reply():
    data = reply().SerializeToString()
    for length in range(len(data)):
        try:
            wanted = feature_pb2.GetFeaturesResponse.FromString(data[:length])
        except Exception:
            wanted = None
        try:
            features = freshet.Features.decode(data[:length])
        except freshet.Error as error:
            assert error.code == grpc.StatusCode.INTERNAL
            continue
        assert wanted is not None, length
        assert features.items.ravel().tolist() == list(wanted.item_values)


def test_values_that_do_not_fit_their_columns_are_an_error():
    for message in (
        feature_pb2.GetFeaturesResponse(item_columns=["a"], item_values=[1, 2], item_present=[True]),
        feature_pb2.GetFeaturesResponse(user_columns=["a"], user_values=[1, 2]),
    ):
        with pytest.raises(freshet.Error, match="INTERNAL: the reply cannot be read"):
            freshet.Features.decode(message.SerializeToString())
