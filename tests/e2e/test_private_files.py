"""Every file that the tool makes is its owner's alone from its first moment, whatever the umask lets new files be."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command_line import SMALL, Shell
from tests.e2e.conftest import opened_shell

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")]

FLAT = """
from numerai_node import Node, run_and_submit

def main(node: Node) -> None:
    ids = node.universe["id"]
    node.submit(ids.to_frame().assign(prediction=[(index + 1) / (len(ids) + 1) for index in range(len(ids))]))

run_and_submit(main)
"""
HANDLER = """
from numerai_compute.events import EventHandler

class Handler(EventHandler):
    def on_new_tournament_data(self, round_number):
        self.state["round"] = round_number
        self.daemon.provide("features.json")
"""
LOOK = """
import os, stat, sys

def look(event, arguments):
    if event not in ("os.chmod", "os.remove", "os.rename"):
        return
    try:
        found = os.stat(arguments[0])
        link = f"/proc/self/fd/{arguments[0]}"
        path = os.readlink(link) if isinstance(arguments[0], int) else os.path.abspath(os.fsdecode(arguments[0]))
    except (OSError, TypeError):
        return
    if path.startswith(WATCHED) and stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
        with open(OPEN_ONCE, "a") as file:
            file.write(f"{event} {oct(found.st_mode)} {path}\\n")

sys.addaudithook(look)
"""
"""Runs in every Python process of the tool: a file that is open to others as its mode is changed, or as it is renamed
or removed, was open to them before."""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A terminal in which new files may be read and written by everybody."""
    (tmp_path / "hook").mkdir()
    watched = (str(tmp_path / "home"), str(tmp_path / "state"))
    names = f"WATCHED, OPEN_ONCE = {watched!r}, {str(tmp_path / 'open-once')!r}\n"
    (tmp_path / "hook" / "sitecustomize.py").write_text(names + LOOK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "hook"), os.environ.get("PYTHONPATH", "")]))
    before = os.umask(0)
    try:
        with opened_shell(tmp_path, "process", *SMALL, "--state", str(tmp_path / "state")) as opened:
            yield opened
    finally:
        os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """What is in a folder that anybody but its owner may do something with, but for what pip and venv write into a
    virtual environment, and the folder itself."""
    found = []
    for path in (folder, *sorted(folder.rglob("*"))):
        mode = path.lstat().st_mode
        ours = not any(parent.name.startswith("venv-") for parent in path.parents)
        found += [f"{oct(mode)} {path}"] if ours and not stat.S_ISLNK(mode) and mode & 0o077 else []
    return found


def test_a_session(shell: Shell) -> None:
    shell.ok("setup")
    shell.ok("config", "set", "attempts", "2")
    assert shell("notify", "add", "desk", NUMERAI_NOTIFY_URL="json://127.0.0.1:9/secret").exit_code == 0
    shell.ok("node", "config", "--example", "tournament-python3", "--path", "node", "--size", "gen-sm")
    (shell.folder / "node" / "predict.py").write_text(FLAT)
    shell.ok("node", "deploy")
    shell.ok("node", "test", "--local")
    shell.ok("node", "test")
    shell("watch", "--once")
    (shell.folder / "handlers.py").write_text(HANDLER)
    shell.ok("events", "run", "handlers.py", "--single-run", "-m", "alice")
    shell("doctor")
    shell.ok("history")
    assert open_to_others(shell.home) + open_to_others(shell.folder / "state") == []
    kinds = {path.suffix for path in (*shell.home.rglob("*"), *(shell.folder / "state").rglob("*"))}
    assert {".db", ".sqlite", ".sqlite-wal", ".sqlite-shm", ".log", ".lock", ".parquet", ".py", ".previous"} <= kinds
    once = shell.folder / "open-once"
    assert not once.exists(), once.read_text()
    example = shell.folder / "node" / "train.py"
    assert example.stat().st_mode & 0o777 == 0o666, "what is in a folder of the user's is for the umask to say"
