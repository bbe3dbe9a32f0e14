"""The AWS provider under test on the emulator: one cluster, nodes made of one Python script, and ways to break them."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from msgspec.structs import replace as replaced
from numerai_compute.adapters.clock import SystemClock
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.models import Keys, Node, Run
from numerai_compute.providers.aws.cluster_outputs import ClusterOutputs
from numerai_compute.providers.aws.parts import AwsParts
from numerai_compute.providers.aws.provider import AwsProvider
from numerai_compute.providers.aws.remains import cluster_remains, node_remains
from numerai_compute.providers.aws.stack_file import stack_node
from numerai_compute.providers.registry import ProviderContext

from ..aws.emulator import ACCOUNT, REGION, Emulator, mirror_configuration, missing
from .provider_suite import quiet

SECRET = "s3cr3t/of-the+tests-0123456789"
KEYS = Keys("PUBLICID0123456789ABCDEFGHIJ", SECRET, "http://127.0.0.1:9/")
DOCKERFILE = (
    "FROM python:3.13-slim\nCOPY . /app\nWORKDIR /app\nUSER 4321\n"
    'ENV PYTHONPATH=/app NUMERAI_CACHE=/tmp\nCMD ["python", "-u", "main.py"]\n'
)
ARTIFACTS_AS_FILES = '''
"""Lets the scripts of the suite treat NUMERAI_ARTIFACTS as a folder: open() and exists() understand s3:// here."""
import builtins, io, os, os.path, urllib.error, urllib.request

_open, _exists = builtins.open, os.path.exists


def _request(path, method="GET", body=None):
    url = os.environ["AWS_ENDPOINT_URL"] + "/" + path[len("s3://"):]
    headers = {  # the emulator checks no signature
        "Authorization": "AWS4-HMAC-SHA256 Credential=" + os.environ["AWS_ACCESS_KEY_ID"]
        + "/20260101/us-east-1/s3/aws4_request, Signature=-",
        "Content-Type": "application/octet-stream",
    }
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=20).read()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


class _Upload(io.BytesIO):
    def __init__(self, path):
        super().__init__()
        self._path = path

    def close(self):
        if not self.closed:
            _request(self._path, "PUT", self.getvalue())
        super().close()


def open_either(path, mode="r", *more, **named):
    if not str(path).startswith("s3://"):
        return _open(path, mode, *more, **named)
    if "w" in mode:
        return _Upload(path) if "b" in mode else io.TextIOWrapper(_Upload(path), write_through=True)
    return io.StringIO(_request(path).decode())


def exists_either(path):
    return _request(path) is not None if str(path).startswith("s3://") else _exists(path)


builtins.open, os.path.exists = open_either, exists_either
'''
MEMORY = {0.25: 512, 0.5: 1024}


class AwsBench:
    """`provider_suite.Bench` on one emulator and one home folder."""

    secret = SECRET

    def __init__(self, folder: Path, emulator: Emulator, **settings: str | int):
        self.folder = folder
        self.home = folder / "home"
        self.emulator = emulator
        engine = DockerEngine()
        self.context = ProviderContext(
            home=self.home,
            settings={"log_lag_seconds": 0, **settings},
            keys=lambda: KEYS,
            engine=lambda: engine,
            clock=SystemClock(),
        )
        self.parts = AwsParts(self.context)
        self.provider = AwsProvider(self.parts)
        self._numbers = itertools.count()
        self._unique = secrets.token_hex(3)
        self._ready: list[Node] = []

    def provision(self, count: int) -> None:
        """Make so many nodes in one apply, which is what takes time; `node` hands them out."""
        nodes = [self.stranger("") for _ in range(count)]
        now = self.context.clock.now()
        records = {node.name: stack_node(node, None, None, now) for node in nodes}
        self.parts.cluster.file.change(lambda stack: replaced(stack, nodes=records))
        self.provider.configure(nodes[0], quiet)
        self._ready = nodes

    def node(self, script: str, **changes: Any) -> Node:
        """A node that AWS has already, as far as it is like every other one."""
        node = self._ready.pop() if self._ready else self.stranger("")
        self.rewrite(node, script)
        return replace(node, memory_mib=MEMORY[changes.get("cpu", 0.25)], **changes)

    def stranger(self, script: str) -> Node:
        """A node that AWS has never heard of."""
        name = f"t{self._unique}-{next(self._numbers)}"
        source = self.folder / name
        source.mkdir(parents=True)
        (source / "Dockerfile").write_text(DOCKERFILE)
        (source / "sitecustomize.py").write_text(ARTIFACTS_AS_FILES)
        (source / "main.py").write_text(script)
        return Node(f"numerai-{name}", name, "an-id", 8, "aws", str(source), 0.25, MEMORY[0.25], timeout_minutes=5)

    def rewrite(self, node: Node, script: str) -> None:
        (Path(node.path) / "main.py").write_text(script)

    def break_build(self, node: Node) -> None:
        failing = 'RUN ["python", "-c", "raise SystemExit(\'this breaks\')"]\n'
        (Path(node.path) / "Dockerfile").write_text("FROM python:3.13-slim\n" + failing)

    def release(self, node: Node, run: Run) -> None:
        bucket = self.outputs.text("artifacts_bucket")
        self.client("s3").put_object(Bucket=bucket, Key=f"{node.name}/go", Body=b"x")

    def lose_image(self, node: Node) -> None:
        """Delete every manifest of the node from the registry."""
        base = f"http://{self.emulator.registry}/v2/numerai/{node.name}"
        for tag in requests.get(f"{base}/tags/list", timeout=20).json().get("tags") or []:
            kinds = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
            found = requests.head(f"{base}/manifests/{tag}", headers=kinds, timeout=20)
            if found.ok:
                digest = found.headers["Docker-Content-Digest"]
                assert requests.delete(f"{base}/manifests/{digest}", timeout=20).ok

    def traces(self, node: Node) -> list[str]:
        cluster = self.parts.settings.cluster
        if not self.parts.paths.stack.exists():
            return list(cluster_remains(self.parts.clients, cluster, ACCOUNT, REGION))
        found = list(node_remains(self.parts.clients, cluster, node.name, self.outputs, artifacts_too=True))
        found += [name for name in self.parts.cluster.file.read().nodes if name == node.name]
        scan = self.client("dynamodb").scan(TableName=self.outputs.text("webhook_table"))["Items"]
        found += [item["pk"]["S"] for item in scan if node.name in item["pk"]["S"]]
        found += [item["pk"]["S"] for item in scan if node.name in item.get("nodes", {}).get("S", "")]
        return found + [tag for tags in self._local_images(node).values() for tag in tags]

    @property
    def outputs(self) -> ClusterOutputs:
        """What Terraform made."""
        return ClusterOutputs(self.parts.cluster.file.read().outputs)

    def client(self, service: str) -> Any:
        """The SDK's own client, not the provider's."""
        return boto3.client(service)

    def _local_images(self, node: Node) -> dict[str, list[str]]:
        return DockerEngine().images(f"numerai.node={self.parts.settings.cluster}/{node.name}")


@contextmanager
def using(emulator: Emulator, plugins: Path) -> Iterator[None]:
    """The emulator is AWS for as long as the block lasts, and Terraform's plugins are kept in a folder."""
    plugins.mkdir(exist_ok=True)
    environment = {**emulator.environment, **mirror_configuration(plugins)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield


def require_emulator() -> None:
    """Skip the test, saying why, where the emulator or Terraform cannot run; with NUMERAI_TEST_REQUIRE=aws it fails."""
    why = missing() or (None if shutil.which("terraform") or shutil.which("tofu") else "Terraform is missing.")
    if why is None:
        return
    if "aws" in os.environ.get("NUMERAI_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{why} It is required here.", pytrace=False)
    pytest.skip(why)
