"""Never miss a round: each look collects what is known of every node in its rounds, and does what the policy says."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..models import Node, Notice, NoticeKind, RoundOutcome, RunState
from ..ports import Clock, Notifier, NumeraiApi, Provider, StateStore
from .delivery import Delivery, tells_itself
from .facts import Case, round_facts
from .failed_trainings import FailedTrainings
from .gate_notices import tell_of_gate
from .listing import Listing, Rounds
from .policy import DATE_STEP, Decision, Facts, Step, at_rest, decide
from .presence import Presence
from .questions import RUNS_BACK, Questions
from .settings import DEFAULTS, WatchSettings

if TYPE_CHECKING:
    from .ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """What a look has found of a node in a round, and in `detail` why."""

    node: str
    tournament: int
    round_number: int
    deadline: datetime
    step: Step
    detail: str


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


@dataclass(eq=False)
class Watcher:
    """Follows the rounds of all nodes. `kind` is as in `WatcherRecord`; with `wakes` what executes the runs is
    started where it does not run. Several watchers may be at work at once."""

    store: StateStore
    api: Callable[[], NumeraiApi]
    provider_named: Callable[[str], Provider]
    ledger: Ledger
    notifier: Notifier
    clock: Clock
    settings: WatchSettings = DEFAULTS
    kind: str = "watch"
    wakes: bool = True
    name: str = field(default="watcher", init=False)
    _api: NumeraiApi | None = field(default=None, init=False)
    _own_key: str = field(default_factory=lambda: secrets.token_hex(6), init=False)
    _nodes_seen: bool = field(default=False, init=False)
    _said: dict[str, str] = field(default_factory=dict, init=False)
    _said_problems: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._delivery = Delivery(self.ledger, self.notifier, self.clock)
        self._listing = Listing(self.ledger, self.clock)
        self._presence = Presence(self.ledger, self.kind)
        self._trainings = FailedTrainings(self.ledger, self.provider_named)

    # the life of a watcher

    def run(self, stop: threading.Event, on_look: Callable[[Look], None] = lambda look: None) -> None:
        """Look again and again until the event is set. What cannot be done now, a full disk say, is said, told once
        and tried again."""
        while not stop.is_set():
            seconds = self.settings.seconds
            try:
                look = self.look()
                on_look(look)
                seconds = look.seconds
            except NumeraiError as error:
                if error.message not in self._said_problems:
                    self._said_problems.add(error.message)
                    log.error("the watcher cannot work: %s", error.in_full)
                    self.cannot_work(error)
            if stop.wait(seconds):
                return

    def crashed(self, error: Exception) -> None:
        """Tell that the watcher has ended by an error of its own; what runs it starts it again."""
        what = type(error).__name__
        text = f"The watcher ended by an error: {what}: {error}. It is started again."
        self._tell_of_watcher(f"crash/{what}", text)

    def cannot_work(self, error: NumeraiError) -> None:
        """Tell that the ledger cannot be used: nothing is followed as long as that lasts."""
        if self._has_nodes():
            text = f"The watcher cannot work, and tries again: {error.in_full}"
            self.notifier.tell(Notice(NoticeKind.WATCHER_STOPPED, "The watcher cannot work", text))

    def stopped(self, by: str = "with the daemon") -> None:
        """Tell that nobody watches any more, and why: `by` ends the sentence "The watcher was stopped"."""
        others = self._presence.others()
        rest = "Another watcher goes on." if others else "No round is followed until `numerai daemon start`."
        self._tell_of_watcher("stopped", f"The watcher was stopped {by}. {rest}")
        self.end()

    def end(self) -> None:
        """End as planned: nobody is told."""
        self._presence.end(self.now())

    def now(self) -> datetime:
        """Numerai's time, as far as it was heard; this machine's until then."""
        heard = self._api.heard_time() if self._api is not None else None
        return heard or self.clock.now()

    # one look

    def look(self) -> Look:
        """One pass over all nodes of nodes.json as it stands now.

        Raises `NumeraiError` when the ledger cannot be used; everything else that is in the way is in the result.
        """
        problems: list[str] = []
        nodes = self._nodes(problems)
        questions = Questions(None, self.now(), self.clock.now(), problems)
        if nodes:
            self._ask_for_api(questions)
        tournaments = sorted({node.tournament for node in nodes or ()})
        rounds = {tournament: self._listing.rounds(questions, tournament) for tournament in tournaments}
        questions.now, questions.machine_now = self.now(), self.clock.now()
        self._presence.enter(questions.now, questions.machine_now)
        looks: list[tuple[Finding, datetime | None]] = []
        told: list[Notice] = []
        tried = 0
        if nodes is not None:
            followed = self.ledger.see_nodes((node.name for node in nodes), questions.now)
            for tournament, listed in rounds.items():
                self._listing.record(questions, tournament, listed)
            if not any(listed.unseen for listed in rounds.values()):
                latest = [round_ for listed in rounds.values() for round_ in listed.latest]
                self._presence.say_if_down(questions.now, latest)
            for node in nodes:
                looks += self._node(questions, node, rounds[node.tournament], followed[node.name])
                tried = self._delivery.send(told, tried)
            self._trainings.look(questions, nodes)
        self._say_if_refused(questions)
        self._delivery.send(told, tried)
        findings = tuple(finding for finding, _ in looks)
        busy = bool(problems) or any(not finding.step.settled for finding in findings)
        seconds = self.settings.seconds * (1 if busy else 2)
        due = [(moment - self.now()).total_seconds() for _, moment in looks if moment is not None]
        look = Look(questions.now, findings, tuple(problems), tuple(told), min([seconds, *(max(1.0, s) for s in due)]))
        self._log(look)
        return look

    def _nodes(self, problems: list[str]) -> list[Node] | None:
        try:
            nodes = [node for _, node in sorted(self.store.nodes().items())]
        except NumeraiError as error:
            problems.append(error.message)
            return None
        self._nodes_seen = bool(nodes)
        return nodes

    def _ask_for_api(self, questions: Questions) -> None:
        try:
            questions.api = self._api = self.api()
        except NumeraiError as error:
            questions.refused = error
            questions.problems.append(error.in_full)

    # a node

    def _node(
        self, questions: Questions, node: Node, rounds: Rounds, since: datetime
    ) -> Iterable[tuple[Finding, datetime | None]]:
        """Follow a node through the rounds that are open for it, oldest first."""
        newest = max((round_.number for round_ in rounds.latest), default=0)
        unsettled = self.ledger.unsettled(node.name)
        mine = {each.number: each for each in unsettled if each.number <= newest and each.deadline > since}
        mine |= {each.number: each for each in rounds.latest if round_facts(each).followed_since(since)}
        for _, round_ in sorted(mine.items()):
            if round_.open_time > self.now() + DATE_STEP:
                continue
            case = Case(node, round_, self.ledger, questions, self.provider_named, self._wake)
            facts = case.facts(since, self.now, rounds.unseen, self.settings.grace)
            if at_rest(facts):
                continue
            decision = self._act(case, facts, decide(facts))
            if decision.step is Step.SUBMITTED and facts.last is not None and case.provider is not None:
                tell_of_gate(self.ledger, node, round_, facts.last.id, case.provider, facts.now)
            detail = decision.detail.strip()
            finding = Finding(node.name, int(node.tournament), round_.number, round_.deadline, decision.step, detail)
            yield finding, decision.look_again

    def _act(self, case: Case, facts: Facts, decision: Decision) -> Decision:
        """Do what was decided; returns what it came to."""
        if decision.reopened:
            self.ledger.reopen(case.node.name, case.round)
        if decision.start is not None and case.provider is not None:
            decision = self._start(case, case.provider, facts, decision, decision.start)
        for notice in decision.notices:
            if not (notice.of_run and case.provider is not None and tells_itself(case.provider)):
                kept = Notice(NoticeKind(notice.kind), notice.title, notice.text, case.node.name, case.round.number)
                self.ledger.decide_notice(kept, facts.now, f"{case.node.name}/{case.round.number}/{notice.key}")
        if decision.outcome is not None:
            self.ledger.settle(case.node.name, case.round, RoundOutcome(decision.outcome))
        return decision

    def _start(self, case: Case, provider: Provider, facts: Facts, decision: Decision, number: int) -> Decision:
        """Start the run of an attempt. Doing that twice gives the same run, so it may be done again after a crash."""
        name = case.node.name
        attempt = self.ledger.decide_attempt(name, case.round, number, decision.why, facts.now)
        known = {run.id for run in facts.runs} - set(decision.cancel)
        try:
            others = [run for run in provider.runs(name, RUNS_BACK) if run.id not in known and not run.is_test]
            if any(run.id not in decision.cancel or run.state is not RunState.QUEUED for run in others):
                return Decision(Step.RUNNING, "a run has just begun")
            for run_id in decision.cancel:
                provider.cancel(run_id)
            run = provider.trigger(case.node, attempt.trigger_id)
        except Exception as error:  # noqa: BLE001  it may be a plugin, and whatever one does must not stop the others
            self.ledger.attempt_refused(name, attempt.trigger_id, str(error))
            return decide(case.prevented(replace(facts, now=self.now()), error))
        self.ledger.attempt_started(name, attempt.trigger_id, run.id)
        log.info("%s, round %d: started run %s: %s", name, case.round.number, run.id, attempt.why)
        self._wake(provider)
        return replace(decision, detail=f"run {run.id} ({decision.detail})")

    def _wake(self, provider: Provider) -> str:
        """Start what executes the runs; why it does not start."""
        if self.wakes:
            try:
                provider.wake(lambda line: log.info("%s", line))
            except Exception as error:  # noqa: BLE001  it may be a plugin, as above
                log.warning("%s: %r", provider.name, error)
                return str(error) or repr(error)
        return ""

    # telling

    def _tell_of_watcher(self, what: str, text: str) -> None:
        if not self._has_nodes():
            return
        notice = Notice(NoticeKind.WATCHER_STOPPED, "The watcher has stopped", text)
        try:
            if self.ledger.decide_notice(notice, self.now(), f"watcher/{self._own_key}/{what}"):
                self._delivery.send([])
        except NumeraiError as error:
            log.warning("%s", error.message)
            self.notifier.tell(notice)

    def _has_nodes(self) -> bool:
        self._nodes([])  # where they cannot be read, what was seen last counts
        return self._nodes_seen

    def _say_if_refused(self, questions: Questions) -> None:
        """Tell that the keys are of no use: waiting does not help."""
        error = questions.refused
        if error is not None:
            notice = Notice(NoticeKind.FAILURE, "Numerai cannot be asked", error.in_full)
            self.ledger.decide_notice(notice, questions.now, f"keys/{error.code}/{questions.now:%Y-%m-%d}")

    def _log(self, look: Look) -> None:
        """Say what is new, not what goes on."""
        for problem in set(look.problems) - self._said_problems:
            log.warning("%s", problem)
        self._said_problems = set(look.problems)
        steps = {f"{each.node}, round {each.round_number}": each for each in look.findings}
        for name, finding in steps.items():
            if self._said.get(name) != finding.step.value:
                log.info("%s: %s: %s", name, finding.step.value, finding.detail)
        self._said = {name: finding.step.value for name, finding in steps.items()}
