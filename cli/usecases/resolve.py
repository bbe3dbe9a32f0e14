"""Finds the model or the node that a command is about."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import NumeraiError, UsageError
from ..foreign import one_line
from ..models import Model, Node, Tournament
from ..names import LONGEST
from ..ports import NumeraiApi, StateStore
from .inspect import cannot_be_used


def resolve_model(api: NumeraiApi, name: str | None, tournament: int | None) -> Model:
    """The account's model of that name; the name may be left out when there is only one.

    Raises `UsageError` when it is unknown or not clear which one is meant.
    """
    models = [model for model in api.models() if tournament in (None, model.tournament)]
    scope = f" in tournament {tournament}" if tournament else ""
    if name is None:
        if len(models) == 1:
            return models[0]
        if not models:
            raise UsageError(f"The account has no model{scope}.", "Make one at numer.ai first.", code="unknown-model")
        raise UsageError(
            f"The account has {len(models)} models{scope}: {_listed(models)}.",
            "Say which with -m MODEL.",
            code="model-missing",
        )
    matches = [model for model in models if name in (model.name, name_to_type(model.name, model.tournament))]
    if not matches:
        have = f"It has: {_listed(models)}." if models else "It has none."
        raise UsageError(f"The account has no model '{name}'{scope}. {have}", code="unknown-model")
    if len(matches) > 1:
        raise UsageError(
            f"'{name}' is a model in several tournaments.", "Say which with -t 8, 11 or 12.", code="model-missing"
        )
    return matches[0]


def select_nodes(nodes: Mapping[str, Node], name: str | None, tournament: int | None) -> list[Node]:
    """The configured nodes of that model or node name and that tournament, in the order of their names."""
    return [
        node
        for _, node in sorted(nodes.items())
        if tournament in (None, node.tournament) and name in (None, node.model_name, node.name)
    ]


def first_steps(store: StateStore, config: str = "numerai node -m MODEL config") -> str:
    """The commands that lead to a node, up to `config`: a home folder without keys needs `setup` before."""
    try:
        return config if store.keys() is not None else f"numerai setup, then {config}"
    except NumeraiError:
        return f"numerai doctor, then {config}"


def resolve_node(store: StateStore, name: str | None, tournament: int | None) -> Node:
    """The configured node of that model or node name; the name may be left out when there is only one node.

    `UsageError` where it is not clear which one, `NumeraiError` with code `unusable-node` for a record that is none."""
    nodes = store.nodes()
    candidates = select_nodes(nodes, name, tournament)
    if len(candidates) == 1:
        return candidates[0]
    for each, why in () if candidates else cannot_be_used(store).items():
        if name in (each, each.partition("-")[2]):
            raise NumeraiError(why, code="unusable-node")
    names = ", ".join(sorted(nodes))
    if not nodes:
        raise UsageError("No node is configured.", f"First: {first_steps(store)}", code="unknown-node")
    if not candidates:
        what = f"'{name}'" if name else f"tournament {tournament}"
        raise UsageError(f"No node is configured for {what}. Configured: {names}.", code="unknown-node")
    hint = "Say which with -m MODEL (and -t 8, 11 or 12)."
    raise UsageError(f"Which node? Configured: {names}.", hint, code="node-missing")


def name_to_type(name: str, tournament: int) -> str:
    """The name of a model's node, which also says the tournament: its own may be a model's in several."""
    try:
        return f"{Tournament(tournament).prefix}-{name}"
    except ValueError:  # a tournament that this version does not know
        return name


def _listed(models: list[Model]) -> str:
    return ", ".join(sorted(f"{one_line(model.name, LONGEST)} ({model.tournament})" for model in models))
