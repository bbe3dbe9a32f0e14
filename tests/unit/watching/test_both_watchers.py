"""The watcher of this machine and the function on AWS decide alike: random histories are played to both, and what they
decide in each look is compared.

What differs by design is named here and nowhere else:
- `SUCCESS`: this machine tells that a round is submitted; the function's topic is for what needs attention only;
- notices about the watchers themselves: only this machine sleeps, and each counts Numerai's silence on its own;
- how often they look: the histories say when both do.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from numerai_compute.errors import ApiError
from numerai_compute.models import (
    Deployment,
    EntryStatus,
    Model,
    Node,
    Notice,
    Round,
    Run,
    RunState,
    Submission,
    SubmissionEntry,
)
from numerai_compute.providers.aws.cron import aws_cron
from numerai_compute.providers.aws.trigger_table import deployment_key
from numerai_compute.providers.webhooks.claims import Claim
from numerai_compute.watching import policy
from numerai_compute.watching.facts import model_facts
from numerai_compute.watching.ledger import Ledger
from numerai_compute.watching.watcher import Watcher

from tests.fakes import FakeClock

from ..aws.conftest import load_handler
from .histories import NUMBER, OPENS, TOURNAMENT, Ending, History, PlayedRun, PlayedWorld, histories

SUCCESS = "success"
FAILS, HOPELESS = Ending(exit_code=1, submits=False), Ending(exit_code=65, submits=False)
NAME, MODEL_ID, WEBHOOK = "numerai-alice", "id-alice", "https://x.example/numerai-alice/token"


@dataclass(frozen=True)
class Seen:
    """What a watcher decided in one look: the step, whether a run was started, and the kinds of what it told."""

    step: str
    started: tuple[str, ...]
    told: tuple[str, ...]


# the watcher of this machine


class PlayedApi:
    """`ports.NumeraiApi` on a world."""

    url = "https://api.example"

    def __init__(self, world: PlayedWorld):
        self._world = world

    def _ask(self) -> PlayedWorld:
        if self._world.silent:
            raise ApiError("cannot be reached", code="numerai-unreachable", temporary=True)
        return self._world

    def rounds(self, tournament: int, limit: int) -> list[Round]:
        world = self._ask()
        before = timedelta(days=1)
        rounds = [Round(NUMBER - 1, TOURNAMENT, OPENS - before, OPENS - before + timedelta(hours=1), OPENS)]
        if world.opens <= world.now:
            rounds.insert(0, Round(NUMBER, TOURNAMENT, world.opens, world.deadline, world.closes))
        return rounds

    def upcoming_round(self, tournament: int) -> Round | None:
        self._ask()
        return None

    def models(self) -> list[Model]:
        self._ask()
        return [Model(MODEL_ID, "alice", TOURNAMENT, WEBHOOK)]

    def entries(self, model_id: str) -> list[SubmissionEntry]:
        return [
            SubmissionEntry(number, EntryStatus(status), file.id, file.filename, file.inserted)
            if file
            else SubmissionEntry(number, EntryStatus(status))
            for number, status, file in self._ask().entries()
        ]

    def submissions(self, model_id: str) -> list[Submission]:
        return [
            Submission(file.id, file.round_number, None, file.filename, file.inserted)
            for file in self._ask().submissions()
        ]

    def heard_time(self) -> Any:
        return self._world.now


class PlayedProvider:
    """`ports.Provider` on a world, as far as a watcher asks it."""

    name = "aws"
    timed_here = False

    def __init__(self, world: PlayedWorld):
        self._world = world

    def reachable_by(self, api_url: str) -> bool:
        return True

    def deployment(self, node_name: str) -> Deployment:
        when = max(OPENS + timedelta(minutes=each) for each in self._world.history.deploys if self._past(each))
        return Deployment(node_name, "image", "h", when)

    def _past(self, minute: int) -> bool:
        return OPENS + timedelta(minutes=minute) <= self._world.now

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        return [self._run(run) for run in reversed(self._world.runs)]

    def run(self, run_id: str) -> Run:
        return next(self._run(run) for run in self._world.runs if run.id == run_id)

    def trigger(self, node: Node, trigger_id: str) -> Run:
        return self.run(self._world.start(trigger_id))

    def cancel(self, run_id: str) -> Run:
        self._world.cancel(run_id)
        return self.run(run_id)

    def wake(self, report: Any) -> None:
        """There is nothing to wake."""

    def webhook_calls(self, node_name: str, limit: int = 20) -> list[Any]:
        return []

    def _run(self, run: PlayedRun) -> Run:
        now = self._world.now
        started = run.started if run.started and run.started <= now else None
        ended = run.ended if run.ended and run.ended <= now else None
        final = RunState.SUCCEEDED if run.ending.exit_code == 0 else RunState.FAILED
        state = final if ended else RunState.RUNNING if started else RunState.QUEUED
        if run.cancelled:
            state, ended = RunState.FAILED, run.cancelled
        code = run.ending.exit_code if ended and not run.cancelled else None
        return Run(run.id, NAME, state, run.created, run.trigger_id, started, ended, code)


class LocalWatcher:
    """The watcher of this machine in a world."""

    def __init__(self, history: History, folder: Path):
        self.world = PlayedWorld(history)
        self._clock = FakeClock(OPENS - timedelta(hours=12))
        self._told: list[Notice] = []
        node = Node(
            NAME, "alice", MODEL_ID, TOURNAMENT, "aws", "/code", 1, 512, cron=self.world.cron, webhook_url=WEBHOOK
        )
        self._ledger = Ledger(folder / "rounds.db")
        provider, api = PlayedProvider(self.world), PlayedApi(self.world)
        self._watcher = Watcher(
            store=SimpleNamespace(nodes=lambda: {NAME: node}),
            api=lambda: api,  # type: ignore[arg-type, return-value]
            provider_named=lambda name: provider,  # type: ignore[arg-type, return-value]
            ledger=self._ledger,
            notifier=SimpleNamespace(tell=self._tell),
            clock=self._clock,
        )
        self._ledger.see_nodes([NAME], self.world.since)

    def look(self, minute: int) -> Seen:
        self.world.go_to(minute)
        self._clock.elapsed = (self.world.now - self._clock.start).total_seconds()
        before = {run.id for run in self.world.runs}
        self._told.clear()
        look = self._watcher.look()
        steps = [finding.step.value for finding in look.findings if finding.round_number == NUMBER]
        started = tuple(run.trigger_id for run in self.world.runs if run.id not in before)
        of_round = [notice.kind.value for notice in self._told if notice.round_number == NUMBER]
        told = tuple(sorted(kind for kind in of_round if kind != SUCCESS))
        return Seen(steps[0] if steps else "", started, told)

    def _tell(self, notice: Notice) -> dict[str, str | None]:
        self._told.append(notice)
        return {"me": None}

    def close(self) -> None:
        self._ledger.close()


# the function on AWS


class MemoryTable:
    """`trigger_table.Table` in memory."""

    def __init__(self, items: dict[str, dict[str, Any]], time: Any, result: str):
        self._items = items
        self._time = time
        self._result = result

    def get(self, key: str) -> dict[str, Any] | None:
        return self._items.get(key)

    def put(self, key: str, **values: dict[str, str]) -> None:
        self._items[key] = dict(values)

    def read(self, key: str) -> Claim | None:
        item = self._items.get(key)
        return None if item is None else Claim(item["claimed_at"], item.get(self._result))

    def take(self, key: str) -> bool:
        return self._items.setdefault(key, fresh := {"claimed_at": self._time.time()}) is fresh

    def retake(self, key: str, dead: Claim) -> bool:
        self._items[key] = {"claimed_at": self._time.time()}
        return True

    def release(self, key: str) -> None:
        self._items[key]["claimed_at"] = 0.0

    def finish(self, key: str, result: str) -> None:
        self._items[key][self._result] = result


class PlayedBatch:
    """Batch on a world."""

    def __init__(self, world: PlayedWorld):
        self._world = world

    def submit_job(self, jobName: str, containerOverrides: dict[str, Any], **given: Any) -> dict[str, str]:
        (variable,) = containerOverrides["environment"]
        return {"jobId": self._world.start(variable["value"])}

    def cancel_job(self, jobId: str, reason: str) -> None:
        self._world.cancel(jobId)

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(
            paginate=lambda **given: [{"jobSummaryList": [self._job(run) for run in self._world.runs]}]
        )

    def _job(self, run: PlayedRun) -> dict[str, Any]:
        now = self._world.now
        job: dict[str, Any] = {
            "jobId": run.id,
            "jobName": run.id,
            "jobDefinition": "arn:aws:batch:us-east-1:1:job-definition/numerai-node:7",
            "createdAt": int(run.created.timestamp() * 1000),
            "status": "RUNNABLE",
        }
        if run.started and run.started <= now:
            job |= {"startedAt": int(run.started.timestamp() * 1000), "status": "RUNNING"}
        ended = run.cancelled or run.ended
        if ended and ended <= now:
            job |= {"stoppedAt": int(ended.timestamp() * 1000), "status": "FAILED"}
        if job["status"] == "FAILED" and not run.cancelled:
            job["container"] = {"exitCode": run.ending.exit_code}
            job["status"] = "SUCCEEDED" if run.ending.exit_code == 0 else "FAILED"
        return job


class PlayedNumerai:
    """The handler's `Numerai` on a world."""

    notifies = False
    ahead = timedelta()

    def __init__(self, world: PlayedWorld, cannot_ask: type[Exception]):
        self._world = world
        self._cannot_ask = cannot_ask

    def now(self) -> datetime:
        return self._world.now

    def rounds(self, tournament: int) -> list[policy.Round]:
        rounds = PlayedApi(self._world).rounds(tournament, 10) if not self._world.silent else self._fail()
        return [policy.Round(**vars(round_)) for round_ in reversed(rounds)]

    def learn(self, facts: policy.Facts, model_id: str) -> policy.Facts:
        if self._world.silent:
            self._fail()
        api = PlayedApi(self._world)
        return replace(facts, models=(model_facts(NAME, api.entries(model_id), api.submissions(model_id)),))

    def _fail(self) -> Any:
        raise self._cannot_ask("Numerai cannot be reached")


class CloudWatcher:
    """The function on AWS in a world."""

    def __init__(self, history: History, handler: ModuleType):
        self.world = PlayedWorld(history)
        self._handler = handler
        self._items: dict[str, dict[str, Any]] = {"round#8": {"judged": {"N": str(NUMBER - 1)}}}
        node = {"model_id": MODEL_ID, "tournament": TOURNAMENT, "job_queue": "q", "job_definition": "numerai-node"}
        since, cron = self.world.since.isoformat(), aws_cron(self.world.cron) if self.world.cron else None
        self._items["nodes"] = {"nodes": {"S": json.dumps({NAME: {**node, "since": since, "cron": cron}})}}
        self._time = SimpleNamespace(
            time=lambda: self.world.now.timestamp(),  # noqa: PLW0108  the world's time goes on
            monotonic=lambda: 0.0,
            sleep=lambda seconds: None,
        )

    def look(self, minute: int) -> Seen:
        self.world.go_to(minute)
        before = {run.id for run in self.world.runs}
        lines: list[dict[str, Any]] = []
        deployed = PlayedProvider(self.world).deployment(NAME).deployed_at
        self._items[deployment_key(NAME)] = {"deployed_at": {"N": str(deployed.timestamp())}}
        with pytest.MonkeyPatch.context() as patch:
            telling = sys.modules[self._handler.Telling.__module__]
            patch.setattr(self._handler, "time", self._time)
            patch.setattr(telling, "time", self._time)
            patch.setattr(self._handler.aws, "Table", self._table)
            for client in ("_batch", "_reads"):
                patch.setattr(self._handler, client, PlayedBatch(self.world))
            patch.setattr(self._handler, "_sns", SimpleNamespace(publish=lambda **given: None))
            patch.setattr(self._handler, "write", lines.append)
            patch.setattr(telling, "write", lines.append)
            patch.setattr(self._handler, "Numerai", lambda secrets: PlayedNumerai(self.world, self._handler.CannotAsk))
            self._handler.handle(None, None)
        steps = [line["step"] for line in lines if "step" in line and line["round"] == NUMBER]
        started = tuple(run.trigger_id for run in self.world.runs if run.id not in before)
        told = tuple(sorted(line["kind"] for line in lines if "kind" in line and line["round"] == NUMBER))
        return Seen(steps[0] if steps else "", started, told)

    def _table(self, client: Any, name: str, time: Any, result: str = "run_id") -> MemoryTable:
        return MemoryTable(self._items, self._time, result)


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("TABLE", "table")
        patch.setenv("TOPIC", "topic")
        patch.setenv("GRACE_MINUTES", "10")
        yield load_handler("watcher", tmp_path_factory.mktemp("watcher"))


def played(history: History, handler: ModuleType, folder: Path) -> tuple[list[Seen], list[Seen]]:
    local, cloud = LocalWatcher(history, folder), CloudWatcher(history, handler)
    try:
        return [local.look(minute) for minute in history.looks], [cloud.look(minute) for minute in history.looks]
    finally:
        local.close()


@pytest.mark.slow
@settings(max_examples=60)
@given(history=histories())
@example(history=History(looks=(11, 25, 31), scheduled=20)).via("a schedule has its time first")
@example(history=History(looks=(53, 60, 66, 110, 115), opens_late=54)).via("a round that opens late")
@example(history=History(looks=(11, 55, 61), earlier=True, endings=(FAILS,))).via("covered by an earlier file")
@example(history=History(looks=(11, 22, 40), endings=(Ending(waits=None),))).via("capacity that never comes")
@example(history=History(looks=(11, 16, 21), deploys=(-9, 18), endings=(HOPELESS,))).via("a deploy after exit 65")
@example(history=History(looks=(11, 61, 70, 130), moved=(65, 120), endings=(FAILS,))).via("a deadline put off")
@example(history=History(looks=(11, 46, 61), silent=((30, 50),))).via("silence near the deadline")
@example(history=History(looks=(4, 60, 90), since=55, moved=(61, 90))).via("a new node, a deadline put off unseen")
def test_both_watchers_decide_alike(history: History, handler: ModuleType, tmp_path: Path) -> None:
    with TemporaryDirectory(dir=tmp_path) as folder:
        local, cloud = played(history, handler, Path(folder))
    for minute, one, other in zip(history.looks, local, cloud, strict=True):
        assert one == other, f"minute {minute}"


@pytest.mark.slow
def test_a_run_of_the_planned_opening_counts_in_a_round_that_opens_54_minutes_late(
    handler: ModuleType, tmp_path: Path
) -> None:
    """docs/truth.md, opens-late. Another run beside it would submit twice."""
    looks = (10, 53, 55, 66, 80, 100)
    history = History(looks=looks, opens_late=54, webhook=Ending(lasts=85), called_after=-54)
    for seen in played(history, handler, tmp_path):
        assert [(each.step, each.started, each.told) for each in seen[2:]] == [
            *[("running", (), ())] * 3,
            ("submitted", (), ()),
        ]
