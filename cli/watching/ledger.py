"""The watchers' memory, in one SQLite database: rounds, what was triggered and submitted in them, and who was told."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ..files.database import Database, text_time, text_time_or_none, time_text
from ..files.locks import is_held, take
from ..models import (
    GOING_ON,
    KeptNotice,
    Notice,
    NoticeKind,
    Round,
    RoundEntry,
    RoundOutcome,
    SubmissionEntry,
    TriggerAttempt,
    WatcherRecord,
)
from ..triggers import is_another, watch_trigger

if TYPE_CHECKING:
    from filelock import BaseFileLock

DATABASE_FILE = "rounds.db"
DAMAGED = "Move it away: the watcher starts with an empty memory, and may tell again what it has told before."
LEASE = timedelta(minutes=2)
"""How long whoever has claimed a notice may take to send it; after a kill -9 in between, it is sent (again) then."""
KEPT_WATCHERS = 20
KEPT_FILES = timedelta(days=60)
"""How long the name of a file is remembered: Numerai carries a file over by one round only."""

MIGRATIONS = (
    """
    CREATE TABLE rounds (
        tournament INTEGER NOT NULL, number INTEGER NOT NULL, open_time TEXT NOT NULL, close_time TEXT NOT NULL,
        machine_open TEXT, attempts_before INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (tournament, number)
    );
    CREATE TABLE nodes (name TEXT PRIMARY KEY, since TEXT NOT NULL);
    CREATE TABLE entries (
        node TEXT NOT NULL, tournament INTEGER NOT NULL, round INTEGER NOT NULL, outcome TEXT NOT NULL DEFAULT 'open',
        submission_id TEXT, submission_status TEXT, submitted_at TEXT, PRIMARY KEY (node, round)
    );
    CREATE INDEX entries_by_outcome ON entries (node, outcome);
    CREATE TABLE attempts (
        node TEXT NOT NULL, round INTEGER NOT NULL, number INTEGER NOT NULL, trigger_id TEXT NOT NULL,
        why TEXT NOT NULL, decided_at TEXT NOT NULL, run_id TEXT, state TEXT, exit_code INTEGER, message TEXT,
        PRIMARY KEY (node, round, number)
    );
    CREATE UNIQUE INDEX attempts_by_trigger ON attempts (node, trigger_id);
    CREATE TABLE notices (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, node TEXT, round INTEGER,
        decided_at TEXT NOT NULL, claimed_until TEXT, sent_at TEXT, tries INTEGER NOT NULL DEFAULT 0, failure TEXT
    );
    CREATE INDEX notices_by_round ON notices (node, round);
    CREATE TABLE watchers (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, pid INTEGER NOT NULL,
        since TEXT NOT NULL, seen TEXT NOT NULL, machine_seen TEXT NOT NULL, ended_at TEXT, unwatched_since TEXT
    );
    CREATE TABLE silences (tournament INTEGER PRIMARY KEY, since TEXT NOT NULL);
    """,
    # The deadline (Numerai's closeStakingTime) beside the close, for which it was taken before; Numerai's word for a
    # round's entry instead of a status of the file, which was always null; and the names of the files seen.
    """
    ALTER TABLE rounds ADD COLUMN deadline TEXT NOT NULL DEFAULT '';
    UPDATE rounds SET deadline = close_time;
    UPDATE entries SET submission_status = CASE WHEN outcome IN ('on-time', 'late') THEN outcome END;
    CREATE TABLE files (
        node TEXT NOT NULL, filename TEXT NOT NULL, seen TEXT NOT NULL, PRIMARY KEY (node, filename)
    );
    CREATE VIEW open_entries AS
        SELECT entries.node, rounds.* FROM entries JOIN rounds
        ON rounds.tournament = entries.tournament AND rounds.number = entries.round
        WHERE entries.outcome = 'open';
    """,
)


# long: one memory in one database, one short transaction a method
class Ledger:
    """A database that is opened at first use. Safe to use from several threads and processes.

    A watcher holds a lock of its own as long as its process lives: whatever ends that releases it, and no clock that is
    set hides it."""

    def __init__(self, path: Path):
        self.path = path
        self._locks: dict[str, BaseFileLock] = {}
        self._database = Database(path, MIGRATIONS, DAMAGED)
        self._read, self._write = self._database.reading, self._database.writing

    def close(self) -> None:
        """Close the database; it is opened again when it is used again."""
        self._database.close()

    def exists(self) -> bool:
        """Whether there is a database; looking makes none."""
        return self.path.exists()

    # rounds and nodes

    def see_round(self, round_: Round, machine_open: datetime | None) -> None:
        """Record a round and its times; a number that comes again on another day is another round."""
        key = (int(round_.tournament), round_.number)
        times = (time_text(round_.open_time), time_text(round_.deadline), time_text(round_.close_time))
        opened = time_text(machine_open) if machine_open else None
        one = "SELECT * FROM rounds WHERE tournament = ? AND number = ?"
        with self._read() as db:
            known = db.execute(one, key).fetchone()
        same = known is not None and (known["open_time"], known["deadline"], known["close_time"]) == times
        if same and (opened is None or known["machine_open"] is not None):
            return
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO rounds (tournament, number, open_time, deadline, close_time)"
                " VALUES (?, ?, ?, ?, ?)",
                (*key, *times),
            )
            known = db.execute(one, key).fetchone()
            if is_another(text_time(known["open_time"]).timestamp(), round_.open_time.timestamp()):
                _forget_round(db, *key)
            db.execute(
                "UPDATE rounds SET machine_open = COALESCE(CASE WHEN open_time = ? THEN machine_open END, ?),"
                " open_time = ?, deadline = ?, close_time = ? WHERE tournament = ? AND number = ?",
                (times[0], opened, *times, *key),
            )

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        """The latest rounds seen, newest first."""
        with self._read() as db:
            rows = db.execute(
                "SELECT * FROM rounds WHERE tournament = ? ORDER BY number DESC LIMIT ?", (int(tournament), limit)
            )
            return [_round(row) for row in rows]

    def answered(self, tournament: int) -> None:
        """Record that Numerai has told a tournament's rounds."""
        with self._read() as db:
            if db.execute("SELECT 1 FROM silences WHERE tournament = ?", (int(tournament),)).fetchone() is None:
                return
        with self._write() as db:
            db.execute("DELETE FROM silences WHERE tournament = ?", (int(tournament),))

    def unanswered(self, tournament: int, now: datetime) -> datetime:
        """Record that Numerai does not tell a tournament's rounds; returns since when."""
        since = "SELECT since FROM silences WHERE tournament = ?"
        with self._read() as db:
            row = db.execute(since, (int(tournament),)).fetchone()
        if row is None:
            with self._write() as db:
                db.execute("INSERT OR IGNORE INTO silences VALUES (?, ?)", (int(tournament), time_text(now)))
                row = db.execute(since, (int(tournament),)).fetchone()
        return text_time(row["since"])

    def machine_open(self, round_: Round) -> datetime | None:
        """When a round opened by this machine's clock; None when it was never seen."""
        with self._read() as db:
            row = db.execute(
                "SELECT machine_open FROM rounds WHERE tournament = ? AND number = ?",
                (int(round_.tournament), round_.number),
            ).fetchone()
        return None if row is None else text_time_or_none(row["machine_open"])

    def see_nodes(self, names: Iterable[str], now: datetime) -> Mapping[str, datetime]:
        """Since when each of the nodes that are configured now is followed. Others are forgotten, and begin anew."""
        wanted = set(names)
        with self._read() as db:
            known = _followed(db)
        if set(known) == wanted:
            return known
        with self._write() as db:
            for name in set(_followed(db)) - wanted:
                db.execute("DELETE FROM nodes WHERE name = ?", (name,))
            for name in wanted:
                db.execute("INSERT OR IGNORE INTO nodes VALUES (?, ?)", (name, time_text(now)))
            return _followed(db)

    # entries

    def follow(self, node: str, round_: Round) -> RoundEntry:
        """The entry of a node in a round, made when there is none."""
        known = self.entry(node, round_)
        if known is not None:
            return known
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO entries (node, tournament, round) VALUES (?, ?, ?)",
                (node, int(round_.tournament), round_.number),
            )
        return RoundEntry(node, int(round_.tournament), round_.number)

    def entry(self, node: str, round_: Round) -> RoundEntry | None:
        """The entry of a node in a round."""
        with self._read() as db:
            row = db.execute("SELECT * FROM entries WHERE node = ? AND round = ?", (node, round_.number)).fetchone()
            return None if row is None else _entry(db, row)

    def unsettled(self, node: str) -> list[Round]:
        """The rounds whose outcome for a node is open, newest first."""
        with self._read() as db:
            rows = db.execute("SELECT * FROM open_entries WHERE node = ? ORDER BY number DESC", (node,))
            return [_round(row) for row in rows]

    def decide_attempt(self, node: str, round_: Round, number: int, why: str, now: datetime) -> TriggerAttempt:
        """Record that attempt `number` (from 1) is to be made; returns it as whoever came first has recorded it."""
        with self._write() as db:
            before = db.execute(
                "SELECT attempts_before FROM rounds WHERE tournament = ? AND number = ?",
                (int(round_.tournament), round_.number),
            ).fetchone()
            serial = number + (before["attempts_before"] if before else 0)
            trigger_id = watch_trigger(round_.tournament, round_.number, serial)
            db.execute(
                "INSERT OR IGNORE INTO attempts (node, round, number, trigger_id, why, decided_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (node, round_.number, number, trigger_id, why, time_text(now)),
            )
            row = db.execute(
                "SELECT * FROM attempts WHERE node = ? AND round = ? AND number = ?", (node, round_.number, number)
            ).fetchone()
            return _attempt(row)

    def attempt_started(self, node: str, trigger_id: str, run_id: str) -> None:
        """Record the run that an attempt has started."""
        with self._write() as db:
            db.execute(
                "UPDATE attempts SET run_id = ?, message = NULL WHERE node = ? AND trigger_id = ?",
                (run_id, node, trigger_id),
            )

    def attempt_refused(self, node: str, trigger_id: str, message: str) -> None:
        """Record why an attempt could not start a run."""
        with self._write() as db:
            db.execute(
                "UPDATE attempts SET message = ? WHERE node = ? AND trigger_id = ? AND run_id IS NULL",
                (message, node, trigger_id),
            )

    def attempt_ended(self, node: str, trigger_id: str, state: str, exit_code: int | None, message: str | None) -> None:
        """Record how the run of an attempt ended."""
        with self._write() as db:
            db.execute(
                "UPDATE attempts SET state = ?, exit_code = ?, message = ? WHERE node = ? AND trigger_id = ?",
                (state, exit_code, message, node, trigger_id),
            )

    def see_entries(
        self, node: str, round_: Round, entries: Iterable[SubmissionEntry], now: datetime
    ) -> Mapping[str, datetime]:
        """Record what Numerai says of a node; returns when each of its files was first seen."""
        entries = list(entries)
        names = {entry.filename for entry in entries if entry.filename is not None}
        mine = next((entry for entry in entries if entry.round_number == round_.number), None)
        with self._read() as db:
            seen = _files(db, node)
            known = self.entry(node, round_)
        new = mine is not None and known is not None and (known.submission_id, known.submission_status) != _word(mine)
        if names <= set(seen) and not new:
            return seen
        with self._write() as db:
            db.execute("DELETE FROM files WHERE seen < ?", (time_text(now - KEPT_FILES),))
            for name in names:
                db.execute("INSERT OR IGNORE INTO files VALUES (?, ?, ?)", (node, name, time_text(now)))
            if mine is not None:
                moment = time_text(mine.timestamp) if mine.timestamp else None
                db.execute(
                    "UPDATE entries SET submission_id = ?, submission_status = ?, submitted_at = ?"
                    " WHERE node = ? AND round = ?",
                    (*_word(mine), moment, node, round_.number),
                )
            return _files(db, node)

    def settle(self, node: str, round_: Round, outcome: RoundOutcome) -> None:
        """Record how a round went; what is settled stays."""
        with self._write() as db:
            db.execute(
                "UPDATE entries SET outcome = ? WHERE node = ? AND round = ? AND outcome = 'open'",
                (outcome.value, node, round_.number),
            )

    def reopen(self, node: str, round_: Round) -> None:
        """Follow a round again that was missed, late or covered, because its deadline was put off; what was told of
        it is forgotten."""
        key = (node, round_.number)
        with self._write() as db:
            reopened = db.execute(
                "UPDATE entries SET outcome = 'open'"
                " WHERE node = ? AND round = ? AND outcome IN ('missed', 'late', 'covered')",
                key,
            ).rowcount
            if reopened:
                db.execute("DELETE FROM notices WHERE node = ? AND round = ?", key)

    # notices

    def decide_notice(self, notice: Notice, now: datetime, key: str | None = None) -> bool:
        """Record that something is to be told; False when that was decided before."""
        own_key = key or f"{notice.node}/{notice.round_number}/{notice.kind.value}"
        with self._read() as db:
            if db.execute("SELECT 1 FROM notices WHERE key = ?", (own_key,)).fetchone() is not None:
                return False
        with self._write() as db:
            changed = db.execute(
                "INSERT OR IGNORE INTO notices (key, kind, title, text, node, round, decided_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    own_key,
                    notice.kind.value,
                    notice.title,
                    notice.text,
                    notice.node,
                    notice.round_number,
                    time_text(now),
                ),
            ).rowcount
        return changed == 1

    def claim_notice(self, machine_now: datetime, tries: int, after: int = 0) -> KeptNotice | None:
        """The first notice after that serial number that is to be told and was not yet, tried fewer than `tries`
        times. Nobody else gets the same for a while."""
        due = (
            "SELECT rowid AS serial, * FROM notices WHERE sent_at IS NULL AND tries < ? AND rowid > ?"
            " AND (claimed_until IS NULL OR claimed_until <= ?) ORDER BY rowid LIMIT 1"
        )
        arguments = (tries, after, time_text(machine_now))
        with self._read() as db:
            if db.execute(due, arguments).fetchone() is None:
                return None
        with self._write() as db:
            row = db.execute(due, arguments).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE notices SET claimed_until = ? WHERE key = ?", (time_text(machine_now + LEASE), row["key"])
            )
        return KeptNotice(row["key"], _notice(row), row["tries"], row["serial"])

    def notice_sent(self, key: str, machine_now: datetime) -> None:
        """Record that a notice went out."""
        with self._write() as db:
            db.execute("UPDATE notices SET sent_at = ?, failure = NULL WHERE key = ?", (time_text(machine_now), key))

    def notice_dropped(self, key: str, why: str, machine_now: datetime) -> None:
        """Record that a notice went to nobody, and is not to be claimed again."""
        with self._write() as db:
            db.execute("UPDATE notices SET sent_at = ?, failure = ? WHERE key = ?", (time_text(machine_now), why, key))

    def notice_failed(self, key: str, why: str, machine_not_before: datetime) -> None:
        """Record that a notice reached nobody; it can be claimed again from that moment on."""
        with self._write() as db:
            db.execute(
                "UPDATE notices SET tries = tries + 1, claimed_until = ?, failure = ? WHERE key = ?",
                (time_text(machine_not_before), why, key),
            )

    # watchers

    def begin_watch(self, kind: str, now: datetime, machine_now: datetime) -> tuple[str, datetime | None]:
        """Enter a watcher of this process; returns its id and, when nobody has watched since one was killed, when that
        one was last seen, or since when nobody had watched before it if it never came to saying so."""
        own_id = secrets.token_hex(6)
        self._hold(own_id)
        try:
            with self._write() as db:
                rows = db.execute("SELECT * FROM watchers ORDER BY seen DESC").fetchall()
                open_rows = [row for row in rows if row["ended_at"] is None]
                living = [row for row in open_rows if self._lives(row["id"])]
                dead = [row for row in open_rows if row not in living]
                for row in dead:
                    db.execute("UPDATE watchers SET ended_at = ? WHERE id = ?", (row["seen"], row["id"]))
                unwatched_since = _unwatched_since(rows, living)
                if unwatched_since is not None:
                    db.execute("UPDATE watchers SET unwatched_since = NULL")
                times = (time_text(now), time_text(now), time_text(machine_now))
                db.execute(
                    "INSERT INTO watchers VALUES (?, ?, ?, ?, ?, ?, NULL, ?)",
                    (own_id, kind, os.getpid(), *times, unwatched_since),
                )
                db.execute(
                    "DELETE FROM watchers WHERE ended_at IS NOT NULL AND id NOT IN"
                    " (SELECT id FROM watchers ORDER BY machine_seen DESC LIMIT ?)",
                    (KEPT_WATCHERS,),
                )
        except BaseException:
            self._release(own_id)
            raise
        for row in dead:
            self._lock_path(row["id"]).unlink(missing_ok=True)
        return own_id, text_time_or_none(unwatched_since)

    def said_unwatched(self, watcher: str) -> None:
        """Record that a watcher has said since when nobody had watched."""
        with self._write() as db:
            db.execute("UPDATE watchers SET unwatched_since = NULL WHERE id = ?", (watcher,))

    def beat(self, watcher: str, now: datetime, machine_now: datetime) -> None:
        """Record a watcher's sign of life."""
        with self._write() as db:
            db.execute(
                "UPDATE watchers SET seen = ?, machine_seen = ? WHERE id = ?",
                (time_text(now), time_text(machine_now), watcher),
            )

    def end_watch(self, watcher: str, now: datetime) -> None:
        """Record that a watcher ended as it should."""
        with self._write() as db:
            db.execute("UPDATE watchers SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (time_text(now), watcher))
        self._release(watcher)

    def watchers(self) -> list[WatcherRecord]:
        """The watchers known, the one seen last first."""
        with self._read() as db:
            rows = db.execute("SELECT * FROM watchers ORDER BY machine_seen DESC").fetchall()
        return [
            WatcherRecord(
                id=row["id"],
                kind=row["kind"],
                pid=row["pid"],
                since=text_time(row["since"]),
                seen=text_time(row["seen"]),
                machine_seen=text_time(row["machine_seen"]),
                ended_at=text_time_or_none(row["ended_at"]),
                alive=row["ended_at"] is None and self._lives(row["id"]),
            )
            for row in rows
        ]

    def _lock_path(self, watcher: str) -> Path:
        return self.path.parent / "locks" / f"watcher-{watcher}.lock"

    def _hold(self, watcher: str) -> None:
        self._locks[watcher] = take(self._lock_path(watcher))

    def _release(self, watcher: str) -> None:
        lock = self._locks.pop(watcher, None)
        if lock is not None:
            lock.release()
            self._lock_path(watcher).unlink(missing_ok=True)

    def _lives(self, watcher: str) -> bool:
        return watcher in self._locks or is_held(self._lock_path(watcher))


def _forget_round(db: sqlite3.Connection, tournament: int, number: int) -> None:
    nodes = "SELECT node FROM entries WHERE tournament = ? AND round = ?"
    key = (number, tournament, number)
    highest = db.execute(
        f"SELECT MAX(number) FROM attempts WHERE round = ? AND node IN ({nodes})",  # noqa: S608  (a constant)
        key,
    ).fetchone()[0]
    db.execute(
        "UPDATE rounds SET attempts_before = attempts_before + ?, machine_open = NULL"
        " WHERE tournament = ? AND number = ?",
        (highest or 0, tournament, number),
    )
    for table in ("attempts", "notices"):
        db.execute(f"DELETE FROM {table} WHERE round = ? AND node IN ({nodes})", key)  # noqa: S608  (constants)
    db.execute("DELETE FROM entries WHERE tournament = ? AND round = ?", (tournament, number))


def _followed(db: sqlite3.Connection) -> dict[str, datetime]:
    return {row["name"]: text_time(row["since"]) for row in db.execute("SELECT * FROM nodes")}


def _unwatched_since(rows: Sequence[sqlite3.Row], living: Sequence[sqlite3.Row]) -> str | None:
    """Since when nobody has watched, as far as it was not said: since a sign of life of one that was killed, unless
    another one lives."""
    if any(row["kind"] in GOING_ON for row in living):
        return None
    gone = [row for row in rows if row not in living]
    unsaid = [row["unwatched_since"] for row in gone if row["unwatched_since"] is not None]
    if unsaid:
        return str(min(unsaid))
    killed = any(row["ended_at"] is None and row["kind"] in GOING_ON for row in gone)
    return str(max(row["seen"] for row in rows)) if killed else None


def _round(row: sqlite3.Row) -> Round:
    times = (text_time(row[name]) for name in ("open_time", "deadline", "close_time"))
    return Round(row["number"], row["tournament"], *times)


def _files(db: sqlite3.Connection, node: str) -> dict[str, datetime]:
    rows = db.execute("SELECT filename, seen FROM files WHERE node = ?", (node,))
    return {row["filename"]: text_time(row["seen"]) for row in rows}


def _word(entry: SubmissionEntry) -> tuple[str | None, str | None]:
    """The file that an entry names, and Numerai's word for it."""
    return entry.id, entry.status.value if entry.status else None


def _entry(db: sqlite3.Connection, row: sqlite3.Row) -> RoundEntry:
    key = (row["node"], row["round"])
    attempts = db.execute("SELECT * FROM attempts WHERE node = ? AND round = ? ORDER BY number", key)
    notices = db.execute(
        "SELECT kind, sent_at IS NOT NULL AND failure IS NULL AS reached FROM notices WHERE node = ? AND round = ?", key
    ).fetchall()
    return RoundEntry(
        node=row["node"],
        tournament=row["tournament"],
        round_number=row["round"],
        outcome=RoundOutcome(row["outcome"]),
        submission_id=row["submission_id"],
        submission_status=row["submission_status"],
        submitted_at=text_time_or_none(row["submitted_at"]),
        attempts=tuple(_attempt(attempt) for attempt in attempts),
        told=frozenset(NoticeKind(notice["kind"]) for notice in notices),
        reached=frozenset(NoticeKind(notice["kind"]) for notice in notices if notice["reached"]),
    )


def _attempt(row: sqlite3.Row) -> TriggerAttempt:
    return TriggerAttempt(
        number=row["number"],
        trigger_id=row["trigger_id"],
        why=row["why"],
        decided_at=text_time(row["decided_at"]),
        run_id=row["run_id"],
        state=row["state"],
        exit_code=row["exit_code"],
        message=row["message"],
    )


def _notice(row: sqlite3.Row) -> Notice:
    return Notice(NoticeKind(row["kind"]), row["title"], row["text"], row["node"], row["round"])
