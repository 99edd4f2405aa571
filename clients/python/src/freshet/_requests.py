"""The calls, as bytes to send and what reads the bytes that come back; the same for both clients."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, Generic, NamedTuple, TypeVar, Union

import numpy as np
import numpy.typing as npt

from ._features import Features
from ._ids import Id, id_of
from .v1 import admin_pb2, feature_pb2, model_pb2

Reply = TypeVar("Reply")
Ids = Union[Iterable[Id], "npt.NDArray[Any]"]


class Offset(NamedTuple):
    """A position in a topic: `offset` is the one of a record that was produced."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True)
class Call(Generic[Reply]):
    """A call to be sent, as often as needed."""

    method: str
    request: bytes
    read: Callable[[bytes], Reply]


def get_features(
    user_id: Id,
    item_ids: Ids,
    features: Iterable[str],
    feature_set: str,
    room_id: Id,
    as_of_ms: int,
    after: Iterable[tuple[str, int, int]],
    shape: tuple[int, bool, bool],
) -> Call[Features]:
    for name, given in (("item_ids", item_ids), ("features", features)):
        if isinstance(given, (str, bytes)):
            raise TypeError(f"{name}: give a list, not one {type(given).__name__}")
    request = feature_pb2.GetFeaturesRequest(
        user_id=id_of(user_id),
        item_ids=_numbers(item_ids),
        room_id=id_of(room_id),
        feature_set=feature_set,
        features=features,
        as_of_ms=as_of_ms,
        after=[feature_pb2.Offset(topic=topic, partition=partition, offset=offset) for topic, partition, offset in after],
    )
    length, pad_left, oldest_first = shape
    if any(shape):
        request.shape.CopyFrom(feature_pb2.Shape(length=length, pad_left=pad_left, oldest_first=oldest_first))
    return Call("/freshet.v1.FeatureService/GetFeatures", request.SerializeToString(), Features.decode)


def _numbers(ids: Ids) -> list[int]:
    if isinstance(ids, np.ndarray):
        ids = ids.tolist()
    return [one if type(one) is int else id_of(one) for one in ids]  # protobuf checks the range of an int, ten times faster


def describe() -> Call[feature_pb2.DescribeResponse]:
    request = feature_pb2.DescribeRequest()
    return Call("/freshet.v1.FeatureService/Describe", request.SerializeToString(), feature_pb2.DescribeResponse.FromString)


def status() -> Call[admin_pb2.StatusResponse]:
    request = admin_pb2.StatusRequest()
    return Call("/freshet.v1.AdminService/Status", request.SerializeToString(), admin_pb2.StatusResponse.FromString)


def checkpoint() -> Call[admin_pb2.CheckpointResponse]:
    request = admin_pb2.CheckpointRequest()
    return Call("/freshet.v1.AdminService/Checkpoint", request.SerializeToString(), admin_pb2.CheckpointResponse.FromString)


def digest(all: bool) -> Call[admin_pb2.DigestResponse]:
    request = admin_pb2.DigestRequest(all=all)
    return Call("/freshet.v1.AdminService/Digest", request.SerializeToString(), admin_pb2.DigestResponse.FromString)


def cluster() -> Call[admin_pb2.ClusterResponse]:
    request = admin_pb2.ClusterRequest()
    return Call("/freshet.v1.AdminService/Cluster", request.SerializeToString(), admin_pb2.ClusterResponse.FromString)


def push(request: model_pb2.PushRequest) -> Call[model_pb2.PushResponse]:
    return Call("/freshet.v1.ModelService/Push", request.SerializeToString(), model_pb2.PushResponse.FromString)
