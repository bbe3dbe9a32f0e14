"""The watcher against the sandbox over HTTP: what Numerai's answers make of three rounds, with each open question about
them answered both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.models import Deployment, Keys, Node, Notice, RunFailure, RunState
from numerai_compute.sandbox.switches import Switches
from numerai_compute.watching.ledger import Ledger
from numerai_compute.watching.policy import Step
from numerai_compute.watching.watcher import Watcher

from tests.fakes import FakeClock, FakeProvider
from tests.fixtures.sandbox import ServedSandbox

SWITCHES = (
    Switches(),
    Switches(entry_ids_match=False),
    Switches(clones_listed=False),
    Switches(clone_keeps_trigger=True, round_zero_after_deadline=False),
    Switches(entry_ids_match=False, clones_listed=False),
)


class Street:
    """A node that Numerai cannot call, its watcher, and a sandbox whose clock stands until `wait`."""

    def __init__(self, sandbox: ServedSandbox, folder: Path):
        self.sandbox, self.folder, self.told = sandbox, folder, list[str]()
        now = sandbox.clock(freeze=True)["now"]
        self.clock = FakeClock(datetime.fromisoformat(now.replace("Z", "+00:00")))
        self.provider = FakeProvider(reachable=False)
        self.provider.clock = self.clock
        self.node = Node("numerai-alice", "alice", sandbox.models["alice"], 8, "local", "/code", 1, 512)
        self.provider.deployments[self.node.name] = Deployment(self.node.name, "image", "h1", self.clock.now())
        self.ledger = Ledger(folder / "rounds.db")
        api = HttpNumeraiApi(Keys(sandbox.public_id, sandbox.secret_key, sandbox.url))
        self.watcher = Watcher(
            store=SimpleNamespace(nodes=lambda: {self.node.name: self.node}),
            api=lambda: api,
            provider_named=lambda name: self.provider,
            ledger=self.ledger,
            notifier=SimpleNamespace(tell=self._tell),
            clock=self.clock,
        )
        self.wait(60)
        self.watcher.look()

    def _tell(self, notice: Notice) -> dict[str, str | None]:
        if notice.round_number is not None:  # not that the time jumped
            self.told.append(f"{notice.kind.value} {notice.round_number}")
        return {"me": None}

    def wait(self, minutes: float) -> None:
        self.sandbox.clock(advance=60 * minutes)
        self.clock.elapsed += 60 * minutes

    def look(self) -> Step | None:
        """Where the node is in the latest round, None when its round is settled."""
        findings = self.watcher.look().findings
        return findings[-1].step if findings else None

    def open_round(self) -> int:
        return int(self.sandbox.open_round("classic")[0]["number"])

    def begin_run(self) -> None:
        runs = self.provider.all_runs
        runs[0] = replace(runs[0], state=RunState.RUNNING, started_at=self.clock.now())

    def submit(self) -> None:
        """What a run does: predictions for the live data of now."""
        folder = self.folder / f"{self.clock.elapsed:.0f}"
        folder.mkdir()
        self.sandbox.submit(self.sandbox.live_predictions(folder).to_csv(index=False))

    def end_run(self, exit_code: int) -> None:
        state = RunState.FAILED if exit_code else RunState.SUCCEEDED
        failure = RunFailure.EXIT_CODE if exit_code else None
        runs = self.provider.all_runs
        runs[0] = replace(runs[0], state=state, exit_code=exit_code, failure=failure, ended_at=self.clock.now())


@pytest.fixture(params=SWITCHES, ids=lambda switches: str(SWITCHES.index(switches)))
def street(
    request: pytest.FixtureRequest, sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path
) -> Iterator[Street]:
    made = Street(sandbox_factory(switches=request.param, window_minutes=60), tmp_path)
    yield made
    made.ledger.close()


def test_late_then_covered_then_on_time(street: Street) -> None:
    street.told.clear()
    late = street.open_round()
    assert street.look() is Step.TRIGGERED
    street.begin_run()
    street.wait(61)
    assert street.look() is Step.RUNNING, "it goes on over the deadline"
    street.submit()
    street.end_run(69)
    assert street.look() is Step.LATE
    assert street.told[-1] == f"late {late}"
    street.wait(22 * 60)

    covered = street.open_round()
    assert street.sandbox.entry()["status"] == "on-time", "the queued file was carried over"
    assert street.look() is Step.TRIGGERED, "as if nothing were there"
    street.end_run(65)
    street.wait(61)
    assert street.look() is Step.COVERED
    assert street.told[-1] == f"covered {covered}"
    street.wait(22 * 60)

    good = street.open_round()
    assert street.look() is Step.TRIGGERED
    street.submit()
    street.end_run(0)
    street.wait(2)
    assert street.look() is Step.SUBMITTED
    street.wait(60)
    assert street.look() is None
    assert street.told[-1] == f"success {good}"


def test_an_entry_that_comes_late_is_waited_for(sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path) -> None:
    switches = Switches(entry_delay_seconds=300)
    street = Street(sandbox_factory(switches=switches, window_minutes=60), tmp_path)
    street.open_round()
    assert street.look() is Step.TRIGGERED
    street.submit()
    street.end_run(76)
    assert street.look() is Step.UNCONFIRMED
    street.wait(6)
    assert street.look() is Step.SUBMITTED
    assert len(street.provider.all_runs) == 1
    street.ledger.close()
