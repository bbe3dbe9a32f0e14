"""The functions' code, loaded from their zips as Lambda does, against AWS stand-ins in this process."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import moto
import pytest
from moto.batch.models import batch_backends
from moto.dynamodb.models import dynamodb_backends
from numerai_compute.providers.aws.lambda_package import package_function

from tests.present import present

TABLE = "webhook"
ACCOUNT = "123456789012"
REGION = "us-east-1"
TOKEN = "t0ken-" + "x" * 37
OTHER_TOKEN = "t0ken-" + "y" * 37
RUNS_PER_HOUR = 5


@dataclass
class World:
    """The webhook and what it talks to."""

    webhook: Any
    dynamodb: Any
    batch: Any
    queue: str

    def call(
        self, path: str = f"/numerai-alice/{TOKEN}", body: Any = None, **changes: Any
    ) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Status, content and headers of the answer to a POST; `body` is sent as JSON unless it is a string."""
        event = {
            "rawPath": path,
            "requestContext": {"http": {"method": "POST"}},
            "body": body if isinstance(body, str) else json.dumps(body if body is not None else {"triggerId": "t-1"}),
            "isBase64Encoded": False,
            **changes,
        }
        answer = self.webhook.handle(event, SimpleNamespace(aws_request_id="r-1"))
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that was submitted."""
        filters = [{"name": "JOB_NAME", "values": ["*"]}]
        return list(self.batch.list_jobs(jobQueue=self.queue, filters=filters)["jobSummaryList"])

    def item(self, key: str) -> dict[str, Any] | None:
        """An item of the table."""
        found: dict[str, Any] = self.dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": key}})
        return found.get("Item")

    def set_nodes(self, tokens: dict[str, str], definition: str = "numerai-node") -> None:
        """What Terraform would write."""
        nodes = {
            name: {
                "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
                "job_queue": self.queue,
                "job_definition": definition,
            }
            for name, token in tokens.items()
        }
        self.dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": "nodes"}, "nodes": {"S": json.dumps(nodes)}})


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Made once: loading the SDK's description of each service takes longer than a test."""
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws(config={"batch": {"use_docker": False}}):
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("TABLE", TABLE)
        patch.setenv("RUNS_PER_HOUR", str(RUNS_PER_HOUR))
        webhook = load_handler("webhook", tmp_path_factory.mktemp("webhook"))
        made = World(webhook, boto3.client("dynamodb"), boto3.client("batch"), _queue())
        made.batch.register_job_definition(
            jobDefinitionName="numerai-node",
            type="container",
            containerProperties={"image": "x", "vcpus": 1, "memory": 512, "command": ["true"]},
        )
        yield made


@pytest.fixture
def world(stand_ins: World) -> World:
    """The webhook as after a cold start, with two nodes, no job, and an empty memory."""
    present(batch_backends[ACCOUNT][REGION].get_job_queue(stand_ins.queue)).jobs.clear()
    tables = dynamodb_backends[ACCOUNT][REGION].tables
    if TABLE in tables:
        tables[TABLE].items.clear()
    else:
        stand_ins.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
    stand_ins.set_nodes({"numerai-alice": TOKEN, "signals-bob": OTHER_TOKEN})
    stand_ins.webhook._nodes = stand_ins.webhook._Nodes()
    return stand_ins


def load_handler(function: str, folder: Path) -> ModuleType:
    """A function's handler out of its zip. The modules that it shares with the tool are the tool's, so that a test can
    compare and patch them; test_lambda_package.py loads the whole zip where there is nothing else."""
    package_function(function, folder / f"{function}.zip")
    with zipfile.ZipFile(folder / f"{function}.zip") as archive:
        archive.extractall(folder / function, [name for name in archive.namelist() if "/" not in name])
    spec = importlib.util.spec_from_file_location(f"{function}_handler", folder / function / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / function)
        spec.loader.exec_module(module)
    return module


def _queue() -> str:
    role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    batch, ec2 = boto3.client("batch"), boto3.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="fargate",
        type="MANAGED",
        serviceRole=role,
        computeResources={"type": "FARGATE", "maxvCpus": 4, "subnets": [subnet], "securityGroupIds": [group]},
    )["computeEnvironmentArn"]
    return str(
        batch.create_job_queue(
            jobQueueName="fargate",
            priority=1,
            state="ENABLED",
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )["jobQueueArn"]
    )
