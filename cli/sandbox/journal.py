"""Keeps the sandbox's records in memory and, with a state folder, in SQLite so that they survive even a kill."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec
from filelock import FileLock, Timeout

from ..errors import NumeraiError

VERSION = 2
"""The layout of the state file; a file with another number was written by another release and is refused."""


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
        self._database: sqlite3.Connection | None = None
        self._folder_lock: FileLock | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            self._folder_lock = _lock(folder)
            try:
                self._database = _open(folder / "sandbox.sqlite")
            except NumeraiError:
                self._folder_lock.release()
                raise

    def rows(self, table: str) -> list[bytes]:
        """The bodies of a table's records in the order in which they were first written."""
        if self._database is None:
            return []
        with self.lock:
            query = "SELECT body FROM records WHERE tab = ? ORDER BY seq"
            return [row[0] for row in self._database.execute(query, (table,))]

    def write(self, table: str, key: str, body: bytes) -> None:
        """Add or replace one record, at once and for good."""
        if self._database is None:
            return
        statement = (
            "INSERT INTO records (tab, key, body) VALUES (?, ?, ?) "
            "ON CONFLICT (tab, key) DO UPDATE SET body = excluded.body"
        )
        with self.lock:
            if self._database is not None:
                self._database.execute(statement, (table, key, body))

    def erase(self, table: str, key: str) -> None:
        """Remove one record."""
        if self._database is None:
            return
        with self.lock:
            if self._database is not None:
                self._database.execute("DELETE FROM records WHERE tab = ? AND key = ?", (table, key))

    def close(self) -> None:
        """Finish writing and let go of the folder."""
        with self.lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._folder_lock is not None:
                self._folder_lock.release()


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


def _lock(folder: Path) -> FileLock:
    lock = FileLock(folder / "sandbox.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise NumeraiError(
            f"Another sandbox is using the state in {folder}.",
            "Stop it first, or give this one a --state folder of its own.",
            code="state-busy",
        ) from None
    return lock


def _open(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        version: int = database.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            database.close()
            raise NumeraiError(
                f"The state in {path.parent} was written by a newer release of this tool (layout {version}).",
                "Update the tool, or choose another --state folder.",
                code="state-newer",
            )
        if 0 < version < VERSION:
            database.close()
            raise NumeraiError(
                f"The state in {path.parent} was written by an older release of this tool (layout {version}).",
                "Choose another --state folder; the sandbox's states are not carried over.",
                code="state-older",
            )
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(seq INTEGER PRIMARY KEY, tab TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (tab, key))"
        )
        database.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.DatabaseError as error:
        raise NumeraiError(
            f"The state in {path.parent} cannot be read: {error}.",
            "Move the folder away and start again.",
            code="state-damaged",
        ) from error
    path.chmod(0o600)
    return database
