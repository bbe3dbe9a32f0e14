"""The table of command lines holds what the programs hold: ours by click, theirs by what their packages define."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator

import click
import numerapi.cli
import pytest
from numerai_compute.main import cli

from tests.parity.features import BEFORE, DONE, FEATURES, OPEN, PARTLY, Feature
from tests.parity.rows import LATER, REFUSED, ROWS, SAME
from tests.parity.table import DOCUMENT, document, now

OFFICIAL = {
    "setup": ("provider", "skip-key-setup", "verbose"),
    "node": ("verbose", "model-name", "tournament"),
    "node config": (
        "verbose", "provider", "size", "cpu", "memory", "path", "example", "cron", "timeout-minutes",
        "register-webhook",
    ),
    "node deploy": ("verbose",),
    "node destroy": ("preserve-node-config", "verbose"),
    "node test": ("local", "command", "verbose"),
    "node status": ("verbose", "num-lines", "log-type", "follow-tail"),
    "doctor": (),
    "uninstall": (),
    "upgrade": ("verbose",),
    "copy-example": ("example", "dest", "verbose"),
    "list-constants": (),
    "add-volume-aws": ("size", "verbose"),
    "destroy-all": ("preserve-node-config", "verbose"),
}  # fmt: skip
"""The commands of numerai-cli 1.1.7 and their options. The package cannot be imported here: it needs Azure's and
Google's SDKs."""


def options(command: click.Command, path: str = "") -> Iterator[str]:
    """A command, its options and its subcommands, as the table writes them."""
    if path:
        yield path
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (f"{path} {name}".strip() for name in parameter.opts if name.startswith("--"))
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None
            yield from options(child, f"{path} {name}".strip())


@functools.cache
def ours() -> frozenset[str]:
    """Every command and option of this tool."""
    return frozenset(options(cli))


def test_everything_that_the_table_names_here_is_there() -> None:
    assert [row for row in ROWS if row.ours and row.ours not in ours()] == []


@pytest.mark.parametrize("tool", ["numerai-cli", "numerapi"])
def test_every_command_and_option_of_theirs_has_a_row(tool: str) -> None:
    if tool == "numerapi":
        theirs = set(options(numerapi.cli.cli))
    else:
        theirs = {*OFFICIAL, *(f"{name} --{each}" for name, given in OFFICIAL.items() for each in given)}
    rows = [row.theirs for row in ROWS if row.tool == tool]
    assert set(rows) == theirs and max(Counter(rows).values()) == 1


def test_what_is_the_same_has_the_same_name_and_what_is_missing_a_reason() -> None:
    for row in ROWS:
        if row.state == SAME and row.tool == "numerai-cli" and not row.theirs.startswith("node --"):
            assert row.ours == row.theirs
        assert bool(row.ours) != (row.state in (REFUSED, LATER)) and (row.ours or row.note), row


@pytest.mark.parametrize("tool", BEFORE)
def test_every_feature_that_the_audit_missed_is_settled(tool: str) -> None:
    settled = [feature for feature in FEATURES if feature.tool == tool]
    then = Counter(feature.before for feature in settled)
    assert (then[PARTLY], then[OPEN]) == BEFORE[tool][1:3]
    assert len({feature.what for feature in settled}) == len(settled)
    assert sum(now(tool)) == sum(BEFORE[tool]) and now(tool)[0] >= BEFORE[tool][0]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: f"{feature.tool}: {feature.what}"[:60])
def test_what_a_feature_names_is_there_and_what_is_not_there_has_a_reason(feature: Feature) -> None:
    assert feature.where if feature.now == DONE else feature.note
    path, _, heading = feature.where.partition("#")
    if "/" in path or path.endswith(".md"):
        file = DOCUMENT.parents[1] / path
        assert file.is_file()
        titles = [line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        anchors = ["".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-") for title in titles]
        assert not heading or heading in anchors
    elif feature.where:
        assert feature.where in ours()


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "python -m tests.parity writes it"
