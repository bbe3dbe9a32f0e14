"""The database: transactions, claims, migrations, and what is said when it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, sampled_from
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.models import Node, RunState, WebhookCall
from numerai_compute.providers.local import migrations
from numerai_compute.providers.local.store import KEPT_CALLS, RunStore

from tests.fakes import NOW
from tests.present import present

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512, cron="0 12 * * *")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    made = RunStore(tmp_path / "local" / "runs.db")
    yield made
    made.close()


def test_the_file_is_private_and_durable(store: RunStore) -> None:
    store.save_node(NODE, NOW)
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with store._read() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_newer_database_is_refused(store: RunStore) -> None:
    store.nodes()
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {len(migrations.MIGRATIONS) + 1}")
    with pytest.raises(NumeraiError) as error:
        store.nodes()
    assert error.value.code == "state-newer"
    assert "newer numerai" in (error.value.hint or "")


def test_a_database_from_before_data_versions_keeps_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, all_of_them = tmp_path / "runs.db", migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", all_of_them[:1])
    old = RunStore(path)
    old.nodes()
    old.close()
    with sqlite3.connect(path) as db:
        values = "('numerai-alice', 't', 'alice', 'id-1', 8, '/code', 1, 512, 60, NULL, NULL)"
        db.execute(f"INSERT INTO nodes VALUES {values}")
    monkeypatch.setattr(migrations, "MIGRATIONS", all_of_them)
    store = RunStore(path)
    (stored,) = store.nodes()
    assert (stored.node.data_version, stored.node.capabilities, stored.token) == (None, (), "t")
    changed = replace(stored.node, data_version="v5.2", capabilities=("CHOWN", "SETUID"), retrain_days=30)
    store.save_node(changed, NOW)
    assert [each.node for each in store.nodes()] == [changed]
    store.close()


def test_migrations_are_applied_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    first = RunStore(path)
    first.save_node(NODE, NOW)
    first.close()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, "CREATE TABLE more (x); SELECT 1"))
    second = RunStore(path)
    assert present(second.node(NODE.name)).node == NODE
    second.close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == len(migrations.MIGRATIONS)
        assert db.execute("SELECT COUNT(*) FROM more").fetchone()[0] == 0
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, "CREATE TABLE half (x); nonsense"))
    with pytest.raises(EnvironmentNotReady):
        RunStore(path).nodes()
    with sqlite3.connect(path) as db:
        assert not db.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall()


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 50)
    with pytest.raises(NumeraiError) as error:
        RunStore(path).nodes()
    assert error.value.code == "state-corrupt"


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentNotReady) as error:
        RunStore(tmp_path / "file" / "runs.db").nodes()
    assert error.value.code == "home-unwritable"


def test_a_node_keeps_its_token(store: RunStore) -> None:
    first = store.save_node(NODE, NOW)
    again = store.save_node(replace(NODE, memory_mib=1024), NOW)
    assert again.token == first.token
    assert first.token not in repr(first)
    assert present(store.node(NODE.name)).node.memory_mib == 1024
    store.close_webhook(NODE.name)
    assert present(store.node(NODE.name)).token != first.token


def test_one_trigger_one_run_from_many_sides(store: RunStore) -> None:
    stores = [store, *(RunStore(store.path) for _ in range(3))]
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda number: stores[number % 4].add_run("n", "same", NOW), range(64)))
    assert len({run.id for run in runs}) == 1
    for other in stores[1:]:
        other.close()


def test_claims_are_taken_once_from_many_sides(store: RunStore) -> None:
    for number in range(20):
        store.add_run(f"node-{number}", None, NOW)
    stores = [store, *(RunStore(store.path) for _ in range(3))]
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda number: stores[number % 4].claim(100, NOW), range(40)))
    ids = [job.run.id for job in jobs if job]
    assert len(ids) == len(set(ids)) == 20
    for other in stores[1:]:
        other.close()


def test_a_schedule_is_worked_off_once(store: RunStore) -> None:
    store.save_node(NODE, NOW)
    assert store.schedules() == [(NODE.name, NODE.cron, NOW)]
    occurrence = NOW + timedelta(days=1)
    for _ in range(3):
        store.schedule_passed(NODE.name, present(NODE.cron), occurrence, occurrence, start=True)
    assert [run.trigger_id for run in store.runs(NODE.name, 9)] == ["cron-2026-01-07T12:00Z"]
    store.schedule_passed(NODE.name, present(NODE.cron), occurrence + timedelta(days=1), occurrence, start=False)
    assert len(store.runs(NODE.name, 9)) == 1
    assert store.schedules()[0][2] == occurrence + timedelta(days=1)
    store.save_node(replace(NODE, cron="5 5 * * *"), NOW)
    assert store.schedules() == [(NODE.name, "5 5 * * *", NOW)]


def test_only_the_latest_calls_are_kept(store: RunStore) -> None:
    for number in range(KEPT_CALLS + 5):
        store.add_call(WebhookCall(NOW, "n", 200, str(number)))
    answers = [call.answer for call in store.calls("n", KEPT_CALLS * 2)]
    assert answers == [str(number) for number in reversed(range(5, KEPT_CALLS + 5))]


class Claims(RuleBasedStateMachine):
    """Whatever happens in whatever order: one run per node at a time, never more than the limit, ends stay."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.store = RunStore(Path(self.folder.name) / "runs.db")
        self.now = NOW
        self.final: dict[str, RunState] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(node=sampled_from("abc"), trigger=sampled_from(["1", "2", None]))
    def add(self, node: str, trigger: str | None) -> None:
        self.store.add_run(node, trigger, self.now)

    @rule(seconds=integers(0, 30))
    def claim(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        job = self.store.claim(2, self.now)
        assert job is None or (job.phase, job.run.state) == ("starting", RunState.RUNNING)

    @rule(pick=integers(0, 9), how=sampled_from(["started", "retry", "finish", "cancel"]))
    def move(self, pick: int, how: str) -> None:
        active = self.store.active()
        if not active:
            return
        run = active[pick % len(active)].run
        if how == "started":
            self.store.started(run.id, self.now)
        elif how == "retry":
            self.store.retry(run.id, self.now + timedelta(seconds=20), "again")
        elif how == "cancel":
            self.store.ask_to_cancel(run.id, self.now)
        else:
            self.store.finish(run.id, replace(run, state=RunState.SUCCEEDED, ended_at=self.now))

    @invariant()
    def bounded(self) -> None:
        going_on = [job.run.node for job in self.store.active() if job.phase in ("starting", "started")]
        assert len(going_on) == len(set(going_on)) <= 2

    @invariant()
    def final_is_final(self) -> None:
        for node in "abc":
            runs = self.store.runs(node, 99)
            triggers = [run.trigger_id for run in runs if run.trigger_id]
            assert len(triggers) == len(set(triggers))
            for run in runs:
                assert self.final.get(run.id, run.state) == run.state
                if run.state.final:
                    self.final[run.id] = run.state


TestClaims = Claims.TestCase
TestClaims.settings = settings(max_examples=25, stateful_step_count=25)
