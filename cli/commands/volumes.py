"""`numerai add-volume-aws`: one size of disk for every node on AWS."""

from __future__ import annotations

import click

from ..factory import Factory
from ..render import OK
from ..usecases.disks import give_disks
from .options import agree_to_costs, dry_run_option, output_options, show_plan, whole

AWS = "aws"


@click.command(name="add-volume-aws")
@click.option("-s", "--size", type=whole(1), required=True, metavar="GIB", help="The size in GiB.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before something costs money.")
@dry_run_option
@output_options
@click.pass_obj
def add_volume_aws(factory: Factory, size: int, yes: bool, dry_run: bool) -> None:
    """Give every node on AWS a disk of this size.

    A run writes to a disk of its own, which goes with it; what is to stay belongs into its artifacts. Webhooks are left
    as they are. A node of which AWS holds nothing yet gets the disk when `config` makes it there.
    """
    render = factory.render
    done = give_disks(
        size,
        factory.provider(AWS),
        factory.store,
        report=render.progress,
        agree=lambda preview: agree_to_costs(render, preview, yes),
        dry_run=dry_run,
    )
    if dry_run:
        show_plan(render, done.plan.describe(), done.plan.notes)
        return

    def show() -> None:
        if not done.nodes:
            render.say("No node runs on AWS.")
        for node in done.nodes:
            render.mark(OK, f"{node.name} has {size} GiB")
        for note in done.later:
            render.say(note)

    render.result({"disk_gib": size, "nodes": [node.name for node in done.nodes], "notes": done.later}, show)
