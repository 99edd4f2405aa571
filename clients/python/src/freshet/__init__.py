"""Reads the features that Freshet keeps, as numpy arrays, over gRPC.

    with freshet.Client("127.0.0.1:7070") as client:
        features = client.get_features(7, [1, 2, 3], feature_set="fine_rank")
        features.items        # float32, a row an item, a column for each of features.item_columns

The messages of the services are in `freshet.v1.feature_pb2` and its siblings.
"""

from ._channel import TLS
from ._client import Client
from ._client_async import AsyncClient
from ._cluster import ClusterClient
from ._cluster_async import AsyncClusterClient
from ._errors import Error
from ._features import Features, Padded, Sequence
from ._ids import Id, id_of
from ._ranker import Ranker
from ._requests import Offset

__all__ = [
    "TLS",
    "AsyncClient",
    "AsyncClusterClient",
    "Client",
    "ClusterClient",
    "Error",
    "Features",
    "Id",
    "Offset",
    "Padded",
    "Ranker",
    "Sequence",
    "id_of",
]
