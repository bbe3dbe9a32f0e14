"""What the local provider must never lose: nodes, triggers, runs and webhook calls, in one SQLite database."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...errors import ProviderError
from ...files.database import Database, text_time, text_time_or_none, time_text
from ...models import Deployment, Node, Run, RunFailure, RunState, WebhookCall
from ...triggers import TRAIN
from . import migrations

KEPT_CALLS = 200
QUEUE_LIMIT = 200
DAMAGED = "Move it away and run `numerai node config` and `deploy` again; the history of runs starts anew."
FINAL = "('succeeded', 'failed', 'cancelled')"


@dataclass(frozen=True)
class StoredNode:
    """A node as configured, with the token of its webhook."""

    node: Node
    token: str

    def __repr__(self) -> str:
        return f"StoredNode({self.node.name!r})"


@dataclass(frozen=True)
class StoredDeployment:
    """What a node runs: `reference` is what the executor finds it by, an image id or a folder."""

    deployment: Deployment
    executor: str
    reference: str


@dataclass(frozen=True)
class Job:
    """A run with what its execution needs to remember.

    `phase` is `queued`, `starting` (claimed, perhaps started), `started`, `waiting` (for the next attempt) or `done`;
    `deadline` is when the attempt's time is up; `cancel` says that somebody asked to stop it.
    """

    run: Run
    phase: str
    deadline: datetime | None
    executor: str | None
    reference: str | None
    cancel: bool


_TRAINS = f"(COALESCE({{0}}.trigger_id, '') LIKE '{TRAIN}%')"
"""Whether a run only trains, in SQL."""


class QueueFull(ProviderError):
    """So many runs of a node wait that another one is not accepted."""

    code = "queue-full"


# long: one database, one short transaction a method
class RunStore:
    """The database, opened at first use. Safe to use from several threads and processes at once."""

    def __init__(self, path: Path):
        self.path = path
        self._database = Database(path, migrations.MIGRATIONS, DAMAGED)
        self._read, self._write = self._database.reading, self._database.writing

    def close(self) -> None:
        """Close the database; it is opened again when it is used again."""
        self._database.close()

    # facts

    def fact(self, name: str) -> str | None:
        """One remembered value."""
        with self._read() as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def fact_once(self, name: str, value: str) -> str:
        """Remember a value unless there is one already; returns what is remembered."""
        with self._write() as db:
            db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
            return str(db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()["value"])

    # nodes

    def save_node(self, node: Node, now: datetime) -> StoredNode:
        """Add or change a node; its token is made once. Its schedule counts from `now` when it is new or changed."""
        with self._write() as db:
            row = db.execute("SELECT * FROM nodes WHERE name = ?", (node.name,)).fetchone()
            token = row["token"] if row else secrets.token_urlsafe(32)
            cron_after = row["cron_after"] if row and row["cron"] == node.cron else time_text(now)
            db.execute(
                "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    node.name,
                    token,
                    node.model_name,
                    node.model_id,
                    int(node.tournament),
                    node.path,
                    node.cpu,
                    node.memory_mib,
                    node.timeout_minutes,
                    node.cron,
                    cron_after,
                    node.data_version,
                    ",".join(node.capabilities),
                    node.retrain_days,
                ),
            )
        return StoredNode(node, token)

    def node(self, name: str) -> StoredNode | None:
        """One node as it was configured last."""
        with self._read() as db:
            row = db.execute("SELECT * FROM nodes WHERE name = ?", (name,)).fetchone()
        return None if row is None else _stored_node(row)

    def nodes(self) -> list[StoredNode]:
        """All nodes, by name."""
        with self._read() as db:
            return [_stored_node(row) for row in db.execute("SELECT * FROM nodes ORDER BY name")]

    def schedules(self) -> list[tuple[str, str, datetime]]:
        """Every node with a schedule: its name, the expression, and the moment up to which it is worked off."""
        with self._read() as db:
            rows = db.execute("SELECT name, cron, cron_after FROM nodes WHERE cron IS NOT NULL").fetchall()
        return [(row["name"], row["cron"], text_time(row["cron_after"])) for row in rows]

    def schedule_passed(self, node: str, cron: str, occurrence: datetime, now: datetime, *, start: bool) -> None:
        """Work off one occurrence of a node's schedule and, with `start`, create its run, in one transaction."""
        with self._write() as db:
            changed = db.execute(
                "UPDATE nodes SET cron_after = ? WHERE name = ? AND cron = ? AND cron_after < ?",
                (time_text(occurrence), node, cron, time_text(occurrence)),
            ).rowcount
            if changed and start:
                _add_run(db, node, f"cron-{occurrence:%Y-%m-%dT%H:%MZ}", now)

    def close_webhook(self, name: str) -> None:
        """Let no more triggers and no schedule start runs of a node that is about to go."""
        with self._write() as db:
            db.execute("UPDATE nodes SET token = ?, cron = NULL WHERE name = ?", (secrets.token_urlsafe(32), name))

    def forget_node(self, name: str) -> None:
        """Remove everything about a node."""
        with self._write() as db:
            for table, column in (("runs", "node"), ("webhook_calls", "node"), ("deployments", "node")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))  # noqa: S608  (names from this line)
            db.execute("DELETE FROM nodes WHERE name = ?", (name,))
            db.execute("DELETE FROM facts WHERE name = ?", (f"containers of {name}",))

    # deployments

    def save_deployment(self, deployment: Deployment, executor: str, reference: str) -> None:
        """Record what a node runs from now on."""
        with self._write() as db:
            db.execute(
                "INSERT OR REPLACE INTO deployments VALUES (?, ?, ?, ?, ?, ?)",
                (
                    deployment.node,
                    executor,
                    deployment.image,
                    reference,
                    deployment.source_hash,
                    time_text(deployment.deployed_at),
                ),
            )

    def deployment(self, node: str) -> StoredDeployment | None:
        """What a node runs now."""
        return next((stored for stored in self.deployments() if stored.deployment.node == node), None)

    def deployments(self) -> list[StoredDeployment]:
        """What all nodes run now."""
        with self._read() as db:
            return [_stored_deployment(row) for row in db.execute("SELECT * FROM deployments ORDER BY node")]

    # runs

    def add_run(self, node: str, trigger_id: str | None, now: datetime) -> Run:
        """Queue a run, or return the one that the trigger has started before. `QueueFull` when too many wait."""
        with self._write() as db:
            if trigger_id is not None:
                row = db.execute("SELECT * FROM runs WHERE node = ? AND trigger_id = ?", (node, trigger_id)).fetchone()
                if row is not None:
                    return _run(row)
            return _add_run(db, node, trigger_id, now)

    def run(self, run_id: str) -> Run | None:
        """One run."""
        job = self.job(run_id)
        return job.run if job else None

    def job(self, run_id: str) -> Job | None:
        """One run with what its execution needs."""
        with self._read() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
        return None if row is None else _job(row)

    def runs(self, node: str, limit: int) -> list[Run]:
        """A node's latest runs, newest first."""
        with self._read() as db:
            rows = db.execute("SELECT * FROM runs WHERE node = ? ORDER BY number DESC LIMIT ?", (node, limit))
            return [_run(row) for row in rows]

    def run_of_trigger(self, node: str, trigger_id: str) -> Run | None:
        """The run that a trigger started."""
        with self._read() as db:
            row = db.execute("SELECT * FROM runs WHERE node = ? AND trigger_id = ?", (node, trigger_id)).fetchone()
        return None if row is None else _run(row)

    def active(self, node: str | None = None) -> list[Job]:
        """Runs that have not ended, oldest first."""
        with self._read() as db:
            rows = db.execute(
                f"SELECT * FROM runs WHERE state NOT IN {FINAL} AND (? IS NULL OR node = ?) ORDER BY number",  # noqa: S608
                (node, node),
            )
            return [_job(row) for row in rows]

    def claim(self, limit: int, now: datetime) -> Job | None:
        """Take the next run that may start: due, none of its node going on, fewer than `limit` going on in all. A
        training keeps no other run from starting.

        What is taken is `running` and `starting` from here on, and taken by nobody else.
        """
        with self._write() as db:
            in_the_way = (
                "SELECT node FROM runs AS other WHERE phase IN ('starting', 'started')"  # noqa: S608  (of constants)
                f" AND ({_TRAINS.format('this')} OR NOT {_TRAINS.format('other')})"
            )
            row = db.execute(
                "SELECT * FROM runs AS this WHERE phase IN ('queued', 'waiting')"  # noqa: S608  (the parts are constants)
                f" AND (not_before IS NULL OR not_before <= ?) AND node NOT IN ({in_the_way})"
                f" AND (SELECT COUNT(*) FROM ({in_the_way})) < ? ORDER BY number LIMIT 1",
                (time_text(now), limit),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE runs SET state = 'running', phase = 'starting', message = NULL, not_before = NULL,"
                " deadline = NULL WHERE id = ?",
                (row["id"],),
            )
            return _job(db.execute("SELECT * FROM runs WHERE id = ?", (row["id"],)).fetchone())

    def prepare(self, run_id: str, executor: str, reference: str, deadline: datetime) -> Job:
        """Record by what and until when an attempt is executed, before anything is started."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET executor = ?, reference = ?, deadline = ? WHERE id = ?",
                (executor, reference, time_text(deadline), run_id),
            )
            return _job(db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone())

    def started(self, run_id: str, now: datetime) -> None:
        """Record that the attempt was started for certain: when it is not to be found from here on, it is lost."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET phase = 'started', started_at = COALESCE(started_at, ?)"
                " WHERE id = ? AND phase = 'starting'",
                (time_text(now), run_id),
            )

    def retry(self, run_id: str, not_before: datetime, message: str) -> None:
        """Let the run wait for its next attempt: it is queued again, and `message` says why."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET state = 'queued', phase = 'waiting', attempt = attempt + 1, not_before = ?,"
                " message = ?, deadline = NULL WHERE id = ? AND phase IN ('starting', 'started')",
                (time_text(not_before), message, run_id),
            )

    def finish(self, run_id: str, run: Run) -> None:
        """Record how a run ended; one that has ended already stays as it is."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET state = ?, phase = 'done', ended_at = ?, exit_code = ?, failure = ?, message = ?"  # noqa: S608
                f" WHERE id = ? AND state NOT IN {FINAL}",
                (
                    run.state.value,
                    time_text(run.ended_at) if run.ended_at else None,
                    run.exit_code,
                    run.failure.value if run.failure else None,
                    run.message,
                    run_id,
                ),
            )

    def ask_to_cancel(self, run_id: str, now: datetime) -> None:
        """Cancel a run that nothing executes at once; ask whoever executes it otherwise."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET state = 'cancelled', phase = 'done', ended_at = ?, message = ?"
                " WHERE id = ? AND phase IN ('queued', 'waiting')",
                (time_text(now), "Cancelled before it started.", run_id),
            )
            db.execute("UPDATE runs SET cancel = 1 WHERE id = ? AND phase IN ('starting', 'started')", (run_id,))

    def cancel_requests(self) -> set[str]:
        """The ids of the runs that are going on and were asked to stop."""
        with self._read() as db:
            rows = db.execute("SELECT id FROM runs WHERE cancel = 1 AND phase IN ('starting', 'started')")
            return {row["id"] for row in rows}

    def changes(self) -> int:
        """A number that changes whenever another process has changed the database."""
        with self._read() as db:
            return int(db.execute("PRAGMA data_version").fetchone()[0])

    # webhook calls

    def add_call(self, call: WebhookCall) -> None:
        """Record one request to a node's webhook; only the latest are kept."""
        with self._write() as db:
            db.execute(
                "INSERT INTO webhook_calls (node, time, status, answer, trigger_id) VALUES (?, ?, ?, ?, ?)",
                (call.node, time_text(call.time), call.status, call.answer, call.trigger_id),
            )
            db.execute(
                "DELETE FROM webhook_calls WHERE node = ? AND number <= (SELECT MAX(number) FROM webhook_calls"
                " WHERE node = ?) - ?",
                (call.node, call.node, KEPT_CALLS),
            )

    def calls(self, node: str, limit: int) -> list[WebhookCall]:
        """The latest requests to a node's webhook, newest first."""
        with self._read() as db:
            rows = db.execute("SELECT * FROM webhook_calls WHERE node = ? ORDER BY number DESC LIMIT ?", (node, limit))
            return [
                WebhookCall(text_time(row["time"]), row["node"], row["status"], row["answer"], row["trigger_id"])
                for row in rows
            ]


def _add_run(db: sqlite3.Connection, node: str, trigger_id: str | None, now: datetime) -> Run:
    waiting = db.execute("SELECT COUNT(*) FROM runs WHERE node = ? AND phase = 'queued'", (node,)).fetchone()[0]
    if waiting >= QUEUE_LIMIT:
        raise QueueFull(f"{waiting} runs of {node} wait already.", "Look at them with `numerai node status`.")
    run = Run(id=secrets.token_hex(8), node=node, state=RunState.QUEUED, created_at=now, trigger_id=trigger_id)
    db.execute(
        "INSERT OR IGNORE INTO runs (id, node, trigger_id, state, phase, created_at)"
        " VALUES (?, ?, ?, 'queued', 'queued', ?)",
        (run.id, node, trigger_id, time_text(now)),
    )
    return run


def _stored_node(row: sqlite3.Row) -> StoredNode:
    node = Node(
        name=row["name"],
        model_name=row["model_name"],
        model_id=row["model_id"],
        tournament=row["tournament"],
        provider="local",
        path=row["path"],
        cpu=row["cpu"],
        memory_mib=row["memory_mib"],
        timeout_minutes=row["timeout_minutes"],
        cron=row["cron"],
        data_version=row["data_version"],
        capabilities=tuple(name for name in row["capabilities"].split(",") if name),
        retrain_days=row["retrain_days"],
    )
    return StoredNode(node, row["token"])


def _stored_deployment(row: sqlite3.Row) -> StoredDeployment:
    deployed_at = text_time(row["deployed_at"])
    deployment = Deployment(row["node"], row["image"], row["source_hash"], deployed_at, changed=False)
    return StoredDeployment(deployment, row["executor"], row["reference"])


def _run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        node=row["node"],
        state=RunState(row["state"]),
        created_at=text_time(row["created_at"]),
        trigger_id=row["trigger_id"],
        started_at=text_time_or_none(row["started_at"]),
        ended_at=text_time_or_none(row["ended_at"]),
        exit_code=row["exit_code"],
        failure=RunFailure(row["failure"]) if row["failure"] else None,
        message=row["message"],
        attempt=row["attempt"],
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(
        run=_run(row),
        phase=row["phase"],
        deadline=text_time_or_none(row["deadline"]),
        executor=row["executor"],
        reference=row["reference"],
        cancel=bool(row["cancel"]),
    )
