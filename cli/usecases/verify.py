"""Proves a node end to end: the four facts of a working round, one by one, and the cause of the one that fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from ..addresses import origin
from ..errors import ApiError, NumeraiError
from ..models import (
    NOT_SUBMITTED_CODE,
    EntryStatus,
    LogLine,
    Model,
    Node,
    Run,
    RunFailure,
    RunState,
    Submission,
    SubmissionEntry,
)
from ..ports import (
    Clock,
    NumeraiApi,
    Provider,
    Report,
    RunByNumerai,
    RunsWithoutSubmitting,
    ServesWebhooks,
    StartsLater,
)
from ..watching.gate import gate_findings
from .configure import PICKLE_ASSIGNED, UNASSIGN_PICKLE
from .inspect import changed_since_deploy, is_own_webhook, require_provider
from .webhooks import why_not_called
from .window import Window, window_of
from .withholding import withholding

_T = TypeVar("_T")

REACHED = "Numerai reached the webhook"
STARTED = "the trigger started a container"
ENDED = "the container ran to its end"
CONFIRMED = "Numerai confirmed the submission"
FACTS = (REACHED, STARTED, ENDED, CONFIRMED)
WEBSITE = "https://numer.ai"

START_SECONDS = 120.0
"""How long a queued run may wait for its start before the test calls that a failure, unless the provider says it."""
WAITING_SECONDS = 10.0
"""How often the provider is asked what a run waits for."""
CONFIRM_SECONDS = 120.0
"""How long Numerai may take to list a submission as on time, late or queued. Nobody says how long it takes."""
APPEAR_SECONDS = 15.0
"""How long a submission may take to show up once the run, which made it, has ended."""
POLL_SECONDS = 0.3
LAST_LINES = 10
RUNS_BACK = 10
SUBMITTED = (RunFailure.LATE, RunFailure.COVERED, RunFailure.UNCONFIRMED)
"""How a run fails that has made a submission: it says itself what counts."""


@dataclass(frozen=True)
class Fact:
    """One of the four facts: whether it holds, after how many seconds, and what was found.

    `holds` is None for a fact that was not looked at: it does not apply, or an earlier one failed.
    """

    name: str
    holds: bool | None
    seconds: float = 0.0
    detail: str = ""
    cause: str | None = None
    mend: str | None = None


class Verdict(str, Enum):
    """`unproven`: nothing failed, and something cannot be proven now."""

    WORKS = "works"
    UNPROVEN = "unproven"
    FAILS = "fails"


@dataclass(frozen=True)
class Verification:
    """How the test of a node ended. `submits_to` is the model that it submits to, None for a test without submitting;
    `unproven` is what could not be proven now, `warnings` what a person must know beside the facts, `findings` what the
    gate has found in the predictions."""

    node: str
    facts: tuple[Fact, ...]
    verdict: Verdict
    run_id: str | None = None
    trigger_id: str | None = None
    submission: Submission | None = None
    log: tuple[LogLine, ...] = ()
    submits_to: str | None = None
    unproven: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed and everything that was to be proven is."""
        return self.verdict is Verdict.WORKS


class _Failed(Exception):
    def __init__(self, fact: Fact):
        self.fact = fact


# long: one conversation, fact after fact, each with the ways in which it can fail
@dataclass
class Verifier:
    """Runs the test of one node. `on_fact` hears of each fact as it becomes true or fails, `on_log` of each line that
    the container prints, `on_warning` of what must be known beside them. Without `submits` everything is proven but the
    submission. `before_switch` is for a node that Numerai is to call only once this test has passed."""

    node: Node
    provider_named: Callable[[str], Provider]
    api: NumeraiApi
    clock: Clock
    on_fact: Callable[[Fact], None]
    on_log: Callable[[LogLine], None]
    report: Report
    submits: bool = True
    on_warning: Callable[[str], None] = lambda text: None
    before_switch: bool = False
    provider: Provider = field(init=False)
    _started: float = field(init=False, default=0.0)
    _since: datetime | None = field(init=False, default=None)
    _run: Run | None = field(init=False, default=None)
    _trigger_id: str | None = field(init=False, default=None)
    _withholds: RunsWithoutSubmitting | None = field(init=False, default=None)
    _window: Window = field(init=False, default=Window(None))
    _unproven: list[str] = field(init=False, default_factory=list)
    _facts: list[Fact] = field(init=False, default_factory=list)
    _log: list[LogLine] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.provider = self.provider_named(self.node.provider)

    def verify(self) -> Verification:
        """Trigger the node as Numerai does and follow it to the confirmed submission."""
        if require_provider(self.node, self.provider).deployment(self.node.name) is None:
            raise NumeraiError(
                f"{self.node.name} is not deployed.",
                f"Run `numerai node -m {self.node.name} deploy` first.",
                code="not-deployed",
            )
        if not self.submits:
            self._withholds = withholding(self.node, self.provider)
        warnings = self._warnings() if self.submits else ()
        self.provider.wake(self.report)
        warnings += self._differences()
        self._started, self._since = self.clock.monotonic(), self.clock.now()
        submission: Submission | None = None
        try:
            trigger_id = self._reach() if self.submits else self._answers()
            began = self.api.heard_time() or self.clock.now()
            run = self._end(self._start(trigger_id), trigger_id, began)
            submission = self._confirm(run, trigger_id, began) if self.submits else self._withheld(run, began)
        except _Failed as failed:
            self._say(failed.fact)
        findings = gate_findings(self._log)
        for finding in findings:
            what = "what was sent" if self.submits else "the predictions"
            self.on_warning(f"The gate has found something in {what}: {finding}")
        return Verification(
            node=self.node.name,
            facts=tuple(self._facts),
            verdict=self._verdict(),
            run_id=self._run.id if self._run else None,
            trigger_id=self._trigger_id,
            submission=submission,
            log=tuple(self._log),
            submits_to=self.node.model_name if self.submits else None,
            unproven=tuple(self._unproven),
            warnings=warnings,
            findings=findings,
        )

    def going_on(self) -> Run | None:
        """The run that this test has started, if it goes on; for one whose wait for it was interrupted."""
        run = self._run
        if run is None and self._trigger_id is not None:
            run = self.provider.find_run(self.node.name, self._trigger_id)
        if run is None and self._since is not None:
            latest = next(iter(self.provider.runs(self.node.name, 1)), None)
            run = latest if latest is not None and latest.created_at >= self._since else None
        run = self.provider.run(run.id) if run is not None else None
        return run if run is not None and not run.state.final else None

    def _warnings(self) -> tuple[str, ...]:
        """What must be known before: looks at the folder, and whether a round is open."""
        warnings = []
        if changed_since_deploy(self.node, self.provider):
            warnings.append(
                f"The folder has changed since the deploy: what is tested is what was deployed, and not what is in"
                f" {self.node.path}. `numerai node -m {self.node.name} deploy` takes the changes over."
            )
        self._window = window_of(self.node.tournament, self.api, self.clock)
        if self._window.is_open is False:
            words = self._window.words
            warnings.append(f"{words[0].upper()}{words[1:]}: that a submission is on time cannot be proven.")
        for warning in warnings:
            self.on_warning(warning)
        return tuple(warnings)

    def _differences(self) -> tuple[str, ...]:
        """Where what runs the node stands on something else than this shell."""
        if not isinstance(self.provider, ServesWebhooks):
            return ()
        differences = tuple(
            f"The daemon is not as this shell is: {why.rstrip('.')}." for why in self.provider.differences()
        )
        for warning in differences:
            self.on_warning(f"{warning} To restart it: numerai daemon stop; numerai daemon start")
        return differences

    def _verdict(self) -> Verdict:
        if len(self._facts) < len(FACTS) or any(fact.holds is False for fact in self._facts):
            return Verdict.FAILS
        return Verdict.UNPROVEN if self._unproven else Verdict.WORKS

    # the facts

    def _registered(self) -> bool:
        """Whether Numerai holds the address that the node is served at now; False for a node that runs by its schedule,
        or that Numerai is to call later only. Any other node whose address it does not hold has failed."""
        if self.before_switch:
            self._say(Fact(REACHED, None, self._seconds(), "not looked at: Numerai is to call it once this has passed"))
            return False
        model = next((model for model in self.api.models() if model.id == self.node.model_id), None)
        if isinstance(self.provider, RunByNumerai):
            self._say(Fact(REACHED, None, self._seconds(), "not looked at: Numerai runs this node itself"))
            return False
        if model is not None and model.pickle is not None:
            raise _Failed(Fact(REACHED, False, self._seconds(), PICKLE_ASSIGNED, mend=UNASSIGN_PICKLE))
        served = self.provider.webhook_url(self.node.name)
        if model is not None and served is not None and model.webhook == served:
            return True
        if self.node.cron:
            self._say(Fact(REACHED, None, self._seconds(), "not looked at: this node runs by its schedule"))
            return False
        raise _Failed(self._not_registered(model, served))

    def _answers(self) -> str | None:
        """Whether the webhook would be reached: it is not called, as the run of a trigger submits."""
        if not self._registered():
            return None
        holds: bool | None = None
        found = "Numerai holds its address, and was not asked to call it: that run would submit"
        if isinstance(self.provider, ServesWebhooks):
            if (silence := self.provider.silence()) is not None:
                mend = "numerai doctor --fix" if silence.elsewhere else silence.mend
                raise _Failed(Fact(REACHED, False, self._seconds(), silence.why, mend=mend))
            holds, found = True, "it answers at the address that Numerai holds; Numerai was not asked to call it"
        self._say(Fact(REACHED, holds, self._seconds(), found))
        return None

    def _reach(self) -> str | None:
        if not self._registered():
            return None
        try:
            trigger_id = self._trigger_id = self.api.trigger(self.node.model_id)
        except ApiError as error:
            if error.code != "webhook-failed":
                raise
            raise _Failed(self._webhook_failed(error)) from error
        self._say(Fact(REACHED, True, self._seconds(), f"trigger id {trigger_id}"))
        return trigger_id

    def _start(self, trigger_id: str | None) -> Run:
        if self._withholds is not None:
            run = self._withholds.run_without_submitting(self.node)
        elif trigger_id is None:
            run = self.provider.trigger(self.node)
        else:
            found = self._wait(lambda: self.provider.find_run(self.node.name, trigger_id), START_SECONDS)
            if found is None:
                raise _Failed(
                    Fact(
                        STARTED,
                        False,
                        self._seconds(),
                        "the webhook answered, but no run came of it",
                        mend=f"numerai node -m {self.node.name} logs --log-type webhook",
                    )
                )
            run = found
        self._run = run
        run = self._wait_for_start(run)
        if run.started_at is None:
            raise _Failed(self._run_failed(STARTED, run))
        self._say(Fact(STARTED, True, self._seconds(), f"run id {run.id}"))
        return run

    def _wait_for_start(self, run: Run) -> Run:
        said: set[str] = set()
        asked = float("-inf")

        def begun() -> Run | None:
            nonlocal asked
            now = self.provider.run(run.id)
            if now.started_at is not None or now.state.final:
                return now
            if now.message and now.message not in said:
                said.add(now.message)
                self.on_warning(now.message)
            if self.clock.monotonic() >= asked + WAITING_SECONDS:
                asked = self.clock.monotonic()
                if (waits := self._waits_for(run)) and waits not in said:
                    said.add(waits)
                    self.report(f"run {run.id}: {waits}")
            return None

        begun_run = self._wait(begun, self._start_seconds)
        if begun_run is None:
            raise _Failed(self._still_waits(run))
        return begun_run

    @property
    def _start_seconds(self) -> float:
        return self.provider.start_seconds(self.node) if isinstance(self.provider, StartsLater) else START_SECONDS

    def _waits_for(self, run: Run) -> str | None:
        return self.provider.waits_for(run.id) if isinstance(self.provider, StartsLater) else None

    def _still_waits(self, run: Run) -> Fact:
        """Why a run has not started: usually a run before it goes on, as a node runs once at a time."""
        detail = f"run {run.id} still waits for its start after {self._start_seconds:.0f} s"
        if message := self.provider.run(run.id).message or self._waits_for(run):
            return Fact(STARTED, False, self._seconds(), f"{detail}: {message}", mend="numerai doctor")
        command = f"numerai node -m {self.node.name}"
        ahead = [each for each in self.provider.runs(self.node.name, RUNS_BACK) if each.state is RunState.RUNNING]
        if not ahead:
            return Fact(STARTED, False, self._seconds(), detail, mend=f"{command} status")
        detail += f": run {ahead[0].id} of this node goes on, since {ahead[0].created_at:%H:%M:%S} UTC"
        return Fact(STARTED, False, self._seconds(), detail, mend=f"{command} cancel {ahead[0].id}, then test again")

    def _end(self, run: Run, trigger_id: str | None, began: datetime) -> Run:
        self._follow(run)
        limit = self.node.timeout_minutes * 60 * 3 + self._start_seconds  # a temporary failure is tried again
        ended = self._wait(lambda: _if_final(self.provider.run(run.id)), limit)
        if ended is not None and ended.failure in SUBMITTED and self._window.is_open is False:
            detail = f"exit code {ended.exit_code}: it submitted, while no round is open" + _attempts(ended)
            self._say(Fact(ENDED, True, self._seconds(), detail))
            return ended
        if ended is None or ended.state is not RunState.SUCCEEDED:
            failed = self._run_failed(ENDED, ended or self.provider.run(run.id))
            submitted = ended is not None and ended.failure in SUBMITTED
            entry = None if submitted else self._on_time_entry()
            if entry is not None:
                counts = self._what_counts(entry, trigger_id, began)
                failed = replace(failed, detail=f"{failed.detail.rstrip('.')}. {counts}")
            raise _Failed(failed)
        took = (ended.ended_at - ended.started_at).total_seconds() if ended.ended_at and ended.started_at else 0.0
        code = ended.exit_code or 0
        self._say(Fact(ENDED, True, self._seconds(), f"exit code {code} after {took:.1f} s" + _attempts(ended)))
        return ended

    def _follow(self, run: Run) -> None:
        """Hear what the run prints until it ends; a log that cannot be read says nothing of how it ends."""
        try:
            for line in self.provider.logs(run.id, follow=True):
                self._log.append(line)
                self.on_log(line)
        except OSError as error:
            self.on_warning(f"The log of run {run.id} cannot be read: {error}. The run goes on without it.")

    def _withheld(self, run: Run, began: datetime) -> Submission | None:
        """What is known of the submission that was not made; a run that made one all the same has failed."""
        if run.exit_code == NOT_SUBMITTED_CODE:
            detail = "not submitted, as asked; the predictions keep Numerai's rules"
            self._say(Fact(CONFIRMED, None, self._seconds(), detail))
            return None
        try:
            made = self._wait(lambda: self._submission(None, began), APPEAR_SECONDS)
        except ApiError:
            made = None
        why = "the run ended well and did not come to a submission: does the code submit, with numerai_node?"
        if made is not None:
            why = f"it has submitted all the same ({made.id}): its code does not submit with numerai_node alone"
        raise _Failed(self._not_confirmed(why))

    def _cannot_be_proven(self, submission: Submission | None, entry: SubmissionEntry | None) -> None:
        """Say that no submission can be on time now, and what became of this one."""
        self._unproven.append(f"that a submission is on time: {self._window.words}")
        became = ""
        if submission is not None:
            late = entry is not None and entry.status in (EntryStatus.LATE, EntryStatus.QUEUED)
            became = f". Numerai holds submission {submission.id}{', late and queued' if late else ''}"
        detail = f"cannot be proven now: {self._window.words}{became}"
        self._say(Fact(CONFIRMED, None, self._seconds(), detail, mend="test again while a round is open"))

    def _confirm(self, run: Run, trigger_id: str | None, began: datetime) -> Submission | None:
        """The run's submission, once Numerai's entry of the model names it as on time. While no round is open that
        cannot be, and is said."""
        submission = self._wait(lambda: self._submission(trigger_id, began), APPEAR_SECONDS)
        if self._window.is_open is False and (submission is not None or run.failure in SUBMITTED):
            entry = self._entry_of(submission) if submission is not None else None
            if submission is None or entry is None or entry.status is not EntryStatus.ON_TIME:
                self._cannot_be_proven(submission, entry)
                return submission
        if submission is None:
            why = "the run ended well, but Numerai holds no submission of it: does the code submit, for this model?"
            raise _Failed(self._not_confirmed(why))
        entry = self._wait(lambda: self._entry_of(submission), CONFIRM_SECONDS) or self._on_time_entry()
        if entry is None:
            why = (
                f"Numerai holds submission {submission.id} and has not said within {CONFIRM_SECONDS:.0f} s whether it"
                " counts: it is unconfirmed"
            )
            raise _Failed(self._not_confirmed(why, mend=f"look at the model's submissions on {WEBSITE}"))
        if not _names(entry, submission):
            raise _Failed(self._not_confirmed(f"{_covered(entry)}, and not submission {submission.id} of this run"))
        if entry.status is not EntryStatus.ON_TIME:
            why = (
                f"submission {submission.id} is late and queued: the deadline of round {entry.round_number} was over,"
                " so it is not staked and counts for the next round at most"
            )
            raise _Failed(self._not_confirmed(why, mend="test again while a round is open (`numerai status`)"))
        detail = f"submission {submission.id}, round {entry.round_number}, on time"
        if trigger_id is not None and submission.trigger_id is None:
            detail += "; it names no trigger and is known by its time"
        self._say(Fact(CONFIRMED, True, self._seconds(), detail))
        return submission

    def _not_confirmed(self, why: str, mend: str | None = None) -> Fact:
        return Fact(CONFIRMED, False, self._seconds(), why, mend=mend or f"numerai node -m {self.node.name} logs")

    # the causes

    def _not_registered(self, model: Model | None, served: str | None) -> Fact:
        if self.provider.reachable_by(self.api.url):
            mend = f"numerai node -m {self.node.name} config --register-webhook"
            held = "another address for this model" if model and model.webhook else "no address for this model"
            if model and model.webhook and served and origin(model.webhook) != origin(served):
                held += f" ({origin(model.webhook)}) than the node is served at ({origin(served)})"
                if is_own_webhook(model.webhook, self.node, served):
                    mend = f"numerai doctor --fix, or {mend}"
            if (not_yet := why_not_called(self.node, self.provider_named)) is not None:
                held, mend = f"{held}; {not_yet[0]}", not_yet[1]
            return Fact(REACHED, False, self._seconds(), f"Numerai has {held}", mend=mend)
        return Fact(
            REACHED,
            False,
            self._seconds(),
            f"{self.api.url} cannot call this machine",
            mend=f"numerai node -m {self.node.name} test --local; with a tunnel: numerai setup --public-url URL",
        )

    def _webhook_failed(self, error: ApiError) -> Fact:
        calls = self.provider.webhook_calls(self.node.name, limit=1)
        cause = f"the webhook's last answer: HTTP {calls[0].status} {calls[0].answer}" if calls else None
        silence = self.provider.silence() if isinstance(self.provider, ServesWebhooks) else None
        if silence is not None:
            return Fact(REACHED, False, self._seconds(), error.message, silence.why, mend="numerai doctor --fix")
        return Fact(REACHED, False, self._seconds(), error.message, cause, mend="numerai doctor")

    def _run_failed(self, fact: str, run: Run) -> Fact:
        logged = list(self._log)
        with suppress(OSError):  # what cannot be read explains nothing
            logged = logged or list(self.provider.logs(run.id))
        lines = [line.text for line in deque(logged, maxlen=LAST_LINES)]
        cause = "last log lines:\n" + "\n".join(f"  {line}" for line in lines) if lines else None
        return Fact(fact, False, self._seconds(), _why(run) + _attempts(run), cause, _mend(run, self.node))

    # looking

    def _submission(self, trigger_id: str | None, began: datetime) -> Submission | None:
        """The run's submission: that of its trigger, else one that was made since, by any trigger where the run had
        none, and by none where its code does not pass the trigger on. No clone, which has the file of one before."""
        held, since = self.api.submissions(self.node.model_id), began - timedelta(seconds=5)
        if trigger_id is None:
            return next((each for each in held if each.inserted_at and each.inserted_at >= since), None)
        before = {each.filename for each in held if each.inserted_at and each.inserted_at < since}
        nameless = (
            each
            for each in held
            if each.trigger_id is None
            and each.inserted_at
            and each.inserted_at >= since
            and not (each.filename and each.filename in before)
        )
        return next((each for each in held if each.trigger_id == trigger_id), None) or next(nameless, None)

    def _entry_of(self, submission: Submission) -> SubmissionEntry | None:
        """Numerai's entry that names the submission. One that is late is listed twice: that of its own round."""
        named = [entry for entry in self._entries() if _names(entry, submission)]
        return min(named, key=lambda entry: (entry.status is not EntryStatus.ON_TIME, entry.round_number), default=None)

    def _on_time_entry(self) -> SubmissionEntry | None:
        """What counts for the round whose window is open, of whatever file."""
        try:
            current = self.api.current_round(self.node.tournament)
        except ApiError:
            return None
        number = current.number if current is not None else None
        on_time = (entry for entry in self._entries() if entry.status is EntryStatus.ON_TIME)
        return next((entry for entry in on_time if entry.round_number == number), None)

    def _what_counts(self, entry: SubmissionEntry, trigger_id: str | None, began: datetime) -> str:
        """Whose file counts after a run that failed, which it may have done after it had submitted."""
        try:
            own = self._submission(trigger_id, began)
        except ApiError:
            return f"Round {entry.round_number} has an on-time file ({entry.filename or entry.id})"
        if own is not None and _names(entry, own):
            return f"Numerai counts its submission {own.id} for round {entry.round_number} all the same"
        return f"{_covered(entry)}, not by this run"

    def _entries(self) -> list[SubmissionEntry]:
        """Numerai's entries of the model; none where it does not answer, which is no verdict."""
        try:
            return self.api.entries(self.node.model_id)
        except ApiError:
            return []

    def _wait(self, look: Callable[[], _T | None], seconds: float) -> _T | None:
        deadline = self.clock.monotonic() + seconds
        while True:
            found = look()
            if found is not None or self.clock.monotonic() >= deadline:
                return found
            self.clock.sleep(POLL_SECONDS)

    def _seconds(self) -> float:
        return self.clock.monotonic() - self._started

    def _say(self, fact: Fact) -> None:
        self._facts.append(fact)
        self.on_fact(fact)


def _names(entry: SubmissionEntry, submission: Submission) -> bool:
    """Whether an entry is a submission: by its id, or by the file name, which is unique to an upload."""
    by_name = submission.filename is not None and entry.filename == submission.filename
    return entry.status in (EntryStatus.ON_TIME, EntryStatus.LATE, EntryStatus.QUEUED) and (
        entry.id == submission.id or by_name
    )


def _covered(entry: SubmissionEntry) -> str:
    return f"Round {entry.round_number} is covered by an earlier file ({entry.filename or entry.id})"


def _if_final(run: Run) -> Run | None:
    return run if run.state.final else None


def _attempts(run: Run) -> str:
    return f" (attempt {run.attempt})" if run.attempt > 1 else ""


def _why(run: Run) -> str:
    if run.message:
        return run.message
    code = "" if run.exit_code is None else f" with exit code {run.exit_code}"
    return f"run {run.id} is {run.state.value}{code}"


def _mend(run: Run, node: Node) -> str:
    command = f"numerai node -m {node.name}"
    by_failure = {
        RunFailure.OUT_OF_MEMORY: f"{command} config --memory {node.memory_mib * 2 // 1024 or 1} (it has "
        f"{node.memory_mib / 1024:g} GiB), then test again",
        RunFailure.TIMED_OUT: f"{command} config --timeout-minutes {node.timeout_minutes * 2}, or make it faster",
        RunFailure.NOT_DEPLOYED: f"{command} deploy",
        RunFailure.NO_KEYS: "numerai setup",
        RunFailure.COULD_NOT_START: "numerai doctor",
        RunFailure.LOST: f"{command} test",
    }
    return by_failure.get(run.failure, f"{command} logs -n 100") if run.failure else f"{command} logs -n 100"
