"""What the Terraform root is given: the cluster's nodes and settings as its variables, and a fingerprint over them."""

from __future__ import annotations

import hashlib
import json
import math
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
MAX_VCPUS, MOST_VCPUS = 64, 1024
"""How many vCPUs runs may use at once unless it is said otherwise, and at most (terraform/aws/variables.tf)."""
ROLE_LIMIT = 64
"""Characters of a role's name (docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html). A schedule's,
`<cluster>-<node>`, may be as long."""
_NAME = re.compile(r"[a-z0-9]+((_|__|-+)[a-z0-9]+)*")
"""What of our own letters ECR takes: between others one or two `_`, or any number of `-`, and never both
(docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html)."""


def check_name(node: Node, cluster: str) -> None:
    """Whether AWS takes the node's name in a cluster of that name; `UsageError` with code `bad-name`."""
    limit = ROLE_LIMIT - len(f"{cluster}-run-")
    if len(node.name) > limit or not _NAME.fullmatch(node.name):
        raise UsageError(
            f"AWS cannot take the name {node.name}: image repositories there have lower-case letters and digits, with "
            f"`_`, `__` or hyphens between them, and a node's role in the cluster {cluster} leaves {limit} characters.",
            "Rename the model at numer.ai, or run it on another provider.",
            code="bad-name",
        )


def terraform_variables(
    nodes: Mapping[str, StackNode],
    settings: AwsSettings,
    account: str,
    region: str,
    api_url: str,
    packages: Mapping[str, str],
    stack_id: str | None,
) -> dict[str, Any]:
    """The variables of terraform/aws. `packages` are those of the functions' zips (lambda_package.py)."""
    together = math.ceil(sum(node.cpu for node in nodes.values()))
    own_api = api_url.rstrip("/") == NUMERAI_API_URL
    return {
        "account": account,
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
        "architecture": settings.architecture,
        "log_retention_days": settings.log_retention_days,
        "notification_email": settings.notification_email,
        "monthly_budget_usd": settings.budget_usd,
        "keep_artifacts": settings.keep_artifacts,
        # left out where the root's own bound of the cost lets all nodes run at once
        **({} if together <= MAX_VCPUS else {"max_vcpus": min(together, MOST_VCPUS)}),
        "permissions_boundary": settings.permissions_boundary,
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
        **({} if node.disk_gib is None else {"disk_gib": node.disk_gib}),
        **({} if node.retrain_days is None else {"retrain_days": node.retrain_days}),
        **({"moving": True} if node.moving else {}),
    }
