"""Scores from a pulled copy of a model: the same bits as the node's own logits, without asking it."""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import numpy.typing as npt
import xxhash

from ._errors import Error
from ._features import Features
from ._ids import Id, id_of
from .v1 import event_pb2, feature_pb2, model_pb2

if TYPE_CHECKING:
    from ._client import Client

_SPARSE = 1 << 32  # ids below are the intercept and dense columns
_CLIP = 20.0
_LOGIT_MOST = 35.0
_ITEM_FIELDS = ("item.creator_id", "item.room_id", "item.category_id")


def _each(function: Callable[[float], float], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """By the C library's function, as the node has it: numpy's own may differ in the last bit."""
    return np.array([function(value) for value in values.ravel().tolist()], np.float64).reshape(values.shape)


@dataclass
class _Table:
    """Weights by row; `index` leads from an id to its row, row 0 is all zeros: what has no weights."""

    width: int
    rows: npt.NDArray[np.float32]
    index: dict[int, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, width: int) -> _Table:
        return cls(width, np.zeros((1024, width), np.float32))

    def put(self, ids: Iterable[int], weights: npt.NDArray[np.float32]) -> None:
        for number, one in enumerate(ids):
            row = self.index.get(one)
            if row is None:
                row = self.free.pop() if self.free else len(self.index) + len(self.free) + 1
                if row >= len(self.rows):
                    self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
                self.index[one] = row
            self.rows[row] = weights[number]

    def remove(self, ids: Iterable[int]) -> None:
        for one in ids:
            row = self.index.pop(one, None)
            if row is not None:
                self.rows[row] = 0
                self.free.append(row)

    def digest(self, means: npt.NDArray[np.float64], scales: npt.NDArray[np.float64]) -> int:
        total = 0
        for value in (*means.tolist(), *scales.tolist()):
            total = xxhash.xxh64_intdigest(struct.pack("<d", value), total)
        for one, row in self.index.items():
            total += xxhash.xxh64_intdigest(struct.pack("<Q", one) + self.rows[row].astype("<f4").tobytes())
        return total % 2**64 or 1


@dataclass(frozen=True)
class Version:
    """One version of a model, whole; it does not change."""

    number: int
    rows: npt.NDArray[np.float32]
    index: dict[int, int]
    means: npt.NDArray[np.float64]
    scales: npt.NDArray[np.float64]


class Ranker:
    """A copy of a node's model that follows it.

        ranker = freshet.Ranker(client, "shop")
        ranker.update()                                     # to the last version; again whenever you like
        rows = ranker.rows(features, user_id, item_ids)     # of a reply with the model's feature set and ranker.item_fields
        ranker.probabilities(*rows)                         # items × tasks

    `update` and the scoring methods may run in different threads; a call scores by one version.
    """

    def __init__(self, client: Client, model: str = "", *, verify: bool = False) -> None:
        schemas = [one for one in client.describe().schemas if not model or one.model == model]
        if len(schemas) != 1:
            raise ValueError(f"model: '{model}' is not one model of the node; it has {[one.model for one in schemas]}")
        self.schema: feature_pb2.SchemaDescription = schemas[0]
        self.tasks: tuple[str, ...] = tuple(self.schema.tasks)
        self.item_fields = list(_ITEM_FIELDS)
        self._client = client
        self._verify = verify
        self._lock = threading.Lock()
        self._table = _Table.empty(len(self.tasks) + self.schema.factors)
        self._version: Version | None = None
        self._pending: list[Any] = []

    # ---- Following ----

    @property
    def version(self) -> int:
        """0 before the first update."""
        return self._version.number if self._version else 0

    def update(self, timeout: float = 30.0) -> int:
        """Goes to the version that the node has now; its number."""
        for number in self.follow(timeout=timeout):
            return number
        raise Error(grpc.StatusCode.UNAVAILABLE, "the node ended the stream before a version was whole")

    def follow(self, timeout: float | None = None) -> Iterator[int]:
        """Each version as it is published, applied when it is yielded; until `timeout`, or for ever."""
        request = model_pb2.PullRequest(model=self.schema.model, since_version=self.version)
        stream = self._client._stream("/freshet.v1.ModelService/Pull", request.SerializeToString(), timeout)
        self._pending = []
        try:
            for reply in stream:
                if self._take(model_pb2.ModelDelta.FromString(reply)):
                    yield self.version
        except grpc.RpcError as failure:
            raise Error(failure.code(), failure.details() or "") from failure
        finally:
            stream.cancel()

    def _take(self, delta: model_pb2.ModelDelta) -> bool:
        """True when that was the last of a version."""
        if delta.schema != self.schema.schema:
            raise ValueError("the model has another schema now; make a new Ranker")
        self._pending.append(delta)
        if not delta.digest:
            return False
        pending, self._pending = self._pending, []
        with self._lock:
            self._apply(pending)
        return True

    def _apply(self, deltas: list[model_pb2.ModelDelta]) -> None:
        for delta in deltas:
            if delta.full:
                self._table = _Table.empty(delta.width)
            weights = np.array(delta.weights, np.float32).reshape(-1, delta.width)
            self._table.remove(delta.removed)
            self._table.put(delta.ids, weights)
        last = deltas[-1]
        means, scales = np.array(last.dense_mean), np.array(last.dense_scale)
        if self._verify and self._table.digest(means, scales) != last.digest:
            self._version = None  # the next update begins anew
            raise ValueError(f"version {last.version} has another digest than its copy")
        self._version = Version(last.version, self._table.rows.copy(), dict(self._table.index), means, scales)

    # ---- What is in it ----

    def weights(self, ids: Iterable[int] | npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
        """A copy of the rows of weights (tasks, then factors) by id: 0 the intercept, 1 + k dense column k, else a coordinate.

        Zeros for what has none.
        """
        version = self._pulled()
        rows: npt.NDArray[np.float32] = version.rows[[version.index.get(int(one), 0) for one in ids]]
        return rows

    def standardised(self, dense: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The dense part of rows as logits have it: transformed, standardised, clipped."""
        return self._standardised(self._pulled(), dense)

    def _pulled(self) -> Version:
        if self._version is None:
            raise ValueError("nothing is pulled yet; call update()")
        return self._version

    # ---- Rows ----

    def rows(
        self, features: Features, user_id: Id, item_ids: Iterable[Id], *, room_id: Id = 0, scene: str = ""
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]:
        """What an Example of each item would hold: dense values and sparse coordinates.

        `features` is a reply for the same user and items with the model's feature set and, where sparse names an item's field,
        `features=ranker.item_fields`.
        """
        items = [id_of(one) for one in item_ids]
        dense = np.empty((len(items), len(self.schema.dense)), np.float32)
        for number, name in enumerate(self.schema.dense):
            dense[:, number] = features.user[name] if name in features.user else features.column(name)
        shared = {"user_id": id_of(user_id), "room_id": id_of(room_id) if room_id else 0}
        shared["scene"] = event_pb2.Scene.Value(scene.upper()) if scene else 0
        sparse = np.empty((len(items), len(self.schema.sparse)), np.uint64)
        for row, item in enumerate(items):
            for number, name in enumerate(self.schema.sparse):
                sparse[row, number] = self._coordinate(name, {**shared, "item_id": item}, features, row)
        return dense, sparse

    def _coordinate(self, name: str, ids: dict[str, int], features: Features, row: int) -> int:
        parts = b""
        for part in name.split("*"):
            if part in ids:
                value = ids[part]
            elif part in _ITEM_FIELDS:
                value = int(features.item_fields[part][row])
            else:
                value = bucket(features.user[part] if part in features.user else float(features.column(part)[row]))
            parts += part.encode() + b"\0" + struct.pack("<Q", value % 2**64)
        return _SPARSE + xxhash.xxh64_intdigest(parts) % (1 << self.schema.bits)

    # ---- Scores ----

    def logits(self, dense: npt.NDArray[np.float32], sparse: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """Items × tasks: double sums in the model's order, so the bits are the node's."""
        version = self._pulled()
        x = self._standardised(version, dense)
        tasks, factors = len(self.tasks), self.schema.factors
        of = version.index.get
        fixed = version.rows[[of(one, 0) for one in range(len(self.schema.dense) + 1)]].astype(np.float64)
        found = version.rows[[[of(int(one), 0) for one in row] for row in sparse]].astype(np.float64)
        found = found.reshape(len(sparse), len(self.schema.sparse), tasks + factors)
        logits = np.tile(fixed[0, :tasks], (len(dense), 1))
        for column in range(dense.shape[1]):  # one after the other: numpy's own sums have another order
            logits += fixed[column + 1, :tasks] * x[:, column : column + 1]
        for place in range(sparse.shape[1]):
            logits += found[:, place, :tasks]
        if factors:
            logits += 0.5 * _pairs(found[:, :, tasks:])[:, None]
        return logits

    def pairs(self, sparse: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """What the factors add to the logit of each row, whatever the task."""
        tasks, factors = len(self.tasks), self.schema.factors
        found = self.weights(sparse.ravel()).astype(np.float64).reshape(*sparse.shape, tasks + factors)
        return 0.5 * _pairs(found[:, :, tasks:])

    def probabilities(self, dense: npt.NDArray[np.float32], sparse: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
        """Items × tasks, as Score has them."""
        logits = np.clip(self.logits(dense, sparse), -_LOGIT_MOST, _LOGIT_MOST)
        return (1 / (1 + _each(math.exp, -logits))).astype(np.float32)

    def _standardised(self, version: Version, dense: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        x = dense.astype(np.float64)
        is_finite = np.isfinite(x)
        x[~is_finite] = 0
        for column, transform in enumerate(self.schema.transforms):
            if transform == "log":
                x[:, column] = np.copysign(_each(math.log1p, np.abs(x[:, column])), x[:, column])
        x = np.clip((x - version.means) / version.scales, -_CLIP, _CLIP)
        x[~is_finite] = 0
        return x


def _pairs(v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = np.zeros(len(v))
    for factor in range(v.shape[2]):
        sums, squares = np.zeros(len(v)), np.zeros(len(v))
        for place in range(v.shape[1]):
            sums += v[:, place, factor]
            squares += v[:, place, factor] * v[:, place, factor]
        total += sums * sums - squares
    return total


def bucket(value: float) -> int:
    """What a column's value counts as in a sparse coordinate: half octaves of 1 + |value|, signed; 0 for 0 and NaN."""
    if value == 0 or math.isnan(value):
        return 0
    mantissa, exponent = math.frexp(1 + abs(value)) if math.isfinite(value) else (0.0, 0)
    number = 1 + (mantissa >= 0.70710678118654752440) + 2 * (exponent - 1) if mantissa else 2048
    return number if value > 0 else -number
