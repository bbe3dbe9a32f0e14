"""Terraform's state on its way into a bucket and back, with a real Terraform on the emulated AWS."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from numerai_compute.adapters.terraform_runner import S3Backend, TerraformRunner
from numerai_compute.providers.aws.clients import AwsClients
from numerai_compute.providers.aws.remote_state import make_state_bucket, remove_state_bucket, state_bucket
from numerai_compute.providers.aws.settings import AwsSettings

from tests.aws.access_keys import OBSERVER
from tests.aws.emulator import ACCOUNT, REGION, emulated_aws
from tests.contract.aws_bench import require_emulator, using
from tests.contract.provider_suite import quiet

pytestmark = [pytest.mark.e2e, pytest.mark.aws, pytest.mark.docker]

BUCKET = state_bucket("numerai", ACCOUNT, REGION)
ROOT = """
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" }
  }
}

resource "aws_ecr_repository" "this" {
  name = "numerai/moved"
}
"""


def test_the_state_moves_into_the_bucket_and_back(tmp_path: Path) -> None:
    require_emulator()
    root = tmp_path / "root"
    root.mkdir()
    (root / "main.tf").write_text(ROOT)

    def runner(machine: str, bucket: str | None) -> TerraformRunner:
        backend = S3Backend(bucket, "moved/terraform.tfstate", REGION) if bucket else None
        return TerraformRunner(root, tmp_path / machine, tmp_path / "cache", backend=backend)

    with emulated_aws() as emulator, using(emulator, tmp_path / "plugins"):
        clients = AwsClients(AwsSettings())
        make_state_bucket(clients, BUCKET)
        here = runner("first", None)
        here.prepare(quiet)
        here.apply(here.plan({}, quiet), quiet)
        made = here.resources()
        assert made == ["aws_ecr_repository.this"]

        runner("first", BUCKET).move_state(quiet)
        second = runner("second", BUCKET)
        second.prepare(quiet)
        assert second.resources() == made
        assert second.plan({}, quiet).changes == ()

        runner("first", None).move_state(quiet)
        remove_state_bucket(clients, BUCKET)
        back = runner("first", None)
        back.prepare(quiet)
        assert back.plan({}, quiet).changes == ()
        back.destroy({}, quiet)
        observer = boto3.client("s3", aws_access_key_id=OBSERVER, aws_secret_access_key=OBSERVER)
        assert observer.list_buckets()["Buckets"] == []
