"""The main job on AWS as a user does it: every command real, Terraform and containers included, AWS emulated."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import psutil
import pytest
import requests
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.remains import cluster_remains
from numerai_compute.providers.aws.settings import AwsPaths, AwsSettings
from numerai_compute.providers.aws.terraform import terraform_root

from tests.aws.emulator import ACCOUNT, REGION, Emulator, emulated_aws, mirror_configuration
from tests.contract.aws_bench import require_emulator
from tests.e2e.command_line import SMALL, Shell, sandbox_process, watched_command_lines
from tests.images import tagged

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]


@dataclass
class AwsShell(Shell):
    """A terminal whose AWS is the emulator."""

    extra: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self.extra}

    @property
    def paths(self) -> AwsPaths:
        return AwsPaths(self.home)


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
    data = os.environ.get("NUMERAI_REAL_DATA")
    with sandbox_process(*(("--data", data, "--rate-limit", "100000") if data else SMALL), cwd=tmp_path) as served:
        yield AwsShell(tmp_path, served, "docker", extra=extra)


def test_from_nothing_to_an_accepted_submission_and_back_to_nothing(shell: AwsShell, emulator: Emulator) -> None:
    secret = shell.sandbox["secret_key"]
    with watched_command_lines() as command_lines:
        shell.ok("setup", "-P", "aws")
        config = ("node", "config", "-P", "aws", "--path", "my-node", "--size", "gen-sm", "--yes")
        kill_halfway(shell, 8, *config, "--example", "tournament-python3")
        shell.ok("node", "destroy", "--yes")
        assert remains() == []
        kill_halfway(shell, 25, *config)
        shell.ok(*config)
        assert "is deployed" in shell.ok("node", "deploy").out
        tested = shell.ok("node", "test", "--verbose")
        assert tested.out.count("✓") == 4 and "submitted submission_id=" in tested.err
        assert "nothing has changed" in shell.ok("node", "deploy").out
        assert "succeeded" in shell.ok("node", "status").out
        assert [call["status"] for call in shell.ok("node", "logs", "-l", "webhook", "--json").json] == [200]
        examined = shell.ok("doctor", "--json").json["checks"]
        assert [check for check in examined if check["status"] == "failed" and check["name"] != "daemon"] == []
        shell.ok("node", "config", "--path", "my-node", "--yes")
        found = secret_places(shell, secret, emulator)
    assert found == []
    assert [line for line in command_lines if secret in line] == []
    assert [text for text in shell.printed if secret in text] == []
    state = requests.get(f"{shell.sandbox['url']}/sandbox/state", timeout=30).json()
    assert len(state["submissions"]) == 1
    assert [entry["status"] for entry in state["entries"] if entry["id"]] == ["on-time"]

    assert plan(shell) == []
    shell.ok("node", "destroy", "--yes")
    assert shell.ok("node", "list", "--json").json == []
    assert remains() == []
    assert not shell.paths.stack.exists() and not shell.paths.terraform.exists()


def kill_halfway(shell: AwsShell, made: int, *arguments: str) -> None:
    """Let a command make so many resources, then end it and all that it has started as a power cut would."""
    process = shell.start(*arguments, "--verbose")
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        done = 0
        while done < made:
            line = process.stderr.readline()
            assert line, f"it ended after {done} resources"
            done += line.lstrip().startswith("made ")
        begun = psutil.Process(process.pid)
        for one in [begun, *begun.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(60)


def remains() -> list[str]:
    """What AWS still holds for the cluster."""
    return list(cluster_remains(AwsClients(AwsSettings()), "numerai", ACCOUNT, REGION))


def plan(shell: AwsShell) -> list[str]:
    """What Terraform would still change, as it says itself."""
    from numerai_compute.adapters.terraform_runner import TerraformRunner

    runner = TerraformRunner(terraform_root(), shell.paths.terraform, shell.paths.plugins, environment=shell.extra)
    variables = json.loads((shell.paths.terraform / "variables.tfvars.json").read_text())
    changes = runner.plan(variables, lambda line: None).changes
    return [f"{change.action} {change.address}" for change in changes]


def secret_places(shell: AwsShell, secret: str, emulator: Emulator) -> list[str]:
    """Where the Numerai secret can be found, apart from the keys file and the parameters."""
    files = [path for path in shell.home.rglob("*") if path.is_file() and not path.name.startswith(".keys")]
    found = [str(path) for path in files if secret.encode() in path.read_bytes()]
    found += [
        tag
        for tag, image in tagged(f"{emulator.registry}/").items()
        if secret in json.dumps([image.history(), image.attrs])
    ]
    batch, function = boto3.client("batch"), boto3.client("lambda")
    jobs = batch.list_jobs(jobQueue="numerai-fargate", filters=[{"name": "JOB_NAME", "values": ["*"]}])
    ids = [job["jobId"] for job in jobs["jobSummaryList"]]
    seen = {
        "a job definition": batch.describe_job_definitions(),
        "a job": batch.describe_jobs(jobs=ids),
        "the function": function.get_function_configuration(FunctionName="numerai-webhook"),
        "the table": boto3.client("dynamodb").scan(TableName="numerai-webhook"),
        "a log": [
            boto3.client("logs").filter_log_events(logGroupName=group["logGroupName"])["events"]
            for group in boto3.client("logs").describe_log_groups()["logGroups"]
        ],
    }
    return found + [place for place, content in seen.items() if secret in json.dumps(content, default=str)]
