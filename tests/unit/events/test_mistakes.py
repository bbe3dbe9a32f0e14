"""A mistake in the command costs no round: it ends the run at once, and the event counts as not delivered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.errors import UsageError
from numerai_compute.events import CommandRunner
from numerai_compute.models import Model

from tests.unit.events.conftest import WHOLE_ROUND, Recorder, World


class Submitter(Recorder):
    """Submits in one of its events, for the model that was named."""

    def __init__(self, name: str = "submitter", model: str | None = None, event: str = "on_new_tournament_data"):
        super().__init__(name)
        self.model = model
        self.event = event

    def _saw(self, event: str, detail: object = None) -> None:
        super()._saw(event, detail)
        if event == self.event:
            self.daemon.submit("predictions.csv", model=self.model)


@pytest.mark.parametrize("event", ["on_round_begin", "on_new_training_data", "on_new_tournament_data", "on_cleanup"])
def test_an_unknown_model_ends_the_run_and_counts_as_nothing(world: World, event: str) -> None:
    wrong, other = Submitter(model="typo", event=event), Recorder("other")
    before = world.clock.monotonic()
    with pytest.raises(UsageError) as caught:
        world.daemon(wrong, other).run(single_run=True)
    assert caught.value.code == "unknown-model" and caught.value.exit_code == 2
    assert wrong.events.count(event) == 1, "it is not tried again"
    assert world.clock.monotonic() == before
    assert event in other.events, "another handler's turn is not lost"
    assert [failure.will_retry for name, failure in other.seen if name == "on_failure"] == [False]
    right = Submitter(model="alice", event=event)
    (round_,) = world.daemon(right, Recorder("other")).run(single_run=True)
    assert event in right.events and world.node.submitted == ["predictions.csv"]
    assert round_.failed == []


def test_a_model_that_is_not_clear_is_asked_for(world: World) -> None:
    world.api.by_id["id-bob"] = Model("id-bob", "bob", 8)
    with pytest.raises(UsageError) as caught:
        world.daemon(Submitter()).run(single_run=True)
    assert caught.value.code == "model-missing"
    assert world.daemon(Submitter(model="bob")).run(single_run=True)[0].failed == []
    assert world.node.submitted == ["predictions.csv"]


def test_however_often_it_is_made(world: World) -> None:
    for _ in range(5):
        with pytest.raises(UsageError):
            world.daemon(Submitter(model="typo")).run(single_run=True)
    assert world.daemon(Submitter()).run(single_run=True)[0].failed == []
    assert world.node.submitted == ["predictions.csv"]


def test_the_same_round_again(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    same = Recorder()
    assert world.daemon(same).run(single_run=True) == []
    assert same.events == ["on_start", "on_shutdown"]
    again = Recorder()
    assert [round_.round_number for round_ in world.daemon(again).run(single_run=True, again=True)] == [100]
    assert again.events == WHOLE_ROUND


def test_again_is_for_one_round(world: World) -> None:
    """Whoever follows the rounds gets each later one once."""
    world.daemon(Recorder()).run(single_run=True)
    handler = Recorder()
    daemon = world.daemon(handler)
    daemon.run(single_run=True, again=True)
    assert daemon.run(single_run=True) == []
    assert handler.events.count("on_new_tournament_data") == 1


def test_again_after_what_was_tried_as_often_as_allowed(world: World) -> None:
    world.daemon(Recorder(on_new_tournament_data=99)).run(single_run=True)
    (round_,) = world.daemon(Recorder()).run(single_run=True, again=True)
    assert round_.failed == []


@pytest.mark.parametrize("mistake", ["no such program", "no such folder", "a folder for a program", "not executable"])
def test_a_program_that_cannot_be_started_counts_as_nothing(world: World, tmp_path: Path, mistake: str) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("no program")
    works = [sys.executable, "-c", "pass"]
    argv, cwd = {
        "no such program": (["no-such-program-anywhere"], None),
        "no such folder": (works, tmp_path / "gone"),
        "a folder for a program": ([str(tmp_path)], None),
        "not executable": ([str(plain)], None),
    }[mistake]
    before = world.clock.monotonic()
    for _ in range(4):
        with pytest.raises(UsageError, match="Cannot run") as caught:
            world.daemon(CommandRunner("cmd", on_new_tournament_data=argv, cwd=cwd)).run(single_run=True)
        assert caught.value.exit_code == 2 and "cmd" in caught.value.message
        assert mistake != "no such folder" or str(cwd) in caught.value.message
    assert world.clock.monotonic() == before, "no time is lost on tries"
    (round_,) = world.daemon(CommandRunner("cmd", on_new_tournament_data=works)).run(single_run=True)
    assert round_.failed == []


@pytest.mark.skipif(sys.platform == "win32", reason="the error of a system that has no room for one more process")
def test_a_program_that_cannot_be_started_now_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [BlockingIOError(11, "Resource temporarily unavailable")]
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return popen(*args, **options)

    monkeypatch.setattr("numerai_compute.process.subprocess.Popen", start)
    runner = CommandRunner("cmd", on_new_tournament_data=[sys.executable, "-c", "pass"])
    (round_,) = world.daemon(runner).run(single_run=True)
    assert round_.failed == [] and not refusals


@pytest.mark.parametrize("event", ["on_round_begin", "on_new_training_data", "on_new_tournament_data", "on_cleanup"])
def test_what_failed_in_the_open_round_is_no_success_the_next_time(
    world: World, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    (first,) = world.daemon(Recorder("recorder", **{event: 99})).run(single_run=True)
    corrected = Recorder()
    with caplog.at_level("INFO"):
        (second,) = world.daemon(corrected).run(single_run=True)
    assert corrected.events == ["on_start", "on_shutdown"], "it was tried as often as allowed"
    assert second == first and second.failed == [f"recorder: {event}"]
    assert f"recorder: {event} failed earlier in round 100" in caplog.text and "--again" in caplog.text
    (third,) = world.daemon(Recorder()).run(single_run=True, again=True)
    assert third.failed == []
    assert world.daemon(Recorder()).run(single_run=True) == []
