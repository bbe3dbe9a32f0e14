"""Why a run on AWS failed stands wherever the run does, in the words that it would have on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from numerai_compute.main import run
from numerai_compute.models import Node, RunState
from numerai_compute.providers.aws.provider import REASONS
from numerai_compute.watching.facts import run_facts

from tests.fakes import ALICE, FakeApi, FakeProbe
from tests.unit.commands.conftest import FakeFactory

from .conftest import KEYS, World
from .test_runs import MILLISECONDS, Batch, job, with_batch, write

NOT_STARTED: dict[str, Any] = {
    "statusReason": "Task failed to start",
    "attempts": [{"container": {"reason": "CannotPullContainerError: dial tcp 1.2.3.4:443: i/o timeout"}}],
    "stoppedAt": MILLISECONDS + 2000,
}
FAILED: dict[str, Any] = {
    "statusReason": "Essential container in task exited",
    "attempts": [{"container": {"exitCode": 65, "logStreamName": "s/1"}, "startedAt": MILLISECONDS + 1500}],
    "stoppedAt": MILLISECONDS + 2000,
}


@dataclass
class Terminal:
    """Types commands about a node on AWS."""

    world: World
    capsys: pytest.CaptureFixture[str]
    home: Path

    def __call__(self, *arguments: str) -> str:
        factory = FakeFactory(self.home)
        factory.fake_api, factory.probe = FakeApi([ALICE]), FakeProbe()
        factory.provider = lambda name: self.world.provider  # type: ignore[assignment, return-value, method-assign]
        code = run(list(arguments), factory)
        said = self.capsys.readouterr()
        assert code in (0, 1, 3), said.err + said.out
        return said.out or said.err


@pytest.fixture
def alice(world: World) -> Node:
    return world.configured()


@pytest.fixture
def terminal(
    world: World, alice: Node, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    monkeypatch.setenv("NUMERAI_PUBLIC_ID", KEYS.public_id)
    monkeypatch.setenv("NUMERAI_SECRET_KEY", KEYS.secret_key)
    monkeypatch.setenv("COLUMNS", "200")
    world.parts.terraform = SimpleNamespace(program=("/bin/terraform", "1.11.4"))  # type: ignore[assignment]
    monkeypatch.setattr("numerai_compute.providers.aws.checks.denied", lambda *_: iter(()))
    terminal = Terminal(world, capsys, home)
    terminal("node", "-m", "alice", "config", "-P", "aws", "-p", alice.path, "--yes")
    return terminal


@pytest.mark.parametrize(
    "command",
    [("status",), ("history",), ("node", "status"), ("node", "logs"), ("doctor",), ("node", "logs", "--json")],
)
@pytest.mark.parametrize(
    ("ended", "says"),
    [(NOT_STARTED, "could not start its container: CannotPullContainerError"), (FAILED, "It said: a rule is broken.")],
)
def test_the_reason_is_wherever_the_run_is(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], ended: dict[str, Any], says: str
) -> None:
    write(terminal.world, "s/1", "hello", '+  1.0s failed exit=65 reason="a rule is broken"')
    batch = Batch(job("j-1", "FAILED", **ended), others=terminal.world.clients.client("batch"))
    monkeypatch.setitem(terminal.world.clients._clients, "batch", batch)
    shown = terminal(*command)
    if "--json" in command:
        assert says in json.loads(shown.splitlines()[-1])["message"]
    else:
        assert says in " ".join(shown.split())


def test_a_notice_has_the_reason_too(world: World, alice: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with_batch(world, monkeypatch, job("j-1", "FAILED", **NOT_STARTED))
    assert "i/o timeout" in str(run_facts(world.provider.run("j-1")).message)


def test_a_run_that_has_printed_nothing_says_what_is_known(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_batch(world, monkeypatch, job("j-1", "FAILED", **FAILED))
    assert "numerai node logs" in str(world.provider.run("j-1").message)
    write(world, "s/1", "KeyError: 'x'")  # CloudWatch has it a moment later
    assert "It said: KeyError: 'x'." in str(world.provider.run("j-1").message)


def test_a_reason_is_asked_for_once_and_for_so_many_runs_at_a_time(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(world, "s/1", "it fails")
    with_batch(world, monkeypatch, *(job(f"j-{number}", "FAILED", **FAILED) for number in range(REASONS + 5)))
    asked = counted(world, monkeypatch)
    for known in (REASONS, REASONS + 5, REASONS + 5):
        runs = world.provider.runs(alice.name, 500)
        assert len(runs) == REASONS + 5 and all(each.state is RunState.FAILED for each in runs)
        assert sum("It said: it fails." in str(each.message) for each in runs) == known
        assert asked == [known]


def test_logs_that_cannot_be_read_change_nothing_of_how_a_run_ended(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**asked: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetLogEvents")

    with_batch(world, monkeypatch, job("j-1", "FAILED", **FAILED))
    monkeypatch.setitem(world.clients._clients, "logs", SimpleNamespace(get_log_events=refuse))
    assert world.provider.run("j-1").exit_code == 65


@pytest.mark.parametrize("secret", [KEYS.secret_key, KEYS.secret_key.encode().hex()])
def test_a_reason_holds_no_secret_even_if_its_line_was_cut(
    world: World, alice: Node, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    with_batch(world, monkeypatch, job("j-1", "FAILED", **FAILED))
    write(world, "s/1", "x" * (16 * 1024 - 8) + secret[:8], f"{secret[8:]} was refused")
    message = str(world.provider.run("j-1").message)
    assert secret[8:] not in message and "It said: " in message


def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often a log is asked for from now on."""
    logs, asked = world.clients.client("logs"), [0]
    ask: Callable[..., Any] = logs.get_log_events

    def get_log_events(**given: Any) -> Any:
        asked[0] += 1
        return ask(**given)

    monkeypatch.setitem(world.clients._clients, "logs", SimpleNamespace(get_log_events=get_log_events))
    return asked
