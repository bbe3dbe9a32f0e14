"""Two rounds under a watcher, as work that can be killed at any moment: see state_work.py."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from numerai_compute.models import (
    Deployment,
    EntryStatus,
    Model,
    Node,
    Notice,
    NoticeKind,
    RoundOutcome,
    Run,
    RunFailure,
    RunState,
    SubmissionEntry,
)
from numerai_compute.watching.ledger import DATABASE_FILE, Ledger
from numerai_compute.watching.watcher import Watcher

from tests.fakes import NOW, FakeApi, FakeClock, FakeProvider, round_of

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512)
DAY = timedelta(days=1)
GOOD, BAD = round_of(100, NOW), round_of(101, NOW + DAY)
NEXT_DAY = 24 * 60
LOOKS = (-180, 0, 1, 21, 22, 70, NEXT_DAY, NEXT_DAY + 1, NEXT_DAY + 70, NEXT_DAY + 75, NEXT_DAY + 80)
"""In minutes after the opening of the first round."""
EXIT_CODES = {"watch-8-100-1": 1, "watch-8-100-2": 0, "watch-8-101-1": 65}
TOLD = {
    ("success", GOOD.number): 1,
    ("failure", BAD.number): 1,
    ("missed", BAD.number): 1,
}


class FileProvider(FakeProvider):
    """Numerai cannot call it. A run is a file, whose name holds its trigger and its minute; it ends a minute later."""

    def __init__(self, folder: Path, clock: FakeClock):
        super().__init__(reachable=False)
        self._folder, self.clock = folder / "runs", clock
        self.deployments[NODE.name] = Deployment(NODE.name, "image", "hash", NOW - DAY)

    def trigger(self, node: Node, trigger_id: str | None = None) -> Run:
        self._folder.mkdir(exist_ok=True)
        if not list(self._folder.glob(f"{trigger_id}@*")):
            minute = int((self.clock.now() - NOW).total_seconds() / 60)
            os.close(os.open(self._folder / f"{trigger_id}@{minute}", os.O_CREAT | os.O_WRONLY, 0o600))
        return next(run for run in self.runs(node.name) if run.trigger_id == trigger_id)

    def runs(self, node_name: str, limit: int = 20) -> list[Run]:
        found = [self._run(path.name) for path in self._folder.glob("*")] if self._folder.exists() else []
        return sorted(found, key=lambda run: run.created_at, reverse=True)[:limit]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs(NODE.name) if run.id == run_id)

    def _run(self, name: str) -> Run:
        trigger_id, _, minute = name.partition("@")
        began = NOW + timedelta(minutes=int(minute))
        run = Run(f"run-of-{trigger_id}", NODE.name, RunState.RUNNING, began, trigger_id, started_at=began)
        if self.clock.now() <= began:
            return run
        code = EXIT_CODES[trigger_id]
        ended = replace(run, state=RunState.SUCCEEDED, ended_at=began + timedelta(minutes=1), exit_code=code)
        return ended if code == 0 else replace(ended, state=RunState.FAILED, failure=RunFailure.EXIT_CODE)


class FileApi(FakeApi):
    """Holds a submission for each run that has ended well."""

    def __init__(self, provider: FileProvider, clock: FakeClock):
        super().__init__([Model(NODE.model_id, NODE.model_name, 8)])
        self._provider, self.clock = provider, clock
        self.round, self.past = BAD, [GOOD]

    def entries(self, model_id: str) -> list[SubmissionEntry]:
        well = [run for run in self._provider.runs(NODE.name) if run.state is RunState.SUCCEEDED]
        return [SubmissionEntry(GOOD.number, EntryStatus.ON_TIME, "sub", "sub.csv", run.ended_at) for run in well]


class WatchWork:
    """A round that is submitted at the second try, and one that is missed, watched from look to look."""

    def __init__(self, folder: Path, promise: Callable[..., None], promised: Callable[[str], list[list[object]]]):
        self.folder, self._promise, self._promised = folder, promise, promised
        self.clock = FakeClock()
        provider = FileProvider(folder, self.clock)
        self.ledger = Ledger(folder / DATABASE_FILE)
        self.watcher = Watcher(
            store=self,  # type: ignore[arg-type]
            api=lambda: FileApi(provider, self.clock),
            provider_named=lambda name: provider,
            ledger=self.ledger,
            notifier=self,
            clock=self.clock,
        )

    def nodes(self) -> Mapping[str, Node]:
        """The part of a store that the watcher uses."""
        return {NODE.name: NODE}

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        """Somebody who is told."""
        if notice.kind is not NoticeKind.WATCHER_STOPPED:
            self._promise("told", notice.kind.value, notice.round_number)
        return {"me": None}

    def do(self) -> None:
        for minute in LOOKS[len(self._promised("looked")) :]:
            self.clock.elapsed = 60.0 * minute
            self.watcher.look()
            self._promise("looked")
        self.watcher.end()
        self.ledger.close()

    def finished(self) -> None:
        triggers = Counter(path.name.partition("@")[0] for path in (self.folder / "runs").glob("*"))
        assert triggers == Counter(dict.fromkeys(EXIT_CODES, 1)), f"triggered: {triggers}"
        ledger = Ledger(self.folder / DATABASE_FILE)
        entries = [ledger.entry(NODE.name, each) for each in (GOOD, BAD)]
        assert [each and each.outcome for each in entries] == [RoundOutcome.ON_TIME, RoundOutcome.MISSED]
        told = Counter((str(kind), number) for kind, number in self._promised("told"))
        assert set(told) == set(TOLD), f"told: {told}"
        # a kill right after sending, before that is recorded, repeats that one
        assert sum(told.values()) <= len(TOLD) + 1, f"told: {told}"
        ledger.close()
