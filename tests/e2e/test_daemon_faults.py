"""A killed daemon loses nothing and starts nothing twice, whatever it was doing, with containers and with processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.models import Keys, Node, Run, RunFailure, RunState
from numerai_compute.providers.local.docker_executor import DockerExecutor
from numerai_compute.providers.local.executor import Attempt
from numerai_compute.providers.local.scheduler import RunExecution

from tests.contract.local_bench import LocalBench, local_bench
from tests.contract.local_daemon import KEYS, SECRET
from tests.contract.provider_suite import (
    HELLO,
    TERMINATED,
    WAIT,
    ended,
    quiet,
    texts,
    trigger,
    until_line,
    wait_until,
    webhook,
)
from tests.fixtures.sandbox import wait_for
from tests.present import present

pytestmark = pytest.mark.e2e

_RUNS_OWN = {"nodes", "attempts", "cache"}
"""Folders with the node's own files, whose modes are its own affair; the home folder above is private."""

TICKING = """
import os, time
print("ready", flush=True)
number = 0
while not os.path.exists(os.path.join(os.environ["NUMERAI_ARTIFACTS"], "go")):
    print(number, flush=True)
    number += 1
    time.sleep(0.002)
print("end", number)
"""


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalBench]:
    """A home whose daemon does not run yet."""
    with local_bench(tmp_path / "bench", request.param, awake=False) as bench:
        yield bench


def deployed(bench: LocalBench, script: str, **changes: Any) -> Node:
    node = bench.provider.configure(bench.node(script, **changes), quiet)
    bench.provider.deploy(node, force=False, report=quiet)
    return node


def claimed(bench: LocalBench, run: Run) -> tuple[RunExecution, Attempt]:
    """Do what a daemon does until just before it starts the attempt."""
    parts = bench.provider._parts
    job = present(parts.store.claim(4, datetime.now(timezone.utc)))
    assert job.run.id == run.id
    execution = parts.execution()
    _, attempt, fresh = execution._prepare(job)
    assert fresh
    return execution, attempt


def test_what_is_queued_without_a_daemon_is_executed_once(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    runs = [bench.provider.trigger(node, name) for name in ("a", "b", "a")]
    assert runs[0].id == runs[2].id
    assert bench.provider.run(runs[0].id).state is RunState.QUEUED
    bench.start_daemon()
    for run in runs:
        assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
        assert texts(bench.provider, run.id) == ["begin"]


def test_a_daemon_killed_after_it_answered_executes_the_run_once(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    bench.start_daemon()
    answer = trigger(webhook(node), "accepted")
    bench.kill_daemon()
    bench.start_daemon()
    assert trigger(webhook(node), "accepted").content["runId"] == answer.content["runId"]
    assert ended(bench.provider, answer.content["runId"]).state is RunState.SUCCEEDED
    assert texts(bench.provider, answer.content["runId"]) == ["begin"]
    assert len(bench.provider.runs(node.name)) == 1


def test_a_daemon_killed_in_a_run_takes_it_over_and_keeps_every_line(bench: LocalBench) -> None:
    node = deployed(bench, TICKING)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    for line in ("ready", "50"):
        until_line(bench.provider, run.id, line)
    bench.kill_daemon()
    assert bench.provider.run(run.id).state is RunState.RUNNING
    bench.start_daemon()
    until_line(bench.provider, run.id, "300")
    bench.kill_daemon()
    bench.start_daemon()
    bench.release(node, run)
    assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
    lines = texts(bench.provider, run.id)
    assert lines == ["ready", *map(str, range(len(lines) - 2)), f"end {len(lines) - 2}"]


def test_a_run_that_ended_while_the_daemon_was_dead_is_found(bench: LocalBench) -> None:
    node = deployed(bench, WAIT + "import sys; sys.exit(7)")
    bench.start_daemon()
    run = bench.provider.trigger(node)
    until_line(bench.provider, run.id, "ready")
    bench.kill_daemon()
    bench.release(node, run)
    if bench.executor == "docker":
        bench.container(run).wait(timeout=30)
    else:
        wait_until((bench.home.path / "local" / "attempts" / f"{run.id}-1" / "result.json").exists)
    bench.start_daemon()
    found = ended(bench.provider, run.id)
    assert (found.state, found.exit_code) == (RunState.FAILED, 7)
    assert texts(bench.provider, run.id) == ["ready", "released"]


def test_the_time_limit_counts_on_while_the_daemon_is_dead(bench: LocalBench) -> None:
    node = deployed(bench, TERMINATED, timeout_minutes=0.05)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    until_line(bench.provider, run.id, "ready")
    bench.kill_daemon()
    deadline = present(present(bench.provider._store.job(run.id)).deadline)
    wait_until(lambda: datetime.now(timezone.utc) > deadline + timedelta(seconds=0.2))
    bench.start_daemon()
    found = ended(bench.provider, run.id)
    assert (found.state, found.failure) == (RunState.FAILED, RunFailure.TIMED_OUT)
    assert texts(bench.provider, run.id) == ["ready", "terminated"]


def test_a_run_that_vanished_is_lost_with_its_reason(bench: LocalBench) -> None:
    node = deployed(bench, WAIT)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    until_line(bench.provider, run.id, "ready")
    bench.kill_daemon()
    if bench.executor == "docker":
        bench.container(run).remove(force=True)
    else:
        import psutil

        folder = bench.home.path / "local" / "attempts" / f"{run.id}-1"
        child = psutil.Process(json.loads((folder / "child.json").read_text())["pid"])
        supervisor = present(child.parent())
        supervisor.kill()
        supervisor.wait(30)
    bench.start_daemon()
    found = ended(bench.provider, run.id)
    assert (found.state, found.failure) == (RunState.FAILED, RunFailure.LOST)
    assert "not known" in (found.message or "")
    if bench.executor == "process":
        wait_until(lambda: not child.is_running())


def test_a_run_claimed_but_not_started_is_started_once(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    run = bench.provider.trigger(node)
    claimed(bench, run)
    bench.start_daemon()
    assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
    assert texts(bench.provider, run.id) == ["begin"]


def test_a_run_started_but_not_recorded_is_not_started_again(bench: LocalBench) -> None:
    node = deployed(bench, WAIT)
    run = bench.provider.trigger(node)
    _, attempt = claimed(bench, run)
    executor = bench.provider._parts.executor(bench.executor)
    executor.start(attempt)
    assert present(bench.provider._store.job(run.id)).phase == "starting"
    bench.start_daemon()
    until_line(bench.provider, run.id, "ready")
    bench.release(node, run)
    assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
    assert texts(bench.provider, run.id) == ["ready", "released"]


def test_an_attempt_started_twice_at_once_runs_once(bench: LocalBench) -> None:
    node = deployed(bench, WAIT)
    run = bench.provider.trigger(node)
    _, attempt = claimed(bench, run)
    for parts in (bench.provider._parts, bench.home.provider()._parts):
        parts.executor(bench.executor).start(attempt)
    bench.start_daemon()
    until_line(bench.provider, run.id, "ready")
    bench.release(node, run)
    assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
    assert texts(bench.provider, run.id) == ["ready", "released"]


@pytest.mark.docker
def test_a_container_created_but_not_started_is_started_once(tmp_path: Path) -> None:
    with local_bench(tmp_path / "bench", "docker", awake=False) as bench:
        node = deployed(bench, "print('begin')")
        run = bench.provider.trigger(node)
        _, attempt = claimed(bench, run)
        executor = bench.provider._parts.executor("docker")
        assert isinstance(executor, DockerExecutor)
        assert executor._engine.create_container(executor._spec(attempt))
        assert not executor._engine.create_container(executor._spec(attempt))
        bench.start_daemon()
        assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
        assert texts(bench.provider, run.id) == ["begin"]


def test_a_run_is_cancelled_while_no_daemon_runs(bench: LocalBench) -> None:
    node = deployed(bench, TERMINATED)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    until_line(bench.provider, run.id, "ready")
    bench.kill_daemon()
    assert bench.provider.cancel(run.id).state is RunState.CANCELLED
    assert texts(bench.provider, run.id) == ["ready", "terminated"]


def test_a_run_claimed_but_not_started_is_cancelled(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    runs = [bench.provider.trigger(deployed(bench, "print('begin')")) for _ in "12"]
    bench.provider._store.claim(4, datetime.now(timezone.utc))
    job = present(bench.provider._store.claim(4, datetime.now(timezone.utc)))
    bench.provider._parts.execution()._prepare(job)
    for run in runs:
        assert bench.provider.cancel(run.id).state is RunState.CANCELLED
        assert texts(bench.provider, run.id) == []
    assert bench.provider.runs(node.name) == []


def test_what_is_left_of_an_ended_run_is_removed_at_the_next_start(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    run = bench.provider.trigger(node)
    _, attempt = claimed(bench, run)
    executor = bench.provider._parts.executor(bench.executor)
    executor.start(attempt)
    assert executor.leftovers()
    store = bench.provider._store
    store.started(run.id, datetime.now(timezone.utc))
    final = Run(run.id, node.name, RunState.FAILED, run.created_at, ended_at=datetime.now(timezone.utc))
    store.finish(run.id, final)
    bench.start_daemon()
    wait_until(lambda: not executor.leftovers())


def test_no_keys_fail_the_run_and_are_found_when_they_appear(bench: LocalBench) -> None:
    node = deployed(bench, "print('begin')")
    settings = json.loads((bench.home.path / "test.json").read_text())["settings"]
    bench.home.write(settings, None)
    bench.start_daemon()
    failed = ended(bench.provider, bench.provider.trigger(node).id)
    assert (failed.state, failed.failure) == (RunState.FAILED, RunFailure.NO_KEYS)
    assert "numerai setup" in (failed.message or "")
    bench.home.write(settings, KEYS)
    assert ended(bench.provider, bench.provider.trigger(node).id).state is RunState.SUCCEEDED


def test_secrets_are_nowhere_but_in_the_run(bench: LocalBench) -> None:
    node = deployed(bench, HELLO + "print()\n" + WAIT, timeout_minutes=0.5)
    bench.start_daemon()
    run_id = trigger(webhook(node), "t").content["runId"]
    until_line(bench.provider, run_id, "ready")
    token = webhook(node).rpartition("/")[2]
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert not [secret for secret in (SECRET, token) if secret in processes]
    for path in bench.home.path.rglob("*"):
        if path.is_file() and path.stat().st_size and path.name != "test.json" and "artifacts" not in path.parts:
            content = path.read_bytes()
            assert SECRET.encode() not in content, path
            assert token.encode() not in content or path.name.startswith("runs.db"), path
            assert path.stat().st_mode & 0o077 == 0 or _RUNS_OWN & set(path.parts), path
    if bench.executor == "docker":
        image = present(bench.provider.deployment(node.name)).image
        for command in (["docker", "history", "--no-trunc", image], ["docker", "inspect", image]):
            assert SECRET not in subprocess.run(command, capture_output=True, text=True, check=True).stdout
        container = bench.container(bench.provider.run(run_id))
        limits = container.attrs["HostConfig"]
        assert limits["Memory"] == limits["MemorySwap"] == 256 * 1024 * 1024
        assert limits["NanoCpus"] == 1_000_000_000
        assert limits["CapDrop"] == ["ALL"]
        assert limits["Init"] is True
        assert limits["SecurityOpt"] == ["no-new-privileges"]
        assert limits["PidsLimit"] > 0
    bench.release(node, bench.provider.run(run_id))
    ended(bench.provider, run_id)
    if bench.executor == "docker":
        containers = bench.provider._parts.executor("docker")
        wait_for(lambda: containers.leftovers() == {})  # the run has ended a moment before its container is gone


def test_keys_hide_their_secret() -> None:
    assert SECRET not in repr(Keys(**KEYS))
