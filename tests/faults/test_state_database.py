"""What is kept survives kill -9 at any moment, a torn write-ahead log, and a newer numerai's files."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError
from numerai_compute.factory import Factory
from numerai_compute.installation import install_command
from numerai_compute.main import run
from numerai_compute.models import Keys, Node
from numerai_compute.providers.local.store import RunStore
from numerai_compute.watching.ledger import Ledger

from tests.fakes import NOW, round_of

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
ROUND = round_of(1000, NOW)
NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a process that is killed loses nothing that it has written to a disk, so
    the disk adds nothing but waiting."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(dir=MEMORY))
    try:
        yield made
    finally:
        shutil.rmtree(made)


# killed


@pytest.mark.parametrize(("work", "at_least"), [("home", 100), ("runs", 100), ("rounds", 100)])
def test_nothing_is_lost_or_done_twice_wherever_the_process_is_killed(work: str, at_least: int, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.state_work", work, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == {}
    moments = found["moments"]
    assert len(moments) >= at_least
    sides = ("before", "after")
    database = ("COMMIT", "BEGIN")
    files = ("replace .nodes.json", "replace ..keys", "fsync")
    for essential in {"home": files, "runs": database, "rounds": database}[work]:
        assert all(any(moment.startswith(f"{side} {essential}") for moment in moments) for side in sides), essential


def test_however_much_of_the_log_reached_the_disk_what_is_found_is_a_beginning_of_what_was_written(
    tmp_path: Path,
) -> None:
    """The commit itself: SQLite appends pages to the write-ahead log. A power cut leaves any part of what was not
    synced, so the log is cut at every page and inside of it, and its last page is torn."""
    store = RunStore(tmp_path / "runs.db")
    store.save_node(NODE, NOW)
    triggers = [f"trigger-{number}" for number in range(12)]
    for trigger in triggers:
        store.add_run(NODE.name, trigger, NOW)
    log = (tmp_path / "runs.db-wal").read_bytes()
    frame = 24 + int.from_bytes(log[8:12], "big")  # https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    base = (tmp_path / "runs.db").read_bytes()
    ends = range(32, len(log) + 1, frame)
    assert len(log) == ends[-1] and len(ends) > len(triggers)
    variants = [log[:end] for end in ends] + [log[: end - frame // 2] for end in ends[1:]]
    variants += [log[: end - frame] + bytes(frame) for end in ends[1:]]
    store.close()
    seen = set()
    for number, variant in enumerate(variants):
        (tmp_path / f"{number}.db").write_bytes(base)
        (tmp_path / f"{number}.db-wal").write_bytes(variant)
        reopened = RunStore(tmp_path / f"{number}.db")
        found = [str(one.trigger_id) for one in reversed(reopened.runs(NODE.name, 100))]
        reopened.close()
        with sqlite3.connect(tmp_path / f"{number}.db") as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        assert found == triggers[: len(found)]
        seen.add(len(found))
    assert seen == set(range(len(triggers) + 1))


# newer


def newer_database(path: Path) -> bytes:
    if path.name == "rounds.db":
        ledger = Ledger(path)
        ledger.follow(NODE.name, ROUND)
        ledger.close()
    else:
        store = RunStore(path)
        store.save_node(NODE, NOW)
        store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE of_tomorrow (x)")
    db.close()
    return path.read_bytes()


def newer_file(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"version": 99, "nodes": {"numerai-alice": {"of": "tomorrow"}}, "notify": {}}')
    return path.read_bytes()


def test_a_newer_database_is_refused_by_reads_and_writes_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    content, store = newer_database(path), RunStore(path)
    uses: list[Callable[[], object]] = [
        store.nodes,
        store.active,
        lambda: store.claim(1, NOW),
        lambda: store.add_run(NODE.name, "trigger", NOW),
        lambda: store.save_node(NODE, NOW),
    ]
    for use in uses:
        with pytest.raises(NumeraiError) as caught:
            use()
        assert caught.value.code == "state-newer" and str(path) in caught.value.message and caught.value.hint
    store.close()
    assert path.read_bytes() == content


def test_a_newer_memory_of_the_watcher_is_refused_by_reads_and_writes_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rounds.db"
    content, ledger = newer_database(path), Ledger(path)
    uses: list[Callable[[], object]] = [
        ledger.watchers,
        lambda: ledger.entry(NODE.name, ROUND),
        lambda: ledger.see_nodes([NODE.name], NOW),
        lambda: ledger.decide_attempt(NODE.name, ROUND, 1, "why", NOW),
        lambda: ledger.begin_watch("daemon", NOW, NOW),
    ]
    for use in uses:
        with pytest.raises(NumeraiError) as caught:
            use()
        assert caught.value.code == "state-newer" and str(path) in caught.value.message and caught.value.hint
    ledger.close()
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["nodes.json", ".keys"])
def test_a_newer_file_is_refused_by_reads_and_writes_and_left_as_it_is(home: Path, name: str) -> None:
    content, store = newer_file(home / name), HomeStore(home, {})
    of_nodes: list[Callable[[], object]] = [
        store.nodes,
        lambda: store.settings("local"),
        lambda: store.save_node(NODE),
        lambda: store.forget_node(NODE.name),
        lambda: store.save_settings("local", {}),
    ]
    of_keys: list[Callable[[], object]] = [
        store.keys,
        store.notify_urls,
        lambda: store.save_keys(Keys("public", "secretsecret")),
        lambda: store.save_notify_url("me", "json://h"),
        lambda: store.forget_notify_url("me"),
    ]
    for use in of_nodes if name == "nodes.json" else of_keys:
        with pytest.raises(NumeraiError) as caught:
            use()
        assert caught.value.code == "state-newer" and str(home / name) in caught.value.message and caught.value.hint
    assert (home / name).read_bytes() == content


COMMANDS = {
    "nodes.json": [
        ["node", "list"],
        ["node", "-m", "alice", "status"],
        ["node", "-m", "alice", "trigger"],
        ["node", "-m", "alice", "destroy", "--yes"],
        ["setup", "--skip-key-setup", "--port", "4000"],
    ],
    ".keys": [["notify", "list"], ["notify", "add", "me", "json://127.0.0.1:9"], ["notify", "remove", "me"]],
    "local/runs.db": [
        ["node", "-m", "alice", "status"],
        ["node", "-m", "alice", "trigger"],
        ["node", "-m", "alice", "logs"],
        ["daemon", "run"],
    ],
    "rounds.db": [["watch", "--once"]],
}


@pytest.mark.parametrize(
    ("name", "command"),
    [(name, command) for name, commands in COMMANDS.items() for command in commands],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_downgrade_is_refused_by_the_command_in_one_message(
    home: Path, name: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith(".db"):
        HomeStore(home).save_node(NODE)
        content = newer_database(home / name)
    else:
        content = newer_file(home / name)
    exit_code = run([*command, "--json"], Factory(home))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert exit_code == 1, printed
    error = json.loads(printed.out)["error"]
    starts_the_daemon = command[-1] == "trigger" and name == "local/runs.db"  # whose last words are then passed on
    assert error["code"] == ("daemon-failed" if starts_the_daemon else "state-newer")
    assert "has version 99" in error["message"]
    assert install_command() in error["message"] + error["hint"]
    assert (home / name).read_bytes() == content


@pytest.mark.parametrize("command", ["history", "status"])
def test_what_shows_the_rest_says_that_the_memory_of_the_watcher_is_newer(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    HomeStore(home).save_node(NODE)
    content = newer_database(home / "rounds.db")
    run([command, "--json"], Factory(home))
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert any("version 99" in each and install_command() in each for each in problems), problems
    assert (home / "rounds.db").read_bytes() == content
