"""The demo as a play: its commands in order, what it reads out of the log, and that it always ends what it began."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.usecases.demo import Demo, free_folder

from tests.fakes import FakeClock

LOG = (
    "+  4.3s trained trees=10",
    "+  5.0s validated corr_mean=0.0371 corr_sharpe=0.5 eras=25",
    "+  8.8s submitted submission_id=sub-1 round=1000 trigger_id=t status=on-time",
)


class FakeCommands:
    """Notes what is run; `exits` says how, `log` what the node printed."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.exits: dict[str, int | BaseException] = {}
        self.log: Sequence[str] = LOG
        self.environments: list[Mapping[str, str]] = []
        self.serving_now = False

    def run(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], on_line: Callable[[str], None]
    ) -> int:
        command = " ".join(arguments)
        self.ran.append(command)
        self.environments.append(environment)
        assert self.serving_now
        if "logs" in arguments:
            for text in self.log:
                on_line(json.dumps({"text": text, "time": None}))
        outcome = next((exit_ for words, exit_ in self.exits.items() if words in command), 0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    @contextmanager
    def serving(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> Iterator[Mapping[str, Any]]:
        self.serving_now = True
        try:
            yield {"url": "http://127.0.0.1:5", "public_id": "PUB", "secret_key": "SECRETSECRET", "models": {}}
        finally:
            self.serving_now = False


class Stage:
    def __init__(self, folder: Path):
        self.commands, self.shown = FakeCommands(), list[str]()
        self.demo = Demo(folder, "process", self.commands, FakeClock(), self.shown.append, self.shown.append)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path / "demo")


def test_it_plays_the_main_job_and_reads_its_outcome(stage: Stage) -> None:
    result = stage.demo.play()
    assert (result.round_number, result.submission_id, result.confirmed) == (1000, "sub-1", True)
    assert result.validation_corr == pytest.approx(0.0371)
    words = ("copy-example", "setup", "config", "deploy", "test", "logs", "daemon stop")
    assert [word for word, command in zip(words, stage.commands.ran, strict=True) if word in command] == list(words)
    assert not stage.commands.serving_now
    assert "SECRETSECRET" not in "".join(stage.shown)
    with_secret = [name for name, env in zip(words, stage.commands.environments, strict=True) if len(env) > 1]
    assert with_secret == ["setup"]


def test_a_stage_that_fails_is_named_and_everything_is_ended(stage: Stage) -> None:
    stage.commands.exits["deploy"] = 1
    with pytest.raises(NumeraiError, match="deploy"):
        stage.demo.play()
    assert stage.commands.ran[-1] == "daemon stop" and not stage.commands.serving_now


def test_an_interrupt_ends_the_run_too(stage: Stage) -> None:
    stage.commands.exits["test --verbose"] = KeyboardInterrupt()
    with pytest.raises(NumeraiError) as caught:
        stage.demo.play()
    assert caught.value.exit_code == 130
    assert stage.commands.ran[-2:] == ["node -m demo cancel", "daemon stop"] and not stage.commands.serving_now


def test_what_the_log_does_not_tell_is_not_made_up(stage: Stage) -> None:
    stage.commands.log = ["submitted nothing", "validated something"]
    result = stage.demo.play()
    assert (result.round_number, result.submission_id, result.confirmed, result.validation_corr) == (None,) * 2 + (
        False,
        None,
    )


def test_everything_still_runs_while_it_is_held(stage: Stage) -> None:
    held: list[bool] = []
    stage.demo.play(lambda result: held.append(stage.commands.serving_now))
    assert held == [True]


def test_it_takes_only_a_folder_of_its_own(tmp_path: Path) -> None:
    assert free_folder(tmp_path).name == "numerai-demo"
    (tmp_path / "numerai-demo").mkdir()
    assert free_folder(tmp_path).name == "numerai-demo-2"
    (tmp_path / "numerai-demo" / "mine").write_text("x")
    with pytest.raises(UsageError):
        Stage(tmp_path / "numerai-demo").demo.play()
    with pytest.raises(UsageError):
        Stage(tmp_path / "numerai-demo" / "mine" / "below").demo.play()
