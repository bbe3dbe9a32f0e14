"""What the README says of all commands, held against the commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from numerai_compute.main import cli

from tests.unit.commands.command_walk import leaves

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SECTION = " ".join(README.partition("\n## Commands\n")[2].partition("\n## ")[0].split())
LEAVES = dict(leaves(cli, click.Context(cli)))
ONLY_READ = {
    "config get", "config list", "cost", "daemon status", "data list", "doctor", "history", "list-constants",
    "node list", "node logs", "node status", "notify list", "report", "sandbox state", "status",
}  # fmt: skip
START_STOP_OR_SEND = {
    "daemon run", "daemon start", "daemon stop", "data download", "demo", "events run", "node cancel", "node test",
    "node trigger", "notify test", "sandbox clock", "sandbox data", "sandbox fault", "sandbox round", "sandbox serve",
    "train", "validate", "watch",
}  # fmt: skip


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def all_commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    yield command.name or "", command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from all_commands(child, context)


def test_every_command_has_json_and_verbose() -> None:
    assert "Every command has `--json` and `--verbose`." in SECTION
    lacking = [
        name for name, each in all_commands(cli, click.Context(cli)) if not {"--json", "--verbose"} <= options(each)
    ]
    assert lacking == []


def test_what_changes_something_has_a_dry_run() -> None:
    said = re.search(r"is changed by (.*?): these have `--dry-run`", SECTION)
    assert said
    having = {path for path, command in LEAVES.items() if "--dry-run" in options(command)}
    assert set(re.findall(r"`([^`]+)`", said[1])) == having
    assert set(LEAVES) == having | ONLY_READ | START_STOP_OR_SEND, "a new command has its place in one of these"


@pytest.mark.parametrize("path", sorted(LEAVES))
def test_the_table_names_every_command(path: str) -> None:
    first_cells = [set(re.findall(r"[a-z-]+", row)) for row in re.findall(r"\| (`numerai [^|]+) \|", SECTION)]
    assert any(set(path.split()) <= words for words in first_cells)
