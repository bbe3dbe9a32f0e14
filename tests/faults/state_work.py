"""Scripted work on everything that is kept, killed at every moment it can be killed at, then looked at and finished.

Runs as a process of its own (`python -m tests.faults.state_work WORK FOLDER`), with nothing but one thread, so that it
can fork a child per moment. Prints one JSON document: the moments, and what was wrong after a kill at which of them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.files import private
from numerai_compute.models import Deployment, Keys, Node, RunState, WebhookCall
from numerai_compute.providers.local.executor import Attempt, Control
from numerai_compute.providers.local.scheduler import RunControl, RunExecution
from numerai_compute.providers.local.settings import LocalSettings
from numerai_compute.providers.local.store import RunStore
from numerai_compute.providers.outcomes import Outcome, ended, lost

from tests.fakes import NOW, FakeClock
from tests.faults.kill_points import SIGKILL, KillPoints
from tests.faults.watch_work import WatchWork

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512, cron="0 12 * * *")
KEYS = Keys("public-id", "secret-key")
RUNS_FILE = "runs.db"
STRIDE = 1 if hasattr(os, "fork") else 8
"""Where every child has to be started anew, only every so many moments are tried."""


class Promises:
    """What the work has told others that it is done; a kill may not undo it."""

    def __init__(self, folder: Path):
        self._path = folder / "promises"

    def make(self, *words: Any) -> None:
        """Tell somebody. Written by one system call, which a kill of this process cannot tear."""
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(words).encode() + b"\n")

    def made(self, kind: str) -> list[list[Any]]:
        """What was told of a kind, without the kind."""
        if not self._path.exists():
            return []
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [line[1:] for line in lines if line[0] == kind]


class Work(Protocol):
    """`do` can be begun again after a kill at any moment, and then ends as if there had been none."""

    def do(self) -> None:
        """All of it, or what is left of it."""

    def look(self) -> None:
        """Check what was found after a kill, before anything is done."""

    def finished(self) -> None:
        """Check how it ended."""


def no_database_is_damaged(folder: Path) -> None:
    for path in folder.rglob("*.db"):
        with sqlite3.connect(path) as db:
            found = db.execute("PRAGMA integrity_check").fetchall()
        assert found == [("ok",)], f"{path.name}: {found}"
        db.close()


def no_file_is_open_to_others(paths: Iterable[Path]) -> None:
    if os.name == "posix":
        for path in paths:
            assert not path.is_file() or path.stat().st_mode & 0o077 == 0, path.name


class HomeWork:
    """Nodes, settings, keys and whom to notify, changed one after the other."""

    def __init__(self, folder: Path):
        self.home, self.promises = folder / "home", Promises(folder)
        self.store = HomeStore(self.home, {})
        store, other = self.store, replace(NODE, name="numerai-bob", model_name="bob")
        self.changes: list[Callable[[], object]] = [
            lambda: store.save_keys(KEYS),
            lambda: store.save_node(NODE),
            lambda: store.save_settings("local", {"port": 4000}),
            lambda: store.save_notify_url("team", "json://127.0.0.1/x"),
            lambda: store.save_node(other),
            lambda: store.save_node(replace(NODE, path="/moved")),
            lambda: store.forget_node(other.name),
            lambda: store.save_keys(Keys("public-id", "another-secret")),
            lambda: store.forget_notify_url("team"),
        ]

    def files(self) -> tuple[bytes | None, bytes | None]:
        """Both files as they are."""
        found = [path.read_bytes() if path.exists() else None for path in (self.store.nodes_path, self.store.keys_path)]
        return found[0], found[1]

    def do(self) -> None:
        done = len(self.promises.made("changed"))
        for change in self.changes[done:]:
            change()
            self.promises.make("changed")

    def look(self) -> None:
        done, versions = len(self.promises.made("changed")), versions_of_home(self.home.parent.parent)
        assert self.files() in versions[done : done + 2], "neither the old nor the new version"
        self.store.nodes(), self.store.keys(), self.store.notify_urls(), self.store.settings("local")
        for name in ("nodes.json", ".keys"):
            previous = self.home / (name + private.PREVIOUS_SUFFIX)
            assert not previous.exists() or json.loads(previous.read_bytes())["version"] == 1
        no_file_is_open_to_others(self.home.glob("*"))

    def finished(self) -> None:
        assert self.files() == versions_of_home(self.home.parent.parent)[-1]


@cache
def versions_of_home(folder: Path) -> list[tuple[bytes | None, bytes | None]]:
    """Both files of a home that nobody disturbs, before the first change and after each of them."""
    elsewhere = Path(tempfile.mkdtemp(dir=folder))
    undisturbed = HomeWork(elsewhere)
    versions = [undisturbed.files()]
    for change in undisturbed.changes:
        change()
        versions.append(undisturbed.files())
    return versions


class FileExecutor:
    """Starts an attempt by making a file of its name, as a container is made by its name. The first attempt of the
    trigger `again` is to be tried again."""

    name = "process"

    def __init__(self, folder: Path, store: RunStore):
        self._folder, self._store = folder / "attempts", store

    def executed(self, run_id: str) -> list[int]:
        """The attempts of a run that were started."""
        return sorted(int(path.name.rpartition("-")[2]) for path in self._folder.glob(f"{run_id}-*"))

    def environment_places(self, node: Node) -> tuple[str, str]:
        return "/artifacts", "/cache"

    def _file(self, attempt: Attempt) -> Path:
        return self._folder / f"{attempt.run_id}-{attempt.number}"

    def start(self, attempt: Attempt) -> None:
        self._folder.mkdir(exist_ok=True)
        os.close(os.open(self._file(attempt), os.O_CREAT | os.O_WRONLY, 0o600))

    def wait(self, attempt: Attempt, control: Control) -> Outcome | None:
        if not self._file(attempt).exists():
            return lost("The attempt's file is gone.")
        run = self._store.run(attempt.run_id)
        again = run is not None and run.trigger_id == "again" and attempt.number == 1
        return ended(75 if again else 0, limit="1 MiB")

    def discard(self, attempt: Attempt) -> None:
        """The file stays, to be counted."""


class RunsWork:
    """A node with a schedule and triggers: accepted, queued, claimed, executed, tried again, cancelled."""

    TRIGGERS = ("once", "again", "cron-2026-01-07T12:00Z", "cancelled")

    def __init__(self, folder: Path):
        self.folder, self.promises = folder, Promises(folder)
        self.clock = FakeClock(NOW + timedelta(hours=len(self.promises.made("begun"))))
        self.store = RunStore(folder / RUNS_FILE)
        self.executor = FileExecutor(folder, self.store)
        settings = LocalSettings(retry_seconds=60)
        self.execution = RunExecution(self.store, lambda name: self.executor, lambda: KEYS, self.clock, settings)  # type: ignore[arg-type, return-value]

    def do(self) -> None:
        self.was_cancelled = bool(self.promises.made("cancelled"))
        self.promises.make("begun")
        for job in self.store.active():  # as the scheduler does when it starts
            if job.phase in ("starting", "started"):
                self.execution.execute(job, RunControl())
        self.promises.make("token", self.store.save_node(NODE, NOW).token)
        self.store.save_deployment(Deployment(NODE.name, "image", "hash", NOW), "process", "reference")
        self.accept("once")
        self.store.add_call(WebhookCall(NOW, NODE.name, 200, "accepted", "once"))
        self.accept("once")
        self.accept("again")
        occurrence = NOW + timedelta(days=1)
        self.store.schedule_passed(NODE.name, str(NODE.cron), occurrence, self.clock.now(), start=True)
        self.work_off()
        self.store.ask_to_cancel(self.accept("cancelled"), self.clock.now())
        self.promises.make("cancelled")
        self.store.close()

    def accept(self, trigger: str) -> str:
        """What the webhook does before it answers 200."""
        run = self.store.add_run(NODE.name, trigger, self.clock.now())
        self.promises.make("accepted", trigger, run.id)
        return run.id

    def work_off(self) -> None:
        """Execute what is queued until nothing is."""
        while self.store.active():
            job = self.store.claim(1, self.clock.now())
            if job is None:
                self.clock.sleep(600)
                continue
            self.promises.make("claimed", job.run.id)
            self.execution.execute(job, RunControl())

    def look(self) -> None:
        no_database_is_damaged(self.folder)
        if (self.folder / RUNS_FILE).exists():
            for trigger, run_id in self.promises.made("accepted"):
                found = self.store.run_of_trigger(NODE.name, trigger)
                assert found is not None and found.id == run_id, f"the accepted trigger {trigger} is lost"
            for (run_id,) in self.promises.made("claimed"):
                job = self.store.job(run_id)
                assert job is not None and job.phase != "queued", f"the claim of {run_id} is lost"
                active = run_id in {one.run.id for one in self.store.active()}
                assert active != job.run.state.final, f"{run_id} is neither to be taken over nor ended"
        no_file_is_open_to_others(self.folder.glob(f"{RUNS_FILE}*"))

    def finished(self) -> None:
        store = RunStore(self.folder / RUNS_FILE)
        runs = store.runs(NODE.name, 100)
        assert Counter(run.trigger_id for run in runs) == Counter(self.TRIGGERS)
        by_trigger = {str(run.trigger_id): run for run in runs}
        for trigger in ("once", "again", "cron-2026-01-07T12:00Z"):
            run = by_trigger[trigger]
            attempts = self.executor.executed(run.id)
            assert run.state is RunState.SUCCEEDED, f"{trigger}: {run}"
            assert attempts == ([1, 2] if trigger == "again" else [1]), f"{trigger}: executed as {attempts}"
        last = by_trigger["cancelled"]
        if last.state is RunState.SUCCEEDED:  # killed between accepting and cancelling it: it was executed instead
            assert self.executor.executed(last.id) == [1] and not self.was_cancelled
        else:
            assert last.state is RunState.CANCELLED and self.executor.executed(last.id) == []
        assert len({token for (token,) in self.promises.made("token")}) == 1, "the webhook's address has changed"
        store.close()


class RoundsWork(WatchWork):
    """The watcher's memory."""

    def __init__(self, folder: Path):
        promises = Promises(folder)
        super().__init__(folder, promises.make, promises.made)

    def look(self) -> None:
        no_database_is_damaged(self.folder)
        no_file_is_open_to_others(self.folder.glob("*.db*"))


WORKS: dict[str, Callable[[Path], Work]] = {"home": HomeWork, "runs": RunsWork, "rounds": RoundsWork}


def _do(work: str, folder: Path, kill_at: int | None, labels: Path | None) -> None:
    points = KillPoints(kill_at)
    points.watch()
    WORKS[work](folder).do()
    if labels:
        labels.write_text(json.dumps(points.labels))


def _finish(work: str, folder: Path, problem: Path) -> None:
    try:
        WORKS[work](folder).look()
        again = WORKS[work](folder)
        again.do()
        again.finished()
    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
        problem.write_text(traceback.format_exc())


def explore(work: str, folder: Path) -> dict[str, Any]:
    """Kill the work at every moment; the moments, and what went wrong where."""
    context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")

    def isolated(target: Callable[..., None], *arguments: Any) -> int | None:
        process = context.Process(target=target, args=arguments)  # type: ignore[attr-defined]
        process.start()
        process.join(60)
        code: int | None = process.exitcode
        return code

    if work == "home":
        versions_of_home(folder)  # before the first fork, so that no child has to find out again
    whole, labels, problem = folder / "whole", folder / "labels", folder / "problem"
    whole.mkdir()
    assert isolated(_do, work, whole, None, labels) == 0, "the work itself fails"
    isolated(_finish, work, whole, problem)
    found = {"whole": problem.read_text()} if problem.exists() else {}
    moments = json.loads(labels.read_text())
    for number in range(0, len(moments), STRIDE):
        killed = folder / str(number)
        killed.mkdir()
        problem = killed / "problem"
        code = isolated(_do, work, killed, number, None)
        if code not in (-SIGKILL, SIGKILL):
            problem.write_text(f"not killed: exit code {code}")
        else:
            isolated(_finish, work, killed, problem)
        if problem.exists():
            found[f"{number} {moments[number]}"] = problem.read_text()
        else:
            shutil.rmtree(killed)
    return {"moments": moments, "problems": found}


if __name__ == "__main__":
    json.dump(explore(sys.argv[1], Path(sys.argv[2])), sys.stdout)
