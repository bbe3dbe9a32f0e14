"""`numerai upgrade`: take over the files of the official tool."""

from __future__ import annotations

import click

from ..counting import counted
from ..factory import Factory
from ..render import OK
from .options import dry_run_option, output_options


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
        render.say("What the official tool made in your cloud account is left as it is.")

    render.result({"upgraded": not dry_run, "nodes": nodes, "backups": backups}, show)
