"""The official tool's cluster as its own files tell it: whose it is, what is in it, and what removes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import moto
import pytest
from numerai_compute.adapters.official_home import OfficialHome
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.providers.aws import official
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.official import OfficialAws
from numerai_compute.providers.aws.official_state import read_state
from numerai_compute.providers.aws.settings import AwsPaths

from tests.fixtures.official_states import LAYOUTS, PROVIDER, official_state

from .conftest import ACCOUNT, CLIENTS

OTHER = "999999999999"
NODE = {
    "provider": "aws", "docker_repo": f"{ACCOUNT}.dkr/numerai-alice", "webhook_url": "https://x.on.aws/",
    "cluster_log_group": "/ec2/service/numerai-alice", "model_id": "m",
}  # fmt: skip
MADE = {"docker_repo": f"{ACCOUNT}.dkr/numerai-bob", "webhook_url": "https://bob.on.aws/"}


def resource(
    kind: str, label: str, *keys: str, arn: str = "", mode: str = "managed", module: str = "module.aws[0]", **more: Any
) -> dict[str, Any]:
    attributes = {"arn": arn, **more}
    instances = [{"index_key": key, "attributes": attributes} for key in keys] or [{"attributes": attributes}]
    found = {"mode": mode, "type": kind, "name": label, "provider": PROVIDER, "instances": instances}
    return {"module": module, **found} if module else found


def state(account: str = ACCOUNT, region: str = "us-east-1", version: int = 4, **outputs: Any) -> dict[str, Any]:
    """A state as Terraform 1.5.6 writes it."""
    return {
        "version": version,
        "terraform_version": "1.5.6",
        "serial": 7,
        "lineage": "5d0e8a5c-0000-0000-0000-000000000000",
        "outputs": {name: {"value": value} for name, value in outputs.items()},
        "resources": [
            resource("aws_iam_policy_document", "trust", arn=f"arn:aws:iam::{OTHER}:role/x", mode="data"),
            resource("aws_iam_role", "lambda", arn=f"arn:aws:iam::{account}:role/numerai-submission-lambda"),
            resource("aws_ecr_repository", "node", "numerai-bob", arn=f"arn:aws:ecr:{region}:{account}:repository/b"),
            resource("aws_batch_job_queue", "node", arn=f"arn:aws:batch:{region}:{account}:job-queue/q", name="queue"),
        ],
    }


def with_resources(*more: Any) -> dict[str, Any]:
    """A state that also has these."""
    return {**state(), "resources": [*state()["resources"], *more]}


def with_vpc(**values: Any) -> dict[str, Any]:
    """A state that also has this one."""
    return with_resources(resource("aws_vpc", "x", **values))


def without(*names: str) -> dict[str, Any]:
    """A state that lacks these of its parts."""
    return {name: part for name, part in state().items() if name not in names}


COUNTS = {"0.3.0": 34, "0.3.5": 37, "0.4.0": 37, "1.0.0": 34, "1.1.0": 35, "1.1.7": 34}
"""With two nodes, one of them with a schedule."""


@pytest.mark.parametrize("version", LAYOUTS)
def test_what_every_version_makes_is_known(world: Files, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.nodes = {}
    world.write(official_state(version))
    cluster = world.cloud().cluster()
    assert cluster is not None and cluster.unusable is None and cluster.where == f"account {ACCOUNT}, us-east-1"
    assert len(cluster.resources) == len(set(cluster.resources)) == COUNTS[version]
    assert {name: node.scheduled for name, node in cluster.nodes.items()} == {
        "numerai-alice": version != "0.3.0", "numerai-bob": False,
    }  # fmt: skip
    kept = read_state(world.home / "aws" / "terraform.tfstate")
    queues = {"1.0.0": ["numerai-alice", "numerai-bob"], "1.1.0": ["numerai-alice", "numerai-bob"]}
    assert kept.names("aws_batch_job_queue") == queues.get(version, ["numerai-submission"] if version > "1" else [])
    assert kept.names("aws_ecs_cluster") == ([] if version > "1" else ["numerai-submission"])
    world.nodes = official_state(version)["outputs"]["aws_nodes"]["value"]
    (world.home / "aws" / "terraform.tfstate").unlink()
    named = "\n".join(getattr(world.cloud().cluster(), "by_hand", ()))
    assert ("Batch" in named) == (version > "1") and ("API Gateway" in named) == (version < "1")


STRANGE: Mapping[str, tuple[Any, str]] = {
    "no bytes": (b"", "truncated"),
    "cut off": (json.dumps(state())[:-40].encode(), "truncated"),
    "no UTF-8": (b'{"version": 4, "lineage": "\xff"}', "decode"),
    "nested deeply": (b'{"version": 4, "resources":' + b"[" * 100_000, "nested too deeply"),
    "null": (b"null", "null"),
    "a list": (b"[]", "array"),
    "a text": (b'"x"', "str"),
    "of Terraform 0.11": (state(version=3), "version 3"),
    "of a later Terraform": (state(version=5), "version 5"),
    "no version": (without("version"), "version"),
    "encrypted": ({"serial": 1, "lineage": "x", "meta": {}, "encrypted_data": "x"}, "encrypted"),
    "no serial": (without("serial"), "serial"),
    "no lineage": (without("lineage"), "lineage"),
    "no resources": (without("resources"), "resources"),
    "resources that are null": ({**state(), "resources": None}, "resources"),
    "resources by name": ({**state(), "resources": {}}, "resources"),
    "a resource that is a text": (with_resources("x"), "resources"),
    "a resource without instances": (with_resources({**resource("aws_vpc", "main"), "instances": None}), "instances"),
    "a resource without a type": (with_resources({**resource("aws_vpc", "main"), "type": 1}), "type"),
    "an odd key": (with_resources(resource("aws_vpc", "main") | {"instances": [{"index_key": []}]}), "index_key"),
    "attributes that are a list": (
        with_resources(resource("aws_vpc", "main") | {"instances": [{"attributes": []}]}), "attributes",
    ),
    "outputs that are null": ({**state(), "outputs": None}, "outputs"),
    "outputs that are a list": ({**state(), "outputs": []}, "outputs"),
    "an output without a value": ({**state(), "outputs": {"aws_nodes": {}}}, "aws_nodes"),
    "an output that is a text": (state(aws_nodes="x"), "aws_nodes"),
    "a node that is null": (state(aws_nodes={"numerai-bob": None}), "aws_nodes"),
    "an address that is a number": (state(aws_nodes={"numerai-bob": {"webhook_url": 5}}), "aws_nodes"),
    "no account": ({**state(), "resources": [resource("aws_vpc", "main")]}, "whose account"),
    "two accounts": (with_vpc(arn=f"arn:aws:ec2:us-east-1:{OTHER}:vpc/x"), OTHER),
    "two regions": (with_vpc(arn=f"arn:aws:ec2:eu-west-1:{ACCOUNT}:vpc/x"), "eu-west-1"),
    "something of another module": (with_vpc(module="module.mine"), "module.mine.aws_vpc.x"),
    "something of no module": (with_vpc(module=""), " aws_vpc.x"),
    "a module that begins alike": (with_vpc(module="module.aws2"), "module.aws2.aws_vpc.x"),
    "a module that is a list": (with_resources({**resource("aws_vpc", "x"), "module": []}), "module"),
    "another provider": (
        with_resources({**resource("random_id", "x"), "provider": PROVIDER.replace("aws", "random")}), "random_id.x",
    ),
    "the provider as Terraform 0.12 has named it": (
        with_resources({**resource("aws_vpc", "x"), "provider": "provider.aws"}), "aws_vpc.x",
    ),
}  # fmt: skip
"""States that are none of what the official tool's Terraform has written, and a word of what is said of each."""


class Files:
    """A home folder with the official tool's files, and who can ask AWS."""

    def __init__(self, home: Path):
        self.home = home
        self.nodes: dict[str, Mapping[str, Any]] = {"numerai-alice": NODE}
        self.keys: tuple[str, str] | None = None
        self.own: AwsClients = CLIENTS
        (home / "aws").mkdir(parents=True)

    def write(self, content: Any, folder: str = "aws") -> Path:
        path = self.home / folder / "terraform.tfstate"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def cloud(self) -> OfficialAws:
        return OfficialAws(AwsPaths(self.home), lambda: self.nodes, lambda: self.keys, lambda region: self.own)


@pytest.fixture
def files(home: Path) -> Files:
    return Files(home)


@pytest.fixture
def world(files: Files) -> Iterator[Files]:
    with moto.mock_aws():
        yield files


@pytest.mark.parametrize("folder", ["aws", "."], ids=["since 0.4", "0.3"])
def test_the_state_says_what_there_is(files: Files, folder: str) -> None:
    files.write(state(aws_nodes={"numerai-bob": MADE}), folder)
    cluster = files.cloud().cluster()
    assert cluster is not None and cluster.unusable is None and cluster.where == f"account {ACCOUNT}, us-east-1"
    assert len(cluster.resources) == 3 and 'aws_ecr_repository.node["numerai-bob"]' in cluster.resources
    assert cluster.nodes["numerai-bob"].repository == MADE["docker_repo"]
    assert cluster.nodes["numerai-alice"].webhook_url == NODE["webhook_url"], "from the record of the node"


def test_without_a_state_what_is_to_be_removed_is_named(files: Files) -> None:
    cluster = files.cloud().cluster()
    assert cluster is not None and cluster.unusable and cluster.resources == ()
    named = "\n".join(cluster.by_hand)
    assert all(each in named for each in ("/ec2/service/numerai-alice", "numerai-submission-queue", "172.17.0.0/16"))
    assert "cron-trigger" not in named
    files.nodes = {"numerai-alice": {**NODE, "cron": "0 13 * * ? *"}}
    scheduled = files.cloud().cluster()
    assert scheduled is not None and "the EventBridge rule numerai-alice-cron-trigger" in "\n".join(scheduled.by_hand)
    assert scheduled.nodes["numerai-alice"].scheduled


@pytest.mark.parametrize("address", ["https://x.execute-api.us-east-1.amazonaws.com/predict/numerai-alice", None])
def test_what_0_3_and_0_4_made_is_named_as_they_made_it(files: Files, address: str | None) -> None:
    files.nodes = {"numerai-alice": {"docker_repo": "r", "webhook_url": address, "api_log_group": "/aws/apigateway/x"}}
    cluster = files.cloud().cluster()
    assert cluster is not None
    named = "\n".join(cluster.by_hand)
    assert all(
        each in named for each in ("/fargate/service/numerai-alice", "numerai-submission-gateway", "ECS cluster")
    )
    assert "Batch" not in named


@pytest.mark.parametrize("shape", STRANGE)
def test_a_state_that_is_none_is_named_and_nothing_is_removed_by_it(
    files: Files, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, word = STRANGE[shape]
    monkeypatch.setattr(official, "runner_of", lambda *given: pytest.fail("Terraform was run"))
    path = files.write(content)
    before = path.read_bytes()
    cluster = files.cloud().cluster()
    assert cluster is not None and cluster.unusable and cluster.resources == () and cluster.by_hand
    assert str(path) in cluster.unusable and word in cluster.unusable and "whole" in cluster.unusable
    for ask in (files.cloud().active_runs, lambda: files.cloud().destroy(print)):
        with pytest.raises(NumeraiError) as refused:
            ask()
        assert str(path) in refused.value.message and word in refused.value.message and refused.value.hint
    assert path.read_bytes() == before and not (files.home / "aws" / "official").exists()
    if shape == "no account":
        return  # so it is with a copy in which little is left
    files.write(state())
    copy = files.write(content, "aws/official")
    copied = files.cloud().cluster()
    assert copied is not None and copied.unusable and str(copy) in copied.unusable and copied.resources == ()
    with pytest.raises(NumeraiError, match=re.escape(str(copy))):
        files.cloud().destroy(print)


@pytest.mark.parametrize(
    "encoded", [b"\xef\xbb\xbf" + json.dumps(state()).encode(), json.dumps(state()).encode("utf-16")]
)
def test_a_state_with_a_mark_is_read_and_terraform_gets_it_without(
    world: Files, encoded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(encoded)
    cluster = world.cloud().cluster()
    assert cluster is not None and len(cluster.resources) == 3
    monkeypatch.setattr(official, "runner_of", lambda root, folder, *given: FakeRunner(root, folder, None))
    world.cloud().destroy(print)
    left = world.cloud().cluster()
    assert left is not None and left.resources == ()


@pytest.mark.parametrize(
    "record",
    [None, 5, [], {"docker_repo": 5, "webhook_url": {"a": 1}}, {"cron": [1], "cluster_log_group": 7}, {"cron": ""}],
)
def test_a_record_of_a_node_that_makes_no_sense_does_no_harm(files: Files, record: Any) -> None:
    files.nodes = {"numerai-alice": NODE, "numerai-odd": record}
    assert files.cloud().cluster() is not None
    files.write(state())
    cluster = files.cloud().cluster()
    assert cluster is not None and cluster.unusable is None
    odd = cluster.nodes["numerai-odd"]
    assert (odd.repository, odd.webhook_url, odd.scheduled) == (None, None, False)


def test_what_runs_by_a_schedule_there_is_known_from_the_state(files: Files) -> None:
    rule = resource("aws_cloudwatch_event_rule", "cron_trigger", "numerai-bob")
    files.write(with_resources(rule) | {"outputs": {"aws_nodes": {"value": {"numerai-bob": MADE}}}})
    cluster = files.cloud().cluster()
    assert cluster is not None
    assert {name: node.scheduled for name, node in cluster.nodes.items()} == {
        "numerai-alice": False,
        "numerai-bob": True,
    }


def test_where_nothing_was_made_there_is_nothing(files: Files) -> None:
    files.nodes = {"numerai-alice": {"provider": "aws"}}
    assert files.cloud().cluster() is None
    files.nodes = {}
    files.write({**state(), "resources": []})
    assert files.cloud().cluster() is None
    files.nodes = {"numerai-alice": NODE}
    removed = files.cloud().cluster()
    assert removed is not None and removed.resources == () and removed.unusable is None


def test_the_keys_of_the_states_account_are_used(world: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(state())
    world.keys = ("AKIAOLD", "secret")
    cloud = world.cloud()
    assert cloud._clients is not CLIENTS and cloud._clients.environment()["AWS_ACCESS_KEY_ID"] == "AKIAOLD"
    world.keys = None
    assert world.cloud()._clients is CLIENTS
    world.write(state(account=OTHER))
    world.keys = ("AKIAOLD", "secret")
    with pytest.raises(EnvironmentNotReady) as refused:
        _ = world.cloud()._clients
    assert refused.value.code == "other-account" and refused.value.message.count(f"account {ACCOUNT}") == 2
    assert "secret" not in refused.value.in_full


def test_an_image_is_found_by_its_repository(world: Files) -> None:
    world.write(state())
    ecr = CLIENTS.client("ecr")
    uri = ecr.create_repository(repositoryName="numerai-bob")["repository"]["repositoryUri"]
    assert world.cloud().image(uri) is None and world.cloud().image(f"{uri}-gone") is None
    manifest = json.dumps({"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "layers": []})
    ecr.put_image(repositoryName="numerai-bob", imageTag="latest", imageManifest=manifest)
    image = world.cloud().image(uri)
    assert image is not None and image.name == f"{uri}:latest" and image.digest.startswith("sha256:")
    assert image.auth["username"] == "AWS"


class FakeRunner:
    """A Terraform that takes things out of the state one by one; `fails` is raised after the first."""

    def __init__(self, root: Path, folder: Path, fails: Exception | None):
        self.root, self.folder, self.fails = root, folder, fails

    def prepare(self, report: Any) -> None:
        assert (self.root / ".terraform.lock.hcl").exists()

    def destroy(self, variables: Mapping[str, Any], report: Any) -> None:
        path = self.folder / "terraform.tfstate"
        held = json.loads(path.read_text())
        held["resources"] = [] if self.fails is None else held["resources"][:-1]
        path.write_text(json.dumps(held))
        if self.fails is not None:
            raise self.fails


def test_a_copy_of_the_state_is_worked_on_and_an_interrupt_leaves_it_as_far_as_it_came(
    world: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(state())
    before = (world.home / "aws" / "terraform.tfstate").read_bytes()
    fails: list[Exception | None] = [RuntimeError("killed"), None]
    runners = []

    def runner_of(root: Path, folder: Path, plugins: Path, clients: Any) -> FakeRunner:
        runners.append(FakeRunner(root, folder, fails.pop(0)))
        return runners[-1]

    monkeypatch.setattr(official, "runner_of", runner_of)
    with pytest.raises(RuntimeError, match="killed"):
        world.cloud().destroy(print)
    left = world.cloud().cluster()
    assert left is not None and len(left.resources) == 2 and left.where
    world.cloud().destroy(print)
    cluster = world.cloud().cluster()
    assert cluster is not None and cluster.resources == () and cluster.unusable is None
    assert (world.home / "aws" / "terraform.tfstate").read_bytes() == before, "the official tool's own file stays"
    description = json.loads((runners[0].root / "main.tf.json").read_text())
    assert description["provider"]["aws"]["allowed_account_ids"] == [ACCOUNT]
    assert "resource" not in description
    world.cloud().destroy(print)
    assert len(runners) == 2, "there is nothing left to do"


def test_before_0_3_5_a_repository_with_images_is_removed_with_them(
    world: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those states lack `force_delete`, without which the AWS provider leaves a repository that holds images."""
    given = list[Any]()

    class Looks(FakeRunner):
        def destroy(self, variables: Mapping[str, Any], report: Any) -> None:
            given.extend(json.loads((self.folder / "terraform.tfstate").read_text())["resources"])
            super().destroy(variables, report)

    world.write(state())
    monkeypatch.setattr(official, "runner_of", lambda root, folder, *given: Looks(root, folder, None))
    world.cloud().destroy(print)
    (repository,) = [each for each in given if each["type"] == "aws_ecr_repository"]
    assert [each["attributes"]["force_delete"] for each in repository["instances"]] == [True]
    assert not [each for each in given if each["type"] == "aws_iam_role" and "force_delete" in str(each)]


def test_a_run_that_goes_on_is_seen(world: Files) -> None:
    world.write(state())
    assert world.cloud().active_runs() == [], "its queue is gone"


def jobs(world: Files, monkeypatch: pytest.MonkeyPatch, *queues: str) -> list[str]:
    """The active runs where these queues have one job each."""

    class Batch:
        def describe_job_queues(self, jobQueues: list[str]) -> dict[str, Any]:
            return {"jobQueues": [{"jobQueueName": each} for each in jobQueues if each in queues]}

        def list_jobs(self, jobQueue: str, jobStatus: str) -> dict[str, Any]:
            job = {"jobName": jobQueue, "jobId": "1"}
            return {"jobSummaryList": [job] if jobStatus == "RUNNING" else []}

    monkeypatch.setattr(CLIENTS, "client", lambda service: {"batch": Batch()}[service])
    return list(world.cloud().active_runs())


def test_runs_are_looked_for_in_the_queue_that_the_state_names(world: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """1.0 to 1.1.0 make a queue for each node, named as the node."""
    world.write(
        with_resources(
            {
                **resource("aws_batch_job_queue", "node"),
                "instances": [
                    {"index_key": name, "attributes": {"name": name}} for name in ("numerai-alice", "numerai-bob")
                ],
            }
        )
    )
    assert jobs(world, monkeypatch, "numerai-bob") == ["numerai-bob (running, job 1)"]


def test_a_task_of_0_3_that_goes_on_is_seen(world: Files) -> None:
    ecs = CLIENTS.client("ecs")
    world.write(with_resources(resource("aws_ecs_cluster", "main", name="numerai-submission")))
    assert world.cloud().active_runs() == []
    ecs.create_cluster(clusterName="numerai-submission")
    assert world.cloud().active_runs() == []
    ec2 = CLIENTS.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ecs.register_task_definition(
        family="numerai-alice", containerDefinitions=[{"name": "x", "image": "x", "memory": 1}], networkMode="awsvpc"
    )
    ecs.run_task(
        cluster="numerai-submission", taskDefinition="numerai-alice", launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": []}},
    )  # fmt: skip
    (said,) = world.cloud().active_runs()
    assert "task" in said


def test_what_the_nodes_were_is_known_before_and_after_an_upgrade(home: Path) -> None:
    home.mkdir()
    nodes = {"numerai-alice": NODE, "numerai-carol": {"provider": "gcp"}, "numerai-half": None}
    (home / "nodes.json").write_text(json.dumps(nodes))
    taken = OfficialHome(HomeStore(home, {}))
    assert taken.aws_nodes() == {"numerai-alice": NODE}
    folder = taken.take_over()
    store = HomeStore(home, {})
    store.forget_node("numerai-alice")
    assert OfficialHome(store).aws_nodes() == {"numerai-alice": NODE}, "from the backup"
    for content in (b"", b" \n", b"\xef\xbb\xbf"):
        (folder / "nodes.json").write_bytes(content)
        assert OfficialHome(store).aws_nodes() == {}, content
    for content in (b"null", b"[]", b"{", b"\xff", b'{"numerai-alice": {"provider": "\xff"}}'):
        (folder / "nodes.json").write_bytes(content)
        with pytest.raises(NumeraiError, match=re.escape(str(folder / "nodes.json"))):
            OfficialHome(store).aws_nodes()
