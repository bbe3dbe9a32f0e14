"""Terraform for this cluster: where its description is installed, and the runner for it."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

from ...adapters.terraform_runner import S3Backend, TerraformRunner
from .settings import AwsPaths, AwsSettings


def terraform_root() -> Path:
    """Where the description is installed."""
    return Path(str(resources.files(f"{__package__.rpartition('.providers')[0]}.terraform") / "aws"))


def root_hash(root: Path) -> str:
    """Tells one version of the description from another."""
    digest = hashlib.sha256()
    for path in sorted(root.glob("*.tf")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def state_key(cluster: str) -> str:
    """Where in its bucket a cluster's state is kept."""
    return f"{cluster}/terraform.tfstate"


def terraform_runner(paths: AwsPaths, settings: AwsSettings, region: str, bucket: str | None) -> TerraformRunner:
    """The runner, with the same credentials and region as the SDK; `bucket` keeps the state, None the home folder."""
    environment = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if settings.profile:
        environment["AWS_PROFILE"] = settings.profile
    return TerraformRunner(
        terraform_root(),
        paths.terraform,
        paths.plugins,
        environment=environment,
        backend=S3Backend(bucket, state_key(settings.cluster), region) if bucket else None,
    )
