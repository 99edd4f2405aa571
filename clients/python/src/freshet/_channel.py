"""How a client reaches a node: plaintext or TLS, a token, keepalive."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import grpc

Pem = Union[str, "os.PathLike[str]", bytes]

_RECONNECT_MS = 100
_LONGEST_RECONNECT_MS = 2_000
_LONGEST_REPLY_BYTES = 64 << 20


@dataclass(frozen=True)
class TLS:
    """TLS to a node.

    `ca` verifies the node (None: the roots that gRPC brings); `cert` and `key`, together, are the client's own. Each is the
    path of a PEM file, or the PEM itself as bytes. `server_name` is the name to verify instead of the target's host.
    """

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = field(default=None, repr=False)
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("TLS: give cert and key together, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def _read(pem: Pem | None) -> bytes | None:
    if pem is None or isinstance(pem, bytes):
        return pem
    with open(pem, "rb") as file:
        return file.read()


def options(
    tls: TLS | None, keepalive: float | None, keepalive_timeout: float, more: Sequence[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """The channel's arguments; those of `more` win."""
    chosen: dict[str, Any] = {
        # A restarted node is found again before the retries of a call are used up; gRPC's own first pause is 1 s.
        "grpc.initial_reconnect_backoff_ms": _RECONNECT_MS,
        "grpc.max_reconnect_backoff_ms": _LONGEST_RECONNECT_MS,
        "grpc.max_receive_message_length": _LONGEST_REPLY_BYTES,
    }
    if keepalive is not None:
        chosen["grpc.keepalive_time_ms"] = int(keepalive * 1000)
        chosen["grpc.keepalive_timeout_ms"] = int(keepalive_timeout * 1000)
        # Between calls too: else a connection that a firewall forgot is noticed by the next call's deadline.
        chosen["grpc.keepalive_permit_without_calls"] = 1
        chosen["grpc.http2.max_pings_without_data"] = 0
    if tls is not None and tls.server_name is not None:
        chosen["grpc.ssl_target_name_override"] = tls.server_name
    chosen.update(more)
    return list(chosen.items())


def metadata(token: str | None) -> tuple[tuple[str, str], ...]:
    """What goes with every call."""
    if token is None:
        return ()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("token: use printable ASCII without spaces")  # never the token itself
    return (("authorization", f"Bearer {token}"),)
