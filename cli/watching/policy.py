"""What to do about a node in a round: rules for every watcher, on this machine and in the cloud function.

Pure, and standard library only, so that the function's zip can carry it. A watcher collects the `Facts`, calls `decide`
and does what the `Decision` says. All times are aware and by Numerai's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property

ATTEMPTS = 3  # minimum runs started for a round before giving up
GRACE = timedelta(minutes=10)  # how long a node whose runs others start is left alone after the opening
WARN_BEFORE = timedelta(minutes=15)  # how long before the deadline people hear that nothing is submitted yet
CONFIRMED_WITHIN = timedelta(minutes=10)  # an unconfirmed submission this old is made again
CAPACITY_WAIT = timedelta(minutes=8)  # a run that has not started for this long no longer counts as running
PATIENCE = timedelta(minutes=15)  # how long a due start may be prevented before people hear of it
AFTER_DEADLINE = timedelta(minutes=30)  # how long a run over the deadline, or Numerai's verdict, is waited for
GIVE_UP = timedelta(hours=6)  # how long after the deadline a submission without a verdict is followed
SILENCE = timedelta(hours=6)  # how long Numerai may fail to list rounds before people hear of it, once a day
UNREAD_SCHEDULE = timedelta(minutes=30)  # how long before the deadline a schedule that cannot be read is overruled
EARLY = timedelta(hours=1)  # a run started this long before may be for the round, which opens up to 54 minutes late
JUST_STARTED = timedelta(minutes=2)  # a run started this recently counts although the provider does not list it yet
FIRST_PAUSE, SHORTEST_PAUSE = timedelta(minutes=30), timedelta(minutes=1)
DATE_STEP = timedelta(seconds=1)  # Numerai tells the time in whole seconds (its Date header)
COVERED_CODE, UNCONFIRMED_CODE = 73, 76
HOPELESS_CODES = {65: "the same code would make the same predictions", 78: "the configuration has to be fixed"}


class Step(str, Enum):
    """Where a node is in a round."""

    SUBMITTED = "submitted"
    UNCONFIRMED = "unconfirmed"
    WAITING = "waiting"
    RUNNING = "running"
    TRIGGERED = "triggered"
    STUCK = "stuck"
    FAILED = "failed"
    UNSEEN = "unseen"
    COVERED = "covered"
    LATE = "late"
    MISSED = "missed"

    @property
    def well(self) -> bool:
        """Whether nobody has to do anything."""
        return self in (Step.SUBMITTED, Step.UNCONFIRMED, Step.WAITING, Step.RUNNING, Step.TRIGGERED)

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected."""
        return self in (Step.SUBMITTED, Step.COVERED, Step.LATE, Step.MISSED)


class Standing(str, Enum):
    """What Numerai's answers say of a model in a round, best first."""

    ON_TIME = "on-time"
    COVERED = "covered"
    LATE = "late"
    UNCONFIRMED = "unconfirmed"
    NONE = "none"


@dataclass(frozen=True)
class Round:
    """A submission window: on time means `open_time <= t < deadline`; late submissions are taken until `close_time`."""

    number: int
    tournament: int
    open_time: datetime
    deadline: datetime
    close_time: datetime

    @property
    def window(self) -> timedelta:
        """How long submissions are on time."""
        return self.deadline - self.open_time

    @property
    def warn_at(self) -> datetime:
        """From when on people hear that nothing is submitted."""
        return self.deadline - min(WARN_BEFORE, self.window / 4)

    def grace(self, chosen: timedelta | None = None) -> timedelta:
        """How long a node whose runs others start is left alone; `chosen` is the setting."""
        return min(GRACE, self.window / 6) if chosen is None else min(chosen, self.window / 2)

    def third(self, since: datetime, longest: timedelta) -> timedelta:
        """A third of what was left of the window then, at most `longest`, but never less than a minute."""
        return min(longest, max(SHORTEST_PAUSE, (self.deadline - since) / 3))

    def followed_since(self, since: datetime) -> bool:
        """Whether a node that is configured since then is followed in this round."""
        return since <= self.warn_at


@dataclass(frozen=True)
class Entry:
    """Numerai's word for a model in a round: on-time, late, queued or none; `status` is None for any other word."""

    round_number: int
    status: str | None
    id: str | None = None
    filename: str | None = None
    timestamp: datetime | None = None


@dataclass(frozen=True)
class Submission:
    """A file that Numerai holds; it does not say whether the file counts."""

    id: str
    round_number: int | None
    filename: str | None = None
    inserted_at: datetime | None = None


@dataclass(frozen=True)
class Model:
    """A model that the node's run must submit: Numerai's entries and files of it (`submissions` may be empty unless
    `files_matter`). `seen` says when a watcher first saw which file names."""

    name: str
    entries: tuple[Entry, ...] = ()
    submissions: tuple[Submission, ...] = ()
    seen: Mapping[str, datetime] = field(default_factory=dict)

    def entry(self, round_: Round) -> Entry | None:
        """What Numerai says of the round, None when it says nothing."""
        return next((entry for entry in self.entries if entry.round_number == round_.number), None)

    def own_file(self, round_: Round) -> Submission | None:
        """The newest file that was made for the round itself."""
        mine = [file for file in self.submissions if file.round_number == round_.number]
        own = [file for file in mine if not is_clone(self, file, round_)]
        return max(own, key=lambda file: file.inserted_at or round_.open_time, default=None)


@dataclass(frozen=True)
class Run:
    """A run of the node. `state` is queued, running, succeeded, failed, cancelled or lost; `failure` is
    `not-deployed` when there was nothing to run."""

    id: str
    state: str
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    failure: str | None = None
    message: str | None = None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class Attempt:
    """A run that a watcher decided to start; `run_id` is None until the provider has taken it."""

    number: int
    decided_at: datetime
    run_id: str | None = None
    why: str = ""


@dataclass(frozen=True)
class Notice:
    """Something to tell people once for a node, a round and `key`. With `of_run` it is about how a run ended, which
    the runs of some providers tell themselves."""

    kind: str
    title: str
    text: str
    key: str
    of_run: bool = False


@dataclass(frozen=True)
class Facts:
    """What a watcher knows of a node in a round that has opened.

    `begin` is when the round became the watcher's business (the opening, or later for a new node); `command` begins a
    command about the node; `callable` is whether Numerai can start its runs; `scheduled` the first start of its own
    schedule at or after the opening; `schedule_unread` that there is one which cannot be read. `called_at` is the last
    call of its webhook. `attempts` are oldest first, `runs` in any order and of any time. `outcome` is what was
    recorded. `unseen` is why Numerai does not say how the models stand, `prevented` why the provider cannot be asked
    or refused a start, `asleep` why what executes the runs does not start; each is empty when all is well.
    """

    now: datetime
    round: Round
    node: str
    command: str
    models: tuple[Model, ...]
    begin: datetime
    runs: tuple[Run, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    callable: bool = True
    scheduled: datetime | None = None
    schedule_unread: bool = False
    grace: timedelta | None = None
    called_at: datetime | None = None
    deployed: bool = True
    deployed_at: datetime | None = None
    outcome: str = "open"
    unseen: str = ""
    prevented: str = ""
    asleep: str = ""

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.now >= self.round.deadline

    @cached_property
    def of_round(self) -> list[Run]:
        """The runs that belong to the round, newest first; those made after its end are for the next one."""
        own = {attempt.run_id for attempt in self.attempts}
        begin, end = self.round.open_time, min(self.round.deadline + AFTER_DEADLINE, self.round.close_time)
        mine = [
            run
            for run in self.runs
            if run.id in own or begin - (EARLY if run.active else DATE_STEP) <= run.created_at < end
        ]
        return sorted(mine, key=lambda run: run.created_at, reverse=True)

    @cached_property
    def stale(self) -> list[Run]:
        """The runs that have not started for too long to count as running."""
        waiting = [run for run in self.of_round if run.state == "queued" and run.started_at is None]
        return [run for run in waiting if self.now - run.created_at >= self.round.third(run.created_at, CAPACITY_WAIT)]

    @property
    def last(self) -> Run | None:
        """The newest run of the round."""
        return next(iter(self.of_round), None)

    @cached_property
    def standings(self) -> list[Standing]:
        """How the models stand."""
        return [standing(model, self.round, self.of_round) for model in self.models]

    @cached_property
    def worst(self) -> Standing:
        """How the round stands: as the model that stands worst."""
        return max(self.standings, key=list(Standing).index, default=Standing.NONE)

    @cached_property
    def due(self) -> datetime:
        """When the watcher starts a run, unless something is submitted or runs by then."""
        round_, grace = self.round, timedelta() if self.stale else self.round.grace(self.grace)
        due = self.begin + (grace if self.callable else timedelta())
        if self.schedule_unread:
            due = max(due, round_.deadline - min(UNREAD_SCHEDULE, round_.window / 2))
        elif self.scheduled is not None and self.scheduled < round_.warn_at:
            due = max(self.begin, min(max(self.begin, self.scheduled) + grace, round_.warn_at))
        if self.attempts:
            due = max(due, self.attempts[-1].decided_at + pause_after(self.attempts[-1], round_))
        return due


@dataclass(frozen=True)
class Decision:
    """What a watcher does: start the run of attempt `start` for the reason `why`, after cancelling the runs `cancel`;
    tell the `notices`; record `outcome`. With `reopened` the round had been settled and is open again, so what was told
    of it is forgotten first. `look_again` is when the next rule's time comes."""

    step: Step
    detail: str
    outcome: str | None = None
    start: int | None = None
    why: str = ""
    cancel: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    reopened: bool = False
    look_again: datetime | None = None


def decide(facts: Facts) -> Decision:
    """What to do about a node in a round now: the first rule that says something."""
    decision = next(decision for rule in RULES if (decision := rule(facts)) is not None)
    reopened = facts.outcome not in ("open", "on-time") and not facts.over and not facts.unseen
    moments = (facts.due, facts.round.warn_at, facts.round.deadline)
    later = [moment for moment in moments if moment > facts.now and not decision.step.settled]
    return replace(decision, reopened=reopened, look_again=min(later, default=None))


def is_settled(round_: Round, outcome: str, now: datetime) -> bool:
    """Whether a recorded outcome stands, so that there is nothing to ask. A deadline that is put off opens a round
    again that was missed, late or covered."""
    return outcome == "on-time" or (outcome != "open" and now >= round_.deadline)


def at_rest(facts: Facts) -> bool:
    """Whether there is nothing to do or say: an outcome is final, or whether its deadline was put off is unknown."""
    settled = is_settled(facts.round, facts.outcome, facts.now)
    return facts.over if settled else facts.outcome != "open" and facts.unseen != ""


# what Numerai's answers mean


def is_clone(model: Model, of: Entry | Submission, round_: Round) -> bool:
    """Whether an on-time entry, or a file, is an earlier one that Numerai carried over: at an opening it turns a queued
    submission into an entry with a new id, the same file name and about the time of the opening.

    Source: seen in a recorded answer of the API, 2025-09 (four cases).
    """
    filename = of.filename
    files = [file for file in model.submissions if file.filename == filename and file.id != of.id]
    moments = [file.inserted_at for file in files] + [model.seen.get(filename or "")]
    numbers = [file.round_number for file in files]
    numbers += [entry.round_number for entry in model.entries if entry.filename == filename]
    earlier = any(moment is not None and moment < round_.open_time for moment in moments)
    return filename is not None and (earlier or any(number and number < round_.number for number in numbers))


def standing(model: Model, round_: Round, runs: Iterable[Run] = ()) -> Standing:
    """How a model stands in a round, by Numerai's entry; `runs` are those of the round."""
    entry = model.entry(round_)
    if entry is not None and entry.status == "on-time":
        covered = is_clone(model, entry, round_) or _said_covered(entry, list(runs))
        return Standing.COVERED if covered else Standing.ON_TIME
    if entry is not None and entry.status == "late":
        return Standing.LATE
    unjudged = model.own_file(round_) is not None or (entry is not None and entry.status is None)
    return Standing.UNCONFIRMED if unjudged else Standing.NONE


def _said_covered(entry: Entry, runs: list[Run]) -> bool:
    """Whether the round's runs said themselves that an earlier file covers them."""
    codes = {run.exit_code for run in runs}
    earlier = entry.timestamp is None or all(entry.timestamp < run.created_at for run in runs)
    return COVERED_CODE in codes and 0 not in codes and earlier


def files_matter(model: Model, round_: Round, runs: Iterable[Run]) -> bool:
    """Whether the files that Numerai holds could change how a model stands; `runs` are those of the round."""
    entry = model.entry(round_)
    if entry is not None and entry.status in ("on-time", "late"):
        return entry.status == "on-time" and not is_clone(model, entry, round_)
    return any(run.exit_code in (0, UNCONFIRMED_CODE) for run in runs)


def with_files(model: Model, facts: Facts, ask: Callable[[], Iterable[Submission]], cannot: type[Exception]) -> Model:
    """The model with the files that Numerai holds of it, where they matter. While the round is open, a model without an
    entry gets another run either way; else nothing can be said without them, and the error `cannot` goes on."""
    if not files_matter(model, facts.round, facts.of_round):
        return model
    try:
        return replace(model, submissions=tuple(ask()))
    except cannot:
        entry = model.entry(facts.round)
        if facts.over or (entry is not None and entry.status == "on-time"):
            raise
        return model


def _unconfirmed(facts: Facts) -> tuple[datetime, str] | None:
    """Since when a submission of the round is unconfirmed, and which; None when there is none."""
    found = []
    for model, stands in zip(facts.models, facts.standings, strict=True):
        file, entry = model.own_file(facts.round), model.entry(facts.round)
        if stands is Standing.UNCONFIRMED and (file or entry):
            when = file.inserted_at if file else entry.timestamp if entry else None
            found.append((when or facts.begin, f"submission {file.id if file else entry.id if entry else ''}"))
    if facts.last is not None and facts.last.exit_code == UNCONFIRMED_CODE:
        found.append((facts.last.ended_at or facts.last.created_at, f"what run {facts.last.id} submitted"))
    return max(found, default=None)


def pause_after(attempt: Attempt, round_: Round) -> timedelta:
    """After an attempt: a third of what is left of the window, at most half an hour after the first one and twice as
    long after each further one. With an attempt in the second half, half a window's trouble costs no round."""
    return round_.third(attempt.decided_at, FIRST_PAUSE * (1 << (attempt.number - 1)))


# the rules, in their order


def _recorded(facts: Facts) -> Decision | None:
    if not is_settled(facts.round, facts.outcome, facts.now):
        return None
    step = Step.SUBMITTED if facts.outcome == "on-time" else Step(facts.outcome)
    return Decision(step, f"recorded as {facts.outcome}")


def _unseen(facts: Facts) -> Decision | None:
    if not facts.unseen:
        return None
    text = f"Whether it has submitted cannot be seen: {facts.unseen}"
    decision = Decision(Step.UNSEEN, text)
    if facts.now < facts.round.warn_at:
        return decision
    text += f" The deadline {'was' if facts.over else 'is'} {_at(facts.round.deadline)}. Look at https://numer.ai."
    return _telling(facts, decision, "failure", "cannot be seen", text)


def _submitted(facts: Facts) -> Decision | None:
    if facts.worst is not Standing.ON_TIME:
        return None
    tried = f" The watcher triggered it: {facts.attempts[-1].why}." if facts.attempts and facts.attempts[-1].why else ""
    decision = Decision(Step.SUBMITTED, f"Numerai holds {_entries(facts)} on time.{tried}", "on-time")
    return _telling(facts, decision, "success", "is submitted", of_run=True)


def _late(facts: Facts) -> Decision | None:
    if not facts.over or facts.worst is not Standing.LATE:
        return None
    text = (
        f"Numerai got {_entries(facts)} after the deadline at {_at(facts.round.deadline)}: it cannot be staked, and is"
        f" queued for the next round. `{facts.command} logs` shows what held it up."
    )
    return _telling(facts, Decision(Step.LATE, text, "late"), "late", "was submitted late", of_run=True)


def _confirming(facts: Facts) -> Decision | None:
    unconfirmed = _unconfirmed(facts)
    if unconfirmed is None:
        return None
    since, what = unconfirmed
    waited = facts.now - max(facts.round.deadline, since)
    judged = facts.worst is not Standing.UNCONFIRMED
    if facts.now < since + min(CONFIRMED_WITHIN, facts.round.window / 6) or (
        facts.over and not judged and waited < AFTER_DEADLINE
    ):
        return Decision(Step.UNCONFIRMED, f"Numerai has not confirmed {what} yet")
    if not facts.over or judged:
        return None
    text = f"Numerai has not confirmed {what}, {span(waited)} after the deadline."
    if waited >= GIVE_UP:
        return _missed(facts, text)
    help_ = f"{text} Look at https://numer.ai."
    return _telling(facts, Decision(Step.STUCK, text), "failure", "is not confirmed", help_, key="unconfirmed")


def _running(facts: Facts) -> Decision | None:
    run = next((run for run in facts.of_round if run.active and run not in facts.stale), None)
    if run is None or facts.now >= facts.round.deadline + AFTER_DEADLINE:
        return None
    state = f"run {run.id} {'waits for its start' if run.state == 'queued' else 'goes on'}"
    return _warned(facts, Decision(Step.RUNNING, state), state)


def _prevented(facts: Facts) -> Decision | None:
    if not facts.prevented or facts.now >= facts.round.deadline + AFTER_DEADLINE:
        return None
    decision = Decision(Step.STUCK, facts.prevented)
    patience = facts.begin + facts.round.grace(facts.grace) + min(PATIENCE, facts.round.window / 4)
    if facts.now < min(facts.round.warn_at, patience):
        return decision
    text = f"{_nothing(facts)}, and nothing can be done: {facts.prevented}"
    return _telling(facts, decision, "failure", "cannot be triggered", text)


def _after_deadline(facts: Facts) -> Decision | None:
    if not facts.over:
        return None
    if facts.worst is not Standing.COVERED:
        known = facts.last or facts.attempts or facts.prevented
        return _missed(facts, "" if known else "No run of it is known: was the machine or the daemon off?")
    text = (
        f"The deadline at {_at(facts.round.deadline)} passed without a submission of this round's own. Numerai counts"
        f" an earlier file: {_entries(facts)}. {_end_of(facts.last)} {_help(facts)}"
    )
    return _telling(facts, Decision(Step.COVERED, text, "covered"), "covered", "is covered by an earlier file")


def _undeployed(facts: Facts) -> Decision | None:
    if facts.deployed:
        return None
    text = f"{facts.node} was never deployed, so nothing can run. Run `{facts.command} deploy`."
    decision = Decision(Step.STUCK, text)
    in_time = facts.now < facts.begin + facts.round.grace(facts.grace)
    return decision if in_time else _telling(facts, decision, "failure", "cannot run")


def _hopeless(facts: Facts) -> Decision | None:
    run = facts.last
    if run is None or run.state != "failed":
        return None
    why = "there was nothing to run" if run.failure == "not-deployed" else HOPELESS_CODES.get(run.exit_code or 0)
    if why is None or (run.ended_at and facts.deployed_at and facts.deployed_at > run.ended_at):
        return None
    decision = Decision(Step.FAILED, f"Run {run.id} failed and is not tried again, as {why}. {_end_of(run)}")
    # a run that never began has told nobody
    return _telling(facts, decision, "failure", "failed", of_run=run.exit_code is not None)


def _just_started(facts: Facts) -> Decision | None:
    newest, recent = next(iter(facts.attempts[-1:]), None), facts.now - JUST_STARTED
    state = ""
    if facts.called_at is not None and facts.called_at > recent:
        state = "its webhook was called a moment ago"
    elif newest is not None and newest.run_id is not None and newest.decided_at > recent:
        listed = any(run.id == newest.run_id for run in facts.runs)
        state = "" if listed else f"run {newest.run_id} was started a moment ago"
    return _warned(facts, Decision(Step.RUNNING, state), state) if state else None


def _start(facts: Facts) -> Decision:
    """Nothing is submitted and nothing runs, in a round that is open: start a run when it is due."""
    attempts, again, decision = facts.attempts, _why_again(facts), Decision(Step.TRIGGERED, "")
    why = again or _why(facts)
    if attempts and attempts[-1].run_id is None:
        return _started(facts, decision, attempts[-1].number, attempts[-1].why or why)
    if len(attempts) >= ATTEMPTS:
        spent = attempts[-1].decided_at >= facts.round.open_time + facts.round.window / 2
        goes_on = "which is the limit" if spent else "and goes on with longer pauses"
        text = f"The watcher has triggered it {len(attempts)} times, {goes_on}. {_end_of(facts.last)}"
        decision = Decision(Step.FAILED, text)
        decision = _telling(facts, decision, "failure", "has no submission", f"{text} {_help(facts)}")
        if spent:
            return decision
    if facts.now >= facts.due:
        return _started(facts, decision, len(attempts) + 1, why)
    what = (again or _end_of(facts.last, "Its run is expected")).rstrip(".")
    detail = f"{what}; the watcher triggers it at {facts.due:%H:%M:%S} UTC"
    return _warned(facts, replace(decision, step=Step.WAITING, detail=detail), what)


RULES: tuple[Callable[[Facts], Decision | None], ...] = (
    _recorded,
    _unseen,
    _submitted,
    _late,
    _confirming,
    _running,
    _prevented,
    _after_deadline,
    _undeployed,
    _hopeless,
    _just_started,
    _start,
)


# their words


def silence(tournament: int, since: datetime, now: datetime, why: str) -> Notice | None:
    """What to tell, once a day, when Numerai has not listed a tournament's rounds since then."""
    if now - since < SILENCE:
        return None
    text = (
        f"Numerai has not listed the rounds of tournament {tournament} since {since:%Y-%m-%d %H:%M} UTC: {why} A round"
        " that opens meanwhile is not known here. Look at https://numer.ai."
    )
    key = f"unseen/{tournament}/{now:%Y-%m-%d}"
    return Notice("failure", f"No round of tournament {tournament} is followed", text, key)


def span(length: timedelta) -> str:
    """A length of time in words, as short as it makes sense: `43 min`, `5 h 10 min`, `3 days`."""
    minutes = max(0, round(length.total_seconds() / 60))
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    return " ".join(filter(None, (f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else "")))


def _started(facts: Facts, decision: Decision, number: int, why: str) -> Decision:
    cancel = tuple(run.id for run in facts.stale)
    decision = replace(decision, step=Step.TRIGGERED, detail=f"attempt {number}: {why}", start=number, why=why)
    return _warned(facts, replace(decision, cancel=cancel), f"A run is being triggered: {why}")


def _missed(facts: Facts, why: str) -> Decision:
    passed = f"The deadline at {facts.round.deadline:%Y-%m-%d %H:%M} UTC passed without a submission that counts."
    text = " ".join(filter(None, (passed, why, _end_of(facts.last, ""), facts.prevented)))
    return _telling(facts, Decision(Step.MISSED, text, "missed"), "missed", "was missed", f"{text} {_help(facts)}")


def _telling(
    facts: Facts, decision: Decision, kind: str, what: str, text: str = "", *, of_run: bool = False, key: str = ""
) -> Decision:
    """The decision with one more notice; its text is the decision's detail unless another is given."""
    title = f"{facts.node}: round {facts.round.number} {what}"
    notice = Notice(kind, title, (text or decision.detail).strip(), key or kind, of_run)
    return replace(decision, notices=(*decision.notices, notice))


def _warned(facts: Facts, decision: Decision, state: str) -> Decision:
    """The decision with the warning that goes with it shortly before the deadline."""
    if facts.over or facts.now < facts.round.warn_at:
        return decision
    asleep = f" What runs it does not start: {facts.asleep}" if facts.asleep else ""
    state = f"{state[:1].upper()}{state[1:].rstrip('.')}.{asleep}"
    text = f"The deadline is {_at(facts.round.deadline)}. {_nothing(facts)}. {state} {_help(facts)}"
    return _telling(facts, decision, "failure", "has no submission yet", text)


def _nothing(facts: Facts) -> str:
    covered = facts.worst is Standing.COVERED
    return "Numerai holds an earlier file, and nothing of this round's own" if covered else "Nothing is on time yet"


def _entries(facts: Facts) -> str:
    """Numerai's entries of the round, with the models' names where there are several."""
    entries = [(model.name, model.entry(facts.round)) for model in facts.models]
    return ", ".join(
        f"submission {entry.id}{f' of {name}' if len(entries) > 1 else ''}"
        f"{f' ({entry.timestamp:%H:%M:%S} UTC)' if entry.timestamp else ''}"
        for name, entry in entries
        if entry is not None
    )


def _end_of(run: Run | None, otherwise: str = "No run of it is known.") -> str:
    return otherwise if run is None else f"Run {run.id} {_how_ended(run)}. {run.message or ''}".rstrip()


def _how_ended(run: Run) -> str:
    if run.state == "failed":
        return f"failed with exit code {run.exit_code}" if run.exit_code is not None else "failed"
    words = {
        "succeeded": "ended well",
        "cancelled": "was cancelled",
        "queued": "has not started: it waits for capacity",
    }
    return words.get(run.state, f"is {run.state}")


def _why(facts: Facts) -> str:
    """Why a run is started."""
    past = facts.now - facts.begin
    if facts.last is not None:
        return f"run {facts.last.id} {_how_ended(facts.last)}, and nothing was submitted"
    if past < facts.round.grace(facts.grace):
        return "the round has opened, and Numerai cannot call this node"
    return f"no run and no submission {span(past)} after the opening"


def _why_again(facts: Facts) -> str:
    if facts.stale:
        return f"run {facts.stale[0].id} has not started for {span(facts.now - facts.stale[0].created_at)}"
    unconfirmed = _unconfirmed(facts)
    return f"Numerai has not confirmed {unconfirmed[1]} for {span(facts.now - unconfirmed[0])}" if unconfirmed else ""


def _help(facts: Facts) -> str:
    return f"See `{facts.command} status` and `{facts.command} logs`; `{facts.command} trigger` starts a run."


def _at(moment: datetime) -> str:
    return f"{moment:%H:%M} UTC"
