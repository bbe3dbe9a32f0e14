"""The AWS provider's settings: what `setup` recorded, overridden by the environment, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...settings import Recorded, choice, read_all, switch, text, whole

DEFAULT_REGION = "us-east-1"
DEFAULT_CLUSTER = "numerai"
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
"""What CloudWatch Logs accepts, up to two years (PutRetentionPolicy)."""
ARM = "arm64"

SETTINGS = (
    text("region", "the region; the AWS SDK's own choice where none is given, else us-east-1",
         r"[a-z]{2}(-[a-z]+)+-[0-9]", "a region like us-east-1", None, ("AWS_REGION", "AWS_DEFAULT_REGION")),
    text("profile", "the profile of your AWS credentials", r"\S.*", "a name", None, ("AWS_PROFILE",)),
    text("cluster", "the first part of every name in AWS, so that several clusters fit in one account",
         r"[a-z][a-z0-9-]{1,22}[a-z0-9]", "3 to 24 lower-case letters, digits and hyphens, the first one a letter",
         DEFAULT_CLUSTER, ("NUMERAI_AWS_CLUSTER",)),
    switch("use_spot", "run on Spot capacity, which is cheaper and may be taken away", True),
    choice("architecture", "the processors that runs get; arm64 costs a fifth less", ("amd64", ARM), "amd64"),
    choice("webhook_concurrency", "how many webhook calls are answered at once; -1 reserves none",
           (-1, *range(1, 101)), 10,
           wanted="a number from 1 to 100, or -1 to reserve none"),
    whole("runs_per_hour", "how many runs of a node its webhook may start in an hour", 1, 3600, 60),
    choice("log_retention_days", "days that logs are kept", LOG_RETENTION_DAYS, 30),
    text("notification_email", "whom AWS mails about failed runs", r"[^@\s]+@[^@\s]+", "an e-mail address"),
    whole("budget_usd", "US dollars a month beyond which AWS warns; 0 for no budget", 0, 1_000_000),
    switch("keep_artifacts", "refuse to remove a bucket that holds trained models", False),
    switch("watcher", "a function in the cluster starts the runs that are missing", True),
    whole("watcher_grace_minutes", "minutes after a round's opening before the function does", 1, 45, 10),
    text("permissions_boundary", "the ARN of the IAM policy that limits the cluster's roles",
         r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/\S+", "the ARN of an IAM policy"),
    replace(text("state_bucket", "the bucket with the state", r"\S+", "the name of a bucket"),
            set_by="numerai setup -P aws --remote-state"),
    whole("log_lag_seconds", "seconds after the end of a run in which its last lines may still arrive", 0, 60, 15),
)  # fmt: skip


@dataclass(frozen=True)
class AwsSettings:
    """Which account and region, and how the cluster there behaves: a value for each of `SETTINGS`."""

    region: str | None = None
    profile: str | None = None
    cluster: str = DEFAULT_CLUSTER
    use_spot: bool = True
    architecture: str = "amd64"
    webhook_concurrency: int = 10
    runs_per_hour: int = 60
    log_retention_days: int = 30
    notification_email: str | None = None
    budget_usd: int | None = None
    keep_artifacts: bool = False
    watcher: bool = True
    watcher_grace_minutes: int = 10
    permissions_boundary: str | None = None
    state_bucket: str | None = None
    log_lag_seconds: int = 15


def read_settings(recorded: Recorded, environ: Mapping[str, str] = os.environ) -> AwsSettings:
    """The settings; raises `UsageError` with code `bad-setting` for values that cannot be."""
    values = read_all(SETTINGS, recorded, environ)
    return AwsSettings(**{**values, "budget_usd": values["budget_usd"] or None})


class AwsPaths:
    """Where the AWS provider keeps what in the tool's home folder.

    `stack` says which nodes the cluster has, with the tokens of their webhooks; `lock` is held by the command that
    changes the cluster. `told` is a hash over whom to notify as this machine gave that to AWS last.
    `plugins` are Terraform's own, kept for all clusters; `terraform` is its working folder, its state included unless
    that is kept remotely.
    """

    def __init__(self, home: Path):
        self.home = home
        self.root = root = home / "aws"
        self.stack = root / "stack.json"  # which nodes the cluster has, with the tokens of their webhooks
        self.lock = root / "stack.lock"  # held by the command that changes the cluster
        self.told = root / "told.sha256"  # a hash over whom to notify as this machine gave that to AWS last
        self.plugins = home / "terraform-plugins"  # Terraform's own, kept for all clusters
        self.official = root / "official"  # where the official tool's cluster is removed from
        self.terraform = root / "terraform"  # its working folder, its state included unless that is kept remotely
