"""A run in the foreground that is ended or killed leaves nothing that stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.models import Keys, Node
from numerai_compute.providers.local.checks import local_checks
from numerai_compute.providers.local.parts import LocalParts
from numerai_compute.providers.local.rehearsal import LocalRehearsal
from numerai_compute.providers.registry import ProviderContext

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"), pytest.mark.slow]

REHEARSE = """
import sys
from pathlib import Path
from tests.unit.providers.test_rehearsals import context, node_in
from numerai_compute.providers.local.rehearsal import LocalRehearsal
home, executor = Path(sys.argv[1]), sys.argv[2]
LocalRehearsal(context(home, executor)).rehearse(
    node_in(home.parent / "code"), [], report=lambda line: None, on_log=lambda line: print(line.text, flush=True))
"""
DOCKERFILE = 'FROM python:3.13-slim\nCOPY main.py .\nCMD ["python", "-u", "main.py"]\n'
MAIN = "import os, time\nprint('pid', os.getpid())\ntime.sleep(600)\n"


def context(home: Path, executor: str) -> ProviderContext:
    from numerai_compute.adapters.docker_engine import DockerEngine

    settings: dict[str, str | int] = {"executor": executor, "grace_seconds": 1}
    return ProviderContext(home, settings, lambda: Keys("public-id", "secret-key"), DockerEngine, SystemClock())


def node_in(folder: Path) -> Node:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "main.py").write_text(MAIN)
    return Node("numerai-reh", "reh", "id", 8, "local", str(folder), cpu=1, memory_mib=128, timeout_minutes=5)


def started(home: Path, executor: str) -> tuple[subprocess.Popen[str], int]:
    """A rehearsal whose program runs, and that program's number."""
    process = subprocess.Popen(
        [sys.executable, "-c", REHEARSE, str(home), executor],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("pid"), line
    return process, int(line.split()[1])


def left(home: Path, executor: str) -> list[str]:
    return list(LocalParts(context(home, executor)).executor(executor).leftovers())


def records(home: Path) -> list[Path]:
    return list((home / "local" / "rehearsals").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_what_runs(home: Path, number: int) -> None:
    process, program = started(home, "process")
    process.send_signal(number)
    process.wait(120)
    assert left(home, "process") == [] and records(home) == [] and not psutil.pid_exists(program)
    assert list((home / "local" / "logs").iterdir()) == []


@pytest.mark.parametrize("finder", ["rehearsal", "doctor", "daemon"])
def test_what_a_killed_one_left_is_removed(home: Path, finder: str) -> None:
    process, program = started(home, "process")
    alive, _ = started(home, "process")
    process.kill()
    process.wait(120)
    try:
        assert len(left(home, "process")) == 2
        find(finder, home, "process")
        assert len(left(home, "process")) == len(records(home)) == 1  # that which lives
        assert not psutil.pid_exists(program)
        assert alive.poll() is None
    finally:
        alive.terminate()
        alive.wait(120)


@pytest.mark.docker
def test_a_container_that_a_killed_one_left_is_removed(home: Path) -> None:
    process, _ = started(home, "docker")
    process.kill()
    process.wait(120)
    try:
        assert len(left(home, "docker")) == 1
        find("doctor", home, "docker")
        assert left(home, "docker") == [] and records(home) == []
    finally:
        LocalParts(context(home, "docker")).executor("docker").destroy("numerai-reh", lambda line: None)
        LocalParts(context(home, "docker")).executor("docker").destroy_shared()


def find(finder: str, home: Path, executor: str) -> None:
    parts = LocalParts(context(home, executor))
    if finder == "daemon":
        parts.rehearsals.try_to_remove_abandoned(parts.used_executors())
    elif finder == "doctor":
        checks = {check.name: check for check in local_checks(parts, [], lambda node: "")}
        assert "is removed" in checks["killed tests"].why
    else:
        node = node_in(home.parent / "code")
        (home.parent / "code" / "main.py").write_text("print(1)")
        LocalRehearsal(context(home, executor)).rehearse(node, [], report=print, on_log=print)


def test_without_an_answer_the_record_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/none.sock")
    parts = LocalParts(context(home, "docker"))
    with pytest.raises(RuntimeError), parts.rehearsals.going_on("rehearsal-1", "docker"):
        raise RuntimeError
    assert parts.rehearsals.try_to_remove_abandoned() == []
    assert [record.name for record in records(home)] == ["rehearsal-1.docker"]


def test_what_a_rehearsal_says_names_no_log_that_is_not_kept(home: Path) -> None:
    node = node_in(home.parent / "code")
    (Path(node.path) / "main.py").write_text("print('wrong'); raise SystemExit(3)\n")
    run = LocalRehearsal(context(home, "process")).rehearse(node, [], report=print, on_log=print)
    assert run.message == "It ended with exit code 3. The log above shows what it printed."


def test_a_forced_build_makes_a_damaged_environment_anew_and_leaves_the_old_one_to_its_runs(home: Path) -> None:
    node = node_in(home.parent / "code")
    executor = LocalParts(context(home, "process")).executor("process")
    environment = [
        Path(json.loads(executor.build(node, "0" * 64, print, force=force)[1])["environment"])
        for force in (False, False, True, False)
    ]
    first, again, forced, after = environment
    assert first == again and forced != first and after == forced and first.is_dir()
    executor.forget_old(node.name, {executor.build(node, "0" * 64, print)[1]})
    assert not first.exists() and forced.is_dir()
