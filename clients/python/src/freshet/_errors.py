"""The one exception that a call ends with."""

from __future__ import annotations

import grpc


class Error(Exception):
    """A call that failed: `code` is a grpc.StatusCode, `message` says what to change."""

    code: grpc.StatusCode
    message: str

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"
