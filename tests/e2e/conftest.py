"""Terminals for the end-to-end tests, one executor each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command_line import SMALL, Shell, sandbox_process

BOTH = [pytest.param("docker", marks=pytest.mark.docker), "process"]


@contextmanager
def opened_shell(folder: Path, executor: str, *sandbox: str) -> Iterator[Shell]:
    """A terminal; at its end nothing runs any more and every node is gone."""
    with sandbox_process(*(sandbox or SMALL), cwd=folder) as served:
        shell = Shell(folder, served, executor)
        try:
            yield shell
        finally:
            listed = shell("node", "list", "--json")
            for node in listed.json if listed.exit_code == 0 else ():
                shell("node", "-m", node["model_name"], "destroy", "--yes", "--force")
            shell("daemon", "stop")


@pytest.fixture(params=BOTH)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    """A terminal with a sandbox, once with containers and once with processes."""
    with opened_shell(tmp_path, request.param) as opened:
        yield opened
