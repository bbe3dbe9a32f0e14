"""Terraform for this cluster: where its description is installed, and the runner for it."""

from __future__ import annotations

import hashlib
import os
from importlib import resources
from pathlib import Path

from ...adapters.terraform_runner import S3Backend, TerraformRunner
from .clients import AwsClients
from .settings import AwsPaths, AwsSettings

INHERITED = (
    *("TF_", "SSH_AUTH_SOCK"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_CA_BUNDLE"),
    *("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"),
)
"""What of the environment Terraform may see: nothing that chooses an account or a region
(docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html)."""


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


def terraform_runner(
    paths: AwsPaths, settings: AwsSettings, clients: AwsClients, bucket: str | None
) -> TerraformRunner:
    """The cluster's runner; `bucket` keeps the state, None the home folder."""
    backend = S3Backend(bucket, state_key(settings.cluster), clients.region) if bucket else None
    return runner_of(terraform_root(), paths.terraform, paths.plugins, clients, backend)


def runner_of(
    root: Path, folder: Path, plugins: Path, clients: AwsClients, backend: S3Backend | None = None
) -> TerraformRunner:
    """A runner with the same credentials and region as the SDK.

    The provider and the S3 backend look for credentials in another order than the SDK: they prefer AWS_ACCESS_KEY_ID to
    a profile (registry.terraform.io/providers/hashicorp/aws/5.100.0/docs#authentication-and-configuration). They also
    know fewer kinds of them. So they get the SDK's own, and no file in which they would find others.
    """
    region = clients.region
    nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    nowhere["AWS_EC2_METADATA_DISABLED"] = "true"
    return TerraformRunner(
        root,
        folder,
        plugins,
        environment={"AWS_REGION": region, "AWS_DEFAULT_REGION": region, **nowhere},
        inherits=INHERITED,
        credentials=clients.environment,
        backend=backend,
    )
