"""The official tool's cluster as its own files tell it: whose it is, what is in it, and what removes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import moto
import pytest
from numerai_compute.adapters.official_home import OfficialHome
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.providers.aws import official
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.official import OfficialAws
from numerai_compute.providers.aws.settings import AwsPaths

from .conftest import ACCOUNT, CLIENTS

OTHER = "999999999999"
NODE = {
    "provider": "aws", "docker_repo": f"{ACCOUNT}.dkr/numerai-alice", "webhook_url": "https://x.on.aws/",
    "cluster_log_group": "/ec2/service/numerai-alice", "model_id": "m",
}  # fmt: skip
MADE = {"docker_repo": f"{ACCOUNT}.dkr/numerai-bob", "webhook_url": "https://bob.on.aws/"}


def resource(kind: str, name: str, *keys: str, arn: str = "", mode: str = "managed") -> dict[str, Any]:
    instances = [{"index_key": key, "attributes": {"arn": arn}} for key in keys] or [{"attributes": {"arn": arn}}]
    return {"mode": mode, "type": kind, "name": name, "module": "module.aws[0]", "instances": instances}


def state(account: str = ACCOUNT, region: str = "us-east-1", version: int = 4, **outputs: Any) -> dict[str, Any]:
    """A state as Terraform 1.5.6 writes it."""
    return {
        "version": version,
        "terraform_version": "1.5.6",
        "outputs": {name: {"value": value} for name, value in outputs.items()},
        "resources": [
            resource("aws_iam_policy_document", "trust", arn=f"arn:aws:iam::{OTHER}:role/x", mode="data"),
            resource("aws_iam_role", "lambda", arn=f"arn:aws:iam::{account}:role/numerai-submission-lambda"),
            resource("aws_ecr_repository", "node", "numerai-bob", arn=f"arn:aws:ecr:{region}:{account}:repository/b"),
            resource("aws_batch_job_queue", "node", arn=f"arn:aws:batch:{region}:{account}:job-queue/q"),
        ],
    }


class Files:
    """A home folder with the official tool's files, and who can ask AWS."""

    def __init__(self, home: Path):
        self.home = home
        self.nodes: dict[str, Mapping[str, Any]] = {"numerai-alice": NODE}
        self.keys: tuple[str, str] | None = None
        self.own: AwsClients = CLIENTS
        (home / "aws").mkdir(parents=True)

    def write(self, content: Any, folder: str = "aws") -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.home / folder / "terraform.tfstate").write_text(text)

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


@pytest.mark.parametrize(
    "content", [None, "{", "[]", state(version=3), {**state(), "resources": [resource("aws_vpc", "main")]}]
)
def test_without_a_usable_state_what_is_to_be_removed_is_named(files: Files, content: Any) -> None:
    if content is not None:
        files.write(content)
    cluster = files.cloud().cluster()
    assert cluster is not None and cluster.unusable and cluster.resources == ()
    named = "\n".join(cluster.by_hand)
    assert all(each in named for each in ("/ec2/service/numerai-alice", "numerai-submission-queue", "172.17.0.0/16"))


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


def test_a_run_that_goes_on_is_seen(world: Files) -> None:
    world.write(state())
    assert world.cloud().active_runs() == (), "its queue is gone"


def test_what_the_nodes_were_is_known_before_and_after_an_upgrade(home: Path) -> None:
    home.mkdir()
    nodes = {"numerai-alice": NODE, "numerai-carol": {"provider": "gcp"}, "numerai-half": None}
    (home / "nodes.json").write_text(json.dumps(nodes))
    taken = OfficialHome(HomeStore(home, {}))
    assert taken.aws_nodes() == {"numerai-alice": NODE}
    taken.take_over()
    store = HomeStore(home, {})
    store.forget_node("numerai-alice")
    assert OfficialHome(store).aws_nodes() == {"numerai-alice": NODE}, "from the backup"
