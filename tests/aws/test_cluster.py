"""The AWS root on the emulator: real Terraform, the real provider, real containers.

The tests share one apply and run in the order of the file; the last ones take the cluster away.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.events.models import EventPattern
from numerai_compute.adapters.terraform_runner import TerraformRunner
from numerai_compute.errors import ProviderError
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.lambda_package import package_functions
from numerai_compute.providers.aws.settings import AwsPaths, AwsSettings
from numerai_compute.providers.aws.terraform import terraform_runner

from .access_keys import OBSERVER
from .conftest import ALICE, ALICE_TOKEN, ROOT, Cluster, node
from .emulator import ACCOUNT, REGION, Emulator
from .moto_batch import WAITING_FOR

pytestmark = [pytest.mark.aws, pytest.mark.docker]

FINAL = ("SUCCEEDED", "FAILED")
PATIENCE = 60
SUBMITS = """
import json, os, urllib.request as web

def ask(query):
    body = json.dumps({"query": query}).encode()
    token = "Token " + os.environ["NUMERAI_PUBLIC_ID"] + "$" + os.environ["NUMERAI_SECRET_KEY"]
    headers = {"Content-Type": "application/json", "Authorization": token}
    with web.urlopen(web.Request(os.environ["NUMERAI_API_URL"], body, headers)) as answer:
        return json.load(answer)["data"]

model = 'tournament: 8, modelId: "' + os.environ["MODEL_ID"] + '"'
trigger = ', triggerId: "' + os.environ["TRIGGER_ID"] + '"' if os.environ.get("TRIGGER_ID") else ""
rows = web.urlopen(ask('{dataset(filename: "v5.3/live_example_preds.csv")}')["dataset"]).read()
auth = ask('{submissionUploadAuth(filename: "p.csv", ' + model + ') {filename url}}')["submissionUploadAuth"]
web.urlopen(web.Request(auth["url"], rows, method="PUT"))
print(ask('mutation {createSubmission(filename: "' + auth["filename"] + '", ' + model + trigger + ') {id}}'))
"""
"""What a node does, with the standard library only: the example's predictions of this round, submitted."""


def ended(cluster: Cluster, run_id: str) -> dict[str, Any]:
    """A job once it has ended."""
    batch = cluster.client("batch")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job: dict[str, Any] = batch.describe_jobs(jobs=[run_id])["jobs"][0]
        if job["status"] in FINAL:
            return job
        time.sleep(0.2)
    raise AssertionError(f"the job has not ended: {job['status']}")


def printed(cluster: Cluster, job: dict[str, Any]) -> list[str]:
    """What a job printed."""
    events = cluster.client("logs").get_log_events(
        logGroupName=cluster.outputs["run_log_group"], logStreamName=job["container"]["logStreamName"]
    )["events"]
    return [event["message"] for event in events]


def jobs(cluster: Cluster) -> list[str]:
    """The ids of all jobs there have been."""
    filters = [{"name": "JOB_NAME", "values": ["*"]}]
    batch = cluster.client("batch")
    return [
        job["jobId"]
        for queue in cluster.outputs["queues"].values()
        for job in batch.list_jobs(jobQueue=queue, filters=filters)["jobSummaryList"]
    ]


def trigger(cluster: Cluster, trigger_id: str) -> str:
    answer = requests.post(cluster.webhook(), json={"triggerId": trigger_id}, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["runId"])


def watch(cluster: Cluster) -> None:
    """Call the watcher as its schedule does."""
    answer = cluster.client("lambda").invoke(FunctionName=cluster.outputs["watcher_function"], Payload=b"{}")
    content = json.loads(answer["Payload"].read())
    assert content == {"nodes": len(cluster.variables["nodes"])}, content


def told(cluster: Cluster, queue: str) -> list[str]:
    """The subjects of what was published since the last look."""
    sqs, subjects = cluster.client("sqs"), []
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in found:
            subjects.append(json.loads(message["Body"])["Subject"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return subjects


@pytest.fixture(scope="module")
def queue(cluster: Cluster) -> str:
    """Gets whatever the topic of failures publishes."""
    sqs = cluster.client("sqs")
    address = str(sqs.create_queue(QueueName="reader")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=address, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    cluster.client("sns").subscribe(TopicArn=cluster.outputs["failures_topic_arn"], Protocol="sqs", Endpoint=arn)
    return address


def small_root(folder: Path, repository: str) -> Path:
    """A description of one image repository, for what does not need a whole cluster."""
    root = folder / "root"
    root.mkdir()
    (root / "main.tf").write_text(
        'terraform {\n  required_providers {\n    aws = { source = "hashicorp/aws", version = "~> 5.100" }\n  }\n}\n'
        'provider "aws" {}\n'
        f'resource "aws_ecr_repository" "this" {{\n  name = "{repository}"\n}}\n'
    )
    return root


def test_a_second_plan_is_empty(cluster: Cluster) -> None:
    assert len(cluster.runner.resources()) > 30
    plan = cluster.runner.plan(cluster.variables, lambda _: None)
    assert plan.changes == ()
    assert plan.drift == ()


def test_progress_was_told_in_words(cluster: Cluster) -> None:
    assert any(line.startswith("made ecr repository numerai-alice") for line in cluster.said)
    assert not any("aws_" in line or "{" in line for line in cluster.said)


def test_a_round_whose_webhook_never_comes_is_submitted_by_the_watcher(cluster: Cluster, queue: str) -> None:
    numerai = cluster.numerai.control
    (opened,) = numerai.open_round(8, minutes=60)
    cluster.push(ALICE, f"python -c {shlex.quote(SUBMITS)}")
    before = jobs(cluster)
    watch(cluster)
    assert jobs(cluster) == before, "the webhook has not had its time yet"
    numerai.clock(advance=11 * 60)
    watch(cluster)
    (started,) = set(jobs(cluster)) - set(before)
    watch(cluster)
    job = ended(cluster, started)
    assert job["status"] == "SUCCEEDED", printed(cluster, job)
    watch(cluster)
    assert set(jobs(cluster)) == {*before, started}
    (submission,) = numerai.state()["submissions"]
    assert (submission["round_number"], submission["model_id"]) == (opened["number"], cluster.numerai.model_id)
    assert not submission["late"]
    assert told(cluster, queue) == []


def test_without_spot_capacity_the_watcher_submits_on_demand(cluster: Cluster, queue: str) -> None:
    batch, numerai, alice = cluster.client("batch"), cluster.numerai.control, cluster.outputs["nodes"][ALICE]
    numerai.clock(advance=61 * 60)  # beyond the round of the test before
    (opened,) = numerai.open_round(8, minutes=60)
    cluster.push(ALICE, f"python -c {shlex.quote(SUBMITS)}")
    (described,) = batch.describe_job_queues(jobQueues=[alice["job_queue"]])["jobQueues"]
    spot = described["computeEnvironmentOrder"][0]["computeEnvironment"]
    batch.tag_resource(resourceArn=spot, tags={WAITING_FOR: "500"})
    try:
        before = jobs(cluster)
        run = {"jobQueue": alice["job_queue"], "jobDefinition": alice["job_definition"]}
        waits = batch.submit_job(jobName=f"{ALICE}-scheduled", **run)["jobId"]  # as the node's own schedule does
        watch(cluster)
        (started,) = set(jobs(cluster)) - {*before, waits}
        job = ended(cluster, started)
    finally:
        batch.untag_resource(resourceArn=spot, tagKeys=[WAITING_FOR])
    assert (job["status"], job["jobQueue"]) == ("SUCCEEDED", alice["job_queue_now"]), printed(cluster, job)
    assert ended(cluster, waits)["attempts"] == [], "it was cancelled before it started"
    submission = numerai.state()["submissions"][0]
    assert (submission["round_number"], submission["late"]) == (opened["number"], False)
    assert told(cluster, queue) == []


def test_a_run_that_blocks_its_queue_is_told(cluster: Cluster) -> None:
    """AWS's example: docs.aws.amazon.com/batch/latest/userguide/batch-job-queue-blocked-events.html."""
    rule = cluster.client("events").describe_rule(Name="numerai-blocked-run")
    pattern = EventPattern.load(rule["EventPattern"])
    for queue in cluster.outputs["queues"].values():
        detail = {"jobName": "event-test", "jobQueue": queue, "status": "RUNNABLE", "statusReason": "blocked-reason"}
        event: Any = {"source": "aws.batch", "detail-type": "Batch Job Queue Blocked", "detail": detail}
        assert pattern.matches_event(event)
        event["detail-type"] = "Batch Job State Change"
        assert not pattern.matches_event(event)


def test_a_missed_round_is_told_once(cluster: Cluster, queue: str) -> None:
    numerai = cluster.numerai.control
    (opened,) = numerai.open_round(8, minutes=60)
    numerai.clock(advance=61 * 60)
    watch(cluster)
    assert told(cluster, queue) == [f"{ALICE}: round {opened['number']} was missed"]
    watch(cluster)
    assert told(cluster, queue) == []


def test_more_nodes_add_only_what_is_theirs(cluster: Cluster) -> None:
    two = {ALICE: cluster.alice, "signals-bob": node(model_id="m-2", tournament=11)}
    done = cluster.apply(nodes=two)
    assert sorted(address for action, address in done if action == "create") == [
        'aws_batch_job_definition.node["signals-bob"]',
        'aws_ecr_repository.node["signals-bob"]',
        'aws_iam_role.node["signals-bob"]',
    ]
    assert [address for action, address in done if action != "create"] == ["aws_dynamodb_table_item.nodes"]
    ten = {**two, **{f"crypto-n{number}": node(tournament=12) for number in range(8)}}
    plan = cluster.runner.plan({**cluster.variables, "nodes": ten}, lambda _: None)
    kinds = {change.address.partition(".")[0] for change in plan.changes if change.action == "create"}
    assert kinds == {"aws_batch_job_definition", "aws_ecr_repository", "aws_iam_role"}
    assert plan.count("delete", "replace") == 0


def test_the_webhook_starts_a_container_with_all_it_needs(cluster: Cluster) -> None:
    cluster.push(ALICE, "env | sort; id -u; [ -n $NUMERAI_SECRET_KEY ] && echo keys arrived")
    job = ended(cluster, trigger(cluster, "round-1"))
    lines = printed(cluster, job)
    assert job["status"] == "SUCCEEDED", lines
    for expected in (
        f"MODEL_ID={cluster.numerai.model_id}",
        "TRIGGER_ID=round-1",
        "NUMERAI_NODE=numerai-alice",
        "NUMERAI_TOURNAMENT=8",
        "NUMERAI_TIMEOUT_MINUTES=5",
        "NUMERAI_PUBLIC_ID=PUBLIC",
        f"NUMERAI_ARTIFACTS={cluster.outputs['nodes'][ALICE]['artifacts']}",
        "keys arrived",
    ):
        assert expected in lines


def test_one_trigger_posted_fifty_times_at_once_is_one_run(cluster: Cluster) -> None:
    before = len(jobs(cluster))
    with ThreadPoolExecutor(50) as pool:
        runs = set(pool.map(lambda _: trigger(cluster, "round-2"), range(50)))
    assert len(runs) == 1
    assert len(jobs(cluster)) == before + 1
    ended(cluster, runs.pop())


def test_a_temporary_failure_is_repeated_and_others_are_not(cluster: Cluster) -> None:
    cluster.push(ALICE, "exit 75")
    job = ended(cluster, trigger(cluster, "round-3"))
    assert job["status"] == "FAILED"
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [75, 75, 75]
    cluster.push(ALICE, "exit 65")
    job = ended(cluster, trigger(cluster, "round-4"))
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [65]


def test_a_run_over_its_time_or_memory_says_so(cluster: Cluster) -> None:
    cluster.push(ALICE, "python -c 'bytearray(2**31)'")
    job = ended(cluster, trigger(cluster, "round-5"))
    assert "OutOfMemory" in job["container"]["reason"]
    cluster.push(ALICE, "exec sleep 600")
    run = cluster.client("batch").submit_job(
        jobName="slow",
        jobQueue=cluster.outputs["nodes"][ALICE]["job_queue"],
        jobDefinition=cluster.outputs["nodes"][ALICE]["job_definition"],
        timeout={"attemptDurationSeconds": 1},
    )
    job = ended(cluster, run["jobId"])
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert len(job["attempts"]) == 1


def test_hostile_requests_start_nothing_and_break_nothing(cluster: Cluster) -> None:
    before, url = jobs(cluster), cluster.webhook()
    session = requests.Session()
    seen = {
        session.request(method, address, data=body + b" " * number, timeout=60).status_code
        for number in range(56)
        for method, address, body in (
            ("GET", url, b""),
            ("DELETE", url, b"{}"),
            ("POST", url, b""),
            ("POST", url, b"\xff\xfe\x00" * 50),
            ("POST", url, b'{"triggerId": "../../etc"}'),
            ("POST", url, b"x" * (65 * 1024)),
            ("POST", url + "x", b'{"triggerId": "t"}'),
            ("POST", url.replace(ALICE, "numerai-nobody"), b'{"triggerId": "t"}'),
            ("POST", url + "/../../x", b'{"triggerId": "t"}'),
        )
    }
    assert seen == {400, 404, 405, 413}
    assert jobs(cluster) == before


def test_no_secret_is_where_it_does_not_belong(cluster: Cluster) -> None:
    kept = b"".join(
        path.read_bytes() for path in cluster.folder.rglob("*") if path.is_file() and path.stat().st_size < 1e7
    )
    logs = cluster.client("logs").filter_log_events(logGroupName=cluster.outputs["webhook_log_group"])["events"]
    function = cluster.client("lambda").get_function(FunctionName=cluster.outputs["webhook_function"])
    definitions = cluster.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    assert logs
    everywhere = kept + json.dumps([logs, function, definitions], default=str).encode()
    everywhere += cluster.emulator.log.read_bytes()
    assert b"SECRET-OF-NUMERAI" not in everywhere
    assert ALICE_TOKEN.encode() not in everywhere


def test_gpus_big_nodes_schedules_and_every_option_apply_and_go_again(cluster: Cluster) -> None:
    nodes = {
        ALICE: cluster.alice,
        "numerai-gpu": node(gpu=1, cpu=4, memory_mib=15000, disk_gib=60),
        "numerai-big": node(cpu=32, memory_mib=200_000),
        "crypto-cron": node(tournament=12, cron="30 12 ? * TUE-SAT *", disk_gib=50, retrain_days=30),
    }
    options = {
        "nodes": nodes,
        "flow_logs": True,
        "monthly_budget_usd": 5,
        "notification_email": "ada@example.com",
        "numerai_api_url": "http://localhost:1",
    }
    before = cluster.variables
    cluster.apply(**options)
    assert set(cluster.outputs["queues"]) == {"fargate", "fargate-now", "ec2", "ec2-now", "gpu", "gpu-now"}
    assert {name: made["kind"] for name, made in cluster.outputs["nodes"].items()} == {
        ALICE: "fargate",
        "numerai-gpu": "gpu",
        "numerai-big": "ec2",
        "crypto-cron": "fargate",
    }
    assert cluster.runner.plan(cluster.variables, lambda _: None).changes == ()
    cluster.variables = {**before, "nodes": {ALICE: cluster.alice}}


def test_impossible_variables_are_refused_in_words(cluster: Cluster) -> None:
    with pytest.raises(ProviderError) as caught:
        cluster.runner.plan({**cluster.variables, "nodes": {ALICE: node(cpu=2, memory_mib=512)}}, lambda _: None)
    assert "must be a pair that Fargate offers" in caught.value.message


def test_a_locked_state_is_said_with_by_whom(cluster: Cluster) -> None:
    import fcntl

    state = cluster.folder / "terraform.tfstate"
    info = {
        "ID": "5b1c1d1e-0000-0000-0000-000000000000",
        "Who": "ada@laptop",
        "Created": "2026-01-05T10:00:00Z",
        "Operation": "OperationTypeApply",
        "Path": "terraform.tfstate",
    }
    note = cluster.folder / ".terraform.tfstate.lock.info"
    with state.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        note.write_text(json.dumps(info))
        with pytest.raises(ProviderError) as caught:
            cluster.runner.plan(cluster.variables, lambda _: None)
    note.unlink()
    assert caught.value.code == "state-locked"
    assert "ada@laptop since 2026-01-05" in caught.value.message


def test_terraform_works_in_the_account_of_the_profile_and_in_no_other(
    emulator: Emulator, new_runner: Callable[..., TerraformRunner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_runner(tmp_path / "unused")
    for name, value in {**made._extra, "AWS_CONFIG_FILE": str(tmp_path / "config")}.items():
        monkeypatch.setenv(name, value)  # the keys among them are those of the emulator's own account
    role = {"RoleArn": "arn:aws:iam::222222222222:role/work", "RoleSessionName": "test"}
    looking = {"aws_access_key_id": OBSERVER, "aws_secret_access_key": OBSERVER}
    keys = boto3.client("sts", **looking).assume_role(**role)["Credentials"]
    names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey"}
    lines = [f"{name} = {keys[key]}" for name, key in {**names, "aws_session_token": "SessionToken"}.items()]
    (tmp_path / "config").write_text("\n".join(["[profile work]", *lines, ""]))
    clients = AwsClients(AwsSettings(profile="work"))
    runner = terraform_runner(AwsPaths(tmp_path), AwsSettings(), clients, None)
    runner._root = tmp_path / "root"
    runner._root.mkdir()
    for name in ("versions.tf", "variables.tf"):
        (runner._root / name).write_bytes((ROOT / name).read_bytes())
    (runner._root / "main.tf").write_text(
        'data "aws_caller_identity" "this" {}\noutput "account" { value = data.aws_caller_identity.this.account_id }\n'
    )
    given = {"region": REGION, "account": clients.account, **package_functions(tmp_path)}
    runner.prepare(lambda _: None)
    assert runner.apply(runner.plan(given, lambda _: None), lambda _: None) == {"account": "222222222222"}
    with pytest.raises(ProviderError) as caught:
        runner.plan({**given, "account": ACCOUNT}, lambda _: None)
    assert caught.value.code == "account-change"


def test_a_clash_with_what_is_there_is_said(
    cluster: Cluster, new_runner: Callable[..., TerraformRunner], tmp_path: Path
) -> None:
    runner = new_runner(tmp_path / "work", small_root(tmp_path, cluster.outputs["nodes"][ALICE]["repository"]))
    runner.prepare(lambda _: None)
    plan = runner.plan({}, lambda _: None)
    with pytest.raises(ProviderError) as caught:
        runner.apply(plan, lambda _: None)
    assert caught.value.code == "name-clash"
    assert "aws_ecr_repository.this" in caught.value.message


def test_what_somebody_removed_is_noticed_and_made_again(
    cluster: Cluster, new_runner: Callable[..., TerraformRunner], tmp_path: Path
) -> None:
    runner = new_runner(tmp_path / "work", small_root(tmp_path, "somebody/elses"))
    runner.prepare(lambda _: None)
    runner.apply(runner.plan({}, lambda _: None), lambda _: None)
    cluster.client("ecr").delete_repository(repositoryName="somebody/elses")
    plan = runner.plan({}, lambda _: None)
    assert plan.drift == ("aws_ecr_repository.this",)
    assert plan.count("create") == 1
    runner.apply(plan, lambda _: None)
    runner.destroy({}, lambda _: None)


def test_destroy_leaves_nothing(cluster: Cluster) -> None:
    cluster.runner.destroy(cluster.variables, cluster.said.append)
    assert cluster.runner.resources() == []
    assert cluster.client("batch").describe_job_queues()["jobQueues"] == []
    assert cluster.client("batch").describe_compute_environments()["computeEnvironments"] == []
    assert cluster.client("lambda").list_functions()["Functions"] == []
    assert cluster.client("ecr").describe_repositories()["repositories"] == []
    assert cluster.client("s3").list_buckets()["Buckets"] == []
    assert cluster.client("dynamodb").list_tables()["TableNames"] == []
    assert cluster.client("logs").describe_log_groups()["logGroups"] == []
    assert [vpc for vpc in cluster.client("ec2").describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    roles = cluster.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles if not role["Path"].startswith("/aws-service-role/")] == []
