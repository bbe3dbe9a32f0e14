"""`make aws-first-run` on the emulator: every step, nothing left, and its table is the one of docs/aws.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws.access_keys import looking
from tests.aws.emulator import ACCOUNT, Emulator, emulated_aws
from tests.aws.first_run import __main__ as program
from tests.aws.first_run import running
from tests.aws.first_run.model import Verdict
from tests.aws.first_run.running import Report
from tests.aws.first_run.table import DOCUMENT, document, section
from tests.contract.aws_bench import require_emulator

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]

LISTS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("batch", "describe_compute_environments", "computeEnvironments", "computeEnvironmentName", {}),
    ("batch", "describe_job_queues", "jobQueues", "jobQueueName", {}),
    ("batch", "describe_job_definitions", "jobDefinitions", "jobDefinitionName", {"status": "ACTIVE"}),
    ("budgets", "describe_budgets", "Budgets", "BudgetName", {"AccountId": ACCOUNT}),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {}),
    ("dynamodb", "list_tables", "TableNames", "", {}),
    ("ec2", "describe_vpcs", "Vpcs", "VpcId", {}),
    ("ec2", "describe_subnets", "Subnets", "SubnetId", {}),
    ("ec2", "describe_security_groups", "SecurityGroups", "GroupId", {}),
    ("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId", {}),
    ("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateName", {}),
    ("ecr", "describe_repositories", "repositories", "repositoryName", {}),
    ("events", "list_rules", "Rules", "Name", {}),
    ("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName", {}),
    ("iam", "list_policies", "Policies", "PolicyName", {"Scope": "Local"}),
    ("lambda", "list_functions", "Functions", "FunctionName", {}),
    ("logs", "describe_log_groups", "logGroups", "logGroupName", {}),
    ("s3", "list_buckets", "Buckets", "Name", {}),
    ("scheduler", "list_schedules", "Schedules", "Name", {}),
    ("secretsmanager", "list_secrets", "SecretList", "Name", {}),
    ("sns", "list_topics", "Topics", "TopicArn", {}),
    ("sqs", "list_queues", "QueueUrls", "", {}),
    ("ssm", "describe_parameters", "Parameters", "Name", {}),
)
"""How an account's owner sees what there is, by service: the call, its list, and what a thing is called there."""


@pytest.fixture(scope="module")
def running_emulator() -> Iterator[Emulator]:
    require_emulator()
    with emulated_aws(judged=False, delivers=True) as running_one:
        yield running_one


@pytest.fixture
def emulator(running_emulator: Emulator, home: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """The emulator is AWS for this process; `home` has taken away what the machine says of AWS."""
    for name, value in running_emulator.environment.items():
        monkeypatch.setenv(name, value)
    return running_emulator


def everything() -> set[str]:
    """All that there is in the account, apart from the roles that AWS makes for its own services."""
    found = set()
    for service, call, key, name, asked in LISTS:
        listed = getattr(looking(service), call)(**asked).get(key) or []
        found |= {f"{service} {each[name] if name else each}" for each in listed}
    roles = looking("iam").list_roles()["Roles"]
    return found | {f"iam {role['RoleName']}" for role in roles if not role["Path"].startswith("/aws-service-role/")}


def test_every_step_is_as_documented_and_nothing_is_left(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, reports = everything(), []

    def kept(run: Callable[..., Report]) -> Callable[..., Report]:
        return lambda *asked: reports.append(report := run(*asked)) or report

    monkeypatch.setattr(program, "run", kept(running.run))
    fixtures = tmp_path / "answers"
    code = program.main(["--yes", "--home", str(tmp_path / "runs"), "--fixtures", str(fixtures)])
    printed = capsys.readouterr()
    assert code == 0, printed.out[-6000:] + printed.err
    (report,) = reports
    assert {proof.seen.verdict for proof in report.proofs} <= {Verdict.PROVEN, Verdict.UNTOLD, Verdict.ABSENT}
    assert document(report.proofs) == section(DOCUMENT.read_text(encoding="utf-8")), (
        "the table of docs/aws.md is another one: make aws-first-run ARGS=--emulator"
    )
    assert everything() == before
    assert list((tmp_path / "runs").iterdir()) == []

    kept_answers = {path.name for path in fixtures.iterdir()}
    assert {"batch.DescribeJobs.json", "sts.AssumeRole.json", "lambda.Invoke.json"} <= kept_answers
    together = "".join(path.read_text(encoding="utf-8") for path in fixtures.iterdir())
    assert ACCOUNT not in together and emulator.url not in together
    (assumed, *_) = json.loads((fixtures / "sts.AssumeRole.json").read_text())
    assert assumed["answer"]["Credentials"]["SecretAccessKey"] == "REDACTED"


def test_ctrl_c_leaves_nothing(emulator: Emulator, tmp_path: Path) -> None:
    """The terminal's Ctrl-C reaches the program and all that it has started."""
    from tests.aws.first_run.interrupting import interrupted_when

    before = everything()
    done = interrupted_when(lambda: any("first-run-of-" in name for name in everything()), tmp_path)
    assert done.returncode == 130, done.stdout[-3000:] + done.stderr
    assert "Interrupted. Everything is removed now" in done.stdout and "Traceback" not in done.stderr
    assert everything() == before
    assert list((tmp_path / "runs").iterdir()) == []
