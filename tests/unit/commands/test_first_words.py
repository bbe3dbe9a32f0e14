"""What a newcomer reads first: help, hints and questions that can be followed as they stand."""

from __future__ import annotations

import click
import pytest

from tests.unit.commands.conftest import Line


@pytest.mark.parametrize("group", [(), ("node",), ("daemon",), ("sandbox",)])
def test_a_group_alone_shows_its_help_and_ends_with_0(line: Line, group: tuple[str, ...]) -> None:
    answer = line(*group)
    assert answer.exit_code == 0 and answer.out.startswith(f"Usage: {' '.join(('numerai', *group))}")
    assert answer.err == ""


def test_a_usage_error_is_one_message_with_an_older_click_too(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError")  # it came with click 8.2; setup.py takes 8.1.8
    answer = line("node", "confg")
    assert answer.exit_code == 2 and "No such command" in answer.err
