"""One emulator and one applied cluster for all tests that need AWS."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import docker
import pytest
from numerai_compute.adapters.terraform_runner import TerraformRunner
from numerai_compute.errors import NumeraiError
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.lambda_package import package_functions
from numerai_compute.providers.aws.policy import minimal_policy, own_boundary
from numerai_compute.providers.aws.settings import AwsSettings
from numerai_compute.providers.aws.url_permission import let_the_url_call
from numerai_compute.providers.environment import container_url
from numerai_compute.sandbox.client import SandboxClient
from numerai_compute.sandbox.settings import PUBLIC_ID_VARIABLE, SECRET_KEY_VARIABLE

from tests.e2e.command_line import SMALL, sandbox_process

from .access_keys import OBSERVER
from .emulator import ACCOUNT, REGION, Emulator, emulated_aws, mirror_configuration, missing
from .enforcement import Enforcement

ROOT = Path(__file__).parents[2] / "terraform" / "aws"
ALICE, ALICE_TOKEN = "numerai-alice", "a" * 43
PUBLIC_ID, SECRET_KEY = "PUBLIC", "SECRET-OF-NUMERAI"


def node(token: str = ALICE_TOKEN, **changes: Any) -> dict[str, Any]:
    """A small node as the root takes it."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    return {"model_id": "m-1", "token_sha256": digest, "cpu": 0.25, "memory_mib": 512, "timeout_minutes": 5, **changes}


@dataclass(frozen=True)
class Sandbox:
    """The Numerai that the cluster's nodes and its watcher ask."""

    url: str
    model_id: str

    @property
    def control(self) -> SandboxClient:
        """Opens rounds, moves the clock, tells what there is."""
        return SandboxClient(self.url)


@dataclass
class Cluster:
    """The applied root: by whose key and with what it was applied, what it gave, and what was said."""

    emulator: Emulator
    key: str
    runner: TerraformRunner
    folder: Path
    variables: dict[str, Any]
    numerai: Sandbox
    outputs: Mapping[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def client(self, service: str, key: str = OBSERVER, **more: Any) -> Any:
        """A client of the SDK for the emulator, by default the test's own, which nobody judges."""
        return boto3.client(
            service,
            **{"region_name": REGION, **more},
            endpoint_url=self.emulator.url,
            aws_access_key_id=key,
            aws_secret_access_key=key,
        )

    @property
    def clients(self) -> AwsClients:
        """The tool's own clients, for what it does beside Terraform."""
        session = SimpleNamespace(region_name=REGION, client=partial(self.client, key=self.key))
        return AwsClients(AwsSettings(region=REGION), connect=lambda *_: session)

    def apply(self, **changes: Any) -> list[tuple[str, str]]:
        """Bring the cluster to the variables with these changes; returns what was planned, as (action, address)."""
        self.variables = {**self.variables, **changes}
        plan = self.runner.plan(self.variables, self.said.append)
        self.outputs = self.runner.apply(plan, self.said.append)
        let_the_url_call(self.clients, self.outputs["webhook_function"])
        return [(change.action, change.address) for change in plan.changes]

    def push(self, name: str, command: str) -> None:
        """Push an image that runs this shell command as what the node runs."""
        repository = self.outputs["nodes"][name]["repository_url"]
        text = f"FROM {os.environ.get('PYTHON_IMAGE', 'python:3.13-slim')}\nCMD {json.dumps(['sh', '-c', command])}\n"
        client = docker.from_env()
        client.images.build(fileobj=io.BytesIO(text.encode()), tag=f"{repository}:live", rm=True, forcerm=True)
        for line in client.images.push(repository, tag="live", stream=True, decode=True):
            assert "error" not in line, line

    @property
    def alice(self) -> dict[str, Any]:
        """Alice's node as it was applied."""
        return dict(self.variables["nodes"][ALICE])

    def webhook(self, name: str = ALICE, token: str = ALICE_TOKEN) -> str:
        """The address of a node's webhook."""
        return f"{self.outputs['webhook_base_url']}{name}/{token}"


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """A local AWS; skips with what is missing."""
    why = missing()
    if why:
        pytest.skip(why)
    with emulated_aws() as running:
        yield running


@pytest.fixture(scope="session")
def user(emulator: Emulator) -> Mapping[str, str]:
    """The variables of somebody who has the printed policy and no more, in an account where IAM is enforced."""
    return Enforcement(emulator.url).on(minimal_policy("numerai", ACCOUNT, REGION))


@pytest.fixture(scope="session")
def new_runner(
    emulator: Emulator, user: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., TerraformRunner]:
    """Makes runners on the emulator, for a working folder each; skips where Terraform or its provider cannot be had.
    The cluster's is the user's, that of another root an administrator's."""
    plugins = tmp_path_factory.mktemp("plugins")
    environment = {**emulator.environment, **mirror_configuration(plugins)}
    administrator = {"AWS_ACCESS_KEY_ID": OBSERVER, "AWS_SECRET_ACCESS_KEY": OBSERVER}

    def make(folder: Path, root: Path = ROOT) -> TerraformRunner:
        who = user if root == ROOT else administrator
        return TerraformRunner(root, folder, plugins / "cache", environment={**environment, **who})

    try:
        make(tmp_path_factory.mktemp("probe")).prepare(lambda _: None)
    except NumeraiError as error:
        if error.code in ("terraform-missing", "terraform-too-old", "registry-unreachable"):
            pytest.skip(error.message)
        raise
    return make


@pytest.fixture(scope="session")
def numerai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with the keys that the cluster holds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PUBLIC_ID_VARIABLE, PUBLIC_ID)
        patch.setenv(SECRET_KEY_VARIABLE, SECRET_KEY)
        with sandbox_process(*SMALL, "--models", "alice", cwd=tmp_path_factory.mktemp("numerai")) as served:
            model_id = next(model["id"] for model in SandboxClient(served["url"]).state()["models"])
            yield Sandbox(served["url"], model_id)


@pytest.fixture(scope="session")
def cluster(
    emulator: Emulator,
    user: Mapping[str, str],
    numerai: Sandbox,
    new_runner: Callable[..., TerraformRunner],
    tmp_path_factory: pytest.TempPathFactory,
) -> Cluster:
    """The cluster with one node, applied once and shared. Each test leaves it with at least that node."""
    folder = tmp_path_factory.mktemp("cluster")
    variables = {
        "region": REGION,
        **package_functions(folder),
        "numerai_api_url": container_url(numerai.url),
        "nodes": {ALICE: node(model_id=numerai.model_id)},
        "permissions_boundary": own_boundary("numerai", ACCOUNT),
    }
    key, work = user["AWS_ACCESS_KEY_ID"], folder / "work"
    made = Cluster(emulator, key, new_runner(work), work, variables, numerai)
    made.runner.prepare(made.said.append)
    made.apply()
    keys = {"NUMERAI_PUBLIC_ID": PUBLIC_ID, "NUMERAI_SECRET_KEY": SECRET_KEY, "NUMERAI_NOTIFY": "none"}
    for name, value in keys.items():
        made.client("ssm").put_parameter(Name=made.outputs["keys_path"] + name, Value=value, Type="SecureString")
    return made
