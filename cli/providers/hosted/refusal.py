"""Which nodes Numerai cannot run, and why not."""

from __future__ import annotations

from ...errors import UsageError
from ...models import SIZES, Node, Tournament

SIZE = "gen-sm"
MINUTES = 10
OTHERS = "The providers local and aws can."


def refuse(node: Node) -> None:
    """`UsageError` with code `not-hosted` for a node that Numerai cannot run, with the reason."""
    size = SIZES[SIZE]
    why = None
    if node.tournament != Tournament.CLASSIC:
        why = f"it runs models of Classic only, and {node.model_name} is in {Tournament(node.tournament).title}"
    elif node.cron:
        why = "it runs a model when a round opens and has no schedules (--cron '' takes it away)"
    elif (node.cpu, node.memory_mib) != (size.cpu, size.memory_mib):
        why = (
            f"every model gets {size.cpu:g} vCPU and {size.memory_mib // 1024} GiB (leave out --size, --cpu, --memory)"
        )
    elif node.timeout_minutes > MINUTES:
        why = f"a model may take {MINUTES} minutes (leave out --timeout-minutes)"
    elif node.context is not None:
        why = "it gets the node's folder alone (--context '' ends that)"
    elif node.retrain_days is not None:
        why = "it only predicts and trains nothing (--retrain-days 0 ends that)"
    if why is not None:
        raise UsageError(f"Numerai cannot run {node.name} so: {why}.", OTHERS, code="not-hosted")
