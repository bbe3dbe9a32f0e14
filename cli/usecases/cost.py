"""What the nodes cost a month, as their providers estimate it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..models import CostEstimate, Node
from ..ports import EstimatesCost, Provider


def node_costs(nodes: Mapping[str, Node], provider_named: Callable[[str], Provider]) -> dict[str, CostEstimate | None]:
    """The estimate of every node by name, None where its provider charges nothing."""
    estimates: dict[str, CostEstimate | None] = {}
    for name, node in sorted(nodes.items()):
        provider = provider_named(node.provider)
        estimates[name] = provider.cost(node) if isinstance(provider, EstimatesCost) else None
    return estimates
