"""Every command without each optional extra: what is missing is named, with what installs it, and is never a bug."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from numerai_compute.installation import EXTRAS, install_command
from numerai_compute.main import cli

from tests.unit.commands.command_walk import leaves

pytestmark = pytest.mark.slow  # walks every command of the tool once for each extra
NEEDING = {
    "aws": {
        "setup --print-policy",
        "setup --remote-state",
        "node config",
        "node deploy",
        "node destroy",
        "node status",
        "node test",
        "node trigger",
        "node logs",
        "doctor",
    },
    "sandbox": {"sandbox serve"},
    "models": {"train"},
}
"""Of the commands that need the extra, those that show how the tool says so."""


@pytest.fixture(scope="module", params=sorted(EXTRAS))
def walked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, list[dict[str, Any]]]:
    """An extra, and how every command ended without it."""
    extra = request.param
    folder = tmp_path_factory.mktemp(f"without-{extra}")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMERAI_", "AWS_", "COV"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.commands.command_walk", extra, str(folder)],
        cwd=Path(__file__).parents[3],
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return extra, json.loads(done.stdout)


def test_every_command_is_walked(walked: tuple[str, list[dict[str, Any]]]) -> None:
    paths = [path for path, _ in leaves(cli, click.Context(cli))]
    typed = {(entry["home"], _path(entry["arguments"], paths)) for entry in walked[1]}
    assert typed == {(home, path) for path in paths for home in ("local", "aws")}


def test_nothing_that_is_missing_is_called_a_bug(walked: tuple[str, list[dict[str, Any]]]) -> None:
    wrong = [
        entry
        for entry in walked[1]
        if any(word in entry["printed"] for word in ("bug in numerai", "Traceback", "ModuleNotFoundError", "No module"))
        or entry["exit_code"] not in (0, 1, 2, 3)
    ]
    assert wrong == []


def test_hints_name_what_installs_it(walked: tuple[str, list[dict[str, Any]]]) -> None:
    extra, entries = walked
    named = [entry for entry in entries if "pip install" in entry["printed"] or "is missing)" in entry["printed"]]
    assert named
    right = [install_command(each) for each in ({extra, "models"} if extra == "sandbox" else {extra})]
    assert [entry for entry in named if not any(each in entry["printed"] for each in right)] == []
    flat = {" ".join(entry["arguments"]): entry for entry in named if entry["home"] == "aws"}
    said = {wanted for wanted in NEEDING[extra] if any(_matches(wanted, line) for line in flat)}
    assert said == NEEDING[extra]
    assert {entry["exit_code"] for entry in named if "Error: This needs" in entry["printed"]} == {3}


def _path(arguments: list[str], paths: list[str]) -> str:
    plain = [word for word in arguments if word not in ("-m", "alice")]
    return next(path for path in paths if plain[: len(path.split())] == path.split())


def _matches(wanted: str, line: str) -> bool:
    words = line.split()
    return all(word in words for word in wanted.split())
