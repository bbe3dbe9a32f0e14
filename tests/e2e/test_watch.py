"""The watcher for real: a daemon and `numerai watch` as processes, a node that submits by numerai_node, a sandbox whose
clock they follow, and a web server that is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.models import Node, RunFailure, RunState
from numerai_compute.providers.local.daemon import stop_daemon

from tests.faults.house import MAIN, House, opened_house
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.listeners import Inbox, http_inbox

pytestmark = pytest.mark.e2e

MINUTES = 60.0
SECONDS = 120.0
HELD = f"""
import pathlib, time
pathlib.Path({{started!r}}).touch()
while not pathlib.Path({{release!r}}).exists():
    time.sleep(0.02)
{MAIN}
"""
"""The same node, which waits until it is released."""


class Street:
    """A house, the sandbox and somebody who is told."""

    def __init__(self, house: House, sandbox: ServedSandbox, inbox: Inbox):
        self.house, self.sandbox, self.inbox = house, sandbox, inbox
        house.factory.store.save_notify_url("team", f"json://127.0.0.1:{inbox.port}")

    def open_round(self) -> int:
        (opened,) = self.sandbox.open_round("classic", minutes=MINUTES)
        return int(opened["number"])

    def pass_minutes(self, minutes: float) -> None:
        self.sandbox.clock(advance=60 * minutes)

    def submissions(self, number: int) -> list[dict[str, Any]]:
        return [each for each in self.sandbox.state()["submissions"] if each["round_number"] == number]

    def submitted(self, number: int) -> dict[str, Any]:
        """The one submission of a round."""
        wait_for(lambda: self.submissions(number), SECONDS)
        (only,) = self.submissions(number)
        return only

    def told(self, words: str) -> str:
        """The one message whose title holds these words."""
        wait_for(lambda: any(words in title for title in self.titles), SECONDS)
        (message,) = [post["message"] for _, post in self.inbox.posts if words in post["title"]]
        return str(message)

    @property
    def titles(self) -> list[str]:
        return [post["title"] for _, post in self.inbox.posts]

    def numerai(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "numerai_compute", *arguments],
            env={**os.environ, "NUMERAI_HOME": str(self.house.factory.home), "NUMERAI_WATCH_SECONDS": "0.2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def look(self) -> tuple[int, Any]:
        """`numerai watch --once --json`: its exit code and what it found."""
        process = self.numerai("watch", "--once", "--json")
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return process.returncode, json.loads(out)

    def looks_on(self, times: int = 3) -> None:
        """Return when the daemon's watcher has looked again so often."""
        for _ in range(times):
            before = self._beats()
            wait_for(lambda: self._beats() != before, SECONDS)  # noqa: B023  (waited for here)

    def _beats(self) -> list[object]:
        return [each.machine_seen for each in self.house.factory.ledger.watchers() if each.kind == "daemon"]

    def held_node(self) -> tuple[Node, Path, Path]:
        """A node that waits in its run, the file that says so, and the one that releases it."""
        started, release = self.house.folder / "started", self.house.folder / "release"
        node = self.house.node(main=HELD.format(started=str(started), release=str(release)), webhook=False)
        return node, started, release


@pytest.fixture
def street(sandbox: ServedSandbox, tmp_path: Path) -> Iterator[Street]:
    with ExitStack() as stack:
        inbox = stack.enter_context(http_inbox())
        sandbox.move_deadline(-10_000, "classic")  # no round is open but those that a test opens
        house = stack.enter_context(opened_house(tmp_path / "house", sandbox))
        yield Street(house, sandbox, inbox)


def test_a_round_whose_webhook_call_is_lost_is_submitted_by_the_watcher(street: Street) -> None:
    node = street.house.node()
    street.house.start_daemon()
    street.sandbox.set_fault("webhook", "drop", times=None)
    number = street.open_round()
    street.looks_on()
    assert street.house.runs() == [], "Numerai gets its time first"
    street.pass_minutes(11)
    assert street.submitted(number)["selected"]
    assert "The watcher triggered it: no run and no submission" in street.told(f"round {number} is submitted")
    street.looks_on()
    (run,) = street.house.ended()
    assert run.trigger_id == f"watch-8-{number}-1" and run.state is RunState.SUCCEEDED
    assert street.titles == [f"{node.name}: round {number} is submitted"]


def test_a_node_that_numerai_cannot_call_runs_once_with_two_watchers_and_a_killed_daemon(street: Street) -> None:
    node, started, release = street.held_node()
    street.house.start_daemon()
    watching = street.numerai("watch", "--json")
    assert watching.stdout is not None
    try:
        number = street.open_round()
        wait_for(started.exists, SECONDS)
        street.house.kill_daemon()
        street.house.start_daemon()
        street.looks_on()
        assert len(street.house.runs()) == 1
        release.touch()
        street.submitted(number)
        street.told(f"round {number} is submitted")
        street.looks_on()
    finally:
        watching.send_signal(signal.SIGINT)
        out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0 and "Traceback" not in err
    looks = [json.loads(line) for line in out.splitlines()]
    assert node.name in [finding["node"] for look in looks for finding in look["findings"]]
    (run,) = street.house.ended()
    assert (run.trigger_id, run.state, run.attempt) == (f"watch-8-{number}-1", RunState.SUCCEEDED, 1)
    assert [title for title in street.titles if "is submitted" in title] == [
        f"{node.name}: round {number} is submitted"
    ]
    history = street.numerai("history", "-m", "alice", "-n", "1", "--json")
    (record,) = json.loads(history.communicate(timeout=60)[0])["rounds"]
    assert (record["standing"], record["told"]) == ("on-time", ["success"])
    (shown,) = record["runs"]
    assert (shown["trigger"], shown["why"]) == ("watcher", "the round has opened, and Numerai cannot call this node")


def test_failure_and_missed_are_told_once_each_over_a_restart(street: Street) -> None:
    node = street.house.node(main="raise SystemExit(65)", webhook=False)
    street.house.start_daemon()
    number = street.open_round()
    assert "the same code would make the same predictions" in street.told(f"round {number} failed")
    stop_daemon(street.house.factory.provider_context("local"))
    assert "stopped with the daemon" in street.told("The watcher has stopped")
    street.house.start_daemon()
    street.looks_on()
    street.pass_minutes(MINUTES)
    assert "numerai node -m numerai-alice logs" in street.told(f"round {number} was missed")
    street.looks_on()
    own = [title for title in street.titles if title.startswith(node.name)]
    assert own == [f"{node.name}: round {number} failed", f"{node.name}: round {number} was missed"]
    assert len(street.house.runs()) == 1, "the same code is not run again"


def test_a_late_submission_is_told_as_late(street: Street) -> None:
    node, started, release = street.held_node()
    street.house.start_daemon()
    number = street.open_round()
    wait_for(started.exists, SECONDS)
    street.pass_minutes(MINUTES - 10)
    assert "The deadline is" in street.told(f"round {number} has no submission yet")
    street.pass_minutes(11)
    release.touch()
    assert street.submitted(number)["late"]
    assert "after the deadline" in street.told(f"round {number} was submitted late")
    (run,) = street.house.ended()
    assert (run.exit_code, run.failure) == (69, RunFailure.LATE)
    street.looks_on()
    assert len([title for title in street.titles if title.startswith(node.name)]) == 2


def test_the_exit_codes_of_one_look(street: Street) -> None:
    """0: all is well; 1: this look has found something wrong; what an earlier one has settled does not count."""
    street.house.node(main="raise SystemExit(65)", webhook=False)
    context = street.house.factory.provider_context("local")
    number = street.open_round()
    code, found = street.look()
    assert (code, [each["step"] for each in found["findings"]][-1]) == (0, "triggered")
    street.house.ended()
    stop_daemon(context)
    code, found = street.look()
    assert (code, found["findings"][-1]["step"], found["findings"][-1]["round_number"]) == (1, "failed", number)
    street.pass_minutes(MINUTES)
    code, found = street.look()
    assert code == 1 and found["findings"][-1]["step"] == "missed"
    assert street.look()[0] == 0
    street.told(f"round {number} was missed")


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking it")
def test_a_watcher_that_is_ended_from_outside_says_so_and_one_that_is_interrupted_does_not(street: Street) -> None:
    street.house.node()
    for number, ending in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        watching = street.numerai("watch")
        assert watching.stderr is not None and watching.stderr.readline() == "Watching. Ctrl-C ends it.\n"
        wait_for(lambda: len(street.house.factory.ledger.watchers()) > number, SECONDS)  # noqa: B023  (waited for here)
        watching.send_signal(ending)
        assert watching.wait(120) == 0
        watching.communicate()
    wait_for(lambda: len(street.titles) == 2, SECONDS)
    told = [post["message"] for _, post in street.inbox.posts]
    assert ["from outside (SIGTERM)" in told[0], "from outside (SIGHUP)" in told[1]] == [True, True]
    assert [each.alive for each in street.house.factory.ledger.watchers()] == [False, False, False]
