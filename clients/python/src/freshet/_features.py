"""A reply of GetFeatures as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Union

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from . import _packed
from ._errors import Error
from .v1 import event_pb2, feature_pb2

FloatArray = npt.NDArray[np.float32]
ValueArray = Union[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.float64]]

_USER_VALUES = feature_pb2.GetFeaturesResponse.USER_VALUES_FIELD_NUMBER
_ITEM_VALUES = feature_pb2.GetFeaturesResponse.ITEM_VALUES_FIELD_NUMBER
_ITEM_PRESENT = feature_pb2.GetFeaturesResponse.ITEM_PRESENT_FIELD_NUMBER
_LARGE = {_USER_VALUES: "<f4", _ITEM_VALUES: "<f4", _ITEM_PRESENT: "u1"}

_PADDED = feature_pb2.GetFeaturesResponse.PADDED_FIELD_NUMBER
_BLOCKS = {
    feature_pb2.PaddedSequence.KEYS_FIELD_NUMBER: "<u8",
    feature_pb2.PaddedSequence.MASK_FIELD_NUMBER: "u1",
    feature_pb2.PaddedSequence.IDS_FIELD_NUMBER: "<u8",
    feature_pb2.PaddedSequence.INTS_FIELD_NUMBER: "<i8",
    feature_pb2.PaddedSequence.NUMBERS_FIELD_NUMBER: "<f8",
}

# An empty field does not show its type; the catalogue fixes it by name.
_INTS = {"action", "scene", "ts_ms", "position", *map(str.lower, event_pb2.Action.keys())}  # a series is a field per action
_NUMBERS = {"value", "duration_s"}


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence: parallel arrays, newest first. Ids are uint64, actions, times and counts int64, other numbers float64.

    A series has a field per action, its counts oldest first. A sequence of the user serves the whole reply: `rows` is empty. Any
    other has the `key` it belongs to, or was matched by, and the item `rows` that have it.
    """

    name: str
    key: int
    rows: npt.NDArray[np.uint32]
    fields: dict[str, ValueArray]

    def __len__(self) -> int:
        return max(map(len, self.fields.values()), default=0)

    def __getitem__(self, field: str) -> ValueArray:
        return self.fields[field]


@dataclass(frozen=True, eq=False)
class Padded:
    """All sequences of a feature as blocks of rows of `length` records each, padded with zeros.

    A sequence of the user is the one row there is, and `item_rows` is empty; of any other `ids[item_rows]` has a row an item. The
    blocks are views of the reply's bytes.
    """

    name: str
    length: int
    item_rows: npt.NDArray[np.uint32]
    keys: npt.NDArray[np.uint64]  # of each row, as Sequence.key
    lengths: npt.NDArray[np.uint32]  # of each row: records that are no padding
    mask: npt.NDArray[np.bool_]  # rows × length: what is no padding
    ids: npt.NDArray[np.uint64]  # rows × length × id_fields
    ints: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    id_fields: tuple[str, ...]
    int_fields: tuple[str, ...]
    number_fields: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, field: str) -> ValueArray:
        """One field: rows × length."""
        for names, block in ((self.id_fields, self.ids), (self.int_fields, self.ints), (self.number_fields, self.numbers)):
            if field in names:
                column: ValueArray = block[:, :, names.index(field)]
                return column
        raise KeyError(field)

    @classmethod
    def _of(cls, part: memoryview) -> Padded:
        parts = _packed.cut(part, _BLOCKS)
        if parts is None:
            raise ValueError("a padded sequence in pieces")
        message = feature_pb2.PaddedSequence.FromString(parts[0])
        blocks = [_frozen(parts[1].get(field, np.empty(0, dtype))) for field, dtype in _BLOCKS.items()]
        keys, mask, ids, ints, numbers = blocks
        shape = (len(keys), message.length)
        return cls(
            message.name,
            message.length,
            _frozen(np.array(message.item_rows, np.uint32)),
            keys,
            _frozen(np.array(message.lengths, np.uint32)),
            mask.view(np.bool_).reshape(shape),
            ids.reshape(*shape, len(message.id_fields)),
            ints.reshape(*shape, len(message.int_fields)),
            numbers.reshape(*shape, len(message.number_fields)),
            tuple(message.id_fields),
            tuple(message.int_fields),
            tuple(message.number_fields),
        )


@dataclass(frozen=True, eq=False)
class Features:
    """The features of a user and of items, as of one moment of one node.

    The arrays are read-only, and those of floats are views of the reply's bytes: copy what you mean to change, or to keep when
    the rest may go.
    """

    user: dict[str, float]
    user_columns: tuple[str, ...]
    user_values: FloatArray
    user_present: bool
    items: FloatArray  # a row an item, in the order asked for
    item_columns: tuple[str, ...]
    item_present: npt.NDArray[np.bool_]
    item_fields: dict[str, ValueArray]  # "item.creator_id": a value an item
    sequences: list[Sequence]
    stream_time_ms: int
    applied_lag_ms: int
    request_id: int
    padded: dict[str, Padded]  # by feature: what `sequences` has without a `length`

    def column(self, name: str) -> FloatArray:
        """One column of `items`: a value an item."""
        try:
            return self.items[:, self.item_columns.index(name)]
        except ValueError:
            raise KeyError(name) from None

    @classmethod
    def decode(cls, data: bytes) -> Features:
        """Reads an encoded GetFeaturesResponse."""
        try:
            return cls._of(*_parse(data))
        except (DecodeError, ValueError) as failure:
            raise Error(grpc.StatusCode.INTERNAL, f"the reply cannot be read: {failure}") from failure

    @classmethod
    def _of(
        cls, reply: feature_pb2.GetFeaturesResponse, large: dict[int, npt.NDArray[Any]], parts: list[memoryview]
    ) -> Features:
        user_columns, item_columns = tuple(reply.user_columns), tuple(reply.item_columns)
        user_values, item_present = large[_USER_VALUES], large[_ITEM_PRESENT]
        if len(user_values) != len(user_columns):
            raise ValueError(f"{len(user_values)} values for {len(user_columns)} user columns")
        return cls(
            user=dict(zip(user_columns, user_values.tolist())),
            user_columns=user_columns,
            user_values=user_values,
            user_present=reply.user_present,
            items=large[_ITEM_VALUES].reshape(len(item_present), len(item_columns)),
            item_columns=item_columns,
            item_present=item_present,
            item_fields=_fields(reply.item_fields),
            sequences=[
                Sequence(one.name, one.key, _frozen(np.array(one.rows, np.uint32)), _fields(one.fields))
                for one in reply.sequences
            ],
            stream_time_ms=reply.stream_time_ms,
            applied_lag_ms=reply.applied_lag_ms,
            request_id=reply.request_id,
            padded={one.name: one for one in map(Padded._of, parts)},
        )


def _parse(data: bytes) -> tuple[feature_pb2.GetFeaturesResponse, dict[int, npt.NDArray[Any]], list[memoryview]]:
    """The message without its large arrays, these, and its padded sequences as they lie."""
    padded: list[memoryview] = []
    parts = _packed.cut(data, _LARGE, (_PADDED,), padded)
    if parts is not None:
        rest, views = parts
        large = {field: views.get(field, np.empty(0, dtype)) for field, dtype in _LARGE.items()}
        if not (large[_ITEM_PRESENT] > 1).any():  # else a varint of more than one byte, or a bool that is not 0 or 1
            large[_ITEM_PRESENT] = large[_ITEM_PRESENT].view(np.bool_)
            reply = feature_pb2.GetFeaturesResponse.FromString(rest)
            return reply, {field: _frozen(array) for field, array in large.items()}, padded
    reply = feature_pb2.GetFeaturesResponse.FromString(data)
    large = {
        _USER_VALUES: _frozen(np.array(reply.user_values, "<f4")),
        _ITEM_VALUES: _frozen(np.array(reply.item_values, "<f4")),
        _ITEM_PRESENT: _frozen(np.array(reply.item_present, np.bool_)),
    }
    return reply, large, [memoryview(one.SerializeToString()) for one in reply.padded]


def _fields(fields: Iterable[feature_pb2.Field]) -> dict[str, ValueArray]:
    return {field.name: _frozen(_values(field)) for field in fields}


def _values(field: feature_pb2.Field) -> ValueArray:
    kind = field.name.rpartition(".")[2]
    if field.ints or (kind in _INTS and not field.ids and not field.numbers):
        return np.array(field.ints, np.int64)
    if field.numbers or (kind in _NUMBERS and not field.ids):
        return np.array(field.numbers, np.float64)
    return np.array(field.ids, np.uint64)


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array
