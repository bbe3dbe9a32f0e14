"""What the sandbox answers when it will not do what was asked."""

from __future__ import annotations


class Refusal(Exception):
    """A GraphQL error with a message for the caller (HTTP 200, as at Numerai)."""


class HttpRefusal(Exception):
    """An HTTP answer other than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
