"""What became of each round: trigger, run and submission with their times, from what the watcher's memory, the
providers and Numerai each know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from ..errors import NumeraiError
from ..models import (
    EntryStatus,
    Model,
    Node,
    NoticeKind,
    Round,
    RoundEntry,
    RoundOutcome,
    Run,
    RunState,
    Submission,
    SubmissionEntry,
    TriggerAttempt,
)
from ..ports import Clock, Ledger, NumeraiApi, Provider
from ..triggers import CRON, WATCH
from ..watching import policy
from ..watching.facts import model_facts, round_facts, run_facts
from ..watching.policy import DATE_STEP, GIVE_UP, UNCONFIRMED_CODE

T = TypeVar("T")
RUNS_A_ROUND = 6
"""How many runs of a round are asked for, retries and tries by hand included."""
MOST_RUNS = 500


class Standing(str, Enum):
    """How a round stands for a node, or how it went.

    `unconfirmed`: Numerai holds a file of the round, or a run made one, but Numerai does not say that it counts.
    `covered`, `late`, `missed`: as in `RoundOutcome`. `unknown`: what Numerai says could not be asked or is no longer
    listed (it lists a model's latest 20 rounds).
    """

    ON_TIME = "on-time"
    COVERED = "covered"
    LATE = "late"
    MISSED = "missed"
    UNCONFIRMED = "unconfirmed"
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
    """A node in a round. `submission` is the file that Numerai counts, queues or holds; with `covered` it is an earlier
    round's file that Numerai submitted again. `told` is what people were told of it."""

    node: str
    tournament: int
    round_number: int
    opened: datetime
    deadline: datetime
    standing: Standing
    runs: tuple[RunRecord, ...]
    submission: Submission | None
    covered: bool
    told: tuple[NoticeKind, ...]


@dataclass(frozen=True)
class History:
    """Every node's rounds, newest first. `problems` says what could not be asked, and therefore may be missing."""

    now: datetime
    rounds: tuple[RoundRecord, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Answers:
    """What Numerai says of one model: its rounds' entries and the files it holds; None where it could not be asked."""

    entries: Sequence[SubmissionEntry] | None
    files: Sequence[Submission] | None

    def entry(self, round_: Round) -> SubmissionEntry | None:
        """The round's entry."""
        return next((entry for entry in self.entries or () if entry.round_number == round_.number), None)

    def lists(self, round_: Round) -> bool:
        """Whether Numerai's answer reaches back to the round, so that a round without an entry has no submission."""
        return round_.number >= min((entry.round_number for entry in self.entries or ()), default=0)

    def of(self, round_: Round) -> list[Submission]:
        """The files of the round, newest first."""
        return [file for file in self.files or () if file.round_number == round_.number]

    def standing(self, node: Node, round_: Round, runs: Iterable[Run], ahead: timedelta) -> policy.Standing:
        """How the model stands in the round, by the rules that the watchers go by."""
        model = model_facts(node.model_name, self.entries or (), self.files or ())
        return policy.standing(model, round_facts(round_), [run_facts(run, -ahead) for run in runs])


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
        self._models: list[Model] | None = None
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
        answers, runs = self._answers(node), self._runs(node, limit)
        known = {round_.number: self._entry(node, round_) for round_ in rounds}
        ahead = {round_.number: self._ahead(node, round_) for round_ in rounds}
        by_round = self._sorted(rounds, known, answers.files or [], runs or [], ahead)
        return [
            self._record(node, round_, known[round_.number], answers, by_round[round_.number], ahead[round_.number])
            for round_ in rounds
        ]

    def pickle(self, node: Node) -> str | None:
        """The id of the model upload that is assigned to the node's model, None where none is or Numerai is silent."""
        if self._models is None:
            api = self._numerai()
            self._models = (self._asked(api.models, "the models of the account") if api else None) or []
        return next((model.pickle for model in self._models if model.id == node.model_id), None)

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

    def _answers(self, node: Node) -> _Answers:
        api = self._numerai()
        if api is None:
            return _Answers(None, None)
        return _Answers(
            self._asked(lambda: api.entries(node.model_id), f"{node.name}: Numerai's submissions"),
            self._asked(lambda: api.submissions(node.model_id), f"{node.name}: Numerai's files"),
        )

    def _asked(self, ask: Callable[[], list[T]], what: str) -> list[T] | None:
        try:
            return ask()
        except NumeraiError as error:
            self.note(f"{what} are not known: {error.message}")
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
        round_: Round,
        known: RoundEntry | None,
        answers: _Answers,
        runs: list[Run],
        ahead: timedelta,
    ) -> RoundRecord:
        attempts = {attempt.run_id: attempt for attempt in known.attempts if attempt.run_id} if known else {}
        records = [_run_record(run, attempts.get(run.id), answers.of(round_), ahead) for run in runs]
        run_ids = {run.id for run in runs}
        if known:
            records += [_attempt_record(attempt) for attempt in known.attempts if attempt.run_id not in run_ids]
        tried = known is not None or any(run.created_at < round_.deadline + ahead for run in runs)
        said = answers.standing(node, round_, runs, ahead)
        standing, covered = self._standing(round_, known, answers, said, runs, tried)
        return RoundRecord(
            node=node.name,
            tournament=int(node.tournament),
            round_number=round_.number,
            opened=round_.open_time,
            deadline=round_.deadline,
            standing=standing,
            runs=tuple(sorted(records, key=lambda record: record.triggered_at)),
            submission=_submission(round_, answers) or _remembered_submission(known, round_),
            covered=covered,
            told=tuple(sorted(known.reached, key=lambda kind: kind.value)) if known else (),
        )

    def _standing(
        self,
        round_: Round,
        known: RoundEntry | None,
        answers: _Answers,
        said: policy.Standing,
        runs: Sequence[Run],
        tried: bool,
    ) -> tuple[Standing, bool]:
        """How the round stands, and whether an earlier file covers it. What Numerai has `said` goes before what the
        watcher remembers; a covered round waits for a run of its own until the deadline."""
        outcome, now = known.outcome if known else RoundOutcome.OPEN, self.now()
        on_time = said in (policy.Standing.ON_TIME, policy.Standing.COVERED)
        covered = said is policy.Standing.COVERED or (on_time and outcome is RoundOutcome.COVERED)
        unproven = answers.files is None and said is policy.Standing.ON_TIME and outcome is RoundOutcome.OPEN
        if said is policy.Standing.LATE or (on_time and not unproven and not (covered and round_.is_open(now))):
            return Standing(RoundOutcome.COVERED.value if covered else said.value), covered
        if outcome is not RoundOutcome.OPEN:
            return Standing(outcome.value), covered
        if answers.entries is None or unproven:  # without the files, it could be an earlier one
            return Standing.UNKNOWN, covered
        if runs and not runs[-1].state.final:
            return Standing.RUNNING, covered
        if said is policy.Standing.UNCONFIRMED or (runs and runs[-1].exit_code == UNCONFIRMED_CODE):
            entry = answers.entry(round_)
            if now < round_.deadline + GIVE_UP or entry is None or entry.status is not EntryStatus.NONE:
                return Standing.UNCONFIRMED, covered
        if round_.is_open(now):
            failed = bool(runs) and runs[-1].state is RunState.FAILED
            return Standing.FAILED if failed else Standing.WAITING, covered
        if not tried:
            return Standing.NOT_FOLLOWED, covered
        return Standing.MISSED if answers.lists(round_) else Standing.UNKNOWN, covered


def _submission(round_: Round, answers: _Answers) -> Submission | None:
    """The round's submission as its entry names it, or else the newest file that Numerai holds of the round."""
    entry, files = answers.entry(round_), answers.of(round_)
    if entry is None or entry.id is None:
        return next(iter(files), None)
    trigger_id = next((file.trigger_id for file in files if file.id == entry.id), None)
    return Submission(entry.id, round_.number, trigger_id, entry.filename, entry.timestamp)


def read_history(nodes: Iterable[Node], reader: RoundReader, limit: int) -> History:
    """The latest rounds of these nodes."""
    rounds = tuple(record for node in nodes for record in reader.records(node, limit))
    return History(reader.now(), rounds, tuple(reader.problems))


def _trigger(trigger_id: str | None) -> Trigger:
    if trigger_id is None:
        return Trigger.HAND
    begins = {WATCH: Trigger.WATCHER, CRON: Trigger.SCHEDULE}
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


def _remembered_submission(known: RoundEntry | None, round_: Round) -> Submission | None:
    if known is None or known.submission_id is None:
        return None
    return Submission(known.submission_id, round_.number, inserted_at=known.submitted_at)
