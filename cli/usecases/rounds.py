"""A node in a round: where it is, when what is due, and how that is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

from ..models import Node, Round, RoundEntry, Run, RunFailure, RunState, Submission, TriggerAttempt
from ..schedule import span

WARN_BEFORE = timedelta(minutes=15)
"""How long before the close somebody is told that nothing is submitted yet."""
CHECKED_WITHIN = timedelta(minutes=10)
"""After so long a submission that Numerai has not checked is made again."""
FIRST_PAUSE = timedelta(minutes=30)
SHORTEST_PAUSE = timedelta(minutes=1)
DATE_STEP = timedelta(seconds=1)
"""Numerai tells the time in whole seconds."""

HOPELESS_EXIT_CODES = {65: "the same code would make the same predictions", 78: "the configuration has to be mended"}


class Step(str, Enum):
    """Where a node is in a round."""

    SUBMITTED = "submitted"
    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    TRIGGERED = "triggered"
    STUCK = "stuck"
    FAILED = "failed"
    UNSEEN = "unseen"
    LATE = "late"
    MISSED = "missed"

    @property
    def well(self) -> bool:
        """Whether nobody has to do anything."""
        return self in (Step.SUBMITTED, Step.PENDING, Step.WAITING, Step.RUNNING, Step.TRIGGERED)

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected."""
        return self in (Step.SUBMITTED, Step.LATE, Step.MISSED)


@dataclass(frozen=True)
class Finding:
    """What a look has found of a node in a round, and in `detail` why."""

    node: str
    tournament: int
    round_number: int
    closes: datetime
    step: Step
    detail: str


@dataclass(frozen=True)
class Case:
    """A node in a round, as a look has come upon it. `begin` is when it became the watcher's business; runs that begin
    at `end` or later are for the next round, or for none."""

    node: Node
    found: Round
    entry: RoundEntry
    begin: datetime
    end: datetime
    now: datetime

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"{self.node.name}, round {self.found.number}"

    @property
    def command(self) -> str:
        """How a command about the node begins."""
        return f"numerai node -m {self.node.model_name}"

    @property
    def length(self) -> timedelta:
        """How long the round is open."""
        return self.found.close_time - self.found.open_time

    @property
    def closed(self) -> bool:
        """Whether the round is over."""
        return self.now >= self.found.close_time

    @property
    def warn_at(self) -> datetime:
        """From when on somebody is told that nothing is submitted."""
        return warn_at(self.found)

    @property
    def mend(self) -> str:
        """What a person does about it."""
        return f"See `{self.command} status` and `{self.command} logs`; `{self.command} trigger` starts a run."

    def overdue(self, held: Submission) -> datetime:
        """When Numerai ought to have checked a submission."""
        return (held.inserted_at or self.begin) + min(CHECKED_WITHIN, self.length / 6)

    def unchecked(self, held: Submission) -> str:
        """For how long Numerai has not checked a submission, in words."""
        return f"Numerai has not checked submission {held.id} for {span(self.now - (held.inserted_at or self.begin))}"

    def finding(self, step: Step, detail: str) -> Finding:
        """What the look has found of it."""
        node, found = self.node, self.found
        return Finding(node.name, int(node.tournament), found.number, found.close_time, step, detail.strip())


def next_opening(rounds: Iterable[Round], found: Round) -> datetime:
    """When the next of these rounds opens after one; the end of time where none does."""
    later = (each.open_time for each in rounds if each.open_time > found.open_time)
    return min(later, default=datetime.max.replace(tzinfo=timezone.utc))


def warn_at(found: Round) -> datetime:
    """From when on somebody is told that nothing is submitted: some time before the close."""
    return found.close_time - min(WARN_BEFORE, (found.close_time - found.open_time) / 4)


def counting(submissions: Iterable[Submission], found: Round) -> Submission | None:
    """The submission of a round that counts: accepted in time, else not checked yet, else accepted late."""
    mine = [each for each in submissions if each.round_number == found.number]
    accepted = [each for each in mine if each.accepted]
    in_time = [each for each in accepted if not late(each, found)]
    pending = [each for each in mine if not each.accepted and not each.refused]
    return next(iter([*in_time, *pending, *accepted]), None)


def late(submission: Submission, found: Round) -> bool:
    """Whether a submission was made after the round's close."""
    return submission.inserted_at is not None and submission.inserted_at >= found.close_time


def why_hopeless(run: Run | None) -> str | None:
    """Why a run that has ended need not be tried again."""
    if run is None or run.state is not RunState.FAILED:
        return None
    if run.failure is RunFailure.NOT_DEPLOYED:
        return "there was nothing to run"
    if run.failure is RunFailure.EXIT_CODE and run.exit_code is not None:
        return HOPELESS_EXIT_CODES.get(run.exit_code)
    return None


def how_ended(run: Run) -> str:
    """How a run has ended, as the end of a sentence about it."""
    if run.state is RunState.FAILED:
        return f"failed with exit code {run.exit_code}" if run.exit_code is not None else "failed"
    words = {RunState.SUCCEEDED: "ended well", RunState.CANCELLED: "was cancelled"}
    return words.get(run.state, f"is {run.state.value}")


def end_of(run: Run | None) -> str:
    """How the latest run has ended and why, in words."""
    if run is None:
        return "No run of it is known."
    return f"Run {run.id} {how_ended(run)}. {run.message or ''}".rstrip()


def pause_after(attempt: TriggerAttempt, found: Round) -> timedelta:
    """After an attempt: a third of what is left of the window, at most half an hour after the first one and twice as
    long after each further one. With an attempt in the second half, half a window's trouble costs no round."""
    left = found.close_time - attempt.decided_at
    return min(FIRST_PAUSE * (1 << (attempt.number - 1)), max(SHORTEST_PAUSE, left / 3))
