"""Gives every node of a provider a disk of one size, and leaves the webhooks alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..models import Node
from ..ports import PreviewsChanges, Provider, Report, StateStore
from .configure import check_provider, refuse_legacy
from .inspect import list_nodes, runs_officially
from .plan import Plan


@dataclass(frozen=True)
class Disks:
    """The nodes that have the disk, the plan that gave it to them, and what is still to be done for `later` ones."""

    nodes: tuple[Node, ...]
    plan: Plan
    later: tuple[str, ...]


def give_disks(
    gib: int,
    provider: Provider,
    store: StateStore,
    *,
    report: Report,
    agree: Callable[[list[str]], None],
    dry_run: bool = False,
) -> Disks:
    """Give every node of a provider a disk of `gib` GiB, or with `dry_run` only plan that.

    What the provider holds for a node is brought up to date. Where it holds nothing yet, the size is only recorded:
    `config` makes it then. Raises before anything is touched where the provider cannot give one of them such a disk.
    `agree` is given what is billed, and raises when the person does not want that.
    """
    refuse_legacy(store)
    wanted = tuple(replace(node, disk_gib=gib) for node in list_nodes(store) if node.provider == provider.name)
    for node in wanted:
        check_provider(node, provider)
    made = [node for node in wanted if provider.webhook_url(node.name) is not None]
    previews = dict.fromkeys(
        line for node in made if isinstance(provider, PreviewsChanges) for line in provider.preview(node)
    )

    def record(name: str, *, provision: bool) -> None:
        with store.node_lock(name):
            node = replace(store.nodes()[name], disk_gib=gib)
            if provision:
                node = replace(provider.configure(node, report), webhook_url=node.webhook_url)
            store.save_node(node)

    def step(node: Node) -> tuple[str, Callable[[], None]]:
        if node in made:
            what = f"provision {node.name} on {provider.name} with a disk of {gib} GiB"
            return what, lambda: record(node.name, provision=True)
        return f"record that {node.name} is to have {gib} GiB", lambda: record(node.name, provision=False)

    later = tuple(_later(node, provider) for node in wanted if node not in made)
    plan = Plan(tuple(step(node) for node in wanted), (*previews, *later))
    if not dry_run:
        if previews:
            agree(list(previews))
        plan.carry_out(report)
    return Disks(wanted, plan, later)


def _later(node: Node, provider: Provider) -> str:
    """When a node gets the disk that the provider holds nothing for."""
    makes = f"`numerai node -m {node.name} config`"
    if runs_officially(node, provider):
        makes = f"`numerai upgrade --move-aws` (or {makes})"
    return f"Nothing of {node.name} is on {provider.name} yet: {makes} makes it, with that disk."
