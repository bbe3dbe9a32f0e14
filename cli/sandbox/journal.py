"""Keeps the sandbox's records in memory and, with a state folder, in SQLite so that they survive even a kill."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec

from ..errors import NumeraiError
from ..files.database import Database, DatabaseDamaged
from ..files.locks import take

if TYPE_CHECKING:
    from filelock import BaseFileLock

VERSION = 2
"""The layout of the state file; a file with another number was written by another release and is refused."""
_LAYOUTS = (
    "",
    "CREATE TABLE records "
    "(seq INTEGER PRIMARY KEY, tab TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (tab, key))",
)


class Record(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Names the record within its table."""


T = TypeVar("T", bound=Record)


class Journal:
    """Where records are written. Without a folder nothing is written at all.

    `NumeraiError` with code `state-busy` when another sandbox uses the folder, `state-newer` when a newer release
    wrote it, `state-older` when an older one did, `state-damaged` when it is not a state file.
    """

    def __init__(self, folder: Path | None) -> None:
        self.lock = threading.RLock()
        self._database: Database | None = None
        self._folder_lock: BaseFileLock | None = None
        if folder is not None:
            busy = NumeraiError(
                f"Another sandbox is using the state in {folder}.",
                "Stop it first, or give this one a --state folder of its own.",
                code="state-busy",
            )
            self._folder_lock = take(folder / "sandbox.lock", busy=busy)
            folder.chmod(0o700)
            try:
                self._database = _open(folder / "sandbox.sqlite")
            except NumeraiError:
                self._folder_lock.release()
                raise

    def rows(self, table: str) -> list[bytes]:
        """The bodies of a table's records in the order in which they were first written."""
        if self._database is None:
            return []
        query = "SELECT body FROM records WHERE tab = ? ORDER BY seq"
        with self._database.reading() as database:
            return [row[0] for row in database.execute(query, (table,))]

    def write(self, table: str, key: str, body: bytes) -> None:
        """Add or replace one record, at once and for good."""
        statement = (
            "INSERT INTO records (tab, key, body) VALUES (?, ?, ?) "
            "ON CONFLICT (tab, key) DO UPDATE SET body = excluded.body"
        )
        self._change(statement, table, key, body)

    def erase(self, table: str, key: str) -> None:
        """Remove one record."""
        self._change("DELETE FROM records WHERE tab = ? AND key = ?", table, key)

    def close(self) -> None:
        """Finish writing and let go of the folder."""
        with self.lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._folder_lock is not None:
                self._folder_lock.release()

    def _change(self, statement: str, *values: str | bytes) -> None:
        with self.lock:
            if self._database is not None:
                with self._database.writing() as database:
                    database.execute(statement, values)


class Table(Generic[T]):
    """The records of one kind, by id, in the order in which they were added. Safe for several threads."""

    def __init__(self, journal: Journal, name: str, kind: type[T], *, keep: int | None = None) -> None:
        self._journal = journal
        self._name = name
        self._keep = keep
        decode = msgspec.json.Decoder(kind).decode
        self._records: dict[str, T] = {record.id: record for record in map(decode, journal.rows(name))}

    def get(self, key: str | None) -> T | None:
        """The record with that id, None when there is none."""
        return self._records.get(key) if key is not None else None

    def all(self) -> list[T]:
        """Every record, oldest first."""
        with self._journal.lock:
            return list(self._records.values())

    def select(self, wanted: Callable[[T], bool]) -> list[T]:
        """The records for which `wanted` holds, oldest first."""
        return [record for record in self.all() if wanted(record)]

    def put(self, record: T) -> T:
        """Add or replace a record and return it; beyond `keep` records the oldest are dropped."""
        with self._journal.lock:
            self._records[record.id] = record
            self._journal.write(self._name, record.id, msgspec.json.encode(record))
            while self._keep is not None and len(self._records) > self._keep:
                self.remove(next(iter(self._records)))
        return record

    def remove(self, key: str) -> None:
        """Remove a record; one that is not there is fine."""
        with self._journal.lock:
            if self._records.pop(key, None) is not None:
                self._journal.erase(self._name, key)


def _open(path: Path) -> Database:
    layout = _layout(path)
    if 0 < layout < VERSION:
        raise NumeraiError(
            f"The state in {path.parent} was written by an older release of this tool (layout {layout}).",
            "Choose another --state folder; the sandbox's states are not carried over.",
            code="state-older",
        )
    database = Database(path, _LAYOUTS, "Move the folder away and start again.")
    try:
        with database.reading():
            return database
    except DatabaseDamaged as error:
        error.code = "state-damaged"
        raise


def _layout(path: Path) -> int:
    """The layout of a state file; 0 when there is none, or one that is damaged."""
    if path.exists():
        with contextlib.closing(sqlite3.connect(path)) as database, contextlib.suppress(sqlite3.DatabaseError):
            return int(database.execute("PRAGMA user_version").fetchone()[0])
    return 0
