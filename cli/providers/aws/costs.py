"""What a node costs a month, item by item, with the way each figure is computed."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import mean

from ...models import CostEstimate, CostItem, Node, Run
from . import prices
from .settings import ARM
from .sizes import beyond_fargate, provisioned_size

RUNS_A_MONTH = 22
"""Rounds open on five days a week: 5 * 52 / 12 = 21.7."""
DEFAULT_MINUTES = 10.0
FREE_DISK_GIB = 20
START_MINUTES = 1.0
"""Fargate bills from the pull of the image on."""
IMAGE_GIB = 0.5
"""What a Python node takes in the registry, compressed, a few older versions that share its base included."""
LOG_GIB_A_RUN = 0.0005
ARTIFACTS_GIB = 0.1


def estimate(
    node: Node,
    history: Iterable[Run] = (),
    *,
    use_spot: bool = True,
    first: bool = True,
    architecture: str = "amd64",
) -> CostEstimate:
    """The cost of a node, from the minutes its latest runs took or else from 10 minutes a run.

    `first` adds what the cluster costs however many nodes it has.
    """
    took = [(run.ended_at - run.started_at).total_seconds() / 60 for run in history if run.ended_at and run.started_at]
    minutes = mean(took) if took else DEFAULT_MINUTES
    items = [
        _compute(node, minutes, use_spot, architecture),
        *_disk(node, minutes),
        *_storage(),
        *(_shared() if first else ()),
    ]
    dear = _compute(node, minutes, False, architecture).usd - items[0].usd
    return CostEstimate(
        node=node.name,
        items=tuple(items),
        runs=RUNS_A_MONTH,
        minutes=minutes,
        measured=bool(took),
        dear_usd=sum(item.usd for item in items) + dear,
        table=f"{prices.TABLE_REGION}, {prices.TABLE_DATE.isoformat()}",
    )


def _compute(node: Node, minutes: float, use_spot: bool, architecture: str) -> CostItem:
    cpu, memory_mib = provisioned_size(node.cpu, node.memory_mib)
    gib, hours = memory_mib / 1024, RUNS_A_MONTH * (minutes + START_MINUTES) / 60
    host = beyond_fargate(cpu, memory_mib)
    per_cpu, per_gib = (
        (prices.EC2_VCPU_HOUR, prices.EC2_GIB_HOUR) if host else (prices.FARGATE_VCPU_HOUR, prices.FARGATE_GIB_HOUR)
    )
    share = (prices.SPOT_SHARE if use_spot else 1.0) * (prices.ARM_SHARE if architecture == ARM else 1.0)
    usd = hours * ((cpu * per_cpu + gib * per_gib) * share + prices.PUBLIC_ADDRESS_HOUR)
    kind = ("EC2" if host else "Fargate") + (" Spot" if use_spot else "") + (f" ({ARM})" if architecture == ARM else "")
    return CostItem(
        f"runs on {kind}",
        usd,
        f"{RUNS_A_MONTH} runs x {minutes + START_MINUTES:.1f} min x ({cpu:g} vCPU x {per_cpu * share:.5f} + "
        f"{gib:g} GiB x {per_gib * share:.6f} + {prices.PUBLIC_ADDRESS_HOUR} for the address) an hour",
    )


def _disk(node: Node, minutes: float) -> list[CostItem]:
    more, hours = (node.disk_gib or FREE_DISK_GIB) - FREE_DISK_GIB, RUNS_A_MONTH * (minutes + START_MINUTES) / 60
    if more <= 0:
        return []
    how = f"{more} GiB beyond {FREE_DISK_GIB} x {hours:.1f} hours x {prices.FARGATE_DISK_GIB_HOUR}"
    return [CostItem("disk", hours * more * prices.FARGATE_DISK_GIB_HOUR, how)]


def _storage() -> list[CostItem]:
    calls = RUNS_A_MONTH * (prices.WEBHOOK_CALL + prices.TRIGGER_ITEMS)
    logs = RUNS_A_MONTH * LOG_GIB_A_RUN * (prices.LOG_GIB_WRITTEN + prices.LOG_GIB_MONTH)
    return [
        CostItem("images", IMAGE_GIB * prices.ECR_GIB_MONTH, f"{IMAGE_GIB} GiB in ECR x {prices.ECR_GIB_MONTH:.2f}"),
        CostItem("logs", logs, f"{RUNS_A_MONTH} runs x {LOG_GIB_A_RUN * 1024:.1f} MiB, written and kept 30 days"),
        CostItem("trained models", ARTIFACTS_GIB * prices.S3_GIB_MONTH, f"{ARTIFACTS_GIB} GiB in S3"),
        CostItem("webhook", calls, f"{RUNS_A_MONTH} calls of Lambda and DynamoDB"),
    ]


def _shared() -> list[CostItem]:
    calls, looks = prices.WATCHER_CALLS_MONTH, prices.WATCHER_LOOKS_MONTH
    how = f"{calls:.0f} calls of Lambda, {looks:.0f} of them in a window, with a look at the keys and the table"
    usd = calls * prices.WATCHER_CALL + looks * prices.WATCHER_LOOK
    watcher = CostItem("watcher", usd, how)
    free = "nothing is billed at rest: the queue, the network, the webhook, the keys and the alarms are free while idle"
    return [watcher, CostItem("idle cluster", 0.0, free)]
