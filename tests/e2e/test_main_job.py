"""The main job as a user does it: from an example to a confirmed submission, and what is said when it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import missing_docker
from tests.e2e.command_line import Shell, watched_command_lines
from tests.e2e.conftest import opened_shell

pytestmark = pytest.mark.e2e

BASE = "FROM python:3.13-slim\nWORKDIR /node\nCOPY main.py .\nUSER 1000\n"
DOCKERFILE = BASE + 'CMD ["python", "main.py"]\n'


def secrets_on_disk(shell: Shell) -> list[str]:
    """Files of the home folder, but the keys file, that hold the secret."""
    secret = shell.sandbox["secret_key"].encode()
    files = [path for path in shell.home.rglob("*") if path.is_file() and not path.name.startswith(".keys")]
    return [str(path) for path in files if secret in path.read_bytes()]


def secrets_in_images(shell: Shell, secret: str) -> list[str]:
    """Images of the node whose history or configuration holds the secret."""
    found = shell.images()
    assert found
    return [tag for tag, image in found.items() if secret in json.dumps([image.history(), image.attrs])]


def standings(state: dict[str, Any]) -> dict[int, str]:
    """Numerai's word for the only node's model in each round in which it has submitted."""
    return {entry["round_number"]: entry["status"] for entry in state["entries"] if entry["status"] != "none"}


def test_the_main_job(shell: Shell) -> None:
    secret = shell.sandbox["secret_key"]
    with watched_command_lines() as command_lines:
        shell.ok("copy-example", "-d", "my-node")
        assert "knows you as" in shell.ok("setup").out
        shell.ok("node", "config", "--path", "my-node", "--size", "gen-sm", "--verbose")
        assert "is deployed" in shell.ok("node", "deploy", "--verbose").out
        tested = shell.ok("node", "test", "--verbose")
        assert tested.out.count("✓") == 4 and "submitted submission_id=" in tested.err
        assert "nothing has changed" in shell.ok("node", "deploy").out
        again = shell.ok("node", "test", "--json").json
        assert again["facts"][-1]["holds"] and again["submission"]["trigger_id"] == again["trigger_id"]
        assert "loaded" in shell.ok("node", "logs", "-n", "100").out
        assert "succeeded" in shell.ok("node", "status").out
        examined = shell.ok("doctor", "--json").json
        assert [check for check in examined["checks"] if check["status"] == "failed"] == []
        if shell.executor == "docker":
            assert secrets_in_images(shell, secret) == []
    assert [line for line in command_lines if secret in line] == []
    assert [text for text in shell.printed if secret in text] == []
    assert secrets_on_disk(shell) == []

    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    assert len(state["submissions"]) == 2 and standings(state) == {1000: "on-time"}

    # Numerai opens the next round: the node answers by itself.
    requests.post(f"{shell.sandbox['url']}/sandbox/rounds", json={}, timeout=30).raise_for_status()
    list(follow_until_ended(shell))
    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    assert len(state["submissions"]) == 3 and standings(state) == {1000: "on-time", 1001: "on-time"}

    shell.ok("node", "destroy", "--yes")
    assert shell.ok("node", "list", "--json").json == []
    assert all(model["webhook"] is None for model in state_models(shell))


def follow_until_ended(shell: Shell) -> Iterator[str]:
    """The log of the run that the round's opening has started."""
    from tests.fixtures.sandbox import wait_for

    wait_for(lambda: len(shell.ok("node", "status", "--json").json["runs"]) == 3)
    yield from shell.ok("node", "logs", "-f", "-n", "1000").out.splitlines()


def state_models(shell: Shell) -> list[dict[str, object]]:
    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    models: list[dict[str, object]] = state["models"]
    return models


@pytest.mark.docker
def test_on_genuine_rows(tmp_path: Path) -> None:
    data = os.environ.get("NUMERAI_REAL_DATA")
    if not data:
        pytest.skip("NUMERAI_REAL_DATA names no folder with genuine rows")
    with opened_shell(tmp_path, "docker", "--data", data) as shell:
        shell.ok("setup")
        shell.ok("node", "config", "--example", "tournament-python3", "--path", "node", "--size", "gen-sm")
        shell.ok("node", "deploy")
        tested = shell.ok("node", "test", "--verbose")
        assert "rows=2755" in tested.err and re.search(r"validated corr_mean=-?0\.\d+", tested.err)
        assert tested.out.count("✓") == 4


@pytest.fixture
def deployed(shell: Shell) -> Shell:
    """A terminal whose node `node` runs main.py, without any dependency."""
    shell.ok("setup")
    folder = shell.node("node", {"Dockerfile": DOCKERFILE, "main.py": "print('fine', flush=True)\n"})
    shell.ok("node", "config", "--path", str(folder), "--memory", "256", "--cpu", "0.5")
    return shell


def deploy(shell: Shell, code: str) -> None:
    (shell.folder / "node" / "main.py").write_text(code)
    shell.ok("node", "deploy")


def test_a_node_that_fails_names_fact_cause_and_mend(deployed: Shell) -> None:
    failures = {
        "print('about to fail'); raise SystemExit(1)": (
            "✗ the container ran to its end",
            "exit code 1",
            "about to fail",
        ),
        "raise SystemExit(78)": ("✗ the container ran to its end", "78", "configuration"),
        "x = [b'x' * 2**20 for _ in range(2000)]; print(len(x))": (
            "✗ the container ran",
            "more than its 256 MiB",
            "--mem",
        ),
        "print('all is well')": ("✗ Numerai confirmed", "holds no submission", "->"),
    }
    for code, words in failures.items():
        deploy(deployed, code)
        done = deployed("node", "test")
        assert done.exit_code == 1, done.out
        assert all(word in done.out for word in words), done.out


def test_a_container_can_be_run_here_and_now(deployed: Shell) -> None:
    code = "import os; print('model', os.environ['MODEL_ID'], os.environ.get('TRIGGER_ID')); raise SystemExit(3)"
    (deployed.folder / "node" / "main.py").write_text(code)
    failed = deployed("node", "test", "--local")
    assert failed.exit_code == 1 and f"model {deployed.sandbox['models']['alice']} None" in failed.err
    assert "exit code 3" in failed.out
    command = """python -c "print('something', 'else')" """
    assert "something else" in deployed.ok("node", "test", "--local", "--command", command).err
    assert deployed("node", "test", "--local", "--command", "it's").exit_code == 2
    running = deployed.start(
        "node", "test", "--local", "--command", "python -c 'import time; print(1, flush=True); time.sleep(600)'"
    )
    assert running.stderr is not None
    for line in running.stderr:
        if "| 1" in line:
            break
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert deployed.ok("node", "status", "--json").json["runs"] == []


def test_a_failed_build_leaves_what_is_deployed(deployed: Shell) -> None:
    deploy(deployed, "print('first')")
    if deployed.executor == "docker":
        (deployed.folder / "node" / "Dockerfile").write_text(BASE + "RUN echo this is why; exit 7\n")
        words = "this is why"
    else:
        (deployed.folder / "node" / "requirements.txt").write_text("no-such-package-of-ours @ file:///nowhere.whl\n")
        words = "requirements.txt"
    failed = deployed("node", "deploy")
    assert failed.exit_code == 1 and words in failed.err
    status = deployed.ok("node", "status", "--json").json
    assert status["deployment"]["changed"] is not None and status["changed_since_deploy"]
    deployed.ok("node", "trigger")
    assert "first" in deployed.ok("node", "logs", "-f").out


def test_an_interrupted_test_leaves_the_run_going(deployed: Shell) -> None:
    deploy(deployed, "import time\nprint('started', flush=True)\ntime.sleep(600)")
    testing = deployed.start("node", "test", "--verbose")
    assert testing.stderr is not None
    for line in testing.stderr:
        if "started" in line:
            break
    testing.send_signal(signal.SIGINT)
    out, err = testing.communicate(timeout=60)
    assert testing.returncode == 130 and "Interrupted" in err and "Traceback" not in out + err
    assert deployed.ok("node", "status", "--json").json["runs"][0]["state"] == "running"
    refused = deployed("node", "destroy", "--yes")
    assert refused.exit_code == 1 and "--force" in refused.err
    assert deployed.ok("node", "cancel", "--json").json["state"] == "cancelled"


def test_edits_after_a_deploy_do_not_change_what_runs(deployed: Shell) -> None:
    deploy(deployed, "print('as deployed')")
    (deployed.folder / "node" / "main.py").write_text("print('edited later')")
    deployed.ok("node", "trigger")
    assert "as deployed" in deployed.ok("node", "logs", "-f").out
    assert "has changed since" in deployed.ok("node", "status").out


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with opened_shell(tmp_path, "process") as shell, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        shell.ok("setup", "--port", port)
        refused = shell("daemon", "start")
        assert refused.exit_code != 0 and port in refused.err
        served = shell("sandbox", "serve", "--port", port)
        assert served.exit_code != 0 and port in served.err


def test_wrong_keys_change_nothing(tmp_path: Path) -> None:
    with opened_shell(tmp_path, "process") as shell:
        refused = shell("setup", NUMERAI_SECRET_KEY="WRONG" * 6)
        assert refused.exit_code == 1 and "refuses the keys" in refused.err and not (shell.home / ".keys").exists()
        shell.ok("setup")
        kept = (shell.home / ".keys").read_bytes()
        assert shell("setup", NUMERAI_SECRET_KEY="WRONG" * 6).exit_code == 1
        assert (shell.home / ".keys").read_bytes() == kept


@pytest.mark.skipif(os.name != "posix", reason="what it says is typed into a POSIX shell")
def test_what_the_demo_says_last_can_be_typed(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("NUMERAI_")} | {"PATH": os.defpath}
    executor = "process" if missing_docker() else "docker"
    command = [sys.executable, "-m", "numerai_compute", "demo", "--dir", "a demo", "--executor", executor, "--keep"]
    demo = subprocess.Popen(command, cwd=tmp_path, env=bare, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert demo.stdout is not None
    printed = []
    for line in demo.stdout:
        printed.append(line)
        if "in another terminal" in line:
            break
    assert "confirmed          yes" in "".join(printed) and "validation score" in "".join(printed)
    lines = [demo.stdout.readline() for _ in range(7 if shutil.which("numerai", path=os.defpath) is None else 6)]
    typed = subprocess.run(
        ["sh", "-ec", "".join(lines)], cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=300
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert "Round 1001" in typed.stdout and "submitted" in typed.stdout and "nothing has changed" in typed.stdout
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0 and "nothing is left running" in rest
    path = re.search(r"--path (.+)", rest)
    assert path and (tmp_path / path[1].strip("'") / "predict.py").is_file()


def test_a_demo_as_json(tmp_path: Path) -> None:
    with opened_shell(tmp_path, "process") as shell:
        executor = "process" if missing_docker() else "docker"
        done = shell("demo", "--dir", "demo", "--executor", executor, "--json")
        assert done.exit_code == 0, done.out + done.err
        assert done.json["confirmed"] and done.json["validation_corr"] > 0 and done.json["round_number"]
        assert set(done.json["seconds"]) == {"sandbox", "scaffold", "setup", "config", "deploy", "test"}
        assert shell("demo", "--dir", "demo").exit_code == 2
        left = shell("daemon", "status", NUMERAI_HOME=str(tmp_path / "demo" / "home"))
        assert left.exit_code == 1
        with pytest.raises(requests.ConnectionError):
            requests.get(done.json["url"], timeout=5)
