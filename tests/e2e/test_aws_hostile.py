"""The main job on a hostile AWS (tests/aws/hostile.py), by the commands a user types: the account is new, calls are
throttled, what is deleted lingers, Spot runs out, and people hear of what failed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from numerai_compute.sandbox.client import SandboxClient

from tests.aws.access_keys import OBSERVER, looking
from tests.aws.emulator import Emulator, emulated_aws, mirror_configuration
from tests.aws.test_cluster import SUBMITS
from tests.contract.aws_bench import require_emulator, using
from tests.e2e.command_line import SMALL, sandbox_process
from tests.e2e.test_aws_main_job import AwsShell, plan, remains

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]

DOCKERFILE = 'FROM python:3.13-slim\nCOPY main.py /\nUSER 4321\nCMD ["python", "-u", "/main.py"]\n'
CONFIG = ("node", "config", "-P", "aws", "--path", "my-node", "--yes")
PATIENCE = 60.0
TABLE = "numerai-webhook"


@dataclass
class Account:
    """A new account, the terminal of its owner, and what reaches the owner's mail box."""

    shell: AwsShell
    emulator: Emulator

    @property
    def numerai(self) -> SandboxClient:
        return SandboxClient(self.shell.sandbox["url"])

    def subscribe(self) -> None:
        """Let a queue get what the topic of failures publishes."""
        sqs, sns = looking("sqs"), looking("sns")
        queue = sqs.create_queue(QueueName="mail")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        topics = [topic["TopicArn"] for topic in sns.list_topics()["Topics"]]
        (topic,) = [topic for topic in topics if topic.endswith(":numerai-failures")]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def mail(self, of: str) -> str:
        """The next message with this text in it."""
        sqs = looking("sqs")
        queue = sqs.get_queue_url(QueueName="mail")["QueueUrl"]
        deadline, seen = time.monotonic() + PATIENCE, []
        while time.monotonic() < deadline:
            for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                seen.append(f"{body.get('Subject') or ''} {body['Message']}")
                if of in seen[-1]:
                    return seen[-1]
        raise AssertionError(f"no mail about {of}: {seen}")

    def advance(self, seconds: int) -> None:
        """Let time pass by every clock: Numerai's, AWS's, and in what the webhook has written down of its calls."""
        self.numerai.clock(advance=seconds)
        table = boto3.resource("dynamodb", aws_access_key_id=OBSERVER, aws_secret_access_key=OBSERVER).Table(TABLE)
        for item in table.scan()["Items"]:
            if "called_at" in item:
                table.put_item(Item={**item, "called_at": item["called_at"] - seconds})
        self.emulator.world(advance=seconds)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """Every job by its id."""
        batch = looking("batch")
        filters = [{"name": "JOB_NAME", "values": ["*"]}]
        return {
            job["jobId"]: {**job, "queue": queue["jobQueueName"]}
            for queue in batch.describe_job_queues()["jobQueues"]
            if queue["status"] == "VALID"
            for job in batch.list_jobs(jobQueue=queue["jobQueueName"], filters=filters)["jobSummaryList"]
        }

    def new_job(self, before: Iterable[str]) -> str:
        """The id of the one job that there is beside those, once there is one."""
        deadline = time.monotonic() + PATIENCE
        while not (new := set(self.jobs()) - set(before)):
            assert time.monotonic() < deadline, "no job was started"
            time.sleep(0.2)
        (job_id,) = new
        return job_id

    def reaches(self, job_id: str, status: str) -> None:
        """Wait until a job has that status."""
        deadline = time.monotonic() + PATIENCE
        while (job := self.jobs()[job_id])["status"] != status:
            assert time.monotonic() < deadline, job
            time.sleep(0.2)


@pytest.fixture(scope="module")
def new_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    require_emulator()
    folder = tmp_path_factory.mktemp("hostile")
    with (
        emulated_aws(hostile=True, spot=True) as emulator,  # until a test takes it away
        using(emulator, folder / "plugins"),
        sandbox_process(*SMALL, "--models", "alice", cwd=folder) as served,
    ):
        extra = {**emulator.environment, **mirror_configuration(folder)}
        shell = AwsShell(folder, served, "docker", extra=extra)
        shell.node("my-node", {"Dockerfile": DOCKERFILE, "main.py": SUBMITS})
        shell.ok("setup", "-P", "aws")
        yield Account(shell, emulator)


@pytest.fixture
def account(new_account: Account, tmp_path: Path) -> Iterator[Account]:
    with using(new_account.emulator, tmp_path / "plugins"):
        yield new_account


def test_a_new_account_gets_its_cluster_in_one_command(account: Account) -> None:
    account.shell.ok(*CONFIG, "--size", "gen-sm")
    account.subscribe()
    environments = looking("batch").describe_compute_environments()["computeEnvironments"]
    assert {environment["status"] for environment in environments} == {"VALID"}
    assert account.emulator.world()["seen"]["throttle_every"] > 5


def test_the_node_is_proven(account: Account) -> None:
    account.shell.ok("node", "deploy")
    assert account.shell.ok("node", "test").out.count("✓") == 4


def test_a_failed_run_is_told(account: Account) -> None:
    (queue, *_) = sorted({job["queue"] for job in account.jobs().values()})
    batch, command = looking("batch"), {"command": ["sh", "-c", "exit 1"]}
    (name,) = {job["jobDefinition"] for job in account.jobs().values()}
    batch.submit_job(jobName="numerai-alice-by-hand", jobQueue=queue, jobDefinition=name, containerOverrides=command)
    assert "Essential container in task exited" in account.mail("numerai-alice-by-hand")


def test_without_spot_the_watcher_submits_the_round_in_time(account: Account) -> None:
    account.emulator.world(spot=False)
    try:
        before = list(account.jobs())
        (opened,) = account.numerai.open_round(8, minutes=60)
        waits = account.new_job(before)
        account.reaches(waits, "RUNNABLE")
        for _ in range(2):  # ten minutes by both clocks; the watcher is woken every five
            account.advance(300)
        account.reaches(account.new_job([*before, waits]), "SUCCEEDED")
    finally:
        account.emulator.world(spot=True)
    submission = account.numerai.state()["submissions"][0]
    assert (submission["round_number"], submission["late"]) == (opened["number"], False)


def test_an_update_leaves_nothing_to_change(account: Account) -> None:
    account.shell.ok(*CONFIG, "--timeout-minutes", "45")
    assert plan(account.shell) == []


def test_destroy_ends_clean_and_leaves_nothing(account: Account) -> None:
    done = account.shell.ok("node", "destroy", "--yes")
    assert "Not everything" not in done.out + done.err
    seen = account.emulator.world(advance=60)["seen"]
    assert remains() == []
    assert not account.shell.paths.stack.exists()
    assert seen["linger_seconds"] > 0 and seen["delivers"] > 0 and seen.get("spot", 0) > 0
