"""A node goes to AWS and back with every part real and AWS emulated: what Numerai calls answers all the way."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.models import Keys

from tests.aws.emulator import Emulator, emulated_aws, mirror_configuration
from tests.contract.aws_bench import require_emulator
from tests.contract.provider_suite import wait_until
from tests.e2e.command_line import SMALL, sandbox_process
from tests.e2e.test_aws_main_job import AwsShell, kill_halfway, remains
from tests.listeners import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]

NODE = {
    "Dockerfile": 'FROM python:3.13-slim\nCOPY predict.py .\nUSER 10001\nCMD ["python", "predict.py"]\n',
    "predict.py": """
import os, pathlib
kept = os.environ["NUMERAI_ARTIFACTS"]
if "://" not in kept:
    pathlib.Path(kept, "model").write_text("trained")
print("predicted")
""",
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    require_emulator()
    with emulated_aws() as running:
        yield running


@pytest.fixture
def shell(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsShell]:
    extra = {**emulator.environment, **mirror_configuration(tmp_path)}
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    with sandbox_process(*SMALL, cwd=tmp_path) as served:
        typing = AwsShell(tmp_path, served, "process", extra=extra)
        with contextlib.ExitStack() as ending:
            ending.callback(typing, "daemon", "stop")
            yield typing


def called(shell: AwsShell) -> str:
    """The address that Numerai calls for the model."""
    keys = Keys(shell.sandbox["public_id"], shell.sandbox["secret_key"], shell.sandbox["url"])
    (address,) = [model.webhook for model in HttpNumeraiApi(keys).models() if model.webhook]
    return address


def answers(shell: AwsShell, trigger_id: str) -> int:
    return requests.post(called(shell), json={"triggerId": trigger_id}, timeout=60).status_code


def node(shell: AwsShell) -> tuple[str, str | None]:
    """On which provider the node is, and on which else."""
    (found,) = json.loads((shell.home / "nodes.json").read_text())["nodes"].values()
    return found["provider"], found.get("also_on")


def models(shell: AwsShell) -> list[str]:
    """What runs on this machine have kept."""
    return [path.read_text() for path in shell.home.glob("local/nodes/*/artifacts/model")]


def test_a_node_goes_to_aws_and_back_and_a_killed_move_goes_on(shell: AwsShell) -> None:
    folder = str(shell.node("mine", NODE))
    shell.ok("setup", "--port", str(free_port()), "--executor", "process")
    shell.ok("node", "config", "--path", folder, "--size", "gen-sm")
    shell.ok("node", "deploy")
    shell.ok("daemon", "start")
    here = called(shell)
    assert answers(shell, "at-home") == 200
    wait_until(lambda: models(shell) == ["trained"])

    move = ("node", "config", "-P", "aws", "--yes")
    kill_halfway(shell, 12, *move)
    assert node(shell) == ("local", "aws") and called(shell) == here and answers(shell, "half-way") == 200
    moving = [check for check in shell("doctor", "--json").json["checks"] if check["name"] == "move"]
    assert len(moving) == 1 and "config -P aws" in moving[0]["mend"]
    assert "bring 1 file (7 B) that its runs have kept: model from local to aws" in shell.ok(*move).err
    assert node(shell) == ("aws", None) and models(shell) == []
    assert called(shell) != here and answers(shell, "over-there") == 200
    assert requests.post(here, json={"triggerId": "late"}, timeout=30).status_code == 404, "nobody starts it here"
    shell.ok("node", "cancel")

    shell.ok("node", "config", "-P", "local", "--yes")
    assert models(shell) == ["trained"], "it came back from the bucket"
    assert node(shell) == ("local", None) and answers(shell, "back") == 200
    assert remains() == []
