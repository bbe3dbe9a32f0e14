"""What doctor, status and `node test` say against what is: a real daemon, real runs, and the sandbox as Numerai."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.command_line import Shell
from tests.e2e.conftest import opened_shell
from tests.listeners import free_port

pytestmark = pytest.mark.e2e

FLAT = """
import time
from numerai_node import Node, run_and_submit

def main(node: Node) -> None:
    ids = node.universe["id"]
    node.submit(ids.to_frame().assign(prediction=[(index + 1) / (len(ids) + 1) for index in range(len(ids))]))

run_and_submit(main)
"""


@contextmanager
def deployed_shell(folder: Path) -> Iterator[Shell]:
    """A terminal with a deployed node whose daemon runs."""
    with opened_shell(folder, "process") as opened:
        opened.ok("setup")
        opened.ok("node", "config", "--example", "tournament-python3", "--path", "node", "--size", "gen-sm")
        (opened.folder / "node" / "predict.py").write_text(FLAT)
        opened.ok("node", "deploy")
        opened.ok("daemon", "start")
        yield opened


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One for all tests, which go in any order: none moves its clock."""
    with deployed_shell(tmp_path_factory.mktemp("reality")) as deployed:
        yield deployed


def state(shell: Shell) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    return found


def post(shell: Shell, path: str, **body: object) -> None:
    requests.post(f"{shell.sandbox['url']}/sandbox/{path}", json=body, timeout=30).raise_for_status()


def webhook_check(shell: Shell) -> tuple[str, str]:
    checks = shell("doctor", "--json").json["checks"]
    return next((each["status"], each["why"]) for each in checks if each["name"] == "webhook")


def test_without_submitting_everything_but_the_submission_is_proven(shell: Shell) -> None:
    before = len(state(shell)["submissions"])
    tested = shell.ok("node", "test", "--no-submit", "--json").json
    assert [fact["holds"] for fact in tested["facts"]] == [True, True, True, None], tested
    assert tested["verdict"] == "works" and tested["submits_to"] is None
    assert "withheld exit=79" in shell.ok("node", "logs").out
    assert len(state(shell)["submissions"]) == before
    local = shell.ok("node", "test", "--no-submit", "--local", "--json").json
    assert (local["state"], local["exit_code"]) == ("succeeded", 79)
    assert len(state(shell)["submissions"]) == before


def test_a_changed_port_is_found_and_fixed(shell: Shell) -> None:
    assert webhook_check(shell) == ("ok", "Numerai calls it, and it answers")
    port = free_port()
    assert "must be registered again" in shell.ok("config", "set", "port", str(port)).err
    status, why = webhook_check(shell)
    assert status == "failed" and f"(http://127.0.0.1:{port})" in why
    assert "doctor --fix" in shell("status").out
    assert shell("node", "test").exit_code == 1

    configured = shell.ok("node", "config")  # Numerai and nodes.json agree now, and nobody answers
    assert "will not arrive yet" in configured.err
    status, why = webhook_check(shell)
    assert status == "failed" and f"http://127.0.0.1:{port} does not answer; the daemon" in why
    failed = shell("node", "test", "--json").json["facts"][-1]
    assert not failed["holds"] and "does not answer" in failed["cause"] and failed["mend"] == "numerai doctor --fix"

    fixed = shell("doctor", "--fix", "--json").json
    assert [each for each in fixed["checks"] if each["status"] == "failed"] == [], fixed
    assert shell.ok("node", "test").out.count("✓") == 4

    shell.ok("config", "unset", "port")
    assert webhook_check(shell)[0] == "failed"
    shell.ok("doctor", "--fix")
    assert webhook_check(shell)[0] == "ok"
    assert shell.ok("node", "test").out.count("✓") == 4


def test_what_is_tested_is_said(shell: Shell) -> None:
    predict = shell.folder / "node" / "predict.py"
    predict.write_text("this is a syntax error")
    try:
        tested = shell.ok("node", "test")
        assert "has changed since the deploy" in tested.err and "live model alice" in tested.out
        refused = shell("node", "test", "--no-submit")
        assert refused.exit_code == 1 and "has changed since the deploy" in refused.err
    finally:
        predict.write_text(FLAT)


def test_the_reason_of_a_failed_run_is_wherever_the_run_is(shell: Shell) -> None:
    try:
        (shell.folder / "node" / "predict.py").write_text("raise SystemExit('the moon is full')")
        shell.ok("node", "deploy")
        assert shell("node", "test").exit_code == 1
        for command in (("status",), ("history",), ("node", "status"), ("node", "logs"), ("doctor",)):
            assert "the moon is full" in shell(*command).out, command
    finally:
        (shell.folder / "node" / "predict.py").write_text(FLAT)
        shell.ok("node", "deploy")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
def test_interrupting_names_the_run_and_following_ends_silently(shell: Shell) -> None:
    try:
        (shell.folder / "node" / "predict.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(600)")
        shell.ok("node", "deploy")
        testing = shell.start("node", "test", "--verbose")
        assert testing.stderr is not None
        next(line for line in testing.stderr if "ready" in line)
        testing.send_signal(signal.SIGINT)
        out, err = testing.communicate(timeout=60)
        assert testing.returncode == 130
        named = re.search(r"logs -f --run (\w+)", err)
        assert named is not None and f"Run {named[1]} goes on" in err and f"cancel {named[1]}" in err
        following = shell.start("node", "-m", "alice", "logs", "-f", "--run", named[1])
        assert following.stdout is not None
        next(line for line in following.stdout if "ready" in line)
        following.send_signal(signal.SIGINT)
        out, err = following.communicate(timeout=60)
        assert following.returncode == 130 and "nterrupted" not in out + err
        assert shell.ok("node", "cancel", named[1], "--json").json["state"] == "cancelled"
    finally:
        (shell.folder / "node" / "predict.py").write_text(FLAT)
        shell.ok("node", "deploy")


def test_while_no_round_is_open_what_can_be_proven_is(tmp_path: Path) -> None:
    with deployed_shell(tmp_path) as shell:
        post(shell, "clock", advance=24 * 3600 + 600)  # past the deadline, and no other round has opened
        tested = shell("node", "test", "--json")
        assert tested.exit_code == 4, tested.out + tested.err
        assert [fact["holds"] for fact in tested.json["facts"]] == [True, True, True, None]
        assert "no round is open" in tested.json["unproven"][0]
        shell.ok("node", "test", "--no-submit")


def test_a_run_that_never_started_says_why(shell: Shell) -> None:
    for folder in (shell.home / "local" / "nodes" / "numerai-alice").glob("source-*"):
        folder.rename(folder.with_name(f"away-{folder.name}"))
    try:
        assert shell("node", "test").exit_code == 1
        (row,) = [json.loads(line) for line in shell.ok("node", "logs", "--json").out.splitlines()]
        assert row["message"] and row["message"] in shell.ok("node", "logs").out
        assert row["message"][:40] in shell.ok("status").out
    finally:
        for folder in (shell.home / "local" / "nodes" / "numerai-alice").glob("away-*"):
            folder.rename(folder.with_name(folder.name.removeprefix("away-")))


def test_who_cannot_be_asked_is_not_spoken_for(shell: Shell, tmp_path: Path) -> None:
    environment = {"NUMERAI_API_URL": f"http://127.0.0.1:{free_port()}"}
    found = shell("status", **environment)
    assert "could not be asked" in found.out and "no round is open" not in found.out
    fresh = {**environment, "NUMERAI_HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "nodes.json").write_bytes((shell.home / "nodes.json").read_bytes())
    found = shell("status", **fresh)
    assert "whether a round is open is not known" in found.out and "no round is open" not in found.out
