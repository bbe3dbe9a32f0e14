"""`numerai upgrade`: take over the files of the official tool."""

from __future__ import annotations

import click

from ..counting import counted
from ..factory import Factory
from ..ports import StateStore
from ..render import OK
from ..usecases.inspect import list_nodes
from ..usecases.resolve import first_steps
from .options import dry_run_option, output_options


def _next_steps(store: StateStore) -> list[str]:
    """What makes the nodes that were taken over run here, and Numerai call them here."""
    nodes = list_nodes(store)
    if not nodes:
        return [first_steps(store)]
    node = f"numerai node -m {nodes[0].model_name}"
    others = ["and so for each other node"] if nodes[1:] else []
    return [first_steps(store, "numerai doctor"), f"{node} config", f"{node} deploy", f"{node} test", *others]


@click.command()
@dry_run_option
@output_options
@click.pass_obj
def upgrade(factory: Factory, dry_run: bool) -> None:
    """Take over the nodes and keys of the official numerai-cli. A backup of each file is kept."""
    render, store = factory.render, factory.store
    nodes = sorted(store.nodes())
    found = counted(len(nodes), "node") + (f" ({', '.join(nodes)})" if nodes else "")
    if not store.is_legacy():
        render.result({"upgraded": False, "nodes": nodes}, lambda: render.say("Nothing to upgrade."))
        return
    backups = [] if dry_run else store.upgrade()

    def show() -> None:
        if dry_run:
            render.say(f"Would convert {store.home} with {found}; backups are kept.")
            return
        render.mark(OK, f"taken over: {found}")
        for backup in backups:
            render.say(f"  backup: {backup}")
        if any(backup.name.startswith(".keys") for backup in backups):
            render.say("  Keys of cloud accounts are in that backup only; delete it when nothing needs it any more.")
        render.say("What the official tool made in your cloud account is left as it is. Next:")
        for step in _next_steps(store):
            render.say(f"  {step}")

    render.result({"upgraded": not dry_run, "nodes": nodes, "backups": backups}, show)
