"""What the nodes cost a month, as their providers estimate it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..models import CostEstimate, Node
from ..ports import EstimatesCost, Provider
from .inspect import absent_places, places


def node_costs(nodes: Mapping[str, Node], provider_named: Callable[[str], Provider]) -> dict[str, CostEstimate | None]:
    """The estimate of every node by name, None where no provider of it charges anything."""
    return {
        name: _together(
            [
                provider.cost(node)
                for provider in map(provider_named, places(node))
                if isinstance(provider, EstimatesCost)
            ]
        )
        for name, node in sorted(nodes.items())
    }


def unknown_costs(node: Node, provider_named: Callable[[str], Provider]) -> list[str]:
    """The providers of a node of which this tool cannot say what they cost."""
    return list(absent_places(node, provider_named))


def _together(estimates: list[CostEstimate]) -> CostEstimate | None:
    """What a node costs that a move has left on two providers."""
    if len(estimates) < 2:
        return next(iter(estimates), None)
    items = tuple(item for each in estimates for item in each.items)
    return replace(estimates[0], items=items, dear_usd=sum(each.dear_usd for each in estimates))
