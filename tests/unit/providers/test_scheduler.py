"""The scheduler with an executor that does what a test says: retries, schedules, failures and checks."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.errors import EnvironmentNotReady, NumeraiError, ProviderError
from numerai_compute.files.database import DatabaseUnusable
from numerai_compute.models import Check, CheckStatus, Deployment, Keys, Node, Run, RunFailure, RunState
from numerai_compute.providers.local.checks import local_checks
from numerai_compute.providers.local.executor import Attempt, Control
from numerai_compute.providers.local.parts import LocalParts
from numerai_compute.providers.local.provider import LocalProvider, create
from numerai_compute.providers.local.scheduler import RunControl, RunExecution, Scheduler
from numerai_compute.providers.local.settings import LocalSettings
from numerai_compute.providers.local.store import RunStore
from numerai_compute.providers.outcomes import Outcome, ended, lost
from numerai_compute.providers.registry import ProviderContext

from tests.fakes import FakeClock
from tests.present import present

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512)
KEYS = Keys("public-id", "secret-key")


class FakeExecutor:
    """Starts nothing; ends as told."""

    name = "process"

    def __init__(self) -> None:
        self.outcomes: list[Outcome | Exception | None] = [ended(0, limit="1 MiB")]
        self.start_error: Exception | None = None
        self.discard_error: Exception | None = None
        self.started: list[Attempt] = []
        self.discarded: list[int] = []

    def environment_places(self, node: Node) -> tuple[str, str]:
        return "/artifacts", "/cache"

    def start(self, attempt: Attempt) -> None:
        if self.start_error:
            raise self.start_error
        self.started.append(attempt)

    def wait(self, attempt: Attempt, control: Control) -> Outcome | None:
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def discard(self, attempt: Attempt) -> None:
        self.discarded.append(attempt.number)
        if self.discard_error:
            raise self.discard_error

    def leftovers(self) -> dict[str, str]:
        raise EnvironmentNotReady("the engine is away")

    def present(self, reference: str) -> bool:
        raise EnvironmentNotReady("the engine is away")

    def checks(self) -> Iterator[Check]:
        yield Check("fake", CheckStatus.OK, "is there")


class Bench:
    """A store with one deployed node, and the parts that execute its runs."""

    def __init__(self, folder: Path):
        self.clock = FakeClock()
        self.store = RunStore(folder / "runs.db")
        self.executor: Any = FakeExecutor()
        self.keys: Callable[[], Keys | None] = lambda: KEYS
        current_keys = lambda: self.keys()  # noqa: E731, PLW0108  (tests replace it)
        self.settings = LocalSettings(retry_seconds=60)
        self.store.save_node(NODE, self.clock.now())
        deployment = Deployment(NODE.name, "image", "hash", self.clock.now())
        self.store.save_deployment(deployment, "process", "reference")
        self.execution = RunExecution(self.store, lambda name: self.executor, current_keys, self.clock, self.settings)

    def execute(self, run: Run, control: RunControl | None = None) -> Run:
        job = present(self.store.claim(1, self.clock.now()))
        assert job.run.id == run.id
        self.execution.execute(job, control or RunControl())
        return present(self.store.run(run.id))

    def add(self) -> Run:
        return self.store.add_run(NODE.name, None, self.clock.now())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_a_temporary_failure_waits_longer_each_time(bench: Bench) -> None:
    bench.executor.outcomes = [ended(75, limit="1 MiB")]
    run, waits = bench.add(), []
    for _ in "12":
        found = bench.execute(run)
        assert found.state is RunState.QUEUED
        assert bench.store.claim(1, bench.clock.now()) is None
        waits.append(present(found.message).rpartition(" in ")[2])
        bench.clock.sleep(120)
    found = bench.execute(run)
    assert (found.state, found.attempt, found.exit_code) == (RunState.FAILED, 3, 75)
    assert waits == ["60 s.", "120 s."]
    assert bench.executor.discarded == [1, 2, 3]
    assert [attempt.number for attempt in bench.executor.started] == [1, 2, 3]


def test_a_deadline_counts_from_the_start_of_an_attempt(bench: Bench) -> None:
    bench.add()
    bench.clock.sleep(1000)
    bench.execute(bench.store.active()[0].run)
    assert bench.executor.started[0].deadline == bench.clock.now() + timedelta(minutes=NODE.timeout_minutes)


def test_infrastructure_that_is_away_is_tried_again(bench: Bench) -> None:
    bench.executor.start_error = EnvironmentNotReady("the engine is away")
    run = bench.add()
    waiting = bench.execute(run)
    assert "the engine is away" in (waiting.message or "")
    assert (waiting.state, waiting.started_at) == (RunState.QUEUED, None), "nothing was started"
    bench.executor.start_error = None
    bench.clock.sleep(60)
    assert bench.execute(run).state is RunState.SUCCEEDED


def test_other_failures_to_start_end_the_run(bench: Bench) -> None:
    bench.executor.start_error = ProviderError("refused")
    found = bench.execute(bench.add())
    assert (found.state, found.failure, found.message) == (RunState.FAILED, RunFailure.COULD_NOT_START, "refused")
    assert found.started_at is None
    assert bench.executor.discarded == [1]


def test_keys_that_cannot_be_read_are_no_keys(bench: Bench) -> None:
    def unreadable() -> None:
        raise NumeraiError("the file is broken")

    bench.keys = unreadable
    found = bench.execute(bench.add())
    assert found.failure is RunFailure.NO_KEYS
    assert "the file is broken" in (found.message or "")
    assert bench.executor.started == []


def test_a_node_that_is_gone(bench: Bench) -> None:
    run = bench.store.add_run("numerai-gone", None, bench.clock.now())
    assert bench.execute(run).failure is RunFailure.NOT_DEPLOYED


def test_what_cannot_be_discarded_is_left_for_the_next_start(bench: Bench) -> None:
    bench.executor.discard_error = EnvironmentNotReady("the engine is away")
    assert bench.execute(bench.add()).state is RunState.SUCCEEDED


def test_leaving_leaves_the_run_running(bench: Bench) -> None:
    bench.executor.outcomes = [None]
    assert bench.execute(bench.add()).state is RunState.RUNNING
    assert bench.executor.discarded == []


def test_a_lost_run_that_was_to_be_cancelled_is_cancelled(bench: Bench) -> None:
    bench.executor.outcomes = [lost("It is gone.")]
    control = RunControl()
    control.cancel()
    assert bench.execute(bench.add(), control).state is RunState.CANCELLED
    bench.executor.outcomes = [lost("It is gone.")]
    assert bench.execute(bench.add()).failure is RunFailure.LOST


def scheduler(bench: Bench, executor: Any = None) -> Scheduler:
    return Scheduler(bench.store, bench.execution, lambda: [executor or bench.executor], SystemClock(), bench.settings)


def wait_until(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_bug_in_one_run_does_not_end_the_daemon(bench: Bench) -> None:
    bench.executor.outcomes = [ValueError("a bug"), OSError("no space left"), ended(0, limit="1 MiB")]
    broken = bench.add()
    going = scheduler(bench)
    going.start()
    wait_until(lambda: present(bench.store.run(broken.id)).state.final)
    failed = present(bench.store.run(broken.id))
    assert (failed.state, failed.failure) == (RunState.FAILED, RunFailure.COULD_NOT_START)
    assert "ValueError" in (failed.message or "")
    refused = bench.add()
    going.poke()
    wait_until(lambda: present(bench.store.run(refused.id)).attempt == 2)
    well = bench.add()
    going.poke()
    wait_until(lambda: present(bench.store.run(well.id)).state is RunState.SUCCEEDED)
    assert going.stop() == []


def test_trouble_with_the_database_passes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def troubled(method: Callable[..., object], troubles: list[Exception]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if troubles:
                raise troubles.pop()
            return method(*arguments)

        return call

    store, full = bench.store, DatabaseUnusable("the disk is full")
    monkeypatch.setattr(store, "changes", troubled(store.changes, [full, KeyError("a bug")]))
    monkeypatch.setattr(store, "started", troubled(store.started, [full]))
    monkeypatch.setattr(store, "finish", troubled(store.finish, [full, full]))
    for name in ("LOOK_SECONDS", "CRON_LOOK_SECONDS"):
        monkeypatch.setattr(f"numerai_compute.providers.local.scheduler.{name}", 0.01)
    run = bench.add()
    going = scheduler(bench)
    going.start()
    wait_until(lambda: present(store.run(run.id)).state is RunState.SUCCEEDED)
    going.stop()
    assert present(store.run(run.id)).attempt == 1


def test_schedules_start_runs_once_and_skip_what_is_long_past(bench: Bench) -> None:
    now = SystemClock().now()
    for name, cron, behind in (
        ("numerai-due", "* * * * *", timedelta(seconds=61)),
        ("numerai-late", "0 0 1 1 *", timedelta(days=800)),
    ):
        bench.store.save_node(replace(NODE, name=name, cron=cron), now - behind)
    with bench.store._write() as db:
        db.execute(
            "INSERT INTO nodes SELECT 'numerai-bad', token || 'x', model_name, model_id, tournament, path, cpu,"
            " memory_mib, timeout_minutes, 'nonsense', ?, data_version, capabilities, retrain_days FROM nodes LIMIT 1",
            ("2026-01-01T00:00:00.000000",),
        )
    going = scheduler(bench)
    going._start_scheduled()
    assert bench.store.runs("numerai-due", 9)
    going._start_scheduled()
    going._start_scheduled()
    due = bench.store.runs("numerai-due", 9)
    assert len({run.trigger_id for run in due}) == len(due) <= 3
    assert bench.store.runs("numerai-late", 9) == []
    late = next(after for name, _, after in bench.store.schedules() if name == "numerai-late")
    assert now - late < timedelta(days=800)


def context(folder: Path, **settings: str | int) -> ProviderContext:
    def no_engine() -> NoReturn:
        raise EnvironmentNotReady("no engine", "start it")

    return ProviderContext(folder, settings, lambda: KEYS, no_engine, SystemClock())


def test_making_the_provider_touches_nothing(tmp_path: Path) -> None:
    assert isinstance(create(context(tmp_path / "home")), LocalProvider)
    assert not (tmp_path / "home").exists()


def test_without_an_engine_processes_are_chosen(tmp_path: Path) -> None:
    assert LocalParts(context(tmp_path)).choice.for_new_nodes().name == "process"
    assert LocalParts(context(tmp_path, executor="docker")).choice.for_new_nodes().name == "docker"


def test_checks_without_what_they_look_at(tmp_path: Path) -> None:
    parts = LocalParts(context(tmp_path, executor="docker"))
    now = parts.context.clock.now()
    parts.store.save_node(NODE, now)
    parts.store.save_deployment(Deployment(NODE.name, "image", "hash", now), "docker", "reference")
    run = parts.store.add_run(NODE.name, None, now)
    parts.store.claim(1, now)
    parts.store.prepare(run.id, "docker", "reference", now - timedelta(hours=1))
    found = {check.name: check for check in local_checks(parts, [NODE], lambda node: "hash")}
    assert found["Docker engine"].status is CheckStatus.FAILED
    assert found["Docker engine"].mend == "start it"
    assert found["deployment"].status is CheckStatus.FAILED
    assert found["stuck run"].status is CheckStatus.FAILED
    parts.executor("docker").present = lambda reference: True  # type: ignore[method-assign]
    found = {check.name: check for check in local_checks(parts, [NODE], lambda node: "hash")}
    assert "is gone" in found["deployment"].why
    parts.store.close()


def test_a_folder_that_cannot_be_read_is_the_finding_of_its_node_alone(tmp_path: Path) -> None:
    parts = LocalParts(context(tmp_path))
    other = replace(NODE, name="numerai-bob")
    for node in (NODE, other):
        (tmp_path / node.name).mkdir()
        parts.store.save_node(node, parts.context.clock.now())
        parts.store.save_deployment(Deployment(node.name, "i", "h", parts.context.clock.now()), "docker", "reference")
    parts.executor("docker").present = lambda reference: True  # type: ignore[method-assign]

    def hash_of(node: Node) -> str:
        if node.name == NODE.name:
            raise OSError(errno.ENAMETOOLONG, "File name too long", node.path)
        return "h"

    nodes = [replace(node, path=str(tmp_path / node.name)) for node in (NODE, other)]
    found = {(check.node, check.name): check for check in local_checks(parts, nodes, hash_of)}
    assert "too long" in found[NODE.name, "deployment"].why
    assert found["numerai-bob", "deployment"].status is CheckStatus.OK and (NODE.name, "last run") in found
    parts.store.close()


def test_what_runs_otherwise_than_it_is_recorded_is_found(tmp_path: Path) -> None:
    """Runs know the database only: an older nodes.json that was put back says something else."""
    parts = LocalParts(context(tmp_path, executor="docker"))
    parts.store.save_node(NODE, parts.context.clock.now())

    def drift(*nodes: Node) -> Check | None:
        return next((each for each in local_checks(parts, nodes, lambda node: "hash") if each.name == "drift"), None)

    assert drift(NODE) is None
    edited = drift(replace(NODE, memory_mib=64, cron="0 12 * * *"))
    assert edited is not None and edited.status is CheckStatus.FAILED and edited.node == NODE.name
    assert "memory_mib 512 and not 64, cron None and not 0 12 * * *" in edited.why
    assert edited.mend == "numerai node -m numerai-alice config"
    granted = drift(replace(NODE, capabilities=("CHOWN", "KILL")))
    assert granted is not None and "capabilities none and not CHOWN,KILL" in granted.why
    other = drift(replace(NODE, name="numerai-bob"))
    assert other is not None and other.status is CheckStatus.WARNING and "does not know it" in other.why
    lost = drift()
    assert lost is not None and lost.status is CheckStatus.FAILED
    parts.store.close()


def test_checks_of_wrong_settings_and_a_damaged_database(tmp_path: Path) -> None:
    parts = LocalParts(context(tmp_path, executor="nonsense"))
    found = {check.name: check for check in local_checks(parts, [], lambda node: "hash")}
    assert list(found) == ["settings"] and found["settings"].status is CheckStatus.FAILED
    parts = LocalParts(context(tmp_path))
    found = {check.name: check for check in local_checks(parts, [], lambda node: "hash")}
    assert found["daemon"].status is CheckStatus.OK  # no node needs it
    assert not parts.paths.root.exists()  # looking makes nothing
    parts.paths.root.mkdir(parents=True)
    parts.paths.database.write_bytes(b"nonsense" * 200)
    found = {check.name: check for check in local_checks(parts, [], lambda node: "hash")}
    assert list(found) == ["local database"]
    assert found["local database"].status is CheckStatus.FAILED
