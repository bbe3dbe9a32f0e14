"""What became of each round: trigger, run and submission with their times, from what the watcher's memory, the
providers and Numerai each know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from ..errors import NumeraiError
from ..models import (
    Node,
    NoticeKind,
    Round,
    RoundEntry,
    RoundOutcome,
    Run,
    RunState,
    Submission,
    TriggerAttempt,
)
from ..ports import Clock, Ledger, NumeraiApi, Provider
from .rounds import DATE_STEP, counting, late

RUNS_A_ROUND = 6
"""How many runs of a round are asked for, retries and tries by hand included."""
MOST_RUNS = 500


class Standing(str, Enum):
    """How a round stands for a node, or how it went."""

    ON_TIME = "on-time"
    LATE = "late"
    MISSED = "missed"
    CHECKING = "checking"
    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    NOT_FOLLOWED = "not-followed"


class Trigger(str, Enum):
    """Who started a run."""

    NUMERAI = "numerai"
    WATCHER = "watcher"
    SCHEDULE = "schedule"
    HAND = "by-hand"


@dataclass(frozen=True)
class RunRecord:
    """A run of a round, or one that the watcher wanted and could not have (`id` is None then, and `message` says why).
    Its times are Numerai's, as far as it is known how the clock that timed it stood when the round opened.

    `why` is what the watcher triggered it for; `attempts` counts the tries that the provider made of it.
    """

    trigger: Trigger
    trigger_id: str | None
    why: str | None
    triggered_at: datetime
    id: str | None
    state: str | None
    attempts: int
    exit_code: int | None
    message: str | None
    started_at: datetime | None
    ended_at: datetime | None
    submission_id: str | None = None


@dataclass(frozen=True)
class RoundRecord:
    """A node in a round. `submission` is the one that counts, `refused` those that Numerai did not take; `told` is what
    people were told of it."""

    node: str
    tournament: int
    round_number: int
    opened: datetime
    closes: datetime
    standing: Standing
    runs: tuple[RunRecord, ...]
    submission: Submission | None
    refused: tuple[Submission, ...]
    told: tuple[NoticeKind, ...]


@dataclass(frozen=True)
class History:
    """Every node's rounds, newest first. `problems` says what could not be asked, and therefore may be missing."""

    now: datetime
    rounds: tuple[RoundRecord, ...]
    problems: tuple[str, ...]


class RoundReader:
    """Asks Numerai, the providers and the watcher's memory, each thing once. What cannot be asked is noted in
    `problems`, and the rest is still told. Changes nothing."""

    def __init__(
        self,
        *,
        api: Callable[[], NumeraiApi],
        provider_named: Callable[[str], Provider],
        ledger: Ledger,
        clock: Clock,
    ):
        self._provider_named = provider_named
        self._ledger = ledger
        self._clock = clock
        self._rounds: dict[int, list[Round]] = {}
        self.problems: list[str] = []
        self._make_api = api
        self._api: NumeraiApi | None = None
        self._made = False

    def note(self, problem: str) -> None:
        """Note what could not be asked, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def note_error(self, error: NumeraiError) -> None:
        """Note what is kept here and cannot be read, and what to do about it."""
        self.note(f"{error.message} {error.hint or ''}".rstrip())

    def now(self) -> datetime:
        """Numerai's time, as far as it was heard; this machine's until then."""
        return (self._api.heard_time() if self._api else None) or self._clock.now()

    def machine_now(self) -> datetime:
        """This machine's time."""
        return self._clock.now()

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        """The latest rounds that have opened, newest first: Numerai's, or else those that the watcher has seen."""
        if tournament not in self._rounds:
            self._rounds[tournament] = self._ask_rounds(tournament, limit)
        return self._rounds[tournament][:limit]

    def upcoming(self, tournament: int) -> Round | None:
        """The round that opens next, as far as anybody knows."""
        api = self._numerai()
        if api is not None:
            try:
                found = api.upcoming_round(tournament)
                if found is not None and found.open_time > self.now():
                    return found
            except NumeraiError as error:
                self.note(f"Numerai's next round is not known: {error.message}")
        ahead = [found for found in self._remembered(tournament, 3) if found.open_time > self.now()]
        return min(ahead, key=lambda found: found.open_time, default=None)

    def records(self, node: Node, limit: int) -> list[RoundRecord]:
        """The node's latest rounds, newest first."""
        rounds = self.rounds(node.tournament, limit)
        if not rounds:
            return []
        held, runs = self._submissions(node), self._runs(node, limit)
        entries = {found.number: self._entry(node, found) for found in rounds}
        ahead = {found.number: self._ahead(node, found) for found in rounds}
        by_round = self._sorted(rounds, entries, held or [], runs or [], ahead)
        return [
            self._record(node, found, entries[found.number], held, by_round[found.number], ahead[found.number])
            for found in rounds
        ]

    # asking

    def _numerai(self) -> NumeraiApi | None:
        if not self._made:
            self._made = True
            try:
                self._api = self._make_api()
            except NumeraiError as error:
                self.note(f"Numerai is not asked: {error.message}")
        return self._api

    def _ask_rounds(self, tournament: int, limit: int) -> list[Round]:
        api = self._numerai()
        if api is not None:
            try:
                return api.rounds(tournament, limit)
            except NumeraiError as error:
                self.note(f"Numerai's rounds are not known: {error.message}")
        return [found for found in self._remembered(tournament, limit + 1) if found.open_time <= self.now()][:limit]

    def _remembered(self, tournament: int, limit: int) -> list[Round]:
        try:
            return self._ledger.rounds(tournament, limit) if self._ledger.exists() else []
        except NumeraiError as error:
            self.note_error(error)
            return []

    def _submissions(self, node: Node) -> list[Submission] | None:
        api = self._numerai()
        if api is None:
            return None
        try:
            return api.submissions(node.model_id)
        except NumeraiError as error:
            self.note(f"{node.name}: Numerai's submissions are not known: {error.message}")
            return None

    def _runs(self, node: Node, limit: int) -> list[Run] | None:
        try:
            return self._provider_named(node.provider).runs(node.name, min(MOST_RUNS, limit * RUNS_A_ROUND))
        except NumeraiError as error:
            self.note(f"{node.name}: its runs are not known: {error.message}")
            return None

    def _entry(self, node: Node, found: Round) -> RoundEntry | None:
        try:
            return self._ledger.entry(node.name, found) if self._ledger.exists() else None
        except NumeraiError as error:
            self.note_error(error)
            return None

    def _ahead(self, node: Node, found: Round) -> timedelta:
        """How far the clock that times the node's runs was before Numerai's when a round opened."""
        try:
            timed_here = self._provider_named(node.provider).timed_here
        except NumeraiError:  # said where its runs are asked for
            timed_here = False
        if not timed_here:
            return timedelta()
        try:
            known = self._ledger.machine_open(found) if self._ledger.exists() else None
        except NumeraiError as error:
            self.note_error(error)
            known = None
        return known - found.open_time if known else self._clock.now() - self.now()

    # putting together

    def _sorted(
        self,
        rounds: Sequence[Round],
        entries: dict[int, RoundEntry | None],
        held: Iterable[Submission],
        runs: Iterable[Run],
        ahead: Mapping[int, timedelta],
    ) -> dict[int, list[Run]]:
        """The runs by round, oldest first: where the watcher or a submission says so, else by their time."""
        by_id = {attempt.run_id: number for number, entry in entries.items() if entry for attempt in entry.attempts}
        by_trigger = {each.trigger_id: each.round_number for each in held if each.trigger_id and each.round_number}
        opened = sorted(((found.open_time + ahead[found.number], found.number) for found in rounds), reverse=True)
        sorted_runs: dict[int, list[Run]] = {found.number: [] for found in rounds}
        for run in sorted(runs, key=lambda run: run.created_at):
            number = by_id.get(run.id) or by_trigger.get(run.trigger_id or "")
            if number is None:
                number = next((each for moment, each in opened if run.created_at >= moment - DATE_STEP), None)
            if number in sorted_runs:
                sorted_runs[number].append(run)
        return sorted_runs

    def _record(
        self,
        node: Node,
        found: Round,
        entry: RoundEntry | None,
        held: list[Submission] | None,
        runs: list[Run],
        ahead: timedelta,
    ) -> RoundRecord:
        mine = [each for each in held or () if each.round_number == found.number]
        attempts = {attempt.run_id: attempt for attempt in entry.attempts if attempt.run_id} if entry else {}
        records = [_run_record(run, attempts.get(run.id), mine, ahead) for run in runs]
        known = {run.id for run in runs}
        if entry:
            records += [_attempt_record(each) for each in entry.attempts if each.run_id not in known]
        in_time = [run for run in runs if run.created_at < found.close_time + ahead]
        best = counting(mine, found)
        return RoundRecord(
            node=node.name,
            tournament=int(node.tournament),
            round_number=found.number,
            opened=found.open_time,
            closes=found.close_time,
            standing=self._standing(found, entry, held is not None, best, runs, bool(in_time)),
            runs=tuple(sorted(records, key=lambda record: record.triggered_at)),
            submission=best or _remembered_submission(entry, found),
            refused=tuple(each for each in mine if each.refused),
            told=tuple(sorted(entry.reached, key=lambda kind: kind.value)) if entry else (),
        )

    def _standing(
        self,
        found: Round,
        entry: RoundEntry | None,
        asked: bool,
        best: Submission | None,
        runs: Sequence[Run],
        tried: bool,
    ) -> Standing:
        if best is not None and best.accepted:
            return Standing.LATE if late(best, found) else Standing.ON_TIME
        if best is not None and (entry is None or entry.outcome is RoundOutcome.OPEN):
            return Standing.CHECKING
        if entry is not None and entry.outcome is not RoundOutcome.OPEN:
            return Standing(entry.outcome.value)
        if not asked:
            return Standing.UNKNOWN
        if runs and not runs[-1].state.final:
            return Standing.RUNNING
        if found.is_open(self.now()):
            return Standing.FAILED if runs and runs[-1].state is RunState.FAILED else Standing.WAITING
        return Standing.MISSED if entry is not None or tried else Standing.NOT_FOLLOWED


def read_history(nodes: Iterable[Node], reader: RoundReader, limit: int) -> History:
    """The latest rounds of these nodes."""
    rounds = tuple(record for node in nodes for record in reader.records(node, limit))
    return History(reader.now(), rounds, tuple(reader.problems))


def _trigger(trigger_id: str | None) -> Trigger:
    if trigger_id is None:
        return Trigger.HAND
    begins = {"watch-": Trigger.WATCHER, "cron-": Trigger.SCHEDULE}
    return next((kind for prefix, kind in begins.items() if trigger_id.startswith(prefix)), Trigger.NUMERAI)


def _run_record(run: Run, attempt: TriggerAttempt | None, held: Iterable[Submission], ahead: timedelta) -> RunRecord:
    """`ahead` is how far the clock that timed the run is before Numerai's; what a whole second does not tell apart is
    left."""
    ahead = timedelta() if abs(ahead) <= DATE_STEP else ahead
    submission = next((each.id for each in held if each.trigger_id and each.trigger_id == run.trigger_id), None)
    return RunRecord(
        trigger=_trigger(run.trigger_id),
        trigger_id=run.trigger_id,
        why=attempt.why if attempt else None,
        triggered_at=run.created_at - ahead,
        id=run.id,
        state=run.state.value,
        attempts=run.attempt,
        exit_code=run.exit_code,
        message=run.message,
        started_at=run.started_at - ahead if run.started_at else None,
        ended_at=run.ended_at - ahead if run.ended_at else None,
        submission_id=submission,
    )


def _attempt_record(attempt: TriggerAttempt) -> RunRecord:
    """What the watcher remembers of a run that the provider does not tell of."""
    return RunRecord(
        trigger=Trigger.WATCHER,
        trigger_id=attempt.trigger_id,
        why=attempt.why,
        triggered_at=attempt.decided_at,
        id=attempt.run_id,
        state=attempt.state,
        attempts=1,
        exit_code=attempt.exit_code,
        message=attempt.message,
        started_at=None,
        ended_at=None,
    )


def _remembered_submission(entry: RoundEntry | None, found: Round) -> Submission | None:
    if entry is None or entry.submission_id is None:
        return None
    status = entry.submission_status or "unknown"
    return Submission(entry.submission_id, status, found.number, inserted_at=entry.submitted_at)
