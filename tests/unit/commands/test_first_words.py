"""What a newcomer reads first: help, hints and questions that can be followed as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from tests.fakes import FakeClock
from tests.unit.commands.conftest import FakeFactory, Line
from tests.unit.usecases.test_demo import FakeCommands


@pytest.mark.parametrize("group", [(), ("node",), ("daemon",), ("sandbox",)])
def test_a_group_alone_shows_its_help_and_ends_with_0(line: Line, group: tuple[str, ...]) -> None:
    answer = line(*group)
    assert answer.exit_code == 0 and answer.out.startswith(f"Usage: {' '.join(('numerai', *group))}")
    assert answer.err == ""


def test_a_usage_error_is_one_message_with_an_older_click_too(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(click.exceptions, "NoArgsIsHelpError")  # it came with click 8.2; setup.py takes 8.1.8
    answer = line("node", "confg")
    assert answer.exit_code == 2 and "No such command" in answer.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_demo_that_is_kept_says_what_came_out_before_it_waits(
    line: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, as_json: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FakeFactory, "own_commands", FakeCommands())
    said = []

    def waits(clock: FakeClock, seconds: float) -> None:
        said.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeClock, "sleep", waits)
    answer = line("demo", "--keep", *(["--json"] if as_json else []))
    (before,) = said
    assert answer.exit_code == 0
    if as_json:
        assert json.loads(before)["submission_id"] == "sub-1" and answer.out == ""
        return
    assert before.index("sub-1") < before.index("numerai sandbox round") and "numerai-demo/home" in before
    assert "sub-1" not in answer.out and f"--path {Path('numerai-demo', 'my-node')}" in answer.out
