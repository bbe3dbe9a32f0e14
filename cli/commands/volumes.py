"""`numerai add-volume-aws`: one size of disk for every node on AWS."""

from __future__ import annotations

import click

from ..factory import Factory
from ..render import OK
from ..usecases.configure import Configured, NodeRequest, configure_node
from ..usecases.inspect import list_nodes
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

    Like `node config --disk` for each. A run writes to a disk of its own, which goes with it; what is to stay belongs
    into its artifacts.
    """
    render, nodes = factory.render, [node for node in list_nodes(factory.store) if node.provider == AWS]
    done = [
        configure_node(
            NodeRequest(disk=size),
            node.model_name,
            node.tournament,
            api=factory.api,
            store=factory.store,
            provider_named=factory.provider_recorded,
            digest_of=factory.engine.digest,
            report=render.progress,
            agree=lambda preview: agree_to_costs(render, preview, yes),
            insist=render.warn,
            dry_run=dry_run,
        )
        for node in nodes
    ]
    if dry_run:
        show_plan(render, [step for plan in done if not isinstance(plan, Configured) for step in plan.describe()])
        return

    def show() -> None:
        if not nodes:
            render.say("No node runs on AWS.")
        for node in nodes:
            render.mark(OK, f"{node.name} has {size} GiB")

    render.result({"disk_gib": size, "nodes": [node.name for node in nodes]}, show)
