"""The daemon as a process: one per home, found by lock and health answer, stopped without stopping runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import RunState
from numerai_compute.providers.local.daemon import daemon_status, run_daemon, start_daemon, stop_daemon

from tests.contract.local_bench import LocalBench, local_bench
from tests.contract.local_daemon import KEYS
from tests.contract.provider_suite import (
    TERMINATED,
    WAIT,
    call,
    ended,
    quiet,
    texts,
    trigger,
    until_line,
    wait_until,
    webhook,
)
from tests.present import present

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[LocalBench]:
    with local_bench(tmp_path / "bench", "process", awake=False) as bench:
        yield bench


def settings(bench: LocalBench, **changes: str | int) -> None:
    content = json.loads((bench.home.path / "test.json").read_text())
    bench.home.write({**content["settings"], **changes}, content["keys"])


def test_the_life_of_a_daemon(bench: LocalBench) -> None:
    context = bench.home.context()
    assert not daemon_status(context).running
    assert not stop_daemon(context).running
    lines: list[str] = []
    first = start_daemon(context, report=lines.append, command=bench.home.daemon_command)
    assert lines == ["Starting the daemon"]
    assert first.running and first.answering
    assert call(f"{first.url}/health", method="GET").content["instance"] == first.instance
    assert start_daemon(context, report=quiet, command=bench.home.daemon_command).instance == first.instance
    before = stop_daemon(context)
    assert (before.pid, before.going_on) == (first.pid, ())
    assert not daemon_status(context).running
    assert "has stopped" in first.log.read_text()
    again = start_daemon(context, report=quiet, command=bench.home.daemon_command)
    assert again.url == first.url
    assert again.instance != first.instance


def test_wake_starts_it_once_from_many_sides(bench: LocalBench) -> None:
    command = [*bench.home.daemon_command]
    environ = {**os.environ, "NUMERAI_HOME": str(bench.home.path)}
    daemons = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in "123"]
    wait_until(lambda: sum(daemon.poll() is not None for daemon in daemons) == 2)
    wait_until(lambda: daemon_status(bench.home.context()).answering)
    status = daemon_status(bench.home.context())
    (alive,) = [daemon for daemon in daemons if daemon.poll() is None]
    assert status.pid == alive.pid
    for daemon in daemons:
        if daemon is not alive:
            said = daemon.communicate()[0].decode()  # the pid, where the one that runs had written it by then
            assert f"already (pid {alive.pid})." in said or "already." in said
            assert daemon.returncode == 1
    bench.provider.wake(quiet)
    assert daemon_status(bench.home.context()).pid == alive.pid
    alive.terminate()
    assert "has stopped" in alive.communicate()[0].decode()
    assert alive.returncode == 0


def test_stopping_leaves_runs_running_and_the_next_daemon_takes_them_over(bench: LocalBench) -> None:
    node = bench.provider.configure(bench.node(WAIT), quiet)
    bench.provider.deploy(node, force=False, report=quiet)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    until_line(bench.provider, run.id, "ready")
    assert stop_daemon(bench.home.context()).going_on == (run.id,)
    assert bench.provider.run(run.id).state is RunState.RUNNING
    with pytest.raises(NumeraiError) as error:
        list(bench.provider.logs(run.id, follow=True))
    assert error.value.code == "daemon-down"
    bench.provider.wake(quiet)
    assert daemon_status(bench.home.context()).going_on == (run.id,)
    bench.release(node, run)
    assert ended(bench.provider, run.id).state is RunState.SUCCEEDED
    assert texts(bench.provider, run.id) == ["ready", "released"]


def test_a_port_in_use_is_one_clear_message(bench: LocalBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings(bench, port=port)
        with pytest.raises(NumeraiError) as error:
            start_daemon(bench.home.context(), report=quiet, command=bench.home.daemon_command)
        assert error.value.code == "daemon-failed"
        assert f"127.0.0.1:{port}" in error.value.message
        assert "Traceback" not in error.value.message
    status = start_daemon(bench.home.context(), report=quiet, command=bench.home.daemon_command)
    assert present(status.url).endswith(f":{port}")


def test_another_program_on_the_port_is_not_taken_for_the_daemon(bench: LocalBench, tmp_path: Path) -> None:
    bench.start_daemon()
    file = bench.home.path / "local" / "daemon.json"
    told = json.loads(file.read_text())
    with local_bench(tmp_path / "other", "process") as other:
        others = json.loads((other.home.path / "local" / "daemon.json").read_text())
        for port in ("port", "control_port"):
            file.write_text(json.dumps({**told, port: others[port]}))
            status = daemon_status(bench.home.context())
            assert status.running and not status.answering
        with pytest.raises(NumeraiError) as error:
            stop_daemon(bench.home.context())
        assert error.value.code == "daemon-stuck"
        checks = {check.name: check.status.value for check in bench.provider.checks([])}
        assert checks["daemon"] == "failed"
        assert daemon_status(other.home.context()).answering
    file.write_text("{half")
    assert daemon_status(bench.home.context()).running
    file.write_text(json.dumps(told))


def test_a_daemon_that_is_dead_is_not_believed_its_file(bench: LocalBench) -> None:
    bench.start_daemon()
    pid = daemon_status(bench.home.context()).pid
    bench.kill_daemon()
    assert not psutil.pid_exists(present(pid))
    assert (bench.home.path / "local" / "daemon.json").exists()
    assert not daemon_status(bench.home.context()).running
    checks = {check.name: check for check in bench.provider.checks([bench.node("pass")])}
    assert (checks["daemon"].status.value, checks["daemon"].mend) == ("failed", "numerai daemon start")


def test_a_schedule_starts_runs(bench: LocalBench) -> None:
    node = replace(bench.node("import os; print(os.environ.get('TRIGGER_ID'))"), cron="* * * * *")
    bench.provider.configure(node, quiet)
    bench.provider.deploy(node, force=False, report=quiet)
    with bench.provider._store._write() as db:
        db.execute("UPDATE nodes SET cron_after = datetime('now', '-61 seconds')")
        db.execute("UPDATE nodes SET cron_after = replace(cron_after, ' ', 'T') || '.000000'")
    for _ in "12":
        bench.start_daemon()
        wait_until(lambda: bench.provider.runs(node.name))
        run = ended(bench.provider, bench.provider.runs(node.name)[-1].id)
        assert run.state is RunState.SUCCEEDED
        assert present(run.trigger_id).startswith("cron-")
        assert texts(bench.provider, run.id) == ["None"]
        bench.kill_daemon()
    times = [run.trigger_id for run in bench.provider.runs(node.name)]
    assert len(times) == len(set(times)) <= 4


def test_a_public_address_leads_here(bench: LocalBench) -> None:
    node = bench.node("")
    assert bench.provider.reachable_by(KEYS["api_url"])
    assert not bench.provider.reachable_by("https://api-tournament.numer.ai")
    assert webhook(bench.provider.configure(node, quiet)).startswith("http://127.0.0.1:")
    settings(bench, public_url="https://tunnel.example/")
    provider = bench.home.provider()
    assert provider.reachable_by("https://api-tournament.numer.ai")
    assert webhook(provider.configure(node, quiet)).startswith(f"https://tunnel.example/{node.name}/")


def test_only_this_machine_reaches_it(bench: LocalBench) -> None:
    bench.start_daemon()
    status = daemon_status(bench.home.context())
    listening = psutil.Process(status.pid).net_connections(kind="inet")
    assert {connection.laddr.ip for connection in listening if connection.status == "LISTEN"} == {"127.0.0.1"}


def test_a_wrong_trigger_id_or_schedule_is_refused(bench: LocalBench) -> None:
    node = bench.provider.configure(bench.node(""), quiet)
    with pytest.raises(NumeraiError) as error:
        bench.provider.trigger(node, "with space")
    assert error.value.code == "bad-trigger-id"
    with pytest.raises(NumeraiError) as error:
        bench.provider.configure(replace(node, cron="nonsense"), quiet)
    assert error.value.code == "bad-cron"


def test_a_run_that_waits_for_its_next_attempt_is_cancelled(bench: LocalBench) -> None:
    settings(bench, retry_seconds=600)
    node = bench.provider.configure(bench.node("import sys; sys.exit(75)"), quiet)
    bench.provider.deploy(node, force=False, report=quiet)
    bench.start_daemon()
    run = bench.provider.trigger(node)
    wait_until(lambda: bench.provider.run(run.id).attempt == 2)
    waiting = bench.provider.run(run.id)
    assert waiting.state is RunState.QUEUED and waiting.started_at is not None
    assert "Attempt 2 of 3 follows in 600 s" in (waiting.message or "")
    assert bench.provider.cancel(run.id).state is RunState.CANCELLED


def test_no_more_than_the_limit_run_at_a_time(bench: LocalBench) -> None:
    settings(bench, concurrency=1)
    nodes = [bench.provider.configure(bench.node(TERMINATED), quiet) for _ in "12"]
    for node in nodes:
        bench.provider.deploy(node, force=False, report=quiet)
    bench.start_daemon()
    first = trigger(webhook(nodes[0]), "t").content["runId"]
    until_line(bench.provider, first, "ready")
    second = trigger(webhook(nodes[1]), "t").content["runId"]
    status = daemon_status(bench.home.context())
    assert (status.going_on, status.queued) == ((first,), 1)
    bench.provider.cancel(first)
    until_line(bench.provider, second, "ready")
    assert bench.provider.cancel(second).state is RunState.CANCELLED


def test_a_command_that_cannot_be_started_says_so(bench: LocalBench) -> None:
    node = bench.provider.configure(bench.node(""), quiet)
    (Path(node.path) / "Dockerfile").write_text('FROM x\nCMD ["no-such-program"]')
    with pytest.raises(NumeraiError, match="no-such-program"):
        bench.provider.deploy(node, force=False, report=quiet)
    (Path(node.path) / "Dockerfile").write_text("FROM x\n")
    with pytest.raises(NumeraiError, match="no CMD"):
        bench.provider.deploy(node, force=False, report=quiet)
    assert bench.provider.deployment(node.name) is None


def test_requirements_are_installed_once(bench: LocalBench, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "setup.py").write_text("from setuptools import setup; setup(name='tiny-x', py_modules=['tiny_x'])")
    (package / "tiny_x.py").write_text("WORD = 'installed'")
    node = bench.provider.configure(bench.node("import tiny_x; print(tiny_x.WORD)"), quiet)
    (Path(node.path) / "requirements.txt").write_text(f"{package}\n")
    lines: list[str] = []
    bench.provider.deploy(node, force=False, report=lines.append)
    assert "Making a virtual environment" in lines
    bench.rewrite(node, "import tiny_x; print(tiny_x.WORD, 2)")
    lines.clear()
    bench.provider.deploy(node, force=False, report=lines.append)
    assert lines == []
    bench.start_daemon()
    run = ended(bench.provider, bench.provider.trigger(node).id)
    assert texts(bench.provider, run.id) == ["installed 2"]


def test_run_daemon_in_this_process_ends_when_told(bench: LocalBench) -> None:
    import threading

    context = bench.home.context()
    lines: list[str] = []
    serving = threading.Thread(target=run_daemon, args=(context,), kwargs={"report": lines.append})
    serving.start()
    wait_until(lambda: daemon_status(context).answering)
    with pytest.raises(NumeraiError) as error:
        run_daemon(context, report=quiet)
    assert error.value.code == "daemon-running"
    stop_daemon(context)
    serving.join(30)
    assert not serving.is_alive()
    assert len(lines) == 2
