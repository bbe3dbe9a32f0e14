"""The example folders of the official numerai-cli 1.1.7, unchanged: built from their own Dockerfiles, run, accepted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from tests.e2e.command_line import SMALL
from tests.e2e.conftest import opened_shell
from tests.fixtures.official import PYTHON_EXAMPLES, python_stand_in, stand_in

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
            node = ("node", "-m", name, "-t", str(tournament))
            context = ("--context", str(project)) if name == "bob" else ()
            shell.ok(*node, "config", "--path", str(project / example), *context)
            shell.ok(*node, "deploy", "--verbose")
            tested = shell.ok(*node, "test", "--json").json
            assert all(fact["holds"] for fact in tested["facts"]), tested
            state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
            made = [each for each in state["submissions"] if each["model_id"] == shell.sandbox["models"][name]]
            assert [each["trigger_id"] for each in made] == [tested["trigger_id"]]
            (entry,) = (each for each in state["entries"] if each["model"] == name)
            assert (entry["id"], entry["status"]) == (made[0]["id"], "on-time")
