"""When a node's schedule starts it, against the on-time windows of its tournament's rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ..errors import UsageError
from ..models import Round
from ..ports import NumeraiApi
from ..schedule import next_occurrence
from .window import moment_words

ROUNDS = 5
"""A week has so many (docs.numer.ai: Tuesday to Saturday), and the windows differ from day to day."""


@dataclass(frozen=True)
class Timetable:
    """When a schedule fires next, and which of the `rounds` it fires in while a submission is on time (`met`)."""

    next_run: datetime
    rounds: Sequence[Round]
    met: Sequence[Round]

    @property
    def misses(self) -> bool:
        """Whether some round got, or gets, no run in time."""
        return len(self.met) < len(self.rounds)

    @property
    def words(self) -> str:
        """How it stands, for people."""
        text = f"the next run is {moment_words(self.next_run)}"
        missed = [round_ for round_ in self.rounds if round_ not in self.met]
        if not missed:
            return text
        one = missed[0]
        window = f"round {one.number} from {moment_words(one.open_time)} to {moment_words(one.deadline)}"
        if not self.met:
            return f"{text}, but the schedule lies outside every on-time window, such as that of {window}"
        share = f"{len(self.met)} of {len(self.rounds)} rounds"
        return f"{text}, but the schedule lies inside the on-time window of only {share}, and outside that of {window}"


def timetable(cron: str, tournament: int, api: NumeraiApi) -> Timetable:
    """A schedule against the latest rounds and the next one, newest first. Raises `ApiError` when Numerai does not say
    which there are, `UsageError` when the schedule never fires again."""
    rounds = list(api.rounds(tournament, ROUNDS))
    now = api.heard_time() or datetime.now(timezone.utc)
    upcoming = api.upcoming_round(tournament)
    if upcoming is not None and upcoming.open_time > now:
        rounds.insert(0, upcoming)
    met = [round_ for round_ in rounds if fires_within(cron, round_)]
    return Timetable(next_occurrence(cron, now), rounds, met)


def fires_within(cron: str, round_: Round) -> bool:
    """Whether a schedule fires while a submission to the round is on time."""
    try:
        return next_occurrence(cron, round_.open_time - timedelta(microseconds=1)) < round_.deadline
    except UsageError:  # it has fired for the last time before
        return False
