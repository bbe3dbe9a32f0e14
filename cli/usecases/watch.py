"""Never miss a round: each look follows every node through its rounds, triggers what is missing and decides what
people are told."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..errors import ApiError, NumeraiError, UsageError
from ..models import (
    Node,
    Notice,
    NoticeKind,
    Round,
    RoundOutcome,
    Run,
    Submission,
    TriggerAttempt,
)
from ..ports import Clock, Ledger, Notifier, NotifiesItself, NumeraiApi, Provider, StateStore
from ..schedule import next_occurrence, span
from .delivery import Delivery
from .questions import RUNS_BACK, Questions
from .rounds import (
    DATE_STEP,
    Case,
    Finding,
    Step,
    counting,
    end_of,
    how_ended,
    late,
    next_opening,
    pause_after,
    warn_at,
    why_hopeless,
)
from .watch_settings import DEFAULTS, WatchSettings

ATTEMPTS = 3
"""How often the watcher triggers a node in one round at least, before it gives up."""
GRACE = timedelta(minutes=10)
"""How long a node whose runs others start is left alone for after the opening, unless the settings say otherwise."""
PATIENCE = timedelta(minutes=15)
"""How long a due trigger may be prevented before somebody is told."""
AFTER_CLOSE = timedelta(minutes=30)
"""How long a run that goes on over the close, or a submission that is not checked yet, is waited for."""
GIVE_UP = timedelta(hours=6)
"""How long after the close a submission that is not checked is followed."""
SILENCE = timedelta(hours=6)
"""After so long without an answer somebody is told, once a day: rounds that open meanwhile are not known."""
SLEPT = timedelta(minutes=15)
"""A watcher that has not looked for so long was asleep with its machine."""
ROUNDS_BACK = 8
"""How many rounds back a watcher looks that slept over some."""
UPCOMING_SECONDS = 600.0
"""How often Numerai is asked for the next round while it does not say which."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """One pass over all nodes. `now` is Numerai's time, `problems` what could not be looked at, `told` what people were
    told; the next look is due after `seconds`."""

    now: datetime
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    told: tuple[Notice, ...]
    seconds: float

    @property
    def well(self) -> bool:
        """Whether nothing is missing, failed or unknown."""
        return not self.problems and all(finding.step.well for finding in self.findings)


@dataclass(frozen=True)
class _Rounds:
    """A tournament's latest rounds. `unseen` is why Numerai has not told them now: they are those seen before then."""

    latest: list[Round]
    unseen: NumeraiError | None = None


@dataclass(frozen=True)
class _Down:
    """Nobody has watched since then, in Numerai's time; it counts from a length of `least` on."""

    since: datetime
    least: timedelta


class Watcher:
    """Follows the rounds of all nodes. `kind` is `daemon`, `watch` or `once`; with `wakes` what executes the runs is
    started where it does not run. Several watchers may be at work at once."""

    def __init__(
        self,
        *,
        store: StateStore,
        api: Callable[[], NumeraiApi],
        provider_named: Callable[[str], Provider],
        ledger: Ledger,
        notifier: Notifier,
        clock: Clock,
        settings: WatchSettings = DEFAULTS,
        kind: str = "watch",
        wakes: bool = True,
    ):
        self._store = store
        self._make_api = api
        self._provider_named = provider_named
        self._ledger = ledger
        self._notifier = notifier
        self._delivery = Delivery(ledger, notifier, clock)
        self._clock = clock
        self._settings = settings
        self._kind = kind
        self._wakes = wakes
        self._api: NumeraiApi | None = None
        self._own_key = secrets.token_hex(6)
        self._id: str | None = None
        self._down: _Down | None = None
        self._nodes_seen: bool = False
        self._asked_upcoming: dict[int, tuple[int, float]] = {}
        self._said: dict[str, str] = {}
        self._said_problems: set[str] = set()

    # the life of a watcher

    def run(self, stop: threading.Event, on_look: Callable[[Look], None] = lambda look: None) -> None:
        """Look again and again until the event is set. What cannot be done now, a full disk say, is said, told once
        and tried again."""
        while not stop.is_set():
            seconds = self._settings.seconds
            try:
                look = self.look()
                on_look(look)
                seconds = look.seconds
            except NumeraiError as error:
                if error.message not in self._said_problems:
                    self._said_problems.add(error.message)
                    log.error("the watcher cannot work: %s %s", error.message, error.hint or "")
                    self.cannot_work(error)
            if stop.wait(seconds):
                return

    def crashed(self, error: Exception) -> None:
        """Tell that the watcher has ended by an error of its own; whoever runs it starts it again."""
        self._tell_of_watcher(
            f"crash/{type(error).__name__}",
            f"The watcher ended by an error: {type(error).__name__}: {error}. It is started again.",
        )

    def cannot_work(self, error: NumeraiError) -> None:
        """Tell that the ledger cannot be used: nothing is followed as long as that lasts."""
        if self._has_nodes():
            text = f"The watcher cannot work, and tries again: {error.message} {error.hint or ''}".rstrip()
            self._notifier.tell(Notice(NoticeKind.WATCHER_STOPPED, "The watcher cannot work", text))

    def stopped(self, by: str) -> None:
        """Tell that nobody watches any more, and why: `by` ends the sentence "The watcher was stopped"."""
        others = [each for each in self._living() if each != self._id]
        rest = "Another watcher goes on." if others else "No round is followed until `numerai daemon start`."
        self._tell_of_watcher("stopped", f"The watcher was stopped {by}. {rest}")
        self.end()

    def end(self) -> None:
        """End as whoever started it knows: nobody is told."""
        if self._id is not None:
            try:
                self._ledger.end_watch(self._id, self.now())
            except NumeraiError as error:
                log.warning("%s", error.message)

    def now(self) -> datetime:
        """Numerai's time, as far as it was heard; this machine's until then."""
        heard = self._api.heard_time() if self._api is not None else None
        return heard or self._clock.now()

    # one look

    def look(self) -> Look:
        """One pass over all nodes of nodes.json as it stands now.

        Raises `NumeraiError` when the ledger cannot be used; everything else that is in the way is in the result.
        """
        problems: list[str] = []
        nodes = self._nodes(problems)
        current = Questions(None, self.now(), self._clock.now(), problems)
        if nodes:
            self._ask_for_api(current)
        rounds = {each: self._rounds(current, each) for each in sorted({node.tournament for node in nodes or ()})}
        current.now, current.machine_now = self.now(), self._clock.now()
        self._enter(current)
        findings: list[Finding] = []
        told: list[Notice] = []
        tried = 0
        if nodes is not None:
            followed = self._ledger.see_nodes((node.name for node in nodes), current.now)
            for tournament, those in rounds.items():
                if those.unseen is None:
                    self._see(current, tournament, those.latest)
                else:
                    self._say_if_silent(current, tournament, those.unseen)
            self._say_if_down(current, rounds)
            for node in nodes:
                findings += self._node(current, node, rounds[node.tournament], followed[node.name])
                tried = self._delivery.send(told, tried)
        self._say_if_refused(current)
        self._delivery.send(told, tried)
        busy = bool(problems) or any(not finding.step.settled for finding in findings)
        seconds = self._settings.seconds * (1 if busy else 2)
        look = Look(current.now, tuple(findings), tuple(problems), tuple(told), seconds)
        self._log(look)
        return look

    def _nodes(self, problems: list[str]) -> list[Node] | None:
        try:
            found = [node for _, node in sorted(self._store.nodes().items())]
        except NumeraiError as error:
            problems.append(error.message)
            return None
        self._nodes_seen = bool(found)
        return found

    def _ask_for_api(self, current: Questions) -> None:
        try:
            current.api = self._api = self._make_api()
        except NumeraiError as error:
            current.refused = error
            current.problems.append(f"{error.message} {error.hint or ''}".rstrip())

    def _rounds(self, current: Questions, tournament: int) -> _Rounds:
        try:
            return _Rounds(current.ask(lambda api: api.rounds(tournament, ROUNDS_BACK)))
        except ApiError as error:
            if current.api is not None:  # else it was said why there is none
                current.problems.append(f"tournament {int(tournament)}: {error.message}")
            return _Rounds(self._ledger.rounds(tournament, ROUNDS_BACK), error)

    def _see(self, current: Questions, tournament: int, rounds: list[Round]) -> None:
        """Record the rounds, and the one that comes next: should Numerai not answer then, its close is known."""
        self._ledger.answered(tournament)
        for found in rounds:
            self._ledger.see_round(found, current.machine_now - (current.now - found.open_time))
        known = self._ledger.rounds(tournament, 1)
        latest = known[0].number if known else 0
        asked_after, asked_at = self._asked_upcoming.get(tournament, (-1, 0.0))
        if known and known[0].close_time > current.now:
            return
        if latest == asked_after and self._clock.monotonic() - asked_at < UPCOMING_SECONDS:
            return
        self._asked_upcoming[tournament] = latest, self._clock.monotonic()
        try:
            upcoming = current.ask(lambda api: api.upcoming_round(tournament))
        except ApiError as error:
            log.info("tournament %d: the next round is not known: %s", tournament, error.message)
            return
        if upcoming is not None and upcoming.open_time > current.now:
            self._ledger.see_round(upcoming, None)

    def _node(self, current: Questions, node: Node, rounds: _Rounds, since: datetime) -> Iterable[Finding]:
        """Follow a node through the rounds that are open for it, oldest first."""
        now = self.now()  # taken before Numerai is asked: what its answer cannot hold yet is not missed
        newest = max((found.number for found in rounds.latest), default=0)
        unsettled = [found for found in self._ledger.unsettled(node.name) if found.close_time > since]
        mine = {found.number: found for found in unsettled if found.number <= newest}
        mine |= {found.number: found for found in rounds.latest if since <= warn_at(found)}
        for _, found in sorted(mine.items()):
            if found.open_time > now + DATE_STEP:
                continue
            entry = self._ledger.follow(node.name, found)
            end = max(found.close_time, min(found.close_time + AFTER_CLOSE, next_opening(rounds.latest, found)))
            case = Case(node, found, entry, max(found.open_time, since), end, now)
            if entry.outcome is RoundOutcome.ON_TIME:
                if not case.closed:
                    yield case.finding(Step.SUBMITTED, f"submission {entry.submission_id}")
                continue
            if entry.outcome is not RoundOutcome.OPEN:
                if case.closed or rounds.unseen:
                    continue
                # its close was put off after it was over
                self._ledger.reopen(node.name, found)
                case = replace(case, entry=self._ledger.follow(node.name, found))
            yield self._follow(current, case, rounds.unseen)

    def _follow(self, current: Questions, case: Case, unseen: NumeraiError | None) -> Finding:
        try:
            if unseen is not None:
                raise unseen
            return self._decide(current, case)
        except ApiError as error:
            return self._unseen(replace(case, now=self.now()), error)
        except NumeraiError as error:
            return self._prevented(current, replace(case, now=self.now()), error)
        except Exception as error:  # a provider may be a plugin, and whatever one does must not stop the others
            log.exception("%s", case.name)
            return self._prevented(current, case, NumeraiError(f"A bug: {type(error).__name__}: {error}"))

    def _decide(self, current: Questions, case: Case) -> Finding:
        """What there is to be done for a node in a round, done."""
        provider = self._provider_named(case.node.provider)
        runs = current.runs(provider, case.node)
        held = self._held(current, case)
        if held is not None and held.accepted:
            return self._submitted(provider, case, held)
        if held is not None and (case.closed or case.now < case.overdue(held)):
            return self._pending(case, held)
        if isinstance(runs, NumeraiError):
            raise runs
        case = self._reconciled(provider, case, runs)
        of_round, later = self._of_round(provider, case, runs)
        active = [run for run in runs if not run.state.final and run not in later]
        if active:
            return self._running(provider, case, active[0])
        if case.closed:
            return self._missed(case, next(iter(of_round), None))
        return self._missing(current, provider, case, of_round, held)

    def _held(self, current: Questions, case: Case) -> Submission | None:
        """The submission of the round that counts, recorded."""
        best = counting(current.submissions(case.node), case.found)
        if best is not None and (best.id, best.status) != (case.entry.submission_id, case.entry.submission_status):
            self._ledger.record_submission(case.node.name, case.found, best)
        return best

    def _submitted(self, provider: Provider, case: Case, held: Submission) -> Finding:
        at = f" at {held.inserted_at:%H:%M:%S} UTC" if held.inserted_at else ""
        if late(held, case.found):
            text = (
                f"Submission {held.id} was made{at}, after the close at {case.found.close_time:%H:%M} UTC:"
                f" it is scored and cannot be staked. `{case.command} logs` shows what held it up."
            )
            self._decide_notice(case, NoticeKind.LATE, "was submitted late", text, provider=provider)
            self._ledger.settle(case.node.name, case.found, RoundOutcome.LATE)
            return case.finding(Step.LATE, text)
        tried = f" The watcher triggered it: {case.entry.attempts[-1].why}." if case.entry.attempts else ""
        text = f"Numerai accepted submission {held.id}{at}.{tried}"
        self._decide_notice(case, NoticeKind.SUCCESS, "is submitted", text, provider=provider)
        self._ledger.settle(case.node.name, case.found, RoundOutcome.ON_TIME)
        return case.finding(Step.SUBMITTED, text)

    def _pending(self, case: Case, held: Submission) -> Finding:
        """Numerai has not checked a submission yet."""
        waited = case.now - max(case.found.close_time, held.inserted_at or case.found.close_time)
        if waited < AFTER_CLOSE:
            return case.finding(Step.PENDING, f"Numerai checks submission {held.id}")
        text = f"Numerai has not checked submission {held.id}, {span(waited)} after the round's close."
        self._decide_notice(case, NoticeKind.FAILURE, "is not checked", text, own_key="unchecked")
        if waited < GIVE_UP:
            return case.finding(Step.STUCK, text)
        return self._missed(case, None, text)

    def _running(self, provider: Provider, case: Case, run: Run) -> Finding:
        self._wake(provider, case)
        waits = "waits for its start" if run.started_at is None else "goes on"
        if case.closed and case.now >= case.found.close_time + AFTER_CLOSE:
            return self._missed(case, run)
        if not case.closed:
            self._warn(case, f"Run {run.id} {waits}.")
        return case.finding(Step.RUNNING, f"run {run.id} {waits}")

    def _missing(
        self, current: Questions, provider: Provider, case: Case, runs: list[Run], held: Submission | None
    ) -> Finding:
        """Nothing is submitted and nothing goes on, in a round that is open; or what is submitted, `held`, is not
        checked although it ought to be."""
        deployment = provider.deployment(case.node.name)
        last = next(iter(runs), None)
        due = self._due(current, provider, case)
        if deployment is None:
            text = f"{case.node.name} was never deployed, so nothing can run. Run `{case.command} deploy`."
            if case.now >= case.begin + self._grace(case):
                self._decide_notice(case, NoticeKind.FAILURE, "cannot run", text)
            return case.finding(Step.STUCK, text)
        hopeless = why_hopeless(last)
        if last is not None and hopeless and not (last.ended_at and deployment.deployed_at > last.ended_at):
            text = f"Run {last.id} failed and is not tried again, as {hopeless}. {end_of(last)}"
            began = last.exit_code is not None  # what never began has told nobody
            self._decide_notice(case, NoticeKind.FAILURE, "failed", text, provider=provider if began else None)
            return case.finding(Step.FAILED, text)
        attempts = case.entry.attempts
        if attempts and attempts[-1].run_id is None:
            return self._trigger(current, provider, case, attempts[-1])
        if len(attempts) >= ATTEMPTS:
            spent = attempts[-1].decided_at >= case.found.open_time + case.length / 2
            goes_on = "which is the limit" if spent else "and goes on with longer pauses"
            text = f"The watcher has triggered it {len(attempts)} times, {goes_on}. {end_of(last)}"
            self._decide_notice(case, NoticeKind.FAILURE, "has no submission", f"{text} {case.mend}")
            if spent:
                return case.finding(Step.FAILED, text)
        if attempts:
            due = max(due, attempts[-1].decided_at + pause_after(attempts[-1], case.found))
        if case.now < due:
            what = case.unchecked(held) if held else end_of(last) if last else "Its run is expected"
            self._warn(case, what)
            return case.finding(Step.WAITING, f"{what.rstrip('.')}; the watcher triggers it at {due:%H:%M:%S} UTC")
        attempt = self._ledger.decide_attempt(
            case.node.name, case.found, len(attempts) + 1, self._why(case, last, held), case.now
        )
        return self._trigger(current, provider, case, attempt)

    def _trigger(self, current: Questions, provider: Provider, case: Case, attempt: TriggerAttempt) -> Finding:
        """Start the run of an attempt. Doing that twice gives the same run, so it may be done again after a crash."""
        name = case.node.name
        try:
            seen = current.runs(provider, case.node)
            ids = set() if isinstance(seen, NumeraiError) else {run.id for run in seen}
            if [run for run in provider.runs(name, RUNS_BACK) if run.id not in ids]:
                return case.finding(Step.RUNNING, "a run has just begun")
            run = provider.trigger(case.node, attempt.trigger_id)
        except NumeraiError as error:
            self._ledger.attempt_refused(name, attempt.trigger_id, error.message)
            raise
        self._ledger.attempt_started(name, attempt.trigger_id, run.id)
        log.info("%s: triggered run %s (%s): %s", case.name, run.id, attempt.trigger_id, attempt.why)
        self._wake(provider, case)
        self._warn(case, f"Run {run.id} has just been triggered.")
        return case.finding(Step.TRIGGERED, f"run {run.id} (attempt {attempt.number}): {attempt.why}")

    def _missed(self, case: Case, last: Run | None, why: str = "") -> Finding:
        if not (why or last or case.entry.attempts):
            why = "No run of it is known: was the machine or the daemon off?"
        closed = (
            f"The round closed at {case.found.close_time:%Y-%m-%d %H:%M} UTC without a submission that is accepted."
        )
        text = " ".join(filter(None, (closed, why, end_of(last) if last else "")))
        self._decide_notice(case, NoticeKind.MISSED, "was missed", f"{text} {case.mend}")
        self._ledger.settle(case.node.name, case.found, RoundOutcome.MISSED)
        return case.finding(Step.MISSED, text)

    # what is in the way

    def _unseen(self, case: Case, error: NumeraiError) -> Finding:
        text = f"Whether it has submitted cannot be seen: {error.message}"
        if case.now >= case.warn_at:
            closes = f"The round {'closed' if case.closed else 'closes'} at {case.found.close_time:%H:%M} UTC."
            self._decide_notice(
                case, NoticeKind.FAILURE, "cannot be seen", f"{text} {closes} Look at https://numer.ai."
            )
        return case.finding(Step.UNSEEN, text)

    def _prevented(self, current: Questions, case: Case, error: NumeraiError) -> Finding:
        text = f"{error.message} {error.hint or ''}".rstrip()
        current.problems.append(f"{case.node.name}: {error.message}")
        patience = case.begin + self._grace(case) + min(PATIENCE, case.length / 4)
        if case.now >= min(case.warn_at, patience):
            self._decide_notice(
                case,
                NoticeKind.FAILURE,
                "cannot be triggered",
                f"No submission is accepted, and nothing can be done: {text}",
            )
        return case.finding(Step.STUCK, text)

    def _warn(self, case: Case, state: str) -> None:
        """Tell, well before the close, that nothing is submitted yet."""
        if case.closed or case.now < case.warn_at:
            return
        closes = f"The round closes at {case.found.close_time:%H:%M} UTC"
        text = f"{closes}, and no submission is accepted yet. {state.rstrip('.')}. {case.mend}"
        self._decide_notice(case, NoticeKind.FAILURE, "has no submission yet", text)

    def _wake(self, provider: Provider, case: Case) -> None:
        if not self._wakes:
            return
        try:
            provider.wake(lambda line: log.info("%s", line))
        except NumeraiError as error:
            log.warning("%s: %s", case.name, error.message)
            self._warn(case, f"What runs it does not start: {error.message}")

    # knowledge

    def _due(self, current: Questions, provider: Provider, case: Case) -> datetime:
        """When the watcher triggers the node, unless it has submitted or runs by then."""
        node, found = case.node, case.found
        if node.cron:
            try:
                occurrence = next_occurrence(node.cron, found.open_time - timedelta(seconds=1))
            except UsageError:  # said by the provider and by doctor
                return case.begin + self._grace(case)
            expected = occurrence if occurrence < case.warn_at else found.open_time
            return max(case.begin, expected) + self._grace(case)
        model = current.model(node)
        registered = model is None or (node.webhook_url is not None and model.webhook == node.webhook_url)
        callable_ = registered and current.api is not None and provider.reachable_by(current.api.url)
        return case.begin + (self._grace(case) if callable_ else timedelta())

    def _grace(self, case: Case) -> timedelta:
        if self._settings.grace is None:
            return min(GRACE, case.length / 6)
        return min(self._settings.grace, case.length / 2)

    def _why(self, case: Case, last: Run | None, held: Submission | None) -> str:
        if held is not None:
            return case.unchecked(held)
        if last is not None:
            return f"run {last.id} {how_ended(last)}, and nothing was submitted"
        past = case.now - case.begin
        if past < self._grace(case):
            return "the round has opened, and Numerai cannot call this node"
        return f"no run and no submission {span(past)} after the opening"

    def _of_round(self, provider: Provider, case: Case, runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
        """Those of the node's runs that belong to the round, and those that came after it; both newest first."""
        own = {attempt.run_id for attempt in case.entry.attempts}
        of_round, later = [run for run in runs if run.id in own], []
        opened = self._ledger.machine_open(case.found) if provider.timed_here else case.found.open_time
        if opened is not None:
            ended = case.end + (opened - case.found.open_time)
            of_round = [run for run in runs if run.id in own or opened - DATE_STEP <= run.created_at < ended]
            later = [run for run in runs if run.id not in own and run.created_at >= ended]
        return of_round, later

    def _reconciled(self, provider: Provider, case: Case, runs: list[Run]) -> Case:
        """The case with what has become of its attempts: also those that a killed watcher had made, and runs that the
        provider does not know any more."""
        entry = self._ledger.follow(case.node.name, case.found)
        known = {run.id: run for run in runs}
        for attempt in entry.attempts:
            if attempt.run_id is None or attempt.state is not None:
                continue
            run = known.get(attempt.run_id)
            if run is None:
                try:
                    run = provider.run(attempt.run_id)
                except NumeraiError as error:
                    if error.code != "no-such-run":
                        raise
                    self._ledger.attempt_ended(
                        case.node.name, attempt.trigger_id, "lost", None, "The provider does not know the run any more."
                    )
                    continue
                if not run.state.final:
                    runs.insert(0, run)
            if run.state.final:
                self._ledger.attempt_ended(
                    case.node.name, attempt.trigger_id, run.state.value, run.exit_code, run.message
                )
        return replace(case, entry=self._ledger.follow(case.node.name, case.found))

    # telling

    def _decide_notice(
        self,
        case: Case,
        kind: NoticeKind,
        title: str,
        text: str,
        *,
        provider: Provider | None = None,
        own_key: str | None = None,
    ) -> None:
        """Decide to tell of a node in a round, once of each kind. With `provider` it is about the end of a run, of
        which the runs of some providers tell by themselves. With `own_key` it is told beside what else is told of its
        kind."""
        if (own_key is None and kind in case.entry.told) or (provider is not None and _tells_itself(provider)):
            return
        key = None if own_key is None else f"{case.node.name}/{case.found.number}/{own_key}"
        notice = Notice(
            kind, f"{case.node.name}: round {case.found.number} {title}", text, case.node.name, case.found.number
        )
        self._ledger.decide_notice(notice, case.now, key)

    def _tell_of_watcher(self, what: str, text: str) -> None:
        if not self._has_nodes():
            return
        notice = Notice(NoticeKind.WATCHER_STOPPED, "The watcher has stopped", text)
        try:
            if self._ledger.decide_notice(notice, self.now(), f"watcher/{self._own_key}/{what}"):
                self._delivery.send([])
        except NumeraiError as error:
            log.warning("%s", error.message)
            self._notifier.tell(notice)

    def _has_nodes(self) -> bool:
        try:
            return bool(self._store.nodes())
        except NumeraiError:  # unreadable: what was seen last counts
            return self._nodes_seen

    # being known

    def _enter(self, current: Questions) -> None:
        if self._id is None:
            self._id, seen = self._ledger.begin_watch(self._kind, current.now, current.machine_now)
            self._down = None if seen is None else _Down(seen, timedelta())
            return
        last = next(iter(self._ledger.watchers()), None)
        if self._down is None and last is not None and current.machine_now - last.machine_seen > SLEPT:
            self._down = _Down(last.seen, SLEPT)
        self._ledger.beat(self._id, current.now, current.machine_now)

    def _living(self) -> list[str]:
        try:
            return [each.id for each in self._ledger.watchers() if each.alive and each.kind != "once"]
        except NumeraiError:
            return []

    def _say_if_down(self, current: Questions, rounds: Mapping[int, _Rounds]) -> None:
        """After a watcher was killed, or its machine slept: tell from when until when nobody watched, if a round was
        open then."""
        if self._down is None or any(those.unseen for those in rounds.values()):
            return
        since, least, self._down = self._down.since, self._down.least, None
        meanwhile = sorted(
            {
                found.number
                for those in rounds.values()
                for found in those.latest
                if found.open_time < current.now and found.close_time > since
            }
        )
        # by Numerai's time: this machine's clock may have been put right
        if meanwhile and current.now - since >= least - DATE_STEP:
            numbers = ", ".join(str(number) for number in meanwhile)
            text = (
                f"Nobody watched from {since:%Y-%m-%d %H:%M:%S} to {current.now:%Y-%m-%d %H:%M:%S} UTC, because the"
                " watcher was killed, or its machine was off or asleep."
                f" Open in that time: round {numbers}. It watches again."
            )
            notice = Notice(NoticeKind.WATCHER_STOPPED, "The watcher was down", text)
            self._ledger.decide_notice(notice, current.now, f"watcher/down/{since.isoformat()}")
        if self._id is not None:
            self._ledger.said_unwatched(self._id)

    def _say_if_silent(self, current: Questions, tournament: int, error: NumeraiError) -> None:
        """Tell that Numerai has not told a tournament's rounds for long."""
        since = self._ledger.unanswered(tournament, current.now)
        if current.refused is not None or current.now - since < SILENCE:
            return
        text = (
            f"Numerai has not told the rounds of tournament {int(tournament)} since {since:%Y-%m-%d %H:%M} UTC:"
            f" {error.message} A round that opens meanwhile is not known here. Look at https://numer.ai."
        )
        notice = Notice(NoticeKind.FAILURE, f"No round of tournament {int(tournament)} is followed", text)
        self._ledger.decide_notice(notice, current.now, f"unseen/{int(tournament)}/{current.now:%Y-%m-%d}")

    def _say_if_refused(self, current: Questions) -> None:
        """Tell that the keys are of no use: nothing gets better by waiting."""
        error = current.refused
        if error is not None:
            notice = Notice(
                NoticeKind.FAILURE, "Numerai cannot be asked", f"{error.message} {error.hint or ''}".rstrip()
            )
            self._ledger.decide_notice(notice, current.now, f"keys/{error.code}/{current.now:%Y-%m-%d}")

    def _log(self, look: Look) -> None:
        """Say what is new, not what goes on."""
        for problem in look.problems:
            if problem not in self._said_problems:
                log.warning("%s", problem)
        self._said_problems = set(look.problems)
        steps = {f"{each.node}, round {each.round_number}": each for each in look.findings}
        for name, finding in steps.items():
            if self._said.get(name) != finding.step.value:
                log.info("%s: %s: %s", name, finding.step.value, finding.detail)
        self._said = {name: finding.step.value for name, finding in steps.items()}


def _tells_itself(provider: Provider) -> bool:
    try:
        return isinstance(provider, NotifiesItself) and provider.notifies()
    except NumeraiError as error:
        log.warning("whether %s tells by itself is not known: %s", provider.name, error.message)
        return False
