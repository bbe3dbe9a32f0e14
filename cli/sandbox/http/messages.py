"""A request as the routes see it, and the answer that they give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from ..refusal import HttpRefusal

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_UPLOAD_BYTES = 2 * 1024 * 1024 * 1024
_CHUNK = 256 * 1024


class Readable(Protocol):
    """Where the bytes of a body come from."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; fewer only at the end."""


class Request:
    """One request. Its body is read only when somebody asks for it."""

    def __init__(self, method: str, target: str, headers: Message, body: Readable, client: str, base_url: str) -> None:
        parts = urlsplit(target)
        self.method = method
        self.path = unquote(parts.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.headers = headers
        self.client = client
        self.base_url = base_url
        self._body = body
        self._unread = self._announced_length()

    def json(self) -> object:
        """The body as JSON; `HttpRefusal` 400 or 413."""
        if self._unread > MAX_JSON_BYTES:
            raise HttpRefusal(413, "the body is too large")
        try:
            return json.loads(b"".join(self.chunks()) or b"null")
        except ValueError:
            raise HttpRefusal(400, "the body is not JSON") from None

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces; `HttpRefusal` 400 when the client stops before its end."""
        if self.headers.get("Transfer-Encoding"):
            raise HttpRefusal(411, "MissingContentLength")
        if self._unread > MAX_UPLOAD_BYTES:
            raise HttpRefusal(413, "EntityTooLarge")
        while self._unread:
            piece = self._body.read(min(_CHUNK, self._unread))
            if not piece:
                raise HttpRefusal(400, "IncompleteBody")
            self._unread -= len(piece)
            yield piece

    @property
    def fully_read(self) -> bool:
        """Whether another request may follow on the same connection."""
        return self._unread == 0 and not self.headers.get("Transfer-Encoding")

    def _announced_length(self) -> int:
        text = self.headers.get("Content-Length") or "0"
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True)
class FilePart:
    """A stretch of a file that is sent as a body."""

    path: Path
    start: int
    length: int

    def pieces(self) -> Iterator[bytes]:
        """The bytes, in pieces."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left and (piece := file.read(min(_CHUNK, left))):
                left -= len(piece)
                yield piece


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body from memory or from a file."""

    status: int
    body: bytes | FilePart = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.length

    def pieces(self) -> Iterator[bytes]:
        """The body, in pieces."""
        if isinstance(self.body, bytes):
            for start in range(0, len(self.body), _CHUNK):
                yield self.body[start : start + _CHUNK]
        else:
            yield from self.body.pieces()


def json_answer(status: int, value: object) -> Answer:
    """A JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, body, {"Content-Type": "application/json; charset=utf-8"})


def store_error(status: int, message: str) -> Answer:
    """An error as an S3-like object store words it."""
    code = message.partition(":")[0]
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Answer(status, text.encode(), {"Content-Type": "application/xml"})
