"""An outside trainer: reads the examples that a node joined, trains a head of your own on them, and pushes it.

    with freshet.Client("127.0.0.1:7070") as client, trainer.Examples("kafka:9092") as examples:
        head = trainer.TorchHead(dense=12, sparse_bits=22)         # or anything with learn() and column()
        training = trainer.Trainer(client, examples, head, model="shop", task="click")
        while True:
            training.step()

Needs confluent-kafka (`pip install freshet-client[trainer]`), `TorchHead` and `TorchGradients` PyTorch. A head is one task's
column of the model's weights: what the others have, and the factors, stays as it is. There are two kinds. One learns by itself
and has weights: what it pushed is what Score uses, until the node's own learner goes on from there. The other has gradients
at the weights that the node has, and the model's own optimiser takes a step by their sum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

import grpc
import numpy as np
import numpy.typing as npt

from . import _requests
from ._errors import Error
from ._ranker import Ranker
from ._torch import TorchGradients, TorchHead
from .v1 import model_pb2

if TYPE_CHECKING:
    from ._client import Client

__all__ = ["Batch", "Examples", "GradientHead", "Head", "Here", "TorchGradients", "TorchHead", "Trainer"]

_ROWS_A_PUSH = 16384
_KNOWN_IDS = 1 << 20


@dataclass(frozen=True)
class Batch:
    """Examples of one task. `dense` is standardised as the node does it, `sparse` has coordinates (2^32 + …), labels lie in [0, 1]."""

    dense: npt.NDArray[np.float64]
    sparse: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    # Those to be weighted: positives by 1 + p, negatives by 1 − p², p the head's own prediction held still.
    is_fnw: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)


class Head(Protocol):
    def learn(self, batch: Batch) -> None: ...

    def column(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float32]]:
        """Ids (0 the intercept, 1 + k dense column k, else the coordinate) and weights: all that changed since the last time."""
        ...


@dataclass(frozen=True)
class Here:
    """Where the node's task is, of what a batch names. An example's logit is its offset, the intercept's weight, Σ dense × weight,
    and Σ weights[places of it]."""

    ids: npt.NDArray[np.uint64]  # 0 the intercept, 1 + k dense column k, then the batch's coordinates, each once
    weights: npt.NDArray[np.float64]  # of these
    places: npt.NDArray[np.int64]  # examples × sparse: where in ids
    offset: npt.NDArray[np.float64]  # what the factors add


@runtime_checkable
class GradientHead(Protocol):
    def gradients(self, batch: Batch, here: Here) -> npt.NDArray[np.float64]:
        """Of the batch's summed loss, by each of here.ids at here.weights; asked again when the node has moved on."""
        ...


class Examples:
    """The topic of examples. Each is handed out once, though a record may lie there twice; after a crash those since the last
    `done` come again. `properties` are librdkafka's, for TLS and the like."""

    def __init__(
        self, brokers: str, topic: str = "freshet.examples", group: str = "freshet-trainer", **properties: str | int | bool
    ) -> None:
        from confluent_kafka import Consumer

        self._consumer: Any = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                **properties,
            }
        )
        self._consumer.subscribe([topic])
        self._known: dict[int, None] = {}
        self._is_taken = False

    def __enter__(self) -> Examples:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self._consumer.close()

    def take(self, count: int, timeout: float) -> list[model_pb2.Example]:
        """Up to `count`, as many as come within `timeout` seconds. The node makes the topic with its first example: until then none."""
        from confluent_kafka import KafkaError, KafkaException

        found = []
        for message in self._consumer.consume(count, timeout):
            if message.error():
                if message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue
                raise KafkaException(message.error())
            example = model_pb2.Example.FromString(message.value())
            if example.example_id not in self._known:
                self._known[example.example_id] = None
                found.append(example)
            self._consumer.store_offsets(message)
            self._is_taken = True
        while len(self._known) > _KNOWN_IDS:
            del self._known[next(iter(self._known))]
        return found

    def done(self) -> None:
        """What was taken so far need not come again."""
        if self._is_taken:
            self._consumer.commit(asynchronous=False)
            self._is_taken = False


class Source(Protocol):
    def take(self, count: int, timeout: float) -> list[model_pb2.Example]: ...

    def done(self) -> None: ...


class Trainer:
    """Takes examples, lets the head learn, pushes its column. One thread.

    A push names the version that it was made against. When the node has gone too far since, or was started anew, it
    refuses; then the trainer goes to the node's version and pushes again, `attempts` times in all.
    """

    def __init__(
        self, client: Client, examples: Source, head: Union[Head, GradientHead], *, model: str = "", task: str = "", attempts: int = 5
    ) -> None:
        self.head = head
        self.learned = 0  # examples
        self.skipped = 0  # of other tasks or models, or of another schema
        self.stale = 0  # pushes that were refused because of their version
        self.rejected = 0  # rows that the node did not take
        self._client, self._examples, self._attempts = client, examples, attempts
        self._ranker = Ranker(client, model)
        self.schema = self._ranker.schema
        self.task = self._ranker.tasks.index(task) if task else 0
        self._ranker.update()

    @property
    def version(self) -> int:
        """The version against which the next push is made."""
        return self._ranker.version

    def step(self, count: int = 2048, timeout: float = 1.0) -> int:
        """Learns from up to `count` examples and pushes; how many it learned from. They are done once the node has the push."""
        taken = self._examples.take(count, timeout)
        mine = [one for one in taken if self._is_mine(one)]
        self.skipped += len(taken) - len(mine)
        if mine:
            self._ranker.update()  # what becomes standard drifts, and so do other tasks' weights
            batch = self.batch(mine)
            if isinstance(self.head, GradientHead):
                self.push_gradients(self.head, batch)
            else:
                self.head.learn(batch)
                self.push()
            self.learned += len(mine)
        self._examples.done()
        return len(mine)

    def _is_mine(self, example: model_pb2.Example) -> bool:
        task = self._ranker.tasks[self.task]
        return example.schema == self.schema.schema and bool(example.labels) and example.labels[0].task == task

    def batch(self, examples: Iterable[model_pb2.Example]) -> Batch:
        rows = list(examples)
        dense = np.array([one.dense for one in rows], np.float32).reshape(len(rows), len(self.schema.dense))
        return Batch(
            dense=self._ranker.standardised(dense),
            sparse=np.array([one.sparse for one in rows], np.uint64).reshape(len(rows), len(self.schema.sparse)),
            labels=np.array([one.labels[0].value for one in rows], np.float64),
            weights=np.array([one.labels[0].weight for one in rows], np.float64),
            is_fnw=np.array([one.policy == "fnw" for one in rows], np.bool_),
        )

    def here(self, batch: Batch) -> Here:
        """The task's weights as they were pulled, of what the batch names."""
        coordinates, places = np.unique(batch.sparse, return_inverse=True)
        fixed = np.arange(1 + batch.dense.shape[1], dtype=np.uint64)
        ids = np.concatenate([fixed, coordinates])
        return Here(
            ids=ids,
            weights=self._ranker.weights(ids)[:, self.task].astype(np.float64),
            places=len(fixed) + places.reshape(batch.sparse.shape).astype(np.int64),
            offset=self._ranker.pairs(batch.sparse),
        )

    def push(self) -> int:
        """Pushes what a head with weights changed; the first version with all of it."""
        assert not isinstance(self.head, GradientHead)
        ids, weights = self.head.column()

        def rows(some: slice) -> npt.NDArray[np.float32]:
            rows = self._ranker.weights(ids[some])
            rows[:, self.task] = weights[some]
            return rows

        return self._push_all(model_pb2.PushRequest.WEIGHTS, ids, rows)

    def push_gradients(self, head: GradientHead, batch: Batch) -> int:
        """Pushes the gradient over a batch; the first version with all of it."""
        here, taken_at = self.here(batch), self.version
        slopes = head.gradients(batch, here)

        def rows(some: slice) -> npt.NDArray[np.float32]:
            nonlocal slopes, taken_at
            if taken_at != self.version:  # it was refused as stale, and the weights are others now
                slopes, taken_at = head.gradients(batch, self.here(batch)), self.version
            rows = np.zeros((len(slopes[some]), len(self._ranker.tasks) + self.schema.factors), np.float32)
            rows[:, self.task] = slopes[some]
            return rows

        return self._push_all(model_pb2.PushRequest.GRADIENTS, here.ids, rows)

    def _push_all(
        self,
        kind: model_pb2.PushRequest.Kind,
        ids: npt.NDArray[np.uint64],
        rows: Callable[[slice], npt.NDArray[np.float32]],
    ) -> int:
        version = self.version
        for at in range(0, len(ids), _ROWS_A_PUSH):
            version = self._push(kind, ids, rows, slice(at, at + _ROWS_A_PUSH))
        return version

    def _push(
        self,
        kind: model_pb2.PushRequest.Kind,
        ids: npt.NDArray[np.uint64],
        rows: Callable[[slice], npt.NDArray[np.float32]],
        some: slice,
    ) -> int:
        for attempt in range(self._attempts):
            values = rows(some)
            request = model_pb2.PushRequest(
                model=self.schema.model,
                base_version=self.version,
                schema=self.schema.schema,
                kind=kind,
                width=values.shape[1],
                ids=ids[some].tolist(),
                values=values.ravel().tolist(),
            )
            try:
                reply = self._client._run(_requests.push(request), None)
            except Error as failure:
                if failure.code != grpc.StatusCode.FAILED_PRECONDITION or attempt + 1 == self._attempts:
                    raise
                self.stale += 1
                time.sleep(0.05 * attempt)
                self._ranker.update()
                continue
            self.rejected += reply.rejected
            return reply.version
        raise AssertionError("attempts: give 1 or more")
