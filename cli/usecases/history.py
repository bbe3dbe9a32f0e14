"""What became of each round: trigger, run and submission with their times, from what the watcher's memory, the
providers and Numerai each know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

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
from ..ports import Clock, NumeraiApi, Provider
from ..triggers import CRON, WATCH
from ..watching import policy
from ..watching.facts import model_facts, round_facts, run_facts
from ..watching.policy import DATE_STEP, GIVE_UP, UNCONFIRMED_CODE
from .inspect import unseen

if TYPE_CHECKING:
    from ..watching.ledger import Ledger

T = TypeVar("T")
RUNS_A_ROUND = 6
"""How many runs of a round are asked for, retries and tries by hand included."""
MOST_RUNS = 500
UNREACHABLE = "numerai-unreachable"
"""The code of the error that Numerai cannot be reached."""


class Standing(str, Enum):
    """How a round stands for a node, or how it went.

    `unconfirmed`: Numerai holds a file of the round, or a run made one, but Numerai does not say that it counts.
    `covered`, `late`, `missed`: as in `RoundOutcome`. `not-listed`: the watcher remembers a submission, and Numerai was
    asked and has none of the round: the keys are another account's, or the API has begun anew. `unknown`: what Numerai
    says could not be asked or is no longer listed (it lists a model's latest 20 rounds).
    """

    ON_TIME = "on-time"
    COVERED = "covered"
    LATE = "late"
    MISSED = "missed"
    UNCONFIRMED = "unconfirmed"
    RUNNING = "running"
    FAILED = "failed"
    WAITING = "waiting"
    NOT_LISTED = "not-listed"
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
    attempts: int = 1
    exit_code: int | None = None
    message: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
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


@dataclass(frozen=True)
class _Case:
    """All that is known of a node in a round. `known` is what the watcher remembers, `ahead` how far the clock that
    times the node's runs was before Numerai's when the round opened."""

    node: Node
    round: Round
    known: RoundEntry | None
    answers: _Answers
    runs: Sequence[Run]
    ahead: timedelta

    def record(self, now: datetime) -> RoundRecord:
        """What became of the round; `now` is Numerai's time."""
        remembered = self.known.attempts if self.known else ()
        attempts = {attempt.run_id: attempt for attempt in remembered if attempt.run_id}
        records = [_run_record(run, attempts.get(run.id), self._files(), self.ahead) for run in self.runs]
        run_ids = {run.id for run in self.runs}
        records += [_attempt_record(attempt) for attempt in remembered if attempt.run_id not in run_ids]
        standing, covered = self._standing(now)
        return RoundRecord(
            node=self.node.name,
            tournament=int(self.node.tournament),
            round_number=self.round.number,
            opened=self.round.open_time,
            deadline=self.round.deadline,
            standing=standing,
            runs=tuple(sorted(records, key=lambda record: record.triggered_at)),
            submission=self._submission(),
            covered=covered,
            told=tuple(sorted(self.known.reached, key=lambda kind: kind.value)) if self.known else (),
        )

    def _entry(self) -> SubmissionEntry | None:
        entries = self.answers.entries or ()
        return next((entry for entry in entries if entry.round_number == self.round.number), None)

    def _files(self) -> list[Submission]:
        """The files of the round, newest first."""
        return [file for file in self.answers.files or () if file.round_number == self.round.number]

    def _submission(self) -> Submission | None:
        """The round's submission as its entry names it, else the newest file that Numerai holds of the round, else what
        the watcher remembers."""
        entry, files, known = self._entry(), self._files(), self.known
        if entry is not None and entry.id is not None:
            trigger_id = next((file.trigger_id for file in files if file.id == entry.id), None)
            return Submission(entry.id, self.round.number, trigger_id, entry.filename, entry.timestamp)
        if not files and known is not None and known.submission_id is not None:
            return Submission(known.submission_id, self.round.number, inserted_at=known.submitted_at)
        return next(iter(files), None)

    def _said(self) -> policy.Standing:
        """How the model stands by what Numerai says, by the rules that the watchers go by."""
        model = model_facts(self.node.model_name, self.answers.entries or (), self.answers.files or ())
        return policy.standing(model, round_facts(self.round), [run_facts(run, -self.ahead) for run in self.runs])

    def _standing(self, now: datetime) -> tuple[Standing, bool]:
        """How the round stands, and whether an earlier file covers it. What Numerai has said goes before what the
        watcher remembers; a covered round waits for a run of its own until the deadline."""
        round_, answers, last = self.round, self.answers, self.runs[-1] if self.runs else None
        outcome, said = self.known.outcome if self.known else RoundOutcome.OPEN, self._said()
        on_time = said in (policy.Standing.ON_TIME, policy.Standing.COVERED)
        covered = said is policy.Standing.COVERED or (on_time and outcome is RoundOutcome.COVERED)
        unproven = answers.files is None and said is policy.Standing.ON_TIME and outcome is RoundOutcome.OPEN
        if said is policy.Standing.LATE or (on_time and not unproven and not (covered and round_.is_open(now))):
            return Standing(RoundOutcome.COVERED.value if covered else said.value), covered
        if outcome is not RoundOutcome.OPEN:
            denied = outcome is not RoundOutcome.MISSED and said is policy.Standing.NONE and self._is_listed()
            return (Standing.NOT_LISTED if denied else Standing(outcome.value)), covered
        if answers.entries is None or unproven:  # without the files, it could be an earlier one
            return Standing.UNKNOWN, covered
        if last and not last.state.final:
            return Standing.RUNNING, covered
        if said is policy.Standing.UNCONFIRMED or (last and last.exit_code == UNCONFIRMED_CODE):
            entry = self._entry()
            if now < round_.deadline + GIVE_UP or entry is None or entry.status is not EntryStatus.NONE:
                return Standing.UNCONFIRMED, covered
        if round_.is_open(now):
            return Standing.FAILED if last and last.state is RunState.FAILED else Standing.WAITING, covered
        if self.known is None and all(run.created_at >= round_.deadline + self.ahead for run in self.runs):
            return Standing.NOT_FOLLOWED, covered
        return Standing.MISSED if self._reached() else Standing.UNKNOWN, covered

    def _is_listed(self) -> bool:
        """Whether Numerai has said all that it has of the round."""
        return self.answers.entries is not None and self.answers.files is not None and self._reached()

    def _reached(self) -> bool:
        """Whether the entries that Numerai lists reach back to the round."""
        return self.round.number >= min((entry.round_number for entry in self.answers.entries or ()), default=0)


@dataclass
class RoundReader:
    """Asks Numerai, the providers and the watcher's memory, each thing once. What cannot be asked is noted in
    `problems`, and the rest is still told. Changes nothing."""

    api: Callable[[], NumeraiApi]
    provider_named: Callable[[str], Provider]
    ledger: Ledger
    clock: Clock
    problems: list[str] = field(default_factory=list, init=False)
    _rounds: dict[int, list[Round]] = field(default_factory=dict, init=False)
    _models: list[Model] | None = field(default=None, init=False)
    _models_asked: bool = field(default=False, init=False)
    _api: NumeraiApi | None = field(default=None, init=False)
    _api_made: bool = field(default=False, init=False)
    _unreachable: NumeraiError | None = field(default=None, init=False)
    _unseen: set[int] = field(default_factory=set, init=False)

    def note(self, problem: str) -> None:
        """Note what could not be asked, once."""
        if problem not in self.problems:
            self.problems.append(problem)

    def kept(self, read: Callable[[], T]) -> T | None:
        """What is kept here; None where it cannot be read, which is noted with what to do about it."""
        try:
            return read()
        except NumeraiError as error:
            self.note(error.in_full)
            return None

    def now(self) -> datetime:
        """Numerai's time, as far as it was heard; this machine's until then."""
        return (self._api.heard_time() if self._api else None) or self.clock.now()

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        """The latest rounds that have opened, newest first: Numerai's, or else those that the watcher has seen."""
        if tournament not in self._rounds:
            rounds = self._ask(lambda api: api.rounds(tournament, limit), "Numerai's rounds are")
            if rounds is None:
                self._unseen.add(tournament)
                rounds = [seen for seen in self._seen(tournament, limit + 1) if seen.open_time <= self.now()]
            self._rounds[tournament] = rounds
        return self._rounds[tournament][:limit]

    def sees_rounds(self, tournament: int) -> bool:
        """Whether Numerai itself has said which rounds there are; else what is known of them may be out of date."""
        self.rounds(tournament, 1)
        return tournament not in self._unseen

    def upcoming(self, tournament: int) -> Round | None:
        """The round that opens next, as far as anybody knows."""
        upcoming = self._ask(lambda api: api.upcoming_round(tournament), "Numerai's next round is")
        if upcoming is not None and upcoming.open_time > self.now():
            return upcoming
        ahead = [seen for seen in self._seen(tournament, 3) if seen.open_time > self.now()]
        return min(ahead, key=lambda seen: seen.open_time, default=None)

    def records(self, node: Node, limit: int) -> list[RoundRecord]:
        """The node's latest rounds, newest first."""
        rounds = self.rounds(node.tournament, limit)
        if not rounds:
            return []
        answers, runs = self._answers(node), self._runs(node, limit)
        known = {round_.number: self._entry(node, round_) for round_ in rounds}
        ahead = {round_.number: self._ahead(node, round_) for round_ in rounds}
        by_round = _by_round(rounds, known, answers.files or (), runs, ahead)
        cases = [
            _Case(node, each, known[each.number], answers, by_round[each.number], ahead[each.number]) for each in rounds
        ]
        records = [case.record(self.now()) for case in cases]
        for record in records:
            if record.standing is Standing.NOT_LISTED:
                self.note(_not_listed(record, self.api_url))
        return records

    def models(self) -> Mapping[str, Model] | None:
        """The models of the account by id; None where Numerai is silent."""
        if not self._models_asked:
            self._models_asked = True
            self._models = self._ask(lambda api: api.models(), "the models of the account are")
        return None if self._models is None else {model.id: model for model in self._models}

    @property
    def api_url(self) -> str | None:
        """The address of the API that is asked; None without keys."""
        return self._api.url if self._api is not None else None

    # asking

    def _ask(self, question: Callable[[NumeraiApi], T], what: str) -> T | None:
        """Numerai's answer to a question; None where there is none, and why is noted."""
        if not self._api_made:
            self._api_made = True
            try:
                self._api = self.api()
            except NumeraiError as error:
                self.note(f"Numerai is not asked: {error.message}")
        api = self._api
        if self._unreachable is not None:
            self.note(f"{what} not known: {self._unreachable.message}")
            return None
        return self._try(lambda: question(api), what) if api is not None else None

    def _try(self, ask: Callable[[], T], what: str) -> T | None:
        try:
            return ask()
        except NumeraiError as error:
            if error.code == UNREACHABLE:  # each further question would be waited for as long
                self._unreachable = error
            self.note(f"{what} not known: {error.in_full}")
            return None

    def _recall(self, ask: Callable[[Ledger], T]) -> T | None:
        """What the watcher remembers, if anything."""
        return self.kept(lambda: ask(self.ledger) if self.ledger.exists() else None)

    def _seen(self, tournament: int, limit: int) -> list[Round]:
        return self._recall(lambda ledger: ledger.rounds(tournament, limit)) or []

    def _answers(self, node: Node) -> _Answers:
        return _Answers(
            self._ask(lambda api: api.entries(node.model_id), f"{node.name}: Numerai's submissions are"),
            self._ask(lambda api: api.submissions(node.model_id), f"{node.name}: Numerai's files are"),
        )

    def _runs(self, node: Node, limit: int) -> list[Run]:
        def ask() -> Sequence[Run]:
            provider = self.provider_named(node.provider)
            if (why := unseen(node, provider)) is not None:
                self.note(why)
            return provider.runs(node.name, min(MOST_RUNS, limit * RUNS_A_ROUND))

        runs = self._try(ask, f"{node.name}: its runs are")
        return [run for run in runs or () if not run.is_test]

    def _entry(self, node: Node, round_: Round) -> RoundEntry | None:
        return self._recall(lambda ledger: ledger.entry(node.name, round_))

    def _ahead(self, node: Node, round_: Round) -> timedelta:
        """How far the clock that times the node's runs was before Numerai's when a round opened."""
        try:
            if not self.provider_named(node.provider).timed_here:
                return timedelta()
        except NumeraiError:  # said where its runs are asked for
            return timedelta()
        opened = self._recall(lambda ledger: ledger.machine_open(round_))
        return opened - round_.open_time if opened else self.clock.now() - self.now()


def _not_listed(record: RoundRecord, api_url: str | None) -> str:
    file = f" ({record.submission.id})" if record.submission is not None else ""
    return (
        f"{record.node}: a submission for round {record.round_number} was recorded{file}, and {api_url} lists none: the"
        " keys are those of another account, or what answers has begun anew."
    )


def read_history(nodes: Iterable[Node], reader: RoundReader, limit: int) -> History:
    """The latest rounds of these nodes."""
    rounds = tuple(record for node in nodes for record in reader.records(node, limit))
    return History(reader.now(), rounds, tuple(reader.problems))


def _by_round(
    rounds: Sequence[Round],
    entries: dict[int, RoundEntry | None],
    files: Iterable[Submission],
    runs: Iterable[Run],
    ahead: Mapping[int, timedelta],
) -> dict[int, list[Run]]:
    """The runs by round, oldest first: where the watcher or a submission says so, else by their time."""
    by_id = {attempt.run_id: number for number, entry in entries.items() if entry for attempt in entry.attempts}
    by_trigger = {file.trigger_id: file.round_number for file in files if file.trigger_id and file.round_number}
    opened = sorted(((round_.open_time + ahead[round_.number], round_.number) for round_ in rounds), reverse=True)
    sorted_runs: dict[int, list[Run]] = {round_.number: [] for round_ in rounds}
    for run in sorted(runs, key=lambda run: run.created_at):
        number = by_id.get(run.id) or by_trigger.get(run.trigger_id or "")
        if number is None:
            number = next((each for moment, each in opened if run.created_at >= moment - DATE_STEP), None)
        if number in sorted_runs:
            sorted_runs[number].append(run)
    return sorted_runs


def _trigger(trigger_id: str | None) -> Trigger:
    if trigger_id is None:
        return Trigger.HAND
    begins = {WATCH: Trigger.WATCHER, CRON: Trigger.SCHEDULE}
    return next((kind for prefix, kind in begins.items() if trigger_id.startswith(prefix)), Trigger.NUMERAI)


def _run_record(run: Run, attempt: TriggerAttempt | None, files: Iterable[Submission], ahead: timedelta) -> RunRecord:
    """`ahead` is how far the clock that timed the run is before Numerai's; what a whole second does not tell apart is
    left."""
    ahead = timedelta() if abs(ahead) <= DATE_STEP else ahead
    submission = next((file.id for file in files if file.trigger_id and file.trigger_id == run.trigger_id), None)
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
        exit_code=attempt.exit_code,
        message=attempt.message,
    )
