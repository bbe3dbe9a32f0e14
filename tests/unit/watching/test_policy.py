"""The policy alone: each rule on facts made by hand. What the watchers do with it: test_watcher.py, tests/unit/aws."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from numerai_compute.watching import policy
from numerai_compute.watching.policy import (
    Attempt,
    Entry,
    Facts,
    Model,
    Round,
    Run,
    Standing,
    Step,
    Submission,
    at_rest,
    decide,
    files_matter,
    is_clone,
    silence,
    span,
    standing,
)

OPENING = datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
ROUND = Round(100, 8, OPENING, OPENING + timedelta(hours=1), OPENING + timedelta(days=1))
ALICE = Model("alice")


def minute(number: float) -> datetime:
    return OPENING + timedelta(minutes=number)


def entry(status: str | None = "on-time", number: int = 100, **changes: Any) -> Entry:
    return replace(Entry(number, status, "sub", "sub.csv", minute(5)), **changes)


def facts(at: float, *entries: Entry, **changes: Any) -> Facts:
    made = Facts(minute(at), ROUND, "numerai-alice", "numerai node -m alice", (Model("alice", entries),), OPENING)
    return replace(made, **changes)


def run(state: str = "running", created: float = 1, **changes: Any) -> Run:
    ended = minute(created + 1) if state not in ("queued", "running") else None
    return replace(Run("run-1", state, minute(created), ended_at=ended), **changes)


def failed(exit_code: int | None, created: float = 1, **changes: Any) -> Run:
    return run("failed", created, exit_code=exit_code, **changes)


@pytest.mark.parametrize(
    ("case", "step"),
    [
        (facts(5, entry()), Step.SUBMITTED),
        (facts(9), Step.WAITING),
        (facts(10), Step.TRIGGERED),
        (facts(0, callable=False), Step.TRIGGERED),
        (facts(10, unseen="away"), Step.UNSEEN),
        (facts(10, entry(), prevented="no provider"), Step.SUBMITTED),
        (facts(10, prevented="no provider"), Step.STUCK),
        (facts(10, deployed=False), Step.STUCK),
        (facts(10, runs=(run(),)), Step.RUNNING),
        (facts(10, runs=(failed(65),)), Step.FAILED),
        (facts(10, runs=(failed(78),)), Step.FAILED),
        (facts(10, runs=(failed(None, failure="not-deployed"),)), Step.FAILED),
        (facts(10, runs=(failed(65),), deployed_at=minute(3)), Step.TRIGGERED),
        (facts(10, runs=(failed(65),), deployed_at=minute(1)), Step.FAILED),
        (facts(10, runs=(failed(69),)), Step.TRIGGERED),
        (facts(10, runs=(failed(1),)), Step.TRIGGERED),
        (facts(10, runs=(run("succeeded", exit_code=0),)), Step.TRIGGERED),
        (facts(10, entry("late")), Step.TRIGGERED),
        (facts(10, entry("queued")), Step.TRIGGERED),
        (facts(10, entry("none")), Step.TRIGGERED),
        (facts(10, entry(None)), Step.UNCONFIRMED),
        (facts(16, entry(None)), Step.TRIGGERED),
        (facts(60), Step.MISSED),
        (facts(60, entry("late")), Step.LATE),
        (facts(60, entry("queued")), Step.MISSED),
        (facts(60, entry()), Step.SUBMITTED),
        (facts(60, runs=(run(),)), Step.RUNNING),
        (facts(89, runs=(run(),)), Step.RUNNING),
        (facts(90, runs=(run(),)), Step.MISSED),
        (facts(61, prevented="no provider"), Step.STUCK),
        (facts(90, prevented="no provider"), Step.MISSED),
        (facts(90, unseen="away"), Step.UNSEEN),
        (facts(61, entry(None, timestamp=minute(59))), Step.UNCONFIRMED),
        (facts(90, entry(None, timestamp=minute(59))), Step.STUCK),
        (facts(60 + 360, entry(None, timestamp=minute(59))), Step.MISSED),
    ],
)
def test_where_a_node_is(case: Facts, step: Step) -> None:
    assert decide(case).step is step


# Numerai's entries


@pytest.mark.parametrize(
    "model",
    [
        Model("alice", (entry(), entry("late", 99))),
        Model("alice", (entry(), entry("queued", 99))),
        Model("alice", (entry(),), (Submission("old", 99, "sub.csv"),)),
        Model("alice", (entry(),), (Submission("old", None, "sub.csv", minute(-100)),)),
        Model("alice", (entry(),), (Submission("old", 100, "sub.csv", minute(-1)), Submission("sub", 100, "sub.csv"))),
        Model("alice", (entry(),), seen={"sub.csv": minute(-1)}),
    ],
)
def test_a_file_that_was_there_before_the_opening_is_a_clone(model: Model) -> None:
    assert is_clone(model, model.entries[0], ROUND)
    assert standing(model, ROUND) is Standing.COVERED
    assert decide(facts(10, models=(model,))).step is Step.TRIGGERED
    (notice,) = decide(facts(60, models=(model,))).notices
    assert (notice.kind, notice.of_run) == ("covered", False)
    assert "Numerai counts an earlier file: submission sub (12:05:00 UTC)" in notice.text


@pytest.mark.parametrize(
    "model",
    [
        Model("alice", (entry(), entry("on-time", 99, filename="other.csv"))),
        Model("alice", (entry(),), (Submission("sub", 100, "sub.csv", minute(5)),)),
        Model("alice", (entry(),), (Submission("row", 100, "sub.csv", minute(5)),)),
        Model("alice", (entry(),), (Submission("old", 99, "old.csv", minute(-1)),)),
        Model("alice", (entry(),), seen={"sub.csv": minute(5)}),
        Model("alice", (entry(filename=None),), (Submission("old", 99, None, minute(-1)),)),
    ],
)
def test_a_file_of_the_round_itself_is_none(model: Model) -> None:
    assert standing(model, ROUND) is Standing.ON_TIME


def test_a_run_that_says_it_is_covered_is_believed_unless_a_run_of_the_round_submitted() -> None:
    model = Model("alice", (entry(timestamp=minute(0)),))
    covered, good = failed(73, 1), run("succeeded", 1, id="run-0", exit_code=0)
    assert standing(model, ROUND, [covered]) is Standing.COVERED
    assert standing(model, ROUND, [covered, good]) is Standing.ON_TIME
    assert standing(Model("alice", (entry(timestamp=minute(2)),)), ROUND, [covered]) is Standing.ON_TIME


def test_a_covered_round_is_told_as_what_it_is_before_the_deadline_as_well() -> None:
    model = Model("alice", (entry(),), seen={"sub.csv": minute(-1)})
    decision = decide(facts(50, models=(model,), runs=(failed(65),)))
    assert decision.step is Step.FAILED
    (warning,) = decide(facts(50, models=(model,), runs=(run(),))).notices
    assert "Numerai holds an earlier file, and nothing of this round's own" in warning.text


def test_every_model_of_a_run_must_be_on_time() -> None:
    bob = Model("bob", (entry(id="sub-b"),))
    both = (Model("alice", (entry(),)), bob)
    decision = decide(facts(10, models=both))
    assert decision.step is Step.SUBMITTED
    assert (
        decision.detail
        == "Numerai holds submission sub of alice (12:05:00 UTC), submission sub-b of bob (12:05:00 UTC) on time."
    )
    assert decide(facts(10, models=(ALICE, bob))).step is Step.TRIGGERED
    assert decide(facts(60, models=(ALICE, bob))).step is Step.MISSED
    assert decide(facts(60, models=(Model("alice", (entry("late"),)), bob))).outcome == "late"


def test_files_are_asked_for_only_where_they_could_change_anything() -> None:
    assert not files_matter(ALICE, ROUND, [])
    assert files_matter(ALICE, ROUND, [run("succeeded", exit_code=0)])
    assert files_matter(ALICE, ROUND, [failed(76)])
    assert files_matter(Model("alice", (entry(),)), ROUND, [])
    assert not files_matter(Model("alice", (entry(),), seen={"sub.csv": minute(-1)}), ROUND, [])
    assert not files_matter(Model("alice", (entry("late"),)), ROUND, [failed(76)])


# unconfirmed


def test_an_unconfirmed_run_starts_none_before_numerai_had_ten_minutes() -> None:
    case = facts(11, runs=(failed(76, 1),))
    assert decide(case).step is Step.UNCONFIRMED
    decision = decide(replace(case, now=minute(12)))
    assert (decision.step, decision.why) == (
        Step.TRIGGERED,
        "Numerai has not confirmed what run run-1 submitted for 10 min",
    )
    assert decide(replace(case, now=minute(12), models=(Model("alice", (entry(),)),))).step is Step.SUBMITTED
    assert decide(facts(61, runs=(failed(76, 55),))).step is Step.UNCONFIRMED
    assert decide(facts(91, runs=(failed(76, 55),))).step is Step.MISSED


def test_a_file_without_an_entry_is_unconfirmed() -> None:
    model = Model("alice", submissions=(Submission("sub", 100, "sub.csv", minute(20)),))
    done = (run("succeeded", 15, exit_code=0),)
    assert decide(facts(29, models=(model,), runs=done)).step is Step.UNCONFIRMED
    decision = decide(facts(30, models=(model,), runs=done))
    assert decision.why == "Numerai has not confirmed submission sub for 10 min"
    (notice,) = decide(facts(95, models=(model,), runs=done)).notices
    assert (notice.kind, notice.key) == ("failure", "unconfirmed")


# capacity, and which runs count


@pytest.mark.parametrize(("created", "begins_by"), [(1, 9), (39, 46), (57, 58)])
def test_a_queued_run_counts_for_eight_minutes_and_a_third_of_what_is_left_at_most(
    created: float, begins_by: float
) -> None:
    queued = facts(begins_by - 0.1, runs=(run("queued", created),))
    assert decide(queued).step is Step.RUNNING
    later = replace(queued, now=minute(begins_by))
    decision = decide(later)
    assert (decision.step, decision.cancel) == (Step.TRIGGERED, ("run-1",))
    assert "has not started for" in decision.why
    began = replace(later, runs=(run("running", created, started_at=minute(created + 1)),))
    assert decide(began).step is Step.RUNNING
    assert decide(replace(later, now=minute(60))).step is Step.MISSED


def test_a_run_begun_within_an_hour_before_the_opening_counts_while_it_goes_on() -> None:
    """Rounds open up to 54 minutes late, and the node's own schedule does not wait for that."""
    for created in (-29, -54, -60):
        assert decide(facts(10, runs=(run(created=created),))).step is Step.RUNNING
    assert decide(facts(10, runs=(run(created=-61),))).step is Step.TRIGGERED
    assert decide(facts(10, runs=(failed(65, -29),))).step is Step.TRIGGERED
    assert decide(facts(61, runs=(run(created=100),))).step is Step.MISSED, "it is for the next round"


def test_what_was_started_or_called_a_moment_ago_counts_before_it_is_listed() -> None:
    attempts = (Attempt(1, minute(10), "run-1", "why"),)
    assert decide(facts(11, attempts=attempts)).detail == "run run-1 was started a moment ago"
    assert decide(facts(12, attempts=attempts)).step is Step.WAITING
    assert decide(facts(11, called_at=minute(10))).step is Step.RUNNING
    assert decide(facts(13, called_at=minute(10))).step is Step.TRIGGERED
    assert decide(facts(11, attempts=(Attempt(1, minute(10), None, "why"),))).start == 1


# when


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, 10),
        ({"grace": timedelta(minutes=25)}, 25),
        ({"grace": timedelta(minutes=50)}, 30),
        ({"callable": False}, 0),
        ({"begin": minute(20)}, 30),
        ({"scheduled": minute(25)}, 35),
        ({"scheduled": minute(44)}, 45),
        ({"scheduled": minute(45)}, 10),
        ({"schedule_unread": True}, 30),
        ({"attempts": (Attempt(1, minute(0), "a"),)}, 20),
        ({"attempts": (Attempt(2, minute(30), "a"),)}, 40),
        ({"attempts": (Attempt(3, minute(59.5), "a"),)}, 60.5),
    ],
)
def test_when_a_run_is_due(changes: dict[str, Any], due: float) -> None:
    assert facts(1, **changes).due == minute(due)


def test_it_says_when_to_look_again() -> None:
    assert decide(facts(1)).look_again == minute(10)
    assert decide(facts(11)).look_again == minute(45)
    assert decide(facts(50)).look_again == minute(60)
    assert decide(facts(61)).look_again is None


def test_the_third_attempt_is_the_last_only_in_the_second_half() -> None:
    attempts = tuple(Attempt(number, minute(at), f"run-{number}") for number, at in ((1, 0), (2, 20), (3, 29)))
    runs = (failed(1, 29, id="run-3"),)
    decision = decide(facts(40, attempts=attempts, runs=runs))
    assert (decision.step, decision.start) == (Step.TRIGGERED, 4)
    assert "and goes on with longer pauses" in decision.notices[0].text
    spent = (*attempts[:2], Attempt(3, minute(33), "run-3"))
    decision = decide(facts(44, attempts=spent, runs=runs))
    assert decision.step is Step.FAILED and "which is the limit" in decision.notices[0].text


@pytest.mark.parametrize(
    ("case", "rests"),
    [
        (facts(61, outcome="missed"), True),
        (facts(59, outcome="missed"), False),
        (facts(59, outcome="missed", unseen="away"), True),
        (facts(59, outcome="on-time"), False),
        (facts(61, outcome="on-time"), True),
        (facts(61, unseen="away"), False),
    ],
)
def test_when_there_is_nothing_more_to_say(case: Facts, rests: bool) -> None:
    assert at_rest(case) is rests


@pytest.mark.parametrize("outcome", ["missed", "late", "covered"])
def test_a_deadline_that_is_put_off_opens_a_settled_round_again(outcome: str) -> None:
    assert decide(facts(61, outcome=outcome)).step.value == outcome
    decision = decide(facts(50, outcome=outcome))
    assert decision.reopened and decision.step is Step.TRIGGERED
    assert not decide(facts(50, outcome=outcome, unseen="away")).reopened
    assert not decide(facts(50, outcome="on-time")).reopened


# what people hear


@pytest.mark.parametrize(
    ("case", "told"),
    [
        (facts(44, runs=(run(),)), []),
        (facts(45, runs=(run(),)), ["failure"]),
        (facts(44, unseen="away"), []),
        (facts(45, unseen="away"), ["failure"]),
        (facts(24, prevented="full"), []),
        (facts(25, prevented="full"), ["failure"]),
        (facts(9, deployed=False), []),
        (facts(10, deployed=False), ["failure"]),
        (facts(5, entry()), ["success"]),
        (facts(3, runs=(failed(78),)), ["failure"]),
        (facts(60), ["missed"]),
        (facts(60, entry("late")), ["late"]),
    ],
)
def test_when_people_hear_and_of_what_kind(case: Facts, told: list[str]) -> None:
    assert [notice.kind for notice in decide(case).notices] == told


def test_an_attempt_whose_reason_nobody_recorded_is_told_with_one() -> None:
    decision = decide(facts(50, attempts=(Attempt(1, minute(49)),)))
    assert decision.start == 1
    assert "A run is being triggered: no run and no submission 50 min after the opening." in decision.notices[0].text


def test_the_warning_says_what_does_not_start() -> None:
    (notice,) = decide(facts(45, runs=(run(),), asleep="The port is taken.")).notices
    assert notice.title == "numerai-alice: round 100 has no submission yet"
    assert notice.text == (
        "The deadline is 13:00 UTC. Nothing is on time yet. Run run-1 goes on. What runs it does not start: The port is"
        " taken. See `numerai node -m alice status` and `numerai node -m alice logs`; `numerai node -m alice trigger`"
        " starts a run."
    )


def test_a_run_tells_of_its_end_itself_only_if_it_began() -> None:
    assert decide(facts(3, runs=(failed(65),))).notices[0].of_run
    assert not decide(facts(3, runs=(failed(None, failure="not-deployed"),))).notices[0].of_run


def test_silence_is_told_once_a_day_after_six_hours() -> None:
    assert silence(8, OPENING, OPENING + timedelta(hours=5), "away.") is None
    notice = silence(8, OPENING, OPENING + timedelta(hours=6), "away.")
    assert notice is not None and notice.key == "unseen/8/2026-01-06"
    assert "tournament 8 since 2026-01-06 12:00 UTC: away." in notice.text


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (-1, "0 min"),
        (0.4, "0 min"),
        (43, "43 min"),
        (60, "1 h"),
        (310, "5 h 10 min"),
        (47 * 60, "47 h"),
        (4320, "3 days"),
    ],
)
def test_lengths_of_time_in_words(minutes: float, words: str) -> None:
    assert span(timedelta(minutes=minutes)) == words


def test_a_short_round_shrinks_every_time() -> None:
    short = Round(100, 8, OPENING, minute(6), minute(600))
    assert (short.warn_at, short.grace()) == (minute(4.5), timedelta(minutes=1))
    assert short.followed_since(minute(4.5)) and not short.followed_since(minute(4.6))
    assert decide(facts(1, round=short, runs=(failed(76, 0.5, ended_at=minute(0.9)),))).step is Step.UNCONFIRMED
    assert decide(facts(2, round=short, runs=(failed(76, 0.5, ended_at=minute(0.9)),))).step is Step.TRIGGERED
    assert policy.is_settled(short, "missed", minute(6)) and not policy.is_settled(short, "missed", minute(5))
