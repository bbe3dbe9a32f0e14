"""Each round's events reach every handler once, whatever other handlers do, and over restarts."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from filelock import FileLock
from numerai_compute.errors import ApiError, NumeraiError, UsageError
from numerai_compute.events import EventHandler, NotificationSender, ReportWriter
from numerai_compute.events.datasets import forget_rounds
from numerai_compute.events.delivery import TOURNAMENT
from numerai_compute.events.loop import EventLoop, Stopped
from numerai_compute.node_template.numerai_node.errors import Covered, Late, Submitted, TemporaryFailure, Unconfirmed

from tests.fakes import NOW, round_of
from tests.unit.events.conftest import WHOLE_ROUND, Recorder, World


def test_one_round_in_order(world: World) -> None:
    handler = Recorder()
    rounds = world.daemon(handler).run(single_run=True)
    assert handler.events == WHOLE_ROUND
    assert [found.round_number for found in rounds] == [100] and rounds[0].failed == []
    assert world.daemon().persistent_state["last_round_processed"] == 100


def test_all_handlers_get_an_event_before_the_next_event(world: World) -> None:
    order: list[tuple[str, str]] = []

    class Noting(Recorder):
        def _saw(self, event: str, detail: Any = None) -> None:
            order.append((event, self.name))

    world.daemon(Noting("first"), Noting("second")).run(single_run=True)
    assert order == [(event, name) for event in WHOLE_ROUND for name in ("first", "second")]


@pytest.mark.parametrize("event", WHOLE_ROUND)
def test_a_failing_handler_harms_nobody(world: World, caplog: pytest.LogCaptureFixture, event: str) -> None:
    bad, good = Recorder("bad", **{event: 99}), Recorder("good")
    with caplog.at_level(logging.INFO):
        world.daemon(bad, good, max_attempts=1).run(single_run=True)
    assert [seen for seen in good.events if seen != "on_failure"] == WHOLE_ROUND
    failures = [detail for name, detail in good.seen if name == "on_failure"]
    assert [(failure.event, failure.handler, failure.will_retry) for failure in failures] == [(event, "bad", False)]
    assert "RuntimeError" in failures[0].traceback and f"{event} of bad broke" in failures[0].traceback
    assert "Traceback" in caplog.text and f"{event} of bad broke" in caplog.text
    assert "on_failure" not in bad.events


def test_an_error_that_cannot_say_what_it_is_harms_nobody(world: World) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    class Bad(EventHandler):
        secret_key = 123_456

        def on_round_begin(self, round_number: int) -> None:
            raise Mute

    good = Recorder("good")
    world.daemon(Bad(), good).run(single_run=True)
    assert [seen for seen in good.events if seen != "on_failure"] == WHOLE_ROUND
    assert [detail.text[:5] for event, detail in good.seen if event == "on_failure"] == ["Mute:"]


def test_a_handler_that_breaks_what_the_daemon_uses_harms_nobody(world: World) -> None:
    class Bad(Recorder):
        def handles(self, event: str) -> bool:
            raise RuntimeError("it does not know")

        def on_start(self) -> None:
            self.daemon.persistent_state = None  # type: ignore[assignment]

    bad, good = Bad("bad"), Recorder("good")
    daemon = world.daemon(bad, good)
    rounds = daemon.run(single_run=True)
    assert [seen for seen in good.events if seen != "on_failure"] == WHOLE_ROUND
    assert bad.events == WHOLE_ROUND[1:]
    assert rounds[0].failed == ["bad: handles"] and daemon.failed == ["bad: on_start"]
    told = [detail.event for event, detail in good.seen if event == "on_failure"]
    assert told == ["on_start", "handles"]


@pytest.mark.parametrize("event", ["on_round_begin", "on_new_training_data", "on_new_tournament_data", "on_cleanup"])
def test_a_handler_that_is_added_within_a_round_gets_each_event_once(world: World, event: str) -> None:
    late = Recorder("late")

    class Adding(Recorder):
        def _saw(self, seen: str, detail: Any = None) -> None:
            if seen == event:
                cast(EventLoop, self.daemon).add_event_handler(late)

    rounds = world.daemon(Adding("adding")).run(single_run=True)
    again = Recorder("late")
    world.daemon(again).run(single_run=True)
    events = [seen for seen in late.events + again.events if seen in ("on_round_begin", TOURNAMENT, "on_cleanup")]
    assert rounds[0].failed == [] and events == ["on_round_begin", TOURNAMENT, "on_cleanup"]


def test_a_failing_on_failure_and_on_submission_go_no_further(world: World) -> None:
    class Submitting(EventHandler):
        def on_new_tournament_data(self, round_number: int) -> None:
            self.daemon.submit("predictions")

    bad, good = Recorder("bad", on_failure=99, on_submission=99), Recorder("good", on_round_begin=1)
    rounds = world.daemon(Submitting(), bad, good).run(single_run=True)
    assert [made.submission_id for made in rounds[0].submissions] == ["submission-1"]
    made = next(detail for event, detail in good.seen if event == "on_submission")
    assert (made.model, made.round_number, made.late) == ("alice", 100, False)


def test_an_interrupt_still_stops_after_the_shutdown(world: World) -> None:
    class Interrupted(EventHandler):
        def on_round_begin(self, round_number: int) -> None:
            raise KeyboardInterrupt

    other = Recorder()
    with pytest.raises(KeyboardInterrupt):
        world.daemon(Interrupted(), other).run()
    assert other.events == ["on_start", "on_shutdown"]


def test_a_restart_delivers_nothing_twice(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    again, new = Recorder(), Recorder("new")
    assert world.daemon(again).run(single_run=True) == []
    assert again.events == ["on_start", "on_shutdown"]
    world.daemon(Recorder(), new).run(single_run=True)
    assert new.events == WHOLE_ROUND


def test_a_restart_within_a_round_goes_on_where_it_ended(world: World) -> None:
    class Killed(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            raise SystemExit(9)

    first = Recorder("first")
    with pytest.raises(SystemExit):
        world.daemon(first, Killed("second")).run(single_run=True)
    first, second = Recorder("first"), Recorder("second")
    world.daemon(first, second).run(single_run=True)
    assert first.events == ["on_start", "on_cleanup", "on_shutdown"]
    assert second.events == ["on_start", "on_new_tournament_data", "on_cleanup", "on_shutdown"]


@pytest.mark.parametrize("event", WHOLE_ROUND[1:-1])
def test_a_handler_that_takes_the_process_down_is_not_tried_for_ever(world: World, event: str) -> None:
    class Deadly(Recorder):
        def _saw(self, seen: str, detail: Any = None) -> None:
            if seen == event:
                raise SystemExit(9)

    for _ in range(2):
        with pytest.raises(SystemExit):
            world.daemon(Deadly("deadly"), max_attempts=2).run(single_run=True)
    other = Recorder("other")
    rounds = world.daemon(Deadly("deadly"), other, max_attempts=2).run(single_run=True)
    assert rounds[0].failed == [f"deadly: {event}"]
    told = [detail for seen, detail in other.seen if seen == "on_failure"]
    assert [(failure.event, failure.handler, failure.will_retry) for failure in told] == [(event, "deadly", False)]
    assert told[0].text == "RuntimeError: it was tried 2 times, and the process ended before it had succeeded"


def test_a_round_that_was_closed_before_the_restart_is_told_of(world: World) -> None:
    class Killed(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            raise SystemExit(9)

    with pytest.raises(SystemExit):
        world.daemon(Killed("killed"), NotificationSender()).run(single_run=True)
    next_round(world)
    rounds = world.daemon(Recorder("killed"), NotificationSender()).run(single_run=True)
    assert rounds[0].failed == []
    assert [(notice.title, notice.round_number) for notice in world.notifier.told] == [
        ("on_new_tournament_data of the handler killed failed", 100)
    ]


@pytest.mark.parametrize(("killed_in", "tries"), [("on_failure", 1), ("on_cleanup", 2)])
def test_a_failure_is_not_forgotten_when_the_process_ends(world: World, killed_in: str, tries: int) -> None:
    class Killed(Recorder):
        def _saw(self, seen: str, detail: Any = None) -> None:
            if seen == killed_in:
                raise SystemExit(9)

    bad = Recorder("bad", on_new_tournament_data=tries)
    with pytest.raises(SystemExit):
        world.daemon(bad, Killed("killed"), max_attempts=tries).run(single_run=True)
    other = Recorder("killed")
    rounds = world.daemon(Recorder("bad"), other, max_attempts=tries).run(single_run=True)
    assert rounds[0].failed == ["bad: on_new_tournament_data"]
    assert other.events.count("on_failure") == (killed_in == "on_failure")


def test_what_came_of_a_round_is_known_after_a_restart(world: World) -> None:
    class Submitting(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            self.daemon.submit("predictions")

    class Killed(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            raise SystemExit(9)

    first = world.daemon(Submitting("submitting"), Recorder("bad", on_round_begin=1), Killed("third"))
    with pytest.raises(SystemExit):
        first.run(single_run=True)
    handlers = Submitting("submitting"), Recorder("bad"), Recorder("third"), ReportWriter()
    rounds = world.daemon(*handlers).run(single_run=True)
    assert rounds == first.rounds and len(world.node.submitted) == 1
    assert [made.submission_id for made in rounds[0].submissions] == ["submission-1"]
    assert (rounds[0].failed, rounds[0].trained) == (["bad: on_round_begin"], ["submitting", "bad", "third"])
    text = (world.home / "events" / "numerai" / "reports" / "round_100.md").read_text()
    assert "alice: submission-1" in text and "- bad: on_round_begin; the log says why" in text


def test_a_submission_that_is_announced_again_is_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Submitting(EventHandler):
        def on_new_tournament_data(self, round_number: int) -> None:
            for _ in range(2):
                self.daemon.submit("predictions")

    held = SimpleNamespace(id="submission-1", round_number=100)
    monkeypatch.setattr(world.node, "submit", lambda predictions, datestamp: held)
    assert len(world.daemon(Submitting()).run(single_run=True)[0].submissions) == 1


def test_being_told_to_stop_in_a_round_is_no_success(world: World) -> None:
    class Told(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            raise Stopped

    daemon = world.daemon(Recorder("first"), Told("second"), Recorder("third"))
    rounds = daemon.run(single_run=True)
    outstanding = ["first: on_cleanup", "second: on_new_tournament_data", "third: on_new_tournament_data"]
    assert rounds[0].failed == outstanding
    again = world.daemon(Recorder("first"), Recorder("second"), Recorder("third"))
    assert again.run(single_run=True)[0].failed == []


def test_a_failed_prediction_is_tried_again_a_few_times(world: World) -> None:
    twice, always, other = (
        Recorder("twice", on_new_tournament_data=2),
        Recorder("always", on_new_tournament_data=99),
        Recorder("other"),
    )
    rounds = world.daemon(twice, always, other, max_attempts=3).run(single_run=True)
    counts = [handler.events.count("on_new_tournament_data") for handler in (twice, always, other)]
    assert counts == [3, 3, 1]
    assert rounds[0].failed == ["always: on_new_tournament_data"]
    told = [detail for event, detail in other.seen if event == "on_failure" and detail.handler == "always"]
    assert [failure.will_retry for failure in told] == [True, True, False]
    assert world.clock.elapsed == 120


def test_everything_is_tried_at_least_once(world: World) -> None:
    handler = Recorder()
    rounds = world.daemon(handler, max_attempts=0).run(single_run=True)
    assert handler.events == WHOLE_ROUND and rounds[0].failed == []


def test_no_try_is_made_after_the_close(world: World) -> None:
    late, other = Recorder("late", on_new_tournament_data=99), Recorder("other")
    rounds = world.daemon(late, other, retry_wait=2000, max_attempts=99).run(single_run=True)
    assert late.events.count("on_new_tournament_data") == 2
    assert rounds[0].failed == ["late: on_new_tournament_data"]
    assert [detail.will_retry for event, detail in other.seen if event == "on_failure"] == [True, True, False]


def test_data_that_fail_are_waited_for(world: World) -> None:
    world.node.broken = 2
    handler = Recorder()
    rounds = world.daemon(handler).run(single_run=True)
    assert rounds[0].failed == [] and handler.events.count("on_new_tournament_data") == 1
    failures = [detail for event, detail in handler.seen if event == "on_failure"]
    assert [(failure.event, failure.handler, failure.will_retry) for failure in failures] == [("data", None, True)] * 2


def test_data_that_never_come_fail_the_round_loudly(world: World) -> None:
    world.node.broken = 10_000
    handler = Recorder()
    rounds = world.daemon(handler).run(single_run=True)
    assert "on_new_tournament_data" not in handler.events and "on_cleanup" in handler.events
    assert rounds[0].failed == ["the data could not be had", "recorder: on_new_tournament_data"]
    failures = [detail for event, detail in handler.seen if event == "on_failure" and detail.handler is None]
    assert failures[-1].will_retry is False


def next_round(world: World) -> None:
    """Close the round and open the next one, an hour later."""
    world.clock.sleep(7200)
    world.api.round = round_of(101, world.clock.now())


@pytest.mark.parametrize("changed", ["features.json", "train.parquet", "validation.parquet"])
def test_training_data_are_new_when_their_content_changed(world: World, changed: str) -> None:
    world.daemon(Recorder()).run(single_run=True)
    next_round(world)
    same = Recorder()
    world.daemon(same).run(single_run=True)
    assert "on_new_training_data" not in same.events and "on_new_tournament_data" in same.events
    world.clock.sleep(7200)
    world.api.round = round_of(102, world.clock.now())
    (world.node.folder / changed).write_text("other content")
    new = Recorder()
    world.daemon(new).run(single_run=True)
    assert "on_new_training_data" in new.events


def test_a_file_that_was_downloaded_again_with_the_same_content_is_not_new(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    next_round(world)
    path = world.node.folder / "train.parquet"
    path.replace(world.node.folder.parent / "old")
    path.write_text("first train.parquet")
    handler = Recorder()
    world.daemon(handler).run(single_run=True)
    assert "on_new_training_data" not in handler.events


def test_training_that_failed_is_due_again_in_the_next_round(world: World) -> None:
    handler = Recorder("trainer", on_new_training_data=1)
    rounds = world.daemon(handler).run(single_run=True)
    assert rounds[0].failed == ["trainer: on_new_training_data"]
    assert "on_new_tournament_data" in handler.events
    next_round(world)
    handler = Recorder("trainer")
    world.daemon(handler).run(single_run=True)
    assert "on_new_training_data" in handler.events


def new_training_data(world: World) -> None:
    """Open the next round with other training data."""
    next_round(world)
    (world.node.folder / "train.parquet").write_text("other content")


def test_predictions_do_not_wait_for_training_where_there_is_a_model(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    new_training_data(world)
    handler = Recorder()
    rounds = world.daemon(handler).run(single_run=True)
    order = ["on_round_begin", "on_new_tournament_data", "on_new_training_data", "on_cleanup"]
    assert handler.events == ["on_start", *order, "on_shutdown"] and rounds[0].trained == ["recorder"]


def test_training_data_that_do_not_come_before_the_close_hold_back_no_predictions(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    new_training_data(world)

    def hang(name: str) -> Path:
        world.clock.sleep(3600)
        raise TemporaryFailure("503")

    world.node.dataset.file = hang
    handler = Recorder()
    rounds = world.daemon(handler).run(single_run=True)
    assert handler.events.count("on_new_tournament_data") == 1
    assert rounds[0].failed == ["the training data could not be had"]


def test_training_comes_first_for_the_last_try(world: World) -> None:
    world.daemon(Recorder(), Recorder("fine")).run(single_run=True)
    new_training_data(world)
    handler = Recorder(on_new_tournament_data=2)
    rounds = world.daemon(handler, Recorder("fine")).run(single_run=True)
    events = [seen for seen in handler.events if seen.startswith("on_new")]
    assert events == ["on_new_tournament_data"] * 2 + ["on_new_training_data", "on_new_tournament_data"]
    assert rounds[0].failed == []


def test_training_comes_first_while_a_handler_has_no_model(world: World) -> None:
    world.daemon(Recorder("old")).run(single_run=True)
    new_training_data(world)
    old, new = Recorder("old"), Recorder("new")
    world.daemon(old, new).run(single_run=True)
    assert old.events == new.events == WHOLE_ROUND


def test_predictions_that_are_given_up_do_not_keep_from_training(world: World) -> None:
    world.daemon(Recorder()).run(single_run=True)
    new_training_data(world)
    handler = Recorder(on_new_tournament_data=99)
    rounds = world.daemon(handler, retry_wait=4000).run(single_run=True)
    assert rounds[0].trained == ["recorder"] and rounds[0].failed == ["recorder: on_new_tournament_data"]


def test_training_data_are_not_fetched_for_handlers_that_do_not_train(world: World) -> None:
    class Watching(EventHandler):
        def on_round_begin(self, round_number: int) -> None:
            pass

    world.daemon(Watching()).run(single_run=True)
    assert world.node.asked == []


def test_single_run_waits_for_a_round_that_is_not_open_yet(world: World) -> None:
    world.api.round = round_of(100, NOW + timedelta(minutes=5))
    handler = Recorder()
    assert len(world.daemon(handler).run(single_run=True)) == 1
    assert world.clock.elapsed >= 300


def test_single_run_does_not_wait_for_ever(world: World) -> None:
    world.api.round = None
    assert world.daemon(Recorder(), single_run_max_wait=600).run(single_run=True) == []
    assert 600 <= world.clock.elapsed <= 720


def test_numerais_own_time_decides_whether_a_round_is_open(world: World) -> None:
    behind = NOW + timedelta(days=3)
    world.api.heard_time = lambda: NOW  # type: ignore[method-assign]
    world.clock.start = behind
    assert len(world.daemon(Recorder()).run(single_run=True)) == 1


def test_refused_keys_end_the_start_and_an_outage_does_not(world: World) -> None:
    world.api.fail["current_round"] = ApiError("refused", code="keys-refused")
    with pytest.raises(ApiError):
        world.daemon(Recorder()).run(single_run=True)
    world.api.fail["current_round"] = ApiError("down", temporary=True)
    assert world.daemon(Recorder(), single_run_max_wait=600).run(single_run=True) == []


def test_two_processes_do_not_serve_one_handler(world: World) -> None:
    daemon = world.daemon(Recorder())
    path = daemon.book.lock_path("recorder")
    path.parent.mkdir(parents=True)
    with FileLock(path), pytest.raises(NumeraiError, match="Another process"):
        daemon.run(single_run=True)


def test_a_process_that_was_started_before_the_first_had_ended_delivers_nothing_twice(world: World) -> None:
    first, second = Recorder(), Recorder()
    daemons = [world.daemon(first), world.daemon(second)]
    for daemon in daemons:
        daemon.run(single_run=True)
    assert first.events == WHOLE_ROUND and second.events == ["on_start", "on_shutdown"]


def test_a_handler_that_is_added_in_a_run_is_locked_too(world: World) -> None:
    class Adding(EventHandler):
        def on_start(self) -> None:
            loop = cast(EventLoop, self.daemon)
            loop.remove_event_handler("replaced")
            loop.add_event_handler(Recorder("replaced"))
            loop.add_event_handler(Recorder("added"))

    daemon = world.daemon(Adding(), Recorder("replaced"))
    path = daemon.book.lock_path("added")
    path.parent.mkdir(parents=True)
    with FileLock(path):
        daemon.run(single_run=True)
    assert daemon.failed == ["Adding: on_start"]
    assert [handler.name for handler in daemon.event_handlers] == ["Adding", "replaced"]


def test_a_handler_that_calls_itself_something_else_is_known_by_its_first_name(world: World) -> None:
    class Renamed(Recorder):
        def on_start(self) -> None:
            super().on_start()
            self.name = "another"

    renamed, failing, other = Renamed("first"), Recorder("bad", on_round_begin=1), Recorder("other")
    daemon = world.daemon(renamed, failing, other)
    daemon.run(single_run=True)
    assert [seen for seen in renamed.events if seen != "on_failure"] == WHOLE_ROUND
    with pytest.raises(UsageError, match="Two handlers"):
        daemon.add_event_handler(Recorder("first"))
    again = Renamed("first")
    world.daemon(again).run(single_run=True)
    assert again.events == ["on_start", "on_shutdown"]


@pytest.mark.parametrize("kind", [Late, Covered, Unconfirmed])
def test_a_submission_that_does_not_count_is_announced_and_not_made_again(world: World, kind: type[Submitted]) -> None:
    class Submitting(EventHandler):
        def on_new_tournament_data(self, round_number: int) -> None:
            self.state["made"] = self.daemon.submit("predictions").status

    world.node.late = kind("it does not count", "submission-9", 100)
    handler = Submitting()
    (made,) = world.daemon(handler).run(single_run=True)[0].submissions
    assert handler.state == {"made": kind.status} and len(world.node.submitted) == 1
    assert (made.submission_id, made.status, made.late) == ("submission-9", kind.status, kind is Late)


def test_handlers_are_added_and_removed_by_name(world: World) -> None:
    daemon = world.daemon(Recorder("a"), Recorder("b"))
    first = daemon.event_handlers[0]
    assert first.numerauto is daemon
    with pytest.raises(UsageError, match="Two handlers"):
        daemon.add_event_handler(Recorder("a"))
    daemon.remove_event_handler("a")
    assert [handler.name for handler in daemon.event_handlers] == ["b"] and first.numerauto is None
    with pytest.raises(RuntimeError, match="was not added"):
        _ = first.daemon


def test_the_round_folder_holds_the_files_and_older_ones_are_forgotten(world: World) -> None:
    class Looking(Recorder):
        def on_new_tournament_data(self, round_number: int) -> None:
            folder = self.daemon.get_dataset_path(round_number)
            self.found = {path.name for path in Path(str(folder)).iterdir()}

    handler = Looking()
    daemon = world.daemon(handler)
    daemon.run(single_run=True)
    assert handler.found == {"features.json", "train.parquet", "validation.parquet", "live.parquet"}
    kept = daemon.get_dataset_path(100)
    for number in (101, 102):
        next_round(world)
        world.api.round = round_of(number, world.clock.now())
        world.daemon(Recorder()).run(single_run=True)
    assert not kept.exists()


def test_nothing_is_deleted_through_a_link(tmp_path: Path) -> None:
    theirs, base = tmp_path / "theirs", tmp_path / "data"
    theirs.mkdir()
    base.mkdir()
    (theirs / "live.parquet").write_text("theirs")
    try:
        (base / "numerai_dataset_5").symlink_to(theirs, target_is_directory=True)
    except OSError:
        pytest.skip("links need a privilege here")
    forget_rounds(base, before=10)
    assert (theirs / "live.parquet").read_text() == "theirs"


@pytest.mark.parametrize("name", ["", None])
def test_names(name: str | None) -> None:
    if name is None:
        assert Recorder().name == "recorder" and type("Mine", (EventHandler,), {})().name == "Mine"
    else:
        with pytest.raises(ValueError, match="empty"):
            EventHandler(name)
