"""The AWS provider on stand-ins in this process: moto's AWS, a Terraform that makes what is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Keys, Node
from numerai_compute.ports import PlannedResource, PlannedResources, Report, StackChange, StackPlan
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.parts import AwsParts
from numerai_compute.providers.aws.provider import AwsProvider
from numerai_compute.providers.aws.settings import AwsSettings
from numerai_compute.providers.aws.stack_file import stack_node
from numerai_compute.providers.registry import ProviderContext
from numerai_compute.source import Source

from tests.fakes import FakeClock

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")
gaps = pytest.importorskip("tests.aws.moto_gaps")
for install in (
    gaps.install_bucket_policies,
    gaps.install_budgets,
    gaps.install_tagging,
    gaps.install_url_permissions,
):
    install()

REGION = "us-east-1"
ACCOUNT = "123456789012"
START = datetime.now(timezone.utc).replace(microsecond=0)
"""When every test begins: CloudWatch takes no lines that are weeks old."""
KEYS = Keys("PUBLICID0123456789", "SECRET-0123456789", "http://127.0.0.1:9")


CLIENTS = AwsClients(AwsSettings(region=REGION), connect=lambda profile, region: boto3.Session("x", "x", None, region))
"""For all tests: making a client takes longer than most tests do. Each test has an AWS of its own all the same."""


def quiet(line: str) -> None:
    """Takes progress and shows it to nobody."""


class FakeTerraform:
    """`ports.StackRunner` that makes in moto what the provider looks at. `fail` is raised by the next apply. `made` is
    what a plan makes unless it was taken over, `adopted` what was."""

    def __init__(self, clients: AwsClients, registry: str):
        self._client = clients.client
        self._registry = registry
        self.applied: list[Mapping[str, Any]] = []
        self.destroyed = 0
        self.moved: list[str | None] = []
        self.bucket: str | None = None
        self.fail: NumeraiError | None = None
        self.made: tuple[PlannedResource, ...] = ()
        self.known: frozenset[tuple[str, str]] = frozenset()
        self.adopted: dict[str, str] = {}
        self.leave_behind = False
        self._adopting = False
        self._planned: Mapping[str, Any] = {}
        self._queue = ""

    def prepare(self, report: Report) -> None:
        report("preparing")

    def plan(self, variables: Mapping[str, Any], report: Report, *, destroy: bool = False) -> StackPlan:
        self._planned = json.loads(json.dumps(variables))
        return StackPlan((StackChange("aws_vpc.this", "create"),) * 30, (), Path("plan"))

    def planned(self, plan: StackPlan) -> PlannedResources:
        return PlannedResources(tuple(one for one in self.made if one.address not in self.adopted), self.known)

    def plan_adoption(self, variables: Mapping[str, Any], existing: Mapping[str, str], report: Report) -> StackPlan:
        self._adopting = True
        self.adopted.update(existing)
        return StackPlan((), (), Path("plan"))

    def apply(self, plan: StackPlan, report: Report) -> Mapping[str, Any]:
        if self._adopting:
            self._adopting = False
            return {}
        if self.fail:
            failure, self.fail = self.fail, None
            raise failure
        variables = self._planned
        report("making vpc (10 s so far)")
        report("made vpc")
        if not self._queue:
            self._make_shared(variables["name"])
        cluster = variables["name"]
        if email := variables["notification_email"]:
            self._client("sns").subscribe(TopicArn=self._topic(cluster), Protocol="email", Endpoint=email)
        for name in variables["nodes"]:
            self._make_node(cluster, name)
        for definition in self._definitions():
            if definition["jobDefinitionName"].removeprefix(f"{cluster}-") not in variables["nodes"]:
                self._client("batch").deregister_job_definition(jobDefinition=definition["jobDefinitionArn"])
        for repository in self._repositories():
            if repository.removeprefix(f"{cluster}/") not in variables["nodes"] and not self.leave_behind:
                self._client("ecr").delete_repository(repositoryName=repository, force=True)
        self.applied.append(variables)
        return self.outputs()

    def destroy(self, variables: Mapping[str, Any], report: Report) -> None:
        self.destroyed += 1
        if self.leave_behind:
            return
        cluster = variables["name"]
        for repository in self._repositories():
            self._client("ecr").delete_repository(repositoryName=repository, force=True)
        self._client("dynamodb").delete_table(TableName=f"{cluster}-webhook")
        for group in (f"/numerai/{cluster}/runs", f"/aws/lambda/{cluster}-webhook"):
            self._client("logs").delete_log_group(logGroupName=group)
        self._client("s3").delete_bucket(Bucket=self._bucket(cluster))
        self._client("lambda").delete_function(FunctionName=f"{cluster}-webhook")
        self._client("batch").delete_job_queue(jobQueue=self._queue)
        self._client("batch").delete_compute_environment(computeEnvironment=f"{cluster}-fargate")

    def outputs(self) -> Mapping[str, Any]:
        cluster = self._planned["name"]
        return {
            "webhook_base_url": "https://abc.lambda-url.us-east-1.on.aws/",
            "webhook_function": f"{cluster}-webhook",
            "webhook_table": f"{cluster}-webhook",
            "webhook_log_group": f"/aws/lambda/{cluster}-webhook",
            "run_log_group": f"/numerai/{cluster}/runs",
            "keys_path": f"/numerai/{cluster}/",
            "failures_topic_arn": self._topic(cluster),
            "artifacts_bucket": self._bucket(cluster),
            "queues": {"fargate": self._queue},
            "nodes": {
                name: {
                    "repository_url": f"{self._registry}/{cluster}/{name}",
                    "repository": f"{cluster}/{name}",
                    "job_definition": f"{cluster}-{name}",
                    "job_queue": self._queue,
                }
                for name in self._planned["nodes"]
            },
        }

    def resources(self) -> list[str]:
        return []

    def move_state(self, report: Report) -> None:
        self.moved.append(self.bucket)

    def _make_shared(self, cluster: str) -> None:
        iam, batch = self._client("iam"), self._client("batch")
        role = iam.create_role(RoleName="stand-in", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        network = self._client("ec2").describe_subnets()["Subnets"][0]
        group = self._client("ec2").describe_security_groups()["SecurityGroups"][0]["GroupId"]
        made = batch.create_compute_environment(
            computeEnvironmentName=f"{cluster}-fargate",
            type="MANAGED",
            serviceRole=role,
            computeResources={
                "type": "FARGATE",
                "maxvCpus": 4,
                "subnets": [network["SubnetId"]],
                "securityGroupIds": [group],
            },
            tags={"numerai:cluster": cluster},
        )
        order = [{"order": 1, "computeEnvironment": made["computeEnvironmentArn"]}]
        queue = batch.create_job_queue(
            jobQueueName=f"{cluster}-fargate",
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=order,
            tags={"numerai:cluster": cluster},
        )
        self._queue = queue["jobQueueArn"]
        self._client("dynamodb").create_table(
            TableName=f"{cluster}-webhook",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        )
        self._client("sns").create_topic(Name=f"{cluster}-failures")
        for log_group in (f"/numerai/{cluster}/runs", f"/aws/lambda/{cluster}-webhook"):
            self._client("logs").create_log_group(logGroupName=log_group)
        self._client("s3").create_bucket(Bucket=self._bucket(cluster))
        self._client("s3").put_bucket_versioning(
            Bucket=self._bucket(cluster), VersioningConfiguration={"Status": "Enabled"}
        )
        self._client("lambda").create_function(
            FunctionName=f"{cluster}-webhook",
            Runtime="python3.13",
            Role=role,
            Handler="handler.handle",
            Code={"ZipFile": b"PK\x05\x06" + bytes(18)},
        )
        self._client("lambda").create_function_url_config(FunctionName=f"{cluster}-webhook", AuthType="NONE")

    def _make_node(self, cluster: str, name: str) -> None:
        if f"{cluster}/{name}" not in self._repositories():
            self._client("ecr").create_repository(repositoryName=f"{cluster}/{name}")
        self._client("batch").register_job_definition(
            jobDefinitionName=f"{cluster}-{name}",
            type="container",
            containerProperties={
                "image": "x",
                "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
                "environment": [{"name": "NUMERAI_NODE", "value": name}],
            },
        )

    def _topic(self, cluster: str) -> str:
        return f"arn:aws:sns:{REGION}:{ACCOUNT}:{cluster}-failures"

    def _bucket(self, cluster: str) -> str:
        return f"{cluster}-artifacts-{ACCOUNT}-{REGION}"

    def _definitions(self) -> list[Any]:
        return list(self._client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"])

    def _repositories(self) -> list[str]:
        return [found["repositoryName"] for found in self._client("ecr").describe_repositories()["repositories"]]


class FakeEngine:
    """A container engine that pushes into moto's ECR. `fail` is raised by the next push or build."""

    def __init__(self, registry: Registry):
        self._registry = registry
        self.built: list[str] = []
        self.pushed: list[str] = []
        self.platforms: set[str | None] = set()
        self.sources: list[tuple[Source, Mapping[str, str]]] = []
        self.removed: list[str] = []
        self.pulled: list[tuple[str, Mapping[str, str], str]] = []
        self.local: set[str] = set()
        self.fail: dict[str, NumeraiError] = {}

    def image_id(self, tag: str) -> str | None:
        return "sha256:local" if tag in self.local else None

    def pull(self, image: str, *, auth: Mapping[str, str], platform: str) -> None:
        self.pulled.append((image, auth, platform))
        self.platforms.add(platform)

    def tag(self, image: str, tag: str) -> None:
        self.built.append(tag)

    def build(
        self,
        source: Source,
        tag: str,
        *,
        labels: Mapping[str, str],
        report: Report,
        platform: str | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> str:
        if "build" in self.fail:
            raise self.fail["build"]
        self.platforms.add(platform)
        self.built.append(tag)
        self.sources.append((source, arguments or {}))
        return f"sha256:{len(self.built)}"

    def push(self, repository: str, tag: str, *, auth: Mapping[str, str], report: Report, platform: str) -> None:
        if "push" in self.fail:
            raise self.fail["push"]
        assert platform in self.platforms
        assert auth == {"username": "AWS", "password": f"{ACCOUNT}-auth-token"}
        self.pushed.append(tag)
        self._registry.push(repository.partition("/")[2], tag, len(self.built))

    def images(self, label: str) -> dict[str, list[str]]:
        return {f"sha256:{number}": [tag] for number, tag in enumerate(reversed(self.built))}

    def remove_image(self, image: str) -> None:
        self.removed.append(image)


class Registry:
    """What an engine and a test see of ECR's images."""

    host = "registry.example"

    def __init__(self, clients: AwsClients):
        self._client = clients.client

    def push(self, repository: str, tag: str, content: object) -> None:
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.dumps({"mediaType": kind, "layers": [{"digest": str(content)}]})
        self._client("ecr").put_image(
            repositoryName=repository, imageTag=tag, imageManifest=manifest, imageManifestMediaType=kind
        )

    def manifest(self, repository: str, tag: str) -> str:
        asked = {"repositoryName": repository, "imageIds": [{"imageTag": tag}]}
        return str(self._client("ecr").batch_get_image(**asked)["images"][0]["imageManifest"])

    def empty(self, repository: str) -> None:
        images = self._client("ecr").list_images(repositoryName=repository)["imageIds"]
        self._client("ecr").batch_delete_image(repositoryName=repository, imageIds=images)


class World:
    """A provider, and everything that it talks to."""

    def __init__(self, home: Path, settings: Mapping[str, str | int]):
        self.registry = registry = Registry(CLIENTS)
        self.keys: Keys | None = KEYS
        self.urls: dict[str, str] = {}
        self.clock = FakeClock(START)
        self.engine = FakeEngine(registry)
        self.home = home
        context = ProviderContext(home, settings, lambda: self.keys, lambda: self.engine, self.clock, lambda: self.urls)  # type: ignore[arg-type, return-value]
        self.clients = CLIENTS
        self.terraform = FakeTerraform(self.clients, registry.host)
        self.parts = AwsParts(context, runner=self.terraform_in, clients=self.clients)
        self.provider = AwsProvider(self.parts)

    def terraform_in(self, bucket: str | None) -> FakeTerraform:
        """The one Terraform, told where its state is."""
        self.terraform.bucket = bucket
        return self.terraform

    def node(self, name: str = "alice", **changes: Any) -> Node:
        source = self.home.parent / name
        source.mkdir(exist_ok=True)
        (source / "Dockerfile").write_text("FROM scratch\n")
        given = {"cpu": 1, "memory_mib": 2048, **changes}
        return Node(f"numerai-{name}", name, f"id-{name}", 8, "aws", str(source), **given)

    def configured(self, name: str = "alice", **changes: Any) -> Node:
        return self.provider.configure(self.node(name, **changes), quiet)

    def stack(self) -> Any:
        return self.parts.cluster.file.read()

    def stack_record(self) -> Any:
        """A node's record as `configure` begins with it."""
        return stack_node(self.node(), None, None, self.clock.now())


@pytest.fixture
def world(home: Path) -> Iterator[World]:
    with moto.mock_aws(config={"batch": {"use_docker": False}}):
        yield World(home, {"region": REGION, "log_lag_seconds": 0})


@pytest.fixture
def answers() -> Iterator[Callable[[str, str, Any], list[Any]]]:
    """Lets AWS answer one operation from now on: with a dict, an error code (a string), or what a function of the
    parameters gives; None leaves the call to moto. Returns the list that the calls' parameters are put into."""
    given: dict[str, Any] = {}
    calls: dict[str, list[Any]] = {}
    undo: list[Callable[[], None]] = []

    def asked(event_name: str, params: Any, **_: Any) -> Any:
        body = params["body"]
        calls[event_name].append(json.loads(body) if isinstance(body, bytes) and body.startswith(b"{") else body)
        found = given[event_name]
        found = found(calls[event_name][-1]) if callable(found) else found
        if found is None:
            return None
        content = {"Error": {"Code": found, "Message": found}} if isinstance(found, str) else found
        answer = {"ResponseMetadata": {}, **content}
        return AWSResponse("https://aws", 400 if isinstance(found, str) else 200, {}, None), answer

    def answer(service: str, operation: str, content: Any) -> list[Any]:
        client = CLIENTS.client(service)
        event = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
        if event not in given:
            calls[event] = []
            client.meta.events.register(event, asked)
            undo.append(lambda: client.meta.events.unregister(event, asked))
        given[event] = content
        return calls[event]

    yield answer
    for step in undo:
        step()
