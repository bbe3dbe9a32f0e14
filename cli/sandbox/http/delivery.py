"""Faults on the wire: an answer that is replaced, garbled, cut short, slow, or never comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from werkzeug.wrappers import Response

from ..faults import ERROR_KINDS, corrupted, seconds_of
from ..records import FaultRecord
from .messages import json_response

_SLOW_STEPS = 10


def fault_response(fault: FaultRecord | None) -> Response | None:
    """The answer of a `status` fault; any other has none."""
    if fault is None or fault.kind != "status":
        return None
    return json_response(fault.status, {"errors": {"detail": "a fault ordered from the sandbox"}})


def delivered(response: Response | None, fault: FaultRecord | None, stopping: threading.Event) -> Response:
    """The answer as the fault leaves it; `ConnectionAbortedError` when the connection must be reset instead.

    What an upload's fault spoils is the object in the store, not the answer.
    """
    if fault is not None and fault.kind == "hang":
        stopping.wait(seconds_of(fault))
    if response is None or (fault is not None and fault.kind in ("drop", "hang")):
        raise ConnectionAbortedError
    if fault is None or fault.kind in ("stale", *ERROR_KINDS):
        return response
    if fault.kind == "status" or (fault.target == "upload" and fault.kind != "slow"):
        return fault_response(fault) or response
    response.direct_passthrough = False
    body = response.get_data()
    if fault.kind == "corrupt":
        response.set_data(corrupted(body))
        return response
    response.content_length = len(body)
    if fault.kind == "truncate":
        response.response = [body[: len(body) // 2]]
        response.headers["Connection"] = "close"
    else:
        response.response = _paced(body, seconds_of(fault) / _SLOW_STEPS, stopping)
    return response


def _paced(body: bytes, pause: float, stopping: threading.Event) -> Iterator[bytes]:
    size = max(1, -(-len(body) // _SLOW_STEPS))
    for start in range(0, max(1, len(body)), size):
        stopping.wait(pause)
        yield body[start : start + size]
