"""What the Terraform root is given: the cluster's nodes and settings as its variables, and a fingerprint over them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from ...models import NUMERAI_API_URL, Node
from ..environment import container_url
from .settings import AwsSettings
from .stack_file import StackNode

IMAGE_TAG = "live"
"""The moving tag that every run pulls."""
NAME_LIMIT = 90
SCHEDULE_NAME_LIMIT = 64
"""Of EventBridge Scheduler (botocore, scheduler/2021-06-30, `Name`)."""
_NAME = re.compile(r"[a-z0-9]+((_|__|-+)[a-z0-9]+)*")
"""What ECR takes (botocore, ecr/2015-09-21, `RepositoryName`), without dots."""


def check_name(node: Node, cluster: str) -> None:
    """Whether AWS takes the node's name; `UsageError` with code `bad-name`."""
    if node.cron and len(f"{cluster}-{node.name}") > SCHEDULE_NAME_LIMIT:
        raise UsageError(
            f"AWS cannot take a schedule for {node.name}: {cluster}-{node.name} is longer than {SCHEDULE_NAME_LIMIT} "
            "characters.",
            "Let Numerai's webhook start the node (--cron ''), or rename the model at numer.ai.",
            code="bad-name",
        )
    if len(node.name) > NAME_LIMIT or not _NAME.fullmatch(node.name):
        raise UsageError(
            f"AWS cannot take the name {node.name}: image repositories there have lower-case letters, digits, and "
            f"`_`, `__` or `-` between them, {NAME_LIMIT} in all.",
            "Rename the model at numer.ai, or run it on another provider.",
            code="bad-name",
        )


def terraform_variables(
    nodes: Mapping[str, StackNode],
    settings: AwsSettings,
    region: str,
    api_url: str,
    packages: Mapping[str, str],
    stack_id: str | None,
) -> dict[str, Any]:
    """The variables of terraform/aws. `packages` are those of the functions' zips (lambda_package.py)."""
    own_api = api_url.rstrip("/") == NUMERAI_API_URL
    return {
        "region": region,
        "name": settings.cluster,
        "stack_id": stack_id,
        "nodes": {name: _node(node) for name, node in sorted(nodes.items())},
        **packages,
        "watcher": settings.watcher,
        "watcher_grace_minutes": settings.watcher_grace_minutes,
        "webhook_concurrency": settings.webhook_concurrency,
        "webhook_runs_per_hour": settings.runs_per_hour,
        "numerai_api_url": None if own_api else container_url(api_url),
        "image_tag": IMAGE_TAG,
        "use_spot": settings.use_spot,
        "log_retention_days": settings.log_retention_days,
        "notification_email": settings.notification_email,
        "monthly_budget_usd": settings.budget_usd,
        "keep_artifacts": settings.keep_artifacts,
    }


def fingerprint(variables: Mapping[str, Any], root_hash: str) -> str:
    """Tells whether what would be applied is what was applied; `root_hash` is over the Terraform root itself."""
    relevant = {name: value for name, value in variables.items() if not name.endswith("_package_path")}
    return hashlib.sha256(json.dumps([relevant, root_hash], sort_keys=True).encode()).hexdigest()


def _node(node: StackNode) -> dict[str, Any]:
    return {
        "model_id": node.model_id,
        "tournament": node.tournament,
        "token_sha256": node.token_sha256,
        "cpu": node.cpu,
        "memory_mib": node.memory_mib,
        "timeout_minutes": node.timeout_minutes,
        "cron": node.cron,
        "since": node.since.isoformat(timespec="seconds"),
        # left out where there is none, so that a cluster made before this variable has nothing to apply
        **({} if node.data_version is None else {"data_version": node.data_version}),
    }
