"""The model that a node is deployed with, as far as this machine has it, for comparing another one with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..files.places import place
from ..modelling.runtime import DEPLOYED
from ..models import Node
from ..ports import Provider, StateStore
from .inspect import require_provider
from .resolve import select_nodes


@dataclass(frozen=True)
class DeployedModel:
    """The model file of a node, None where it has none here. `notes` say why, or what is not certain about it."""

    node: str
    path: Path | None
    notes: tuple[str, ...]


def named_node(given: str, store: StateStore) -> Node | None:
    """The node of that model or node name, unless a file is called so. `UsageError` where several are meant."""
    if place(given).exists():
        return None
    nodes = select_nodes(store.nodes(), given, None)
    if len(nodes) > 1:
        names = ", ".join(node.name for node in nodes)
        raise UsageError(f"Which node is '{given}'?", f"Give its whole name: {names}.", code="node-missing")
    return nodes[0] if nodes else None


def deployed_model(node: Node, provider_of: Callable[[Node], Provider]) -> DeployedModel:
    """The model in a node's folder, and whether it is what runs: the folder may have changed since the last deploy."""
    path = Path(node.path) / DEPLOYED
    if not path.is_file():
        why = f"its folder, {path.parent}, is not here"
        if path.parent.is_dir():
            why = f"there is no {path}, so its code has its model from elsewhere"
        why = (
            f"Nothing is compared with {node.name}: {why}. What it submits is of live rows, which have no targets here;"
            " --against takes a file of what it predicts of these rows."
        )
        return DeployedModel(node.name, None, (why,))
    notes = []
    try:
        provider = require_provider(node, provider_of(node))
        current = provider.deployment(node.name)
        if current is None:
            notes.append(f"{node.name} is not deployed; compared is the model in its folder, {path}.")
        elif current.source_hash != provider.source_hash(node):
            notes.append(
                f"The folder of {node.name} is not what was deployed: it may run another model than {path}, which is"
                " compared."
            )
    except NumeraiError as error:
        notes.append(f"Whether {node.name} runs {path} is not known: {error.message}")
    return DeployedModel(node.name, path, tuple(notes))
