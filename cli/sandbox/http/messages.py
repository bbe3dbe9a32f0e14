"""Bodies of requests within their limits, and answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from ..refusal import HttpRefusal

MAX_JSON_BYTES = 4 * 1024 * 1024
MAX_UPLOAD_BYTES = 2 * 1024 * 1024 * 1024
CHUNK = 256 * 1024


def pieces(request: Request) -> Iterator[bytes]:
    """A request's body in pieces; `HttpRefusal` in S3's words when it has no length, is too long or ends early."""
    if request.headers.get("Transfer-Encoding"):
        raise HttpRefusal(411, "MissingContentLength")
    if (request.content_length or 0) > MAX_UPLOAD_BYTES:
        raise HttpRefusal(413, "EntityTooLarge")
    try:
        while piece := request.stream.read(CHUNK):
            yield piece
    except ClientDisconnected:
        raise HttpRefusal(400, "IncompleteBody") from None


def json_body(request: Request) -> object:
    """A request's body as JSON; `HttpRefusal` 400 or 413."""
    if (request.content_length or 0) > MAX_JSON_BYTES:
        raise HttpRefusal(413, "the body is too large")
    try:
        return json.loads(b"".join(pieces(request)) or b"null")
    except (ValueError, RecursionError):  # or it is nested too deep
        raise HttpRefusal(400, "the body is not JSON") from None


def json_response(status: int, value: object) -> Response:
    """An answer in JSON."""
    return Response(json.dumps(value, separators=(",", ":")), status, content_type="application/json; charset=utf-8")
