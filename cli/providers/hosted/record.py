"""What this home knows of its uploads, which the API does not tell: from which source, for which node, started by whom.

One file for each node, and one for how often Numerai was asked lately for what it limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from ...errors import EnvironmentNotReady, NumeraiError
from ...files.locks import holding
from ...files.private import remove_file, write_private

T = TypeVar("T")
KEPT = 20
LIMITS: Mapping[str, tuple[int, timedelta]] = {
    "upload": (3, timedelta(minutes=30)),
    "trigger": (3, timedelta(minutes=10)),
}
"""How often Numerai takes createComputePickleUpload and triggerComputePickleUpload from one address. Source: the API's
graphqlRateLimits on 2026-07-20, github.com/api-evangelist/numerai."""


class HandedIn(Struct, frozen=True):
    """An upload that this home has made, and whether Numerai has found it valid."""

    id: str
    source_hash: str
    made_at: datetime
    python: str
    validated: bool = False


class Call(Struct, frozen=True):
    """A run that was asked for under a trigger id of our own, or by hand under none. `known` are the runs there were
    before it; `run_id` is None until it is known which one came of it."""

    trigger_id: str | None
    asked_at: datetime
    known: tuple[str, ...]
    run_id: str | None = None


class NodeRecord(Struct, frozen=True):
    """A node: its model, its uploads, oldest first, and the runs that were asked for."""

    node: str
    model_id: str
    uploads: tuple[HandedIn, ...] = ()
    calls: tuple[Call, ...] = ()

    def with_upload(self, upload: HandedIn) -> NodeRecord:
        """With a new upload, or a known one as it is now."""
        others = tuple(each for each in self.uploads if each.id != upload.id)
        return structs.replace(self, uploads=(*others, upload)[-KEPT:])

    def with_call(self, call: Call) -> NodeRecord:
        """With a new call, or a known one as it is now. Calls by hand are told apart by their time."""
        key = (call.trigger_id, None if call.trigger_id else call.asked_at)
        others = tuple(
            each for each in self.calls if (each.trigger_id, None if each.trigger_id else each.asked_at) != key
        )
        return structs.replace(self, calls=(*others, call)[-KEPT:])


class Records:
    """The files, in a folder of the tool's home."""

    def __init__(self, folder: Path):
        self._folder = folder

    def get(self, node: str) -> NodeRecord | None:
        """What is known of a node."""
        return self._read(self._folder / "nodes" / f"{node}.json", NodeRecord)

    def all(self) -> list[NodeRecord]:
        """Every node's."""
        found = [self._read(path, NodeRecord) for path in sorted((self._folder / "nodes").glob("*.json"))]
        return [each for each in found if each is not None]

    def put(self, record: NodeRecord) -> NodeRecord:
        """Keep it."""
        write_private(self._folder / "nodes" / f"{record.node}.json", msgspec.json.encode(record), keep_previous=False)
        return record

    def change(self, node: str, how: Callable[[NodeRecord], NodeRecord]) -> NodeRecord | None:
        """Change what is known of a node, if anything is."""
        with self.locked(node):
            record = self.get(node)
            return self.put(how(record)) if record is not None else None

    def forget(self, node: str) -> None:
        """Remove it; what is not there is fine."""
        remove_file(self._folder / "nodes" / f"{node}.json", self._folder)

    @contextmanager
    def locked(self, node: str) -> Iterator[None]:
        """Within the block nobody else changes what is known of a node."""
        with holding(self._folder / "locks" / f"{node}.lock", seconds=60):
            yield

    def spend(self, what: str, now: datetime, *, look: bool = False) -> None:
        """Count one request of a kind that Numerai limits (`LIMITS`), or only `look` whether there is one left.

        `NumeraiError` with code `rate-limited`, which says from when on, where it is one too many."""
        most, span = LIMITS[what]
        path = self._folder / "asked.json"
        with holding(self._folder / "locks" / "asked.lock", seconds=60):
            asked = self._read(path, dict[str, list[datetime]]) or {}
            recent = [moment for moment in asked.get(what, []) if now - moment < span]
            if len(recent) >= most:
                again = recent[-most] + span
                minutes = int(span.total_seconds() // 60)
                raise NumeraiError(
                    f"Numerai takes {most} {what}s in {minutes} minutes, and that many were made.",
                    f"Try again after {again:%H:%M:%S} UTC.",
                    code="rate-limited",
                )
            if not look:
                asked[what] = [*recent, now]
                write_private(path, msgspec.json.encode(asked), keep_previous=False)

    def _read(self, path: Path, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise EnvironmentNotReady(
                f"{path} cannot be read: {error}.", "Move it away, and deploy the node again.", code="record-damaged"
            ) from error
