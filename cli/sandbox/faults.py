"""Faults that tests order: what goes wrong, where, and how many times more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from msgspec import structs

from .journal import Journal, Table
from .records import FaultRecord
from .refusal import MISSING_OBJECT, HttpRefusal

TARGETS = ("graphql", "download", "upload", "webhook")
ERROR_KINDS = ("error", "bare-error")
KINDS = ("status", "drop", "hang", "truncate", "corrupt", "slow", "stale", *ERROR_KINDS)
_ONLY_FOR = {"stale": "download", **dict.fromkeys(ERROR_KINDS, "graphql")}
"""The one target of each fault that has only one."""
WHEN = ("before", "after")
DEFAULT_SECONDS = {"hang": 3600.0, "slow": 5.0}
_FIELDS = {"target", "kind", "status", "times", "match", "seconds", "when", "message"}


class Faults:
    """The faults that are still to come (`ordered`), oldest first. Each request takes at most one."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.ordered = Table(journal, "faults", FaultRecord)

    def add(self, order: Mapping[str, object]) -> FaultRecord:
        """Order a fault as `POST /sandbox/faults` describes it; `HttpRefusal` 400 when it makes no sense."""
        return self.ordered.put(parse_fault(order))

    def clear(self) -> int:
        """Forget every fault; returns how many there were."""
        found = self.ordered.all()
        for fault in found:
            self.ordered.remove(fault.id)
        return len(found)

    def take(self, target: str, *subjects: str | None) -> FaultRecord | None:
        """The fault that this request must suffer, counted down; None when there is none.

        `subjects` are the words that a fault's `match` may be part of: path, operation, file or model name.
        """
        with self._journal.lock:
            for fault in self.ordered.all():
                if fault.target != target or not _matches(fault, subjects):
                    continue
                if fault.times is not None and fault.times <= 1:
                    self.ordered.remove(fault.id)
                elif fault.times is not None:
                    self.ordered.put(structs.replace(fault, times=fault.times - 1))
                return fault
        return None


def parse_fault(order: Mapping[str, object]) -> FaultRecord:
    """A fault from its JSON description; `HttpRefusal` 400 names what is wrong with it."""
    unknown = set(order) - _FIELDS
    if unknown:
        raise HttpRefusal(400, f"unknown field '{sorted(unknown)[0]}'; known are {', '.join(sorted(_FIELDS))}")
    status = _number(order, "status", 503)
    times = None if "times" in order and order["times"] is None else _number(order, "times", 1)
    seconds = order.get("seconds")
    if not 100 <= status <= 599:
        raise HttpRefusal(400, "status must be between 100 and 599")
    if times is not None and times < 1:
        raise HttpRefusal(400, "times must be at least 1, or null for 'until cleared'")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0):
        raise HttpRefusal(400, "seconds must be a number, at least 0")
    only_for = _ONLY_FOR.get(str(order.get("kind")))
    if only_for is not None and order.get("target") != only_for:
        raise HttpRefusal(400, f"{order['kind']} is a fault of {only_for} only")
    return FaultRecord(
        id=uuid.uuid4().hex,
        target=_choice(order, "target", TARGETS),
        kind=_choice(order, "kind", KINDS),
        status=status,
        times=times,
        match=_optional_text(order, "match"),
        seconds=None if seconds is None else float(seconds),
        when=_choice({"when": "before", **order}, "when", WHEN),
        message=_optional_text(order, "message"),
    )


def seconds_of(fault: FaultRecord) -> float:
    """How long a `hang` or `slow` fault takes."""
    return fault.seconds if fault.seconds is not None else DEFAULT_SECONDS.get(fault.kind, 0.0)


def graphql_error(fault: FaultRecord, operation: str | None) -> dict[str, object]:
    """The answer of an `error` fault: HTTP 200 and one error. A `bare-error` has no `message`.

    Source of the latter: an error object of the API with `error` and `code` only, seen in a recorded answer, 2025-09.
    """
    message = fault.message or MISSING_OBJECT
    if fault.kind == "bare-error":
        return {"errors": [{"error": message, "code": fault.status}]}
    fields = (operation or "").split("+")
    errors = [{"message": message, "locations": [{"line": 1, "column": 1}], "path": [field]} for field in fields]
    return {"data": dict.fromkeys(fields), "errors": errors}


def corrupted(body: bytes) -> bytes:
    """The same number of bytes, with every bit of a stretch in the middle flipped."""
    start, end = len(body) // 3, len(body) // 3 + max(1, min(64, len(body) // 3))
    return body[:start] + bytes(byte ^ 0xFF for byte in body[start:end]) + body[end:]


def _matches(fault: FaultRecord, subjects: tuple[str | None, ...]) -> bool:
    return fault.match is None or any(fault.match in subject for subject in subjects if subject)


def _choice(order: Mapping[str, object], name: str, choices: tuple[str, ...]) -> str:
    value = order.get(name)
    if not isinstance(value, str) or value not in choices:
        raise HttpRefusal(400, f"{name} must be one of {', '.join(choices)}")
    return value


def _optional_text(order: Mapping[str, object], name: str) -> str | None:
    value = order.get(name)
    if value is not None and not isinstance(value, str):
        raise HttpRefusal(400, f"{name} must be a text")
    return value


def _number(order: Mapping[str, object], name: str, default: int) -> int:
    value = order.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise HttpRefusal(400, f"{name} must be a whole number")
    return value
