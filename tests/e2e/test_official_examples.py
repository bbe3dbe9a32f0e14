"""The example folders of the official numerai-cli 1.1.7, unchanged: built from their own Dockerfiles, run, accepted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.command_line import SMALL, Shell
from tests.e2e.conftest import opened_shell
from tests.fixtures.official import PYTHON_EXAMPLES, R_BASE, python_stand_in, stand_in

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

MODELS = {"alice": 8, "bob": 11, "carol": 12}


def test_the_python_examples_are_built_and_their_submissions_accepted(official_examples: Path, tmp_path: Path) -> None:
    """Classic and Crypto from their own folders, Signals from the folder above, as somebody with shared code has it."""
    project = tmp_path / "project"
    shutil.copytree(official_examples, project)
    (project / "common").mkdir()
    sandbox = ("--models", "alice,bob:signals,carol:crypto", *SMALL)
    with (
        stand_in("python:3.13", python_stand_in(project, tmp_path / "base")),
        opened_shell(tmp_path, "docker", *sandbox) as shell,
    ):
        shell.ok("setup")
        for (name, tournament), example in zip(MODELS.items(), PYTHON_EXAMPLES, strict=True):
            context = ("--context", str(project)) if name == "bob" else ()
            submitted = accepted(shell, name, tournament, project / example, *context)
            assert submitted["submission"]["trigger_id"] == submitted["trigger_id"]


@pytest.mark.skipif("NUMERAI_TEST_R" not in os.environ, reason="NUMERAI_TEST_R does not ask for an image of 1.1 GB")
def test_the_r_example_is_built_and_its_submission_accepted(official_examples: Path, tmp_path: Path) -> None:
    """On a stand-in of Rnumerai: with the genuine one it runs nowhere since 2022 (tests/fixtures/r_base/Dockerfile)."""
    folder = tmp_path / "node"
    shutil.copytree(official_examples / "tournament-rlang", folder)
    with stand_in("r-base:latest", R_BASE), opened_shell(tmp_path, "docker") as shell:
        shell.ok("setup")
        accepted(shell, "alice", 8, folder)


def accepted(shell: Shell, name: str, tournament: int, folder: Path, *options: str) -> Any:
    """What `node test` says of a node that is configured and deployed from the folder; its submission is on time."""
    node = ("node", "-m", name, "-t", str(tournament))
    shell.ok(*node, "config", "--path", str(folder), *options)
    assert "The build gets no NUMERAI_PUBLIC_ID and NUMERAI_SECRET_KEY" in shell.ok(*node, "deploy", "--verbose").err
    tested = shell.ok(*node, "test", "--json").json
    assert all(fact["holds"] for fact in tested["facts"]), tested
    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    model = shell.sandbox["models"][name]
    (made,) = (each for each in state["submissions"] if each["model_id"] == model)
    (entry,) = (each for each in state["entries"] if each["model"] == name)
    assert (entry["id"], entry["status"]) == (made["id"], "on-time")
    return tested
