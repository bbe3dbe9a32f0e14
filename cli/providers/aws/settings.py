"""The AWS provider's settings: what `setup` recorded, overridden by the environment, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..setting_values import bad_setting, whole_number

DEFAULT_REGION = "us-east-1"
DEFAULT_CLUSTER = "numerai"
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731)
"""What CloudWatch Logs accepts, up to two years (PutRetentionPolicy)."""

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_CLUSTER = re.compile(r"[a-z][a-z0-9-]{1,22}[a-z0-9]")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class AwsSettings:
    """Which account and region, and how the cluster there behaves.

    `region` and `profile` are None where nothing was chosen: the AWS SDK's own choice holds then, and `us-east-1` where
    it has none. `cluster` is the first part of every name in AWS, so that several clusters fit in one account.
    Up to `runs_per_hour` runs of a node may be started through its webhook. A month's cost beyond `budget_usd` is
    warned of. With `watcher` a function in the cluster starts the runs that are missing `watcher_grace_minutes` after a
    round's opening. `log_lag_seconds` is how long after the end of a run its last lines may still arrive.
    """

    region: str | None = None
    profile: str | None = None
    cluster: str = DEFAULT_CLUSTER
    use_spot: bool = True
    webhook_concurrency: int = 10
    runs_per_hour: int = 60
    log_retention_days: int = 30
    notification_email: str | None = None
    budget_usd: int | None = None
    keep_artifacts: bool = False
    watcher: bool = True
    watcher_grace_minutes: int = 10
    state_bucket: str | None = None
    log_lag_seconds: int = 5


def read_settings(recorded: Mapping[str, str | int], environ: Mapping[str, str] = os.environ) -> AwsSettings:
    """The settings; AWS_REGION (or AWS_DEFAULT_REGION), AWS_PROFILE and NUMERAI_AWS_CLUSTER win over what is recorded.

    Raises `UsageError` with code `bad-setting` for values that cannot be.
    """
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or _text(recorded, "region")
    if region is not None and not _REGION.fullmatch(region):
        raise _bad("region", region, "a region like us-east-1 (also in AWS_REGION)")
    cluster = environ.get("NUMERAI_AWS_CLUSTER") or _text(recorded, "cluster") or DEFAULT_CLUSTER
    if not _CLUSTER.fullmatch(cluster):
        raise _bad("cluster", cluster, "3 to 24 lower-case letters, digits and hyphens, the first one a letter")
    email = _text(recorded, "notification_email")
    if email is not None and not _EMAIL.fullmatch(email):
        raise _bad("notification_email", email, "an e-mail address")
    retention = _number(recorded, "log_retention_days", 30, 1, 731)
    if retention not in LOG_RETENTION_DAYS:
        raise _bad("log_retention_days", retention, f"one of {', '.join(map(str, LOG_RETENTION_DAYS))}")
    concurrency = _number(recorded, "webhook_concurrency", 10, -1, 100)
    if concurrency == 0:
        raise _bad("webhook_concurrency", 0, "from 1 to 100, or -1 to reserve none")
    return AwsSettings(
        region=region,
        profile=environ.get("AWS_PROFILE") or _text(recorded, "profile"),
        cluster=cluster,
        use_spot=_number(recorded, "use_spot", 1, 0, 1) == 1,
        webhook_concurrency=concurrency,
        runs_per_hour=_number(recorded, "runs_per_hour", 60, 1, 3600),
        log_retention_days=retention,
        notification_email=email,
        budget_usd=_number(recorded, "budget_usd", 0, 1, 1_000_000) if recorded.get("budget_usd") else None,
        keep_artifacts=_number(recorded, "keep_artifacts", 0, 0, 1) == 1,
        watcher=_number(recorded, "watcher", 1, 0, 1) == 1,
        watcher_grace_minutes=_number(recorded, "watcher_grace_minutes", 10, 1, 45),
        state_bucket=_text(recorded, "state_bucket"),
        log_lag_seconds=_number(recorded, "log_lag_seconds", 5, 0, 60),
    )


class AwsPaths:
    """Where the AWS provider keeps what in the tool's home folder.

    `stack` says which nodes the cluster has, with the tokens of their webhooks; `lock` is held by the command that
    changes the cluster. `told` is a hash over whom to notify as this machine put that into the cluster's secret last.
    `plugins` are Terraform's own, kept for all clusters; `terraform` is its working folder, its state included unless
    that is kept remotely.
    """

    def __init__(self, home: Path):
        self.home = home
        self.root = home / "aws"
        self.stack = self.root / "stack.json"
        self.lock = self.root / "stack.lock"
        self.told = self.root / "told.sha256"
        self.plugins = home / "terraform-plugins"
        self.terraform = self.root / "terraform"


def _text(recorded: Mapping[str, str | int], name: str) -> str | None:
    return str(recorded.get(name) or "").strip() or None


def _number(recorded: Mapping[str, str | int], name: str, default: int, low: int, high: int) -> int:
    return whole_number("AWS", name, recorded.get(name, default), low, high)


def _bad(name: str, value: object, wanted: str) -> UsageError:
    return bad_setting("AWS", name, value, wanted)
