"""Removes the record of a node, and nothing else: the way out where a node can neither be used nor destroyed."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UsageError
from ..names import plainly, shown
from ..ports import StateStore
from .inspect import where_it_is


def forget_node(store: StateStore, name: str, agree: Callable[[str], None], *, dry_run: bool = False) -> None:
    """Remove a record from nodes.json, usable or not: by its name, or as messages show one that cannot be typed.

    `agree` raises when the person does not want that; `UsageError` when there is none of that name. With `dry_run`
    nobody is asked, and nothing is removed."""
    nodes, unusable = store.nodes(), store.unusable_nodes()
    if name not in {*nodes, *unusable}:
        name = next((each for each in unusable if name == shown(each)[1:-1]), name)  # what a message says can be typed
    if name in nodes:
        node = nodes[name]
        where = where_it_is(node)
        what = f"What there is of {name} on {where} stays and may cost money, and Numerai goes on starting it"
        mend = f"`numerai node -m {node.name} destroy` removes all of it where there is such a provider"
        question = f"{what}. {mend}. Forget it all the same?"
    elif name in unusable:
        question = f"{plainly(name)} cannot be used: {unusable[name]} Forget it?"
    else:
        known = ", ".join(map(plainly, [*nodes, *unusable])) or "none"
        raise UsageError(f"There is no node {plainly(name)}.", f"There are: {known}.", code="unknown-node")
    if not dry_run:
        agree(question)
        store.forget_node(name)
