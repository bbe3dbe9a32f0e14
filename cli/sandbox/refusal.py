"""What the sandbox answers when it will not do what was asked."""

from __future__ import annotations

MISSING_OBJECT = "An error occurred (404) when calling the HeadObject operation: Not Found"
"""Numerai's own passing fault: its storage does not have an uploaded file yet. Told in `errors`, gone within minutes.

Source: forum.numer.ai (several threads); the exact words are not known.
"""


class Refusal(Exception):
    """A GraphQL error with a message for the caller (HTTP 200, as at Numerai)."""


class HttpRefusal(Exception):
    """An HTTP answer other than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
