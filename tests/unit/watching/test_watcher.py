"""The watcher: when it triggers, when it waits, and what people are told, each once, whatever fails around it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.errors import ApiError, EnvironmentNotReady, NumeraiError, ProviderError, UsageError
from numerai_compute.models import (
    Deployment,
    EntryStatus,
    LogLine,
    Model,
    Node,
    Notice,
    NoticeKind,
    Round,
    Run,
    RunFailure,
    RunState,
    Submission,
    SubmissionEntry,
)
from numerai_compute.providers.absent import AbsentProvider
from numerai_compute.watching.ledger import Ledger
from numerai_compute.watching.policy import Step
from numerai_compute.watching.settings import WatchSettings, watch_settings
from numerai_compute.watching.watcher import Finding, Look, Watcher

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider, round_of, unreachable

OPENING = NOW
DEADLINE = NOW + timedelta(hours=1)
ROUND = round_of(100, OPENING)
BEFORE = OPENING - timedelta(hours=3)


def made_node(name: str = "alice", tournament: int = 8, **changes: Any) -> Node:
    prefix = {8: "numerai", 11: "signals", 12: "crypto"}[tournament]
    node = Node(
        f"{prefix}-{name}",
        name,
        f"id-{name}",
        tournament,
        "local",
        "/code",
        1,
        512,
        webhook_url=f"http://127.0.0.1:5/{prefix}-{name}/token",
    )
    return replace(node, **changes)


class Nodes:
    """A store of which the watcher reads the nodes only."""

    def __init__(self, *nodes: Node):
        self.by_name = {node.name: node for node in nodes}
        self.error: NumeraiError | None = None

    def nodes(self) -> dict[str, Node]:
        if self.error:
            raise self.error
        return self.by_name


class Person:
    """Hears everything, unless `failure` says why not."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.failure: str | None = None
        self.tries = 0

    def tell(self, notice: Notice) -> dict[str, str | None]:
        self.tries += 1
        if self.failure is None:
            self.told.append(notice)
        return {"me": self.failure}

    @property
    def kinds(self) -> list[str]:
        return [notice.kind.value for notice in self.told]


class TellingProvider(FakeProvider):
    def notifies(self) -> bool:
        return True


@dataclass
class Bench:
    """A watcher with everything around it in memory, but the ledger, which is a file."""

    clock: FakeClock
    api: FakeApi
    provider: FakeProvider
    providers: dict[str, FakeProvider]
    store: Nodes
    ledger: Ledger
    notifier: Person
    watcher: Watcher

    def new_watcher(self, kind: str = "watch", ledger: Ledger | None = None) -> Watcher:
        return Watcher(
            store=self.store,  # type: ignore[arg-type]
            api=lambda: self.api,
            provider_named=self.named,
            ledger=ledger or self.ledger,
            notifier=self.notifier,
            clock=self.clock,
            settings=WatchSettings(),
            kind=kind,
        )

    def named(self, name: str) -> FakeProvider:
        if name not in self.providers:
            raise UsageError(f"There is no provider '{name}'.")
        return self.providers[name]

    def at(self, moment: datetime) -> Look:
        """Look at that time, as a watcher that has looked all the while."""
        self.clock.elapsed = (moment - self.clock.start).total_seconds()
        for each in self.ledger.watchers():
            if each.alive:
                self.ledger.beat(each.id, moment, moment)
        return self.watcher.look()

    def after(self, minutes: float) -> Finding:
        """Look so many minutes after the opening, at the one node there is."""
        (finding,) = self.at(OPENING + timedelta(minutes=minutes)).findings
        return finding

    def deploy(self, node: Node, moment: datetime = BEFORE) -> None:
        self.providers[node.provider].deployments[node.name] = Deployment(node.name, "image", "h1", moment)

    def submit(self, node: Node, status: str = "on-time", number: int = 100, **changes: Any) -> None:
        """Numerai holds a file of the model, and says so in the round's entry."""
        made = SubmissionEntry(number, EntryStatus(status), "sub-1", f"file-{number}.csv", self.clock.now())
        entry = replace(made, **changes)
        others = [known for known in self.api.entries_by.get(node.model_id, []) if known.round_number != number]
        self.api.entries_by[node.model_id] = [entry, *others]
        self.hold(node, entry.id or "", number, entry.filename, entry.timestamp)

    def hold(
        self, node: Node, id_: str, number: int, filename: str | None = "file.csv", when: datetime | None = None
    ) -> None:
        """Numerai holds a file of the model."""
        file = Submission(id_, number, None, filename, when or self.clock.now())
        self.api.held_by[node.model_id] = [file, *self.api.held_by.get(node.model_id, [])]

    def end_run(self, state: RunState = RunState.FAILED, exit_code: int | None = 1, **changes: Any) -> Run:
        """End the latest run."""
        runs = self.provider.all_runs
        failure = RunFailure.EXIT_CODE if state is RunState.FAILED else None
        ended = {"state": state, "exit_code": exit_code, "failure": failure, "ended_at": self.clock.now(), **changes}
        runs[0] = replace(runs[0], **ended)
        return runs[0]

    def call_webhook(self, node: Node) -> None:
        self.provider.trigger(node, f"numerai-{len(self.provider.all_runs)}")
        self.begin_run()

    def begin_run(self) -> None:
        """Let the latest run begin."""
        runs = self.provider.all_runs
        runs[0] = replace(runs[0], state=RunState.RUNNING, started_at=self.provider.clock.now())

    @property
    def triggers(self) -> list[str | None]:
        return [run.trigger_id for run in reversed(self.provider.all_runs)]


@pytest.fixture
def node() -> Node:
    return made_node()


@pytest.fixture
def bench(tmp_path: Path, node: Node) -> Iterator[Bench]:
    """A node that is deployed, whose webhook is registered; it is three hours before the opening."""
    clock = FakeClock(BEFORE)
    api, provider = FakeApi([Model(node.model_id, node.model_name, 8, node.webhook_url)]), FakeProvider()
    api.round, api.clock, provider.clock = ROUND, clock, clock
    ledger = Ledger(tmp_path / "rounds.db")
    made = Bench(clock, api, provider, {"local": provider}, Nodes(node), ledger, Person(), None)  # type: ignore[arg-type]
    made.deploy(node)
    made.watcher = made.new_watcher()
    assert made.at(BEFORE).findings == ()
    yield made
    ledger.close()


# when everything goes well


def test_a_node_that_submits_by_itself_is_left_alone_and_told_of_once(bench: Bench, node: Node) -> None:
    assert bench.after(0).step is Step.WAITING
    bench.call_webhook(node)
    assert bench.after(1).step is Step.RUNNING
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.hold(node, "sub-1", 100, "file-100.csv")
    assert bench.after(2).step is Step.UNCONFIRMED, "the file is there, and Numerai's entry not yet"
    bench.api.held_by.clear()
    bench.submit(node)
    for minutes in (3, 4, 30, 59):
        assert bench.after(minutes).step is Step.SUBMITTED
    assert bench.at(DEADLINE + timedelta(minutes=1)).findings == ()
    assert bench.notifier.kinds == ["success"]
    assert "sub-1" in bench.notifier.told[0].text and bench.notifier.told[0].round_number == 100
    assert bench.triggers == ["numerai-0"]


def test_a_webhook_that_never_comes_is_made_up_for_after_the_grace_time(bench: Bench, node: Node) -> None:
    assert bench.after(9.9).step is Step.WAITING
    assert bench.after(10).step is Step.TRIGGERED
    assert bench.triggers == ["watch-8-100-1"]
    assert bench.provider.awake
    assert bench.after(11).step is Step.RUNNING
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.submit(node)
    assert bench.after(12).step is Step.SUBMITTED
    assert "no run and no submission 10 min after the opening" in bench.notifier.told[0].text


@pytest.mark.parametrize("why", ["unreachable", "not registered", "never provisioned"])
def test_a_node_that_numerai_cannot_call_is_triggered_at_the_opening(bench: Bench, node: Node, why: str) -> None:
    if why == "unreachable":
        bench.provider.reachable = False
    elif why == "not registered":
        bench.api.by_id[node.model_id] = replace(bench.api.by_id[node.model_id], webhook="http://elsewhere")
    else:
        bench.store.by_name[node.name] = replace(node, webhook_url=None)
    assert bench.at(OPENING - timedelta(minutes=1)).findings == ()
    assert bench.after(0).step is Step.TRIGGERED
    assert bench.after(0.5).step is Step.RUNNING
    assert bench.triggers == ["watch-8-100-1"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_test_without_submitting_holds_back_no_run(bench: Bench, node: Node, ended: bool) -> None:
    bench.provider.run_without_submitting(node)
    bench.begin_run()
    if ended:
        bench.end_run(RunState.SUCCEEDED, 79)
    assert bench.after(10).step is Step.TRIGGERED
    assert "watch-8-100-1" in bench.triggers


@pytest.mark.parametrize("reachable", [True, False])
def test_a_half_moved_node_that_numerai_calls_on_its_other_side_is_not_started_here_at_once(
    bench: Bench, node: Node, reachable: bool
) -> None:
    """The record of a move may be one step behind: the other side runs it, and this one only makes up for that."""
    bench.provider.reachable = reachable
    bench.store.by_name = {node.name: replace(node, also_on="aws")}
    bench.api.set_webhook(node.model_id, "https://new.on.aws/numerai-alice/other-token")
    for minutes in (1, 5, 9):
        assert bench.after(minutes).step is Step.WAITING and not bench.triggers
    assert bench.after(11).step is Step.TRIGGERED


def test_a_schedule_is_waited_for(bench: Bench, node: Node) -> None:
    bench.store.by_name[node.name] = replace(node, cron="30 12 * * *")
    bench.provider.reachable = False
    assert bench.after(29).step is Step.WAITING
    assert bench.after(39.9).step is Step.WAITING
    assert bench.after(40).step is Step.TRIGGERED


def test_a_schedule_outside_the_window_is_not_waited_for(bench: Bench, node: Node) -> None:
    for cron in ("50 12 * * *", "30 9 * * *", "nonsense"):
        bench.store.by_name[node.name] = replace(node, cron=cron)
        assert bench.after(9).step is Step.WAITING
    assert bench.after(10).step is Step.TRIGGERED


def test_runs_of_others_count(bench: Bench, node: Node) -> None:
    bench.after(1)
    for trigger_id in ("numerai-1", "cron-2026-01-06T12:30Z", None):
        bench.provider.trigger(node, trigger_id)
        bench.begin_run()
        assert bench.after(30).step is Step.RUNNING
        bench.end_run(RunState.CANCELLED, None)
    assert not [each for each in bench.triggers if each and each.startswith("watch")]


# a training that fails


class TrainingProvider(FakeProvider):
    """`record` is what the node's runs remember of its training, or why that cannot be read."""

    record: bytes | Exception | None = None
    asked = 0
    tells = False

    def artifact(self, node_name: str, name: str) -> bytes | None:
        assert name == "training.json"
        self.asked += 1
        if isinstance(self.record, Exception):
            raise self.record
        return self.record

    def notifies(self) -> bool:
        return self.tells

    def failed(self, day: int) -> None:
        """Let the training have failed since that day."""
        self.record = b'{"failed_at": "2026-01-%02dT10:00:00+00:00", "why": "train.py ended with exit code 1"}' % day


@pytest.fixture
def trained(bench: Bench, node: Node) -> TrainingProvider:
    """Where the node runs that is trained again; it has submitted, and its run has ended."""
    provider = TrainingProvider()
    provider.clock, provider.deployments = bench.provider.clock, bench.provider.deployments
    bench.provider = bench.providers["local"] = provider
    bench.store.by_name[node.name] = replace(node, retrain_days=30)
    bench.after(0)
    bench.call_webhook(node)
    assert bench.after(1).step is Step.RUNNING and provider.asked == 0
    bench.submit(node)
    assert bench.after(2).step is Step.SUBMITTED and provider.asked == 0, "it may go on training"
    bench.end_run(RunState.SUCCEEDED, 0)
    return provider


def test_a_training_that_fails_after_the_submission_is_told_once(
    bench: Bench, node: Node, trained: TrainingProvider
) -> None:
    trained.failed(6)
    assert bench.after(3).step is Step.SUBMITTED
    assert bench.notifier.kinds == ["success", "training"]
    told = bench.notifier.told[-1]
    assert told.title == "numerai-alice: its model is not trained again" and told.node == node.name
    assert "train.py ended with exit code 1" in told.text and "old model stays" in told.text
    bench.after(4)
    assert trained.asked == 1, "it is looked at once a run"
    bench.watcher = bench.new_watcher()
    bench.after(5)
    bench.call_webhook(node)
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.after(6)
    assert trained.asked == 3 and bench.notifier.kinds == ["success", "training"], "it is the same failure"
    bench.call_webhook(node)
    bench.end_run(RunState.SUCCEEDED, 0)
    trained.failed(7)
    bench.after(7)
    assert bench.notifier.kinds == ["success", "training", "training"]


@pytest.mark.parametrize("record", [None, b'{"trained_at": "2026-01-06T10:00:00+00:00"}', b"damaged"])
def test_of_a_training_that_has_not_failed_nobody_is_told(
    bench: Bench, trained: TrainingProvider, record: bytes | None
) -> None:
    trained.record = record
    bench.after(3)
    assert trained.asked == 1 and bench.notifier.kinds == ["success"]


@pytest.mark.parametrize("error", [ProviderError("The engine is away."), RuntimeError("a bug")])
def test_a_training_that_cannot_be_looked_at_costs_nothing_and_is_looked_at_again(
    bench: Bench, trained: TrainingProvider, error: Exception
) -> None:
    trained.record = error
    look = bench.at(OPENING + timedelta(minutes=3))
    assert [finding.step for finding in look.findings] == [Step.SUBMITTED] and look.well
    assert bench.notifier.kinds == ["success"]
    trained.failed(6)
    bench.after(4)
    assert bench.notifier.kinds == ["success", "training"]


def test_a_training_is_told_by_the_run_itself_where_that_tells(bench: Bench, trained: TrainingProvider) -> None:
    trained.tells = True
    trained.failed(6)
    bench.after(3)
    assert trained.asked == 0 and "training" not in bench.notifier.kinds


# what the gate has found

UPSIDE_DOWN = '+  1.2s gate check=benchmark what="are they upside down?" limit=0'


def submitted_with(bench: Bench, node: Node, *printed: str) -> None:
    """Let a run print these lines and submit."""
    bench.provider.printed = list(printed)
    bench.after(0)
    bench.call_webhook(node)
    bench.submit(node)
    bench.end_run(RunState.SUCCEEDED, 0)


def test_what_the_gate_has_found_is_told_once_a_round(bench: Bench, node: Node) -> None:
    submitted_with(bench, node, "hello", UPSIDE_DOWN)
    assert bench.after(1).step is Step.SUBMITTED
    assert bench.notifier.kinds == ["success", "gate"]
    told = bench.notifier.told[-1]
    assert told.node == node.name and "do not look right" in told.title and "are they upside down?" in told.text
    assert "NUMERAI_GATE" in told.text
    known = bench.ledger.entry(node.name, ROUND)
    assert known is not None and NoticeKind.GATE in known.reached, "the history says that it was told"
    bench.watcher = bench.new_watcher()
    bench.after(2)
    assert bench.notifier.kinds == ["success", "gate"]


@pytest.mark.parametrize("printed", [["hello"], []])
def test_a_gate_that_has_found_nothing_is_not_told(bench: Bench, node: Node, printed: list[str]) -> None:
    submitted_with(bench, node, *printed)
    assert bench.after(1).step is Step.SUBMITTED and bench.notifier.kinds == ["success"]


@pytest.mark.parametrize("error", [ProviderError("The engine is away."), RuntimeError("a bug")])
def test_a_log_that_cannot_be_read_costs_nothing(
    bench: Bench, node: Node, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(run_id: str, *, follow: bool = False) -> Iterator[LogLine]:
        raise error

    monkeypatch.setattr(bench.provider, "logs", away)
    submitted_with(bench, node, UPSIDE_DOWN)
    look = bench.at(OPENING + timedelta(minutes=1))
    assert [finding.step for finding in look.findings] == [Step.SUBMITTED] and look.well
    assert bench.notifier.kinds == ["success"]


def test_the_gate_is_told_by_the_run_itself_where_that_tells(bench: Bench, node: Node) -> None:
    telling = TrainingProvider()
    telling.tells = True
    telling.clock, telling.deployments = bench.provider.clock, bench.provider.deployments
    bench.provider = bench.providers["local"] = telling
    submitted_with(bench, node, UPSIDE_DOWN)
    assert bench.after(1).step is Step.SUBMITTED and "gate" not in bench.notifier.kinds


# retries and their limit


def test_a_failed_run_is_triggered_again_three_times_then_somebody_is_told(bench: Bench, node: Node) -> None:
    bench.provider.reachable = False
    minutes, steps = 0, []
    while minutes < 44:
        finding = bench.after(minutes)
        steps.append(finding.step)
        if finding.step is Step.TRIGGERED:
            bench.end_run(RunState.FAILED, 1, message="It ended with exit code 1.")
        minutes += 1
    assert bench.triggers == ["watch-8-100-1", "watch-8-100-2", "watch-8-100-3"]
    assert [index for index, step in enumerate(steps) if step is Step.TRIGGERED] == [0, 20, 34]
    assert steps[-1] is Step.FAILED and bench.notifier.kinds == ["failure"]
    assert "3 times" in bench.notifier.told[0].text and "exit code 1" in bench.notifier.told[0].text
    assert "numerai node -m numerai-alice trigger" in bench.notifier.told[0].text
    entry = bench.ledger.entry(node.name, ROUND)
    assert entry and [attempt.state for attempt in entry.attempts] == ["failed"] * 3
    assert bench.at(DEADLINE).findings[0].step is Step.MISSED
    assert bench.notifier.kinds == ["failure", "missed"]


@pytest.mark.parametrize("exit_code", [65, 78])
def test_what_would_fail_again_is_not_tried_again_but_told_at_once(bench: Bench, node: Node, exit_code: int) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, exit_code, message=f"It ended with exit code {exit_code}.")
    assert bench.after(2).step is Step.FAILED
    assert bench.after(20).step is Step.FAILED
    assert bench.triggers == ["numerai-0"]
    assert bench.notifier.kinds == ["failure"] and str(exit_code) in bench.notifier.told[0].text


def test_after_a_new_deploy_it_is_tried_again(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65)
    assert bench.after(12).step is Step.FAILED
    bench.deploy(node, bench.clock.now())
    assert bench.after(13).step is Step.TRIGGERED


def test_a_run_that_ends_well_without_a_submission_is_tried_again(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.SUCCEEDED, 0)
    assert bench.after(9).step is Step.WAITING
    assert bench.after(10).step is Step.TRIGGERED


@pytest.mark.parametrize("status", ["none", "queued", "late"])
def test_an_entry_that_is_not_on_time_is_no_submission(bench: Bench, node: Node, status: str) -> None:
    bench.after(1)
    bench.submit(node, status)
    assert bench.after(10).step is Step.TRIGGERED


def test_the_submission_of_another_round_is_none(bench: Bench, node: Node) -> None:
    bench.submit(node, number=99)
    assert bench.after(10).step is Step.TRIGGERED


def test_a_run_that_the_provider_has_lost_is_replaced(bench: Bench, node: Node) -> None:
    assert bench.after(10).step is Step.TRIGGERED
    bench.provider.all_runs.clear()
    assert bench.after(40).step is Step.TRIGGERED
    entry = bench.ledger.entry(node.name, ROUND)
    assert entry and [attempt.state for attempt in entry.attempts] == ["lost", None]


# exactly once


def test_a_restart_in_between_triggers_nothing_twice(bench: Bench, node: Node) -> None:
    bench.provider.reachable = False
    assert bench.after(0).step is Step.TRIGGERED
    bench.watcher = bench.new_watcher()
    assert bench.after(1).step is Step.RUNNING
    assert bench.triggers == ["watch-8-100-1"]


def test_a_kill_between_decision_and_trigger_is_finished_by_the_next_watcher(bench: Bench, node: Node) -> None:
    bench.provider.reachable = False
    trigger = bench.provider.trigger
    for killed_after in (False, True):

        def die(node: Node, trigger_id: str | None = None, after: bool = killed_after) -> Run:
            if after:
                trigger(node, trigger_id)
            raise KeyboardInterrupt

        bench.provider.trigger = die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            bench.after(1)
        bench.watcher = bench.new_watcher()
    bench.provider.trigger = trigger  # type: ignore[method-assign]
    assert bench.after(2).step is Step.RUNNING
    assert bench.triggers == ["watch-8-100-1"]


def test_two_watchers_at_once_give_one_run(bench: Bench, node: Node, tmp_path: Path) -> None:
    bench.provider.reachable = False
    bench.clock.elapsed = 3 * 3600
    ledgers = [Ledger(tmp_path / "rounds.db") for _ in range(4)]
    barrier = threading.Barrier(4)

    def look(watcher: Watcher) -> None:
        barrier.wait(10)
        watcher.look()

    threads = [threading.Thread(target=look, args=(bench.new_watcher(ledger=ledger),)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert set(bench.triggers) == {"watch-8-100-1"}
    for ledger in ledgers:
        ledger.close()


def test_a_run_that_begins_meanwhile_is_not_doubled(bench: Bench, node: Node) -> None:
    entries = bench.api.entries

    def webhook_comes_now(model_id: str) -> list[SubmissionEntry]:
        bench.call_webhook(node)
        bench.end_run(RunState.SUCCEEDED, 0)
        return entries(model_id)

    bench.api.entries = webhook_comes_now  # type: ignore[method-assign]
    assert bench.after(10).step is Step.RUNNING
    assert bench.triggers == ["numerai-0"]


# before and after the deadline


def test_well_before_the_deadline_somebody_is_told(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    assert bench.after(44.9).step is Step.RUNNING
    assert bench.notifier.told == []
    bench.after(45)
    bench.after(46)
    assert bench.notifier.kinds == ["failure"]
    assert "deadline is 13:00 UTC" in bench.notifier.told[0].text and "run-1" in bench.notifier.told[0].text


def test_a_run_over_the_deadline_is_waited_for_and_told_late(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.after(59)
    assert bench.after(61).step is Step.RUNNING
    bench.submit(node, "late")
    bench.end_run(RunState.FAILED, 69, failure=RunFailure.LATE)
    (finding,) = bench.at(DEADLINE + timedelta(minutes=2)).findings
    assert finding.step is Step.LATE
    assert bench.at(DEADLINE + timedelta(minutes=3)).findings == ()
    assert bench.notifier.kinds == ["failure", "late"]
    assert "cannot be staked, and is queued for the next round" in bench.notifier.told[1].text
    entry = bench.ledger.entry(node.name, ROUND)
    assert entry and (entry.submission_id, entry.submission_status) == ("sub-1", "late")


def test_a_run_that_never_ends_is_a_missed_round(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.after(59)
    assert bench.after(89).step is Step.RUNNING
    assert bench.after(91).step is Step.MISSED
    assert bench.notifier.kinds == ["failure", "missed"]


def test_a_run_of_the_next_round_says_nothing_of_the_one_before(bench: Bench, node: Node) -> None:
    bench.after(0)
    day = timedelta(days=1)
    bench.api.round, bench.api.past = round_of(101, OPENING + day), [ROUND]
    bench.clock.elapsed = (OPENING + day + timedelta(minutes=2) - BEFORE).total_seconds()
    bench.call_webhook(node)
    look = bench.at(OPENING + day + timedelta(minutes=3))
    assert [each.step for each in look.findings] == [Step.MISSED, Step.RUNNING]
    assert "No run of it is known" in look.findings[0].detail and "run-1" not in look.findings[0].detail
    assert bench.notifier.kinds == ["missed"]


@pytest.mark.parametrize("ahead", [timedelta(minutes=30), timedelta(minutes=-30)])
def test_runs_that_another_clock_has_timed_are_not_judged_by_this_machines(
    bench: Bench, node: Node, ahead: timedelta
) -> None:
    numerais = FakeClock(BEFORE)
    bench.api.clock = bench.provider.clock = numerais
    bench.clock.start += ahead
    bench.provider.timed_here = False

    def at(minutes: float) -> Finding | None:
        numerais.elapsed = bench.clock.elapsed = (OPENING - BEFORE).total_seconds() + 60 * minutes
        return next(iter(bench.watcher.look().findings), None)

    at(-15)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65, ended_at=numerais.now())
    assert at(1).step is Step.WAITING  # type: ignore[union-attr]
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65, ended_at=numerais.now())
    assert at(2).step is Step.FAILED  # type: ignore[union-attr]


def test_a_submission_made_in_time_and_confirmed_after_the_deadline_is_in_time(bench: Bench, node: Node) -> None:
    bench.after(50)
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.hold(node, "sub-1", 100, "file-100.csv", DEADLINE - timedelta(seconds=1))
    assert bench.after(65).step is Step.UNCONFIRMED
    bench.submit(node)
    assert bench.after(66).step is Step.SUBMITTED


def test_a_submission_that_is_never_confirmed_is_made_again_and_told_before_the_deadline(
    bench: Bench, node: Node
) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.hold(node, "sub-1", 100)
    assert bench.after(2).step is Step.UNCONFIRMED
    bench.provider.trigger(node, "by-hand")
    bench.begin_run()
    assert bench.after(12).step is Step.RUNNING, "what goes on may submit again"
    bench.end_run(RunState.FAILED, 1)
    assert bench.after(13).step is Step.TRIGGERED
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.hold(node, "sub-2", 100)
    assert bench.after(14).step is Step.UNCONFIRMED
    assert bench.triggers == ["numerai-0", "by-hand", "watch-8-100-1"]
    entry = bench.ledger.entry(node.name, ROUND)
    assert entry and entry.attempts[0].why == "Numerai has not confirmed submission sub-1 for 12 min"
    assert bench.notifier.told == []
    for minute in range(24, 50):
        if bench.after(minute).step is Step.TRIGGERED:
            bench.end_run(RunState.SUCCEEDED, 0)
    assert bench.notifier.kinds == ["failure"]
    bench.submit(node, id="sub-3")
    assert bench.after(51).step is Step.SUBMITTED


def test_a_run_that_ends_unconfirmed_is_looked_at_again_before_another_is_started(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 76)
    for minutes in (2, 10, 10.9):
        assert bench.after(minutes).step is Step.UNCONFIRMED
    assert bench.after(11).step is Step.TRIGGERED
    assert bench.triggers == ["numerai-0", "watch-8-100-1"]
    bench.end_run(RunState.FAILED, 76)
    bench.submit(node)
    assert bench.after(12).step is Step.SUBMITTED


def test_without_the_files_a_model_that_has_no_entry_gets_another_run(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 76)
    bench.api.fail["submissions"] = unreachable()
    assert bench.after(9).step is Step.UNCONFIRMED
    assert bench.after(12).step is Step.TRIGGERED
    bench.begin_run()
    bench.end_run(RunState.SUCCEEDED, 0)
    assert bench.at(DEADLINE).findings[0].step is Step.UNSEEN, "whether it is missed is not known"
    bench.submit(node, timestamp=OPENING + timedelta(minutes=13))
    assert bench.at(DEADLINE + timedelta(minutes=1)).findings[0].step is Step.UNSEEN, "it could be an earlier file"
    bench.api.fail.clear()
    assert bench.at(DEADLINE + timedelta(minutes=2)).findings[0].step is Step.SUBMITTED


@pytest.mark.parametrize("warned", [False, True])
def test_a_submission_that_is_not_confirmed_after_the_deadline_is_told_and_given_up(
    bench: Bench, node: Node, warned: bool
) -> None:
    bench.after(46 if warned else 44)
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.hold(node, "sub-1", 100, when=DEADLINE - timedelta(seconds=1))
    assert bench.after(62).step is Step.UNCONFIRMED
    assert bench.after(95).step is Step.STUCK
    before = ["failure"] if warned else []
    assert bench.notifier.kinds == [*before, "failure"]
    assert "has not confirmed submission sub-1" in bench.notifier.told[-1].text
    (finding,) = bench.at(DEADLINE + timedelta(hours=6)).findings
    assert finding.step is Step.MISSED
    assert bench.at(DEADLINE + timedelta(hours=7)).well
    assert bench.notifier.kinds == [*before, "failure", "missed"]


# an earlier file


def queue_yesterdays(bench: Bench, node: Node) -> None:
    """Yesterday's submission came late: Numerai lists it as late for that round, and as queued for this one."""
    yesterday = OPENING - timedelta(hours=22)
    bench.submit(node, "late", 99, id="old", filename="old.csv", timestamp=yesterday)
    bench.submit(node, "queued", 100, id="old", filename="old.csv", timestamp=yesterday)


@pytest.mark.parametrize("known_by", ["entries", "files", "memory"])
def test_a_round_that_an_earlier_file_covers_gets_its_run_and_is_told_as_covered(
    bench: Bench, node: Node, known_by: str
) -> None:
    if known_by == "memory":
        day = timedelta(days=1)
        bench.api.past, bench.api.round = [round_of(99, OPENING - day)], ROUND
        queue_yesterdays(bench, node)
        bench.ledger.follow(node.name, ROUND)
        bench.ledger.see_entries(node.name, ROUND, bench.api.entries_by[node.model_id], BEFORE)
    elif known_by == "files":
        bench.hold(node, "old", 99, "old.csv", BEFORE)
    bench.api.entries_by.clear()
    if known_by == "entries":
        queue_yesterdays(bench, node)
    bench.submit(node, id="clone", filename="old.csv", timestamp=OPENING)
    if known_by == "memory":
        bench.api.held_by.clear()
    assert bench.after(1).step is Step.WAITING
    assert bench.after(10).step is Step.TRIGGERED, "as if nothing were there"
    bench.end_run(RunState.FAILED, 65)
    assert bench.after(46).step is Step.FAILED
    assert bench.at(DEADLINE).findings[0].step is Step.COVERED
    assert bench.at(DEADLINE + timedelta(minutes=5)).findings == ()
    assert bench.notifier.kinds == ["failure", "covered"]
    assert bench.notifier.told[1].title == "numerai-alice: round 100 is covered by an earlier file"
    assert "submission clone" in bench.notifier.told[1].text


def test_a_run_of_a_covered_round_that_submits_makes_it_its_own(bench: Bench, node: Node) -> None:
    queue_yesterdays(bench, node)
    bench.submit(node, id="clone", filename="old.csv", timestamp=OPENING)
    assert bench.after(10).step is Step.TRIGGERED
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.submit(node, id="sub-2", filename="new.csv")
    assert bench.after(20).step is Step.SUBMITTED
    assert bench.notifier.kinds == ["success"]


def test_a_run_that_says_itself_that_an_earlier_file_covers_it_is_believed(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 73)
    bench.submit(node, id="clone", filename="unknown.csv", timestamp=OPENING)
    assert bench.after(10).step is Step.TRIGGERED


# capacity


def test_a_run_that_waits_too_long_for_capacity_is_replaced(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.provider.trigger(node, "numerai-0")
    for minutes in (2, 8.9):
        assert bench.after(minutes).step is Step.RUNNING
    finding = bench.after(9)
    assert finding.step is Step.TRIGGERED and "run run-1 has not started for 8 min" in finding.detail
    assert bench.provider.all_runs[1].state is RunState.CANCELLED
    assert bench.after(16.9).step is Step.RUNNING
    assert bench.after(18).step is Step.WAITING, "the pause after an attempt"
    bench.after(46)
    assert bench.notifier.kinds == ["failure"] and "has not started for" in bench.notifier.told[0].text
    assert bench.at(DEADLINE).findings[0].step is Step.MISSED, "what never began is not waited for"


def test_a_run_that_begins_just_before_it_is_replaced_goes_on(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.provider.trigger(node, "numerai-0")
    deployment = bench.provider.deployment

    def capacity_comes(node_name: str) -> Deployment | None:
        bench.begin_run()
        return deployment(node_name)

    bench.provider.deployment = capacity_comes  # type: ignore[method-assign]
    assert bench.after(12).step is Step.RUNNING
    assert bench.triggers == ["numerai-0"]


def test_who_slept_over_a_round_is_told_on_waking(bench: Bench, node: Node) -> None:
    (finding,) = bench.at(DEADLINE + timedelta(hours=20)).findings
    assert finding.step is Step.MISSED
    assert bench.notifier.kinds == ["missed"] and "was the machine" in bench.notifier.told[0].text
    assert bench.triggers == []


def test_who_slept_over_several_rounds_is_told_of_each_that_was_missed(bench: Bench, node: Node) -> None:
    day = timedelta(days=1)
    bench.api.past = [round_of(101, OPENING + day), round_of(102, OPENING + 2 * day)]
    bench.submit(node, number=101, timestamp=OPENING + day)
    look = bench.at(DEADLINE + 3 * day)
    assert [finding.step for finding in look.findings] == [Step.MISSED, Step.SUBMITTED, Step.MISSED]
    assert bench.notifier.kinds == ["missed", "success", "missed"]
    assert bench.at(DEADLINE + 3 * day).findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(("hours", "expected"), [(26, [0, 30, 90, 210, 450, 820]), (4, [0, 30, 90, 140])])
def test_a_long_window_is_tried_until_its_second_half(
    bench: Bench, node: Node, hours: int, expected: list[int]
) -> None:
    deadline = OPENING + timedelta(hours=hours)
    bench.api.round = replace(ROUND, deadline=deadline, close_time=deadline + timedelta(hours=23))
    bench.provider.reachable = False
    triggered, told_at = [], 0
    for minutes in range(0, hours * 60, 10):
        if bench.after(minutes).step is Step.TRIGGERED:
            bench.end_run(RunState.FAILED, 1)
            triggered.append(minutes)
        told_at = told_at or (minutes if bench.notifier.told else 0)
    assert triggered == expected
    assert bench.notifier.kinds == ["failure"] and told_at == 100
    assert "3 times, and goes on" in bench.notifier.told[0].text


def test_a_deadline_that_is_moved_is_followed(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.api.round = replace(ROUND, deadline=DEADLINE + timedelta(hours=2))
    bench.after(100)
    assert bench.notifier.told == []
    bench.after(170)
    assert bench.notifier.kinds == ["failure"]


@pytest.mark.parametrize("submitted", [False, True])
def test_a_deadline_that_is_put_off_after_the_round_was_over_opens_it_again(
    bench: Bench, node: Node, submitted: bool
) -> None:
    bench.provider.fail["trigger"] = ProviderError("The queue is full.")
    bench.after(20)
    if submitted:
        bench.submit(node, "late", timestamp=DEADLINE + timedelta(minutes=1))
    assert bench.at(DEADLINE + timedelta(minutes=2)).findings[0].step is (Step.LATE if submitted else Step.MISSED)
    bench.provider.fail.clear()
    bench.api.round = replace(ROUND, deadline=DEADLINE + timedelta(hours=1))
    if submitted:
        bench.submit(node, timestamp=DEADLINE + timedelta(minutes=1))  # Numerai's word for it changes
        assert bench.after(63).step is bench.after(64).step is Step.SUBMITTED
        assert bench.notifier.kinds == ["late", "success"]
        return
    assert bench.after(63).step is Step.TRIGGERED
    bench.at(DEADLINE + timedelta(hours=2))
    assert bench.notifier.kinds == ["missed", "missed"], "of the new close as well"


def test_a_machine_whose_clock_is_behind_opens_no_round_again(bench: Bench, node: Node) -> None:
    bench.after(1)
    assert bench.after(61).step is Step.MISSED
    bench.watcher = bench.new_watcher()
    bench.api.heard_time = lambda: None  # type: ignore[method-assign]  # not heard yet
    bench.api.fail = {"rounds": unreachable()}
    assert bench.at(OPENING + timedelta(minutes=30)).findings == ()
    assert bench.notifier.kinds == ["missed"]


# what is in the way


def test_while_numerai_is_away_nothing_is_triggered_and_somebody_is_told_before_the_close(
    bench: Bench, node: Node
) -> None:
    assert bench.after(1).step is Step.WAITING
    bench.api.fail = {"rounds": unreachable(), "entries": unreachable(), "models": unreachable()}
    assert bench.after(20).step is Step.UNSEEN
    assert bench.notifier.told == []
    assert bench.after(45).step is Step.UNSEEN
    bench.after(50)
    assert bench.notifier.kinds == ["failure"] and "cannot be reached" in bench.notifier.told[0].text
    assert bench.triggers == []
    bench.api.fail.clear()
    assert bench.after(55).step is Step.TRIGGERED


def test_a_round_that_was_announced_is_known_even_when_numerai_is_away_as_it_opens(bench: Bench, node: Node) -> None:
    bench.api.round, bench.api.upcoming = None, ROUND
    bench.clock.elapsed += 700
    bench.watcher.look()
    bench.api.fail = {"rounds": unreachable()}
    assert bench.at(OPENING - timedelta(minutes=1)).findings == ()
    assert bench.after(46).step is Step.UNSEEN
    assert bench.notifier.kinds == ["failure"]
    bench.api.fail.clear()
    bench.api.round = ROUND
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65)
    assert bench.after(47).step is Step.FAILED


def test_a_round_that_was_announced_and_never_came_is_no_missed_round(bench: Bench, node: Node) -> None:
    bench.api.round, bench.api.upcoming = round_of(99, BEFORE - timedelta(1)), ROUND
    bench.clock.elapsed += 700
    bench.watcher.look()
    bench.api.fail = {"rounds": unreachable()}
    bench.after(10)
    bench.api.fail.clear()
    bench.at(DEADLINE + timedelta(hours=1))
    assert "missed" not in bench.notifier.kinds


def test_who_hears_nothing_from_numerai_for_long_is_told_once_a_day(bench: Bench, node: Node) -> None:
    bench.api.fail = {"rounds": unreachable()}
    for hour in range(24 * 3):
        bench.at(BEFORE - timedelta(hours=9) + timedelta(hours=hour))  # from midnight
        if hour == 5:
            assert bench.notifier.told == []
    assert bench.notifier.kinds == ["failure"] * 3
    assert "tournament 8 since 2026-01-06 00:00 UTC: cannot be reached" in bench.notifier.told[-1].text
    bench.api.fail, bench.api.round = {}, None
    bench.watcher.look()
    bench.api.fail = {"rounds": unreachable()}
    bench.clock.elapsed += 5 * 3600
    bench.watcher.look()
    assert len(bench.notifier.told) == 3


@pytest.mark.parametrize("asked", ["rounds", "entries"])
def test_keys_that_numerai_refuses_are_told_at_once_and_once_a_day(bench: Bench, node: Node, asked: str) -> None:
    refused = ApiError("Numerai refuses the keys.", "Run `numerai setup`.", code="keys-refused")
    bench.api.fail = {asked: refused}
    for minutes in (1, 2, 24 * 60 + 3, 24 * 60 + 4):
        bench.at(OPENING + timedelta(minutes=minutes))
    told = [notice for notice in bench.notifier.told if notice.title == "Numerai cannot be asked"]
    assert [notice.text for notice in told] == ["Numerai refuses the keys. Run `numerai setup`."] * 2


def test_numerai_refusing_one_query_is_said_and_survived(bench: Bench, node: Node) -> None:
    bench.api.fail = {"models": unreachable()}
    assert bench.after(1).step is Step.WAITING
    bench.api.fail = {"entries": unreachable()}
    assert bench.after(11).step is Step.UNSEEN
    bench.api.fail = {}
    assert bench.after(12).step is Step.TRIGGERED


def test_one_nodes_provider_does_not_stop_the_others(bench: Bench, node: Node) -> None:
    broken, other, odd = FakeProvider(), made_node("bob", provider="broken"), made_node("carl", provider="gone")
    bench.providers["broken"] = broken
    broken.fail["runs"] = ProviderError("The cloud is away.")
    for each in (other, odd):
        bench.store.by_name[each.name] = each
        bench.api.by_id[each.model_id] = Model(each.model_id, each.model_name, 8, each.webhook_url)
    bench.at(OPENING - timedelta(minutes=5))
    look = bench.at(OPENING + timedelta(minutes=11))
    assert {each.node: each.step for each in look.findings} == {
        node.name: Step.TRIGGERED,
        other.name: Step.STUCK,
        odd.name: Step.STUCK,
    }
    assert not look.well and any("The cloud is away." in problem for problem in look.problems)
    bench.end_run(RunState.SUCCEEDED, 0)
    bench.submit(node)
    bench.at(OPENING + timedelta(minutes=26))
    assert sorted(bench.notifier.kinds) == ["failure", "failure", "success"]

    def bug(*_: object) -> list[Run]:
        raise ZeroDivisionError

    broken.runs = bug  # type: ignore[method-assign,assignment]
    assert {each.step for each in bench.at(OPENING + timedelta(minutes=27)).findings} == {Step.SUBMITTED, Step.STUCK}


@pytest.mark.parametrize("asked", ["wake", "notifies"])
def test_a_bug_of_one_nodes_provider_does_not_stop_the_others(bench: Bench, node: Node, asked: str) -> None:
    broken, first = TellingProvider(), made_node("aaron", provider="broken")
    bench.providers["broken"], broken.clock = broken, bench.clock
    bench.store.by_name[first.name] = first
    bench.api.by_id[first.model_id] = Model(first.model_id, first.model_name, 8, first.webhook_url)
    bench.deploy(first)

    def bug(*_: object) -> bool:
        raise ZeroDivisionError

    setattr(broken, asked, bug)
    bench.at(OPENING - timedelta(minutes=5))
    look = bench.at(OPENING + timedelta(minutes=11))
    assert [each.step for each in look.findings] == [Step.TRIGGERED, Step.TRIGGERED]
    bench.submit(first)
    look = bench.at(DEADLINE + timedelta(minutes=31))
    assert [each.step for each in look.findings] == [Step.SUBMITTED, Step.MISSED]
    assert "missed" in bench.notifier.kinds


def test_a_provider_whose_times_have_no_zone_does_not_stop_the_others(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    run = bench.end_run(RunState.FAILED, 1)
    assert run.ended_at is not None
    bench.provider.all_runs[0] = replace(run, ended_at=run.ended_at.replace(tzinfo=None))
    finding = bench.after(3)
    assert finding.step is Step.STUCK and "without a time zone" in finding.detail


def test_a_deployment_whose_time_has_no_zone_prevents_nothing(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65)
    known = bench.provider.deployments[node.name]
    bench.provider.deployments[node.name] = replace(known, deployed_at=known.deployed_at.replace(tzinfo=None))
    look = bench.at(OPENING + timedelta(minutes=3))
    assert [finding.step for finding in look.findings] == [Step.FAILED]
    assert look.problems == ("numerai-alice: local tells the time of its deployment without a time zone",)


def test_a_provider_that_refuses_is_asked_again_with_the_same_trigger_id(bench: Bench, node: Node) -> None:
    bench.provider.fail["trigger"] = ProviderError("The queue is full.", "Wait.")
    assert bench.after(10).step is Step.STUCK
    assert bench.after(20).step is Step.STUCK
    assert bench.notifier.told == []
    assert bench.after(25).step is Step.STUCK
    assert bench.notifier.kinds == ["failure"] and "The queue is full." in bench.notifier.told[0].text
    bench.provider.fail.clear()
    assert bench.after(26).step is Step.TRIGGERED
    assert bench.triggers == ["watch-8-100-1"]


def test_a_daemon_that_does_not_start_is_said(bench: Bench, node: Node) -> None:
    bench.provider.fail["wake"] = ProviderError("The port is taken.")
    assert bench.after(10).step is Step.TRIGGERED
    bench.after(46)
    assert "The port is taken." in bench.notifier.told[0].text


def test_a_node_that_was_never_deployed_is_told_with_the_command(bench: Bench, node: Node) -> None:
    bench.provider.deployments.clear()
    assert bench.after(5).step is Step.STUCK
    assert bench.notifier.told == []
    bench.after(10)
    bench.after(11)
    assert bench.notifier.kinds == ["failure"] and "numerai node -m numerai-alice deploy" in bench.notifier.told[0].text
    bench.deploy(node)
    assert bench.after(12).step is Step.TRIGGERED


def test_a_node_whose_provider_is_not_there_is_told_as_that_and_not_as_never_deployed(bench: Bench, node: Node) -> None:
    bench.store.by_name = {node.name: replace(node, provider="gcp")}
    bench.providers["gcp"] = AbsentProvider("gcp")  # type: ignore[assignment]
    assert bench.after(5).step is Step.STUCK
    bench.after(45)
    (notice,) = bench.notifier.told
    assert "this tool has no provider gcp" in notice.text and "never deployed" not in notice.text
    assert f"numerai node forget {node.name}" in notice.text
    bench.submit(node)
    assert bench.after(50).step is Step.SUBMITTED, "where it is, it runs"


def test_unreadable_nodes_and_missing_keys_are_said_and_looked_for_again(bench: Bench, node: Node) -> None:
    bench.store.error = NumeraiError("nodes.json cannot be read.", code="state-corrupt")
    look = bench.at(OPENING + timedelta(minutes=20))
    assert look.findings == () and look.problems == ("nodes.json cannot be read.",) and not look.well
    bench.store.error = None

    def no_keys() -> FakeApi:
        raise EnvironmentNotReady("There are no Numerai keys.", code="no-keys")

    watcher, bench.watcher = bench.watcher, bench.new_watcher()
    bench.watcher.api = no_keys
    assert "There are no Numerai keys." in bench.at(OPENING + timedelta(minutes=21)).problems
    assert [notice.text for notice in bench.notifier.told] == ["There are no Numerai keys."]
    bench.watcher = watcher
    assert bench.after(22).step is Step.TRIGGERED


def more_nodes(bench: Bench, count: int, **changes: Any) -> list[Node]:
    """So many nodes more, deployed and registered."""
    made = [made_node(f"n{number}", **changes) for number in range(count)]
    for each in made:
        bench.store.by_name[each.name] = each
        bench.api.by_id[each.model_id] = Model(each.model_id, each.model_name, each.tournament, each.webhook_url)
        bench.deploy(each)
    return made


def test_a_numerai_that_hangs_is_asked_twice_a_look_so_that_everybody_hears_in_time(bench: Bench, node: Node) -> None:
    more_nodes(bench, 9)
    bench.at(OPENING - timedelta(minutes=1))
    heard: list[datetime] = []
    tell = bench.notifier.tell

    def hang(model_id: str) -> list[SubmissionEntry]:
        bench.clock.sleep(20)
        raise unreachable()

    def note(notice: Notice) -> dict[str, str | None]:
        heard.append(bench.clock.now())
        return tell(notice)

    bench.api.entries, bench.notifier.tell = hang, note  # type: ignore[method-assign]
    look = bench.at(OPENING + timedelta(minutes=45))
    assert [each.step for each in look.findings] == [Step.UNSEEN] * 10
    assert (bench.clock.now() - look.now).total_seconds() == 40
    assert bench.notifier.kinds == ["failure"] * 10
    assert heard[0] == OPENING + timedelta(minutes=45, seconds=20), "each is told as soon as it is known"
    assert "deadline is 13:00 UTC" in bench.notifier.told[-1].text


def test_one_model_that_numerai_cannot_answer_for_leaves_the_others_watched(bench: Bench, node: Node) -> None:
    more_nodes(bench, 2)
    bench.at(OPENING - timedelta(minutes=1))

    def entries(model_id: str) -> list[SubmissionEntry]:
        if model_id == node.model_id:
            raise unreachable()
        return []

    bench.api.entries = entries  # type: ignore[method-assign]
    look = bench.at(OPENING + timedelta(minutes=10))
    assert [each.step for each in look.findings] == [Step.UNSEEN, Step.TRIGGERED, Step.TRIGGERED]


def test_what_takes_long_for_one_node_is_over_when_the_next_one_is_looked_at(bench: Bench, node: Node) -> None:
    more_nodes(bench, 1)
    bench.at(OPENING - timedelta(minutes=1))
    runs = bench.provider.runs

    def slow(node_name: str, limit: int = 20) -> list[Run]:
        bench.clock.sleep(60)
        return runs(node_name, limit)

    bench.provider.runs = slow  # type: ignore[method-assign]
    bench.provider.fail["trigger"] = ProviderError("The queue is full.")
    assert [each.step for each in bench.at(OPENING + timedelta(minutes=44)).findings] == [Step.STUCK] * 2
    assert len(bench.notifier.told) == 2


def test_the_reason_is_that_of_the_nodes_own_tournament(bench: Bench, node: Node) -> None:
    (signals,) = more_nodes(bench, 1, tournament=11)
    rounds = bench.api.rounds

    def refuse_signals(tournament: int, limit: int) -> list[Round]:
        if tournament == 11 and bench.clock.now() > OPENING:
            raise unreachable()
        return rounds(tournament, limit)

    bench.api.rounds = refuse_signals  # type: ignore[method-assign]
    bench.api.past = [replace(ROUND, tournament=11)]
    bench.at(OPENING)
    bench.provider.fail["runs"] = ProviderError("The Docker engine is down.")
    bench.at(OPENING + timedelta(minutes=46))
    told = {notice.node: notice.text for notice in bench.notifier.told}
    assert "Docker" in told[node.name]
    assert "cannot be reached" in told[signals.name] and "Docker" not in told[signals.name]


# several nodes and tournaments


def test_every_tournament_in_use_is_followed(bench: Bench, node: Node) -> None:
    signals = made_node("bob", 11)
    bench.store.by_name[signals.name] = signals
    bench.deploy(signals)
    bench.api.by_id[signals.model_id] = Model(signals.model_id, "bob", 11, None)
    bench.api.past = [round_of(700, OPENING + timedelta(minutes=30), 11)]
    bench.at(OPENING - timedelta(minutes=1))
    steps = {each.node: each.step for each in bench.at(OPENING + timedelta(minutes=30)).findings}
    assert steps == {node.name: Step.TRIGGERED, signals.name: Step.TRIGGERED}
    assert sorted(run.trigger_id or "" for run in bench.provider.all_runs) == ["watch-11-700-1", "watch-8-100-1"]
    assert ("rounds", 12) not in bench.api.calls


def test_nodes_come_and_go(bench: Bench, node: Node) -> None:
    late = made_node("bob")
    bench.after(10)
    bench.store.by_name[late.name] = late
    bench.api.by_id[late.model_id] = Model(late.model_id, "bob", 8, late.webhook_url)
    bench.deploy(late)
    assert bench.at(OPENING + timedelta(minutes=20)).findings[1].step is Step.WAITING
    assert bench.at(OPENING + timedelta(minutes=30)).findings[1].step is Step.TRIGGERED
    del bench.store.by_name[late.name]
    assert [each.node for each in bench.at(OPENING + timedelta(minutes=40)).findings] == [node.name]
    bench.at(DEADLINE + timedelta(minutes=31))
    assert late.name not in {notice.node for notice in bench.notifier.told}


def test_a_node_that_comes_back_is_not_blamed_for_what_it_left(bench: Bench, node: Node) -> None:
    bench.after(1)
    bench.store.by_name.clear()
    bench.at(OPENING + timedelta(minutes=5))
    month = timedelta(days=30)
    bench.api.round, bench.api.past = round_of(120, OPENING + month), [ROUND]
    bench.store.by_name[node.name] = node
    bench.at(OPENING + month - timedelta(hours=1))
    bench.at(OPENING + month)
    assert bench.notifier.told == []


def test_a_new_node_is_not_blamed_for_the_rounds_before_it(bench: Bench, node: Node) -> None:
    bench.submit(node)
    new = made_node("bob")
    bench.at(OPENING + timedelta(minutes=50))
    bench.store.by_name[new.name] = new
    bench.at(OPENING + timedelta(minutes=51))
    bench.at(DEADLINE + timedelta(hours=1))
    assert bench.notifier.kinds == ["success"]


# people


def test_a_provider_that_tells_by_itself_is_not_echoed(bench: Bench, node: Node) -> None:
    telling = TellingProvider()
    telling.clock = bench.clock
    bench.providers["local"] = bench.provider = telling
    bench.deploy(node)
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, 65)
    assert bench.after(2).step is Step.FAILED
    bench.submit(node)
    assert bench.after(3).step is Step.SUBMITTED
    assert bench.notifier.told == []
    bench.api.past = [round_of(101, OPENING + timedelta(days=1))]
    bench.at(DEADLINE + timedelta(days=2))
    assert bench.notifier.kinds == ["missed"]


def test_a_run_that_never_began_has_told_nobody_by_itself(bench: Bench, node: Node) -> None:
    telling = TellingProvider()
    telling.clock = bench.clock
    bench.providers["local"] = bench.provider = telling
    bench.deploy(node)
    bench.after(1)
    bench.call_webhook(node)
    bench.end_run(RunState.FAILED, None, failure=RunFailure.NOT_DEPLOYED)
    assert bench.after(2).step is Step.FAILED
    assert bench.notifier.kinds == ["failure"]


def test_a_notice_that_reaches_nobody_is_tried_again_a_few_times(
    bench: Bench, node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    bench.notifier.failure = "it refused"
    bench.submit(node)
    bench.after(1)
    bench.after(1.5)
    assert bench.notifier.tries == 2
    bench.notifier.failure = None
    bench.after(2)
    bench.after(3)
    assert (bench.notifier.tries, bench.notifier.kinds) == (3, ["success"])
    bench.notifier.failure = "it refused"
    bench.at(DEADLINE + timedelta(days=1))
    day = round_of(101, OPENING + timedelta(days=1))
    bench.api.past = [day]
    for hour in range(30):
        bench.at(DEADLINE + timedelta(days=1, hours=1 + hour))
    assert bench.notifier.tries == 3 + 9
    assert "given up" in caplog.text


def test_two_watchers_tell_each_thing_once_however_long_one_of_them_takes(
    bench: Bench, node: Node, tmp_path: Path
) -> None:
    for each in [node, *more_nodes(bench, 11)]:
        bench.submit(each, timestamp=OPENING)
    ledger = Ledger(tmp_path / "rounds.db")
    other, tell, tries = bench.new_watcher(ledger=ledger), bench.notifier.tell, 0

    def hang(notice: Notice) -> dict[str, str | None]:
        nonlocal tries
        tries += 1
        answer = tell(notice)
        bench.clock.sleep(15)
        if tries == 10:
            other.look()
        return answer

    bench.at(OPENING - timedelta(minutes=1))
    bench.notifier.tell = hang  # type: ignore[method-assign]
    bench.at(OPENING + timedelta(minutes=1))
    assert sorted(notice.node or "" for notice in bench.notifier.told) == sorted(bench.store.by_name)
    ledger.close()


def test_with_nobody_to_tell_it_is_done(bench: Bench, node: Node) -> None:
    bench.notifier.tell = lambda notice: {}  # type: ignore[method-assign]
    bench.submit(node)
    assert bench.at(OPENING + timedelta(minutes=1)).told == ()
    assert bench.ledger.claim_notice(bench.clock.now() + timedelta(days=1), 9) is None
    entry = bench.ledger.entry(node.name, ROUND)
    assert entry is not None and (entry.told, entry.reached) == (frozenset({NoticeKind.SUCCESS}), frozenset())


# the watcher's own life


def test_numerais_time_counts_not_the_machines(bench: Bench, node: Node) -> None:
    bench.api.clock = FakeClock(OPENING + timedelta(minutes=12))
    bench.clock.elapsed = -5 * 3600
    look = bench.watcher.look()
    assert look.now == OPENING + timedelta(minutes=12)
    assert look.findings[0].step is Step.TRIGGERED


def test_it_looks_until_told_and_survives_a_full_disk(bench: Bench, node: Node) -> None:
    stop = threading.Event()
    looks: list[Look] = []
    full = EnvironmentNotReady("rounds.db cannot be used: disk full.", code="database-unusable")
    claim, failing = bench.ledger.claim_notice, [full, full]

    def claim_or_fail(*arguments: object) -> object:
        if failing:
            raise failing.pop()
        return claim(*arguments)  # type: ignore[arg-type]

    bench.ledger.claim_notice = claim_or_fail  # type: ignore[method-assign,assignment]
    bench.watcher.settings = WatchSettings(seconds=0.001)
    bench.watcher.run(stop, lambda look: (looks.append(look), stop.set())[0])
    assert len(looks) == 1
    assert bench.notifier.kinds == ["watcher-stopped"] and "disk full" in bench.notifier.told[0].text


def test_the_end_of_a_watcher_is_told_while_there_are_nodes(bench: Bench, node: Node) -> None:
    bench.watcher.stopped("with the daemon")
    assert bench.notifier.kinds == ["watcher-stopped"] and "with the daemon" in bench.notifier.told[0].text
    assert [each.ended_at is not None for each in bench.ledger.watchers()] == [True]
    bench.store.by_name.clear()
    other = bench.new_watcher()
    other.look()
    other.stopped("with the daemon")
    other.crashed(ValueError("x"))
    assert len(bench.notifier.told) == 1
    bench.store.by_name[node.name] = node
    other.crashed(ValueError("x"))
    other.crashed(ValueError("x"))
    assert len(bench.notifier.told) == 2


def kill_watchers(ledger: Ledger) -> None:
    """What a kill leaves: locks that nobody holds any more."""
    while ledger._locks:
        ledger._locks.popitem()[1].release()


@pytest.mark.parametrize("killed_again", [False, True])
@pytest.mark.parametrize(("back_after", "told"), [(30, True), (-60, False)])
def test_after_a_kill_the_next_start_tells_if_a_round_was_open_meanwhile(
    bench: Bench, node: Node, back_after: float, told: bool, killed_again: bool
) -> None:
    bench.at(OPENING - timedelta(minutes=70))
    kill_watchers(bench.ledger)
    bench.watcher = bench.new_watcher()
    bench.api.fail = {"rounds": unreachable()}
    bench.at(OPENING + timedelta(minutes=back_after))
    if killed_again:  # before it could say anything
        kill_watchers(bench.ledger)
        bench.watcher = bench.new_watcher()
    bench.api.fail = {}
    bench.submit(node)
    bench.at(OPENING + timedelta(minutes=back_after))
    stopped = [notice for notice in bench.notifier.told if notice.kind.value == "watcher-stopped"]
    assert len(stopped) == told
    if told:
        assert "10:50:00" in stopped[0].text and "round 100" in stopped[0].text


def test_a_kill_is_told_however_soon_the_next_watcher_is_there(bench: Bench, node: Node) -> None:
    bench.submit(node)
    bench.after(5)
    kill_watchers(bench.ledger)
    bench.watcher = bench.new_watcher()
    bench.api.clock = FakeClock(bench.clock.now() - timedelta(seconds=0.9))  # Numerai tells whole seconds
    bench.watcher.look()
    assert "watcher-stopped" in bench.notifier.kinds


@pytest.mark.parametrize("put_right", [False, True])
def test_after_a_sleep_of_the_machine_it_tells_as_well(bench: Bench, node: Node, put_right: bool) -> None:
    bench.after(5)
    bench.api.clock = FakeClock(bench.clock.now())
    bench.clock.elapsed += 1200
    bench.api.fail = {"rounds": unreachable()}  # the network is not back yet
    bench.watcher.look()
    bench.api.fail = {}
    bench.clock.elapsed += 30
    bench.api.clock.elapsed += 30 if put_right else 1230
    bench.watcher.look()
    bench.watcher.look()
    stopped = [notice.text for notice in bench.notifier.told if notice.kind is NoticeKind.WATCHER_STOPPED]
    assert len(stopped) == (0 if put_right else 1)
    assert put_right or "from 2026-01-06 12:05:00 to 2026-01-06 12:25:30 UTC" in stopped[0]


def test_a_watcher_that_was_never_entered_tells_of_its_own_end(bench: Bench, node: Node) -> None:
    for _ in range(2):
        watcher = bench.new_watcher("daemon")
        watcher.crashed(ValueError("x"))
        watcher.stopped("with the daemon")
    assert bench.notifier.kinds == ["watcher-stopped"] * 4


def test_a_watcher_that_is_not_alone_was_not_missed(bench: Bench, node: Node) -> None:
    kill_watchers(bench.ledger)
    bench.ledger.begin_watch("daemon", bench.clock.now(), bench.clock.now())
    assert len(bench.ledger.watchers()) == 2
    bench.watcher = bench.new_watcher()
    bench.after(30)
    assert "watcher-stopped" not in bench.notifier.kinds


@pytest.mark.parametrize(("grace", "triggered"), [(None, 10), (5, 5), (25, 25), (50, 30)])
def test_the_grace_that_is_chosen_counts_up_to_half_of_the_window(
    bench: Bench, node: Node, grace: int | None, triggered: int
) -> None:
    bench.watcher.settings = watch_settings({}, {}, grace)
    assert bench.after(triggered - 0.1).step is Step.WAITING
    assert bench.after(triggered).step is Step.TRIGGERED


@pytest.mark.slow
def test_settings_and_what_they_may_be() -> None:
    assert watch_settings({}, {}) == WatchSettings(30.0, None)
    environ = {"NUMERAI_WATCH_SECONDS": "0.2", "NUMERAI_WATCH_GRACE_MINUTES": "3"}
    assert watch_settings({"watch_seconds": 60, "port": 1}, environ) == WatchSettings(0.2, timedelta(minutes=3))
    assert watch_settings({"watch_grace_minutes": 5}, {}, grace_minutes=0.5).grace == timedelta(seconds=30)
    for recorded in ({"watch_seconds": "often"}, {"watch_seconds": 0}, {"watch_grace_minutes": -1}):
        with pytest.raises(UsageError) as error:
            watch_settings(recorded, {})
        assert error.value.code == "bad-setting"
