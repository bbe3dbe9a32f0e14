"""One SQLite file: private, durable over kill -9, migrated by numbered steps, with one clear error per way to fail."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from ..errors import EnvironmentNotReady, NumeraiError
from ..installation import install_command
from .private import make_private_folder, unwritable

BUSY_SECONDS = 15
_FOLDER_HINT = "Check that the folder is writable and the disk is not full."
_UTC = timezone.utc
_creating = threading.Lock()


class DatabaseUnusable(EnvironmentNotReady):
    """The database cannot be read or written now: the disk is full, say."""

    code = "database-unusable"


class DatabaseDamaged(NumeraiError):
    """The file is not a database any more."""

    code = "state-corrupt"


class Database:
    """The file, opened at first use. Safe to use from several threads and processes at once.

    `migrations` are SQL scripts that are only ever appended to; `PRAGMA user_version` counts those done. `mend` says
    what to do when the file is damaged.
    """

    def __init__(self, path: Path, migrations: Sequence[str], mend: str):
        self.path = path
        self._migrations = tuple(migrations)
        self._mend = mend
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the database; it is opened again when it is used again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for queries."""
        with self._lock, self._errors():
            yield self._open()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The connection in one transaction, which is on the disk when the block has ended; an exception undoes it."""
        with self._lock, self._errors():
            db = self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            _create_private(self.path)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                self._migrate(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the file to the newest version; `NumeraiError` with code `state-newer` when it is beyond that."""
        newest = len(self._migrations)
        if _version(connection) == newest:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = _version(connection)
            if version > newest:
                raise NumeraiError(
                    f"{self.path} has version {version}; this numerai knows versions up to {newest}.",
                    f"Install a newer numerai: `{install_command()}`.",
                    code="state-newer",
                )
            for step in self._migrations[version:]:
                for statement in step.split(";"):
                    if statement.strip():
                        connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {newest}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            locked = "locked" in str(error)  # SQLITE_BUSY and SQLITE_LOCKED (sqlite.org/rescode.html)
            hint = "Another program uses it: end that one, or try again when it has ended." if locked else _FOLDER_HINT
            raise DatabaseUnusable(f"{self.path} cannot be used: {error}.", hint) from error
        except sqlite3.DatabaseError as error:
            raise DatabaseDamaged(f"{self.path} is damaged: {error}.", self._mend) from error


def time_text(moment: datetime) -> str:
    """A moment as the databases hold it: of fixed width and in UTC, so that texts sort as their times do."""
    return moment.astimezone(_UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def text_time(text: str) -> datetime:
    """The moment that `time_text` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=_UTC)


def text_time_or_none(text: str | None) -> datetime | None:
    """The moment that `time_text` wrote, if there is one."""
    return None if text is None else text_time(text)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create_private(path: Path) -> None:
    """Make the file unless it is there. One that is there is not touched: on POSIX, closing a file takes away all locks
    that this process has on it, also those of SQLite's connections, and then another process deletes their log
    (https://www.sqlite.org/howtocorrupt.html, section 2.2)."""
    make_private_folder(path.parent)
    with _creating:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise unwritable(path, error) from error
