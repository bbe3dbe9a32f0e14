"""`numerai destroy-all` and `numerai uninstall`: the way out, all at once."""

from __future__ import annotations

from functools import partial

import click

from ..factory import Factory
from ..models import DEFAULT_PROVIDER, Node
from ..render import FAILED, OK
from ..usecases.inspect import list_nodes
from .options import confirm, dry_run_option, output_options, show_plan


@click.command(name="destroy-all")
@click.option("-p", "--preserve-node-config", is_flag=True, help="Keep the nodes in nodes.json.")
@click.option("--force", is_flag=True, help="Stop active runs, and go on where Numerai cannot be told.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@output_options
@click.pass_obj
def destroy_all(factory: Factory, preserve_node_config: bool, force: bool, yes: bool, dry_run: bool) -> int:
    """Take every node out of service and remove everything the providers hold. Your folders stay.

    Asks once. A node that cannot be destroyed is named, and the others are destroyed all the same.
    """
    render, nodes = factory.render, list_nodes(factory.store)
    if not nodes:
        render.result({"destroyed": [], "failed": {}}, lambda: render.say("No node is configured."))
        return 0
    if dry_run:
        show_plan(render, [f"destroy {node.name} on {node.provider}" for node in nodes])
        return 0
    for node in nodes:
        render.progress(f"- {node.name} on {node.provider}")
    confirm(f"Destroy {'it' if len(nodes) == 1 else f'all {len(nodes)} of them'}?", yes)
    return _destroy(factory, nodes, force=force, keep_config=preserve_node_config)


def _destroy(factory: Factory, nodes: list[Node], *, force: bool, keep_config: bool) -> int:
    """Destroy one after the other; 1 when any of them is still there."""
    from ..translation import EXPECTED, as_error
    from ..usecases.destroy import destroy_node

    render, failed = factory.render, dict[str, str]()
    for node in nodes:
        try:
            destroy_node(
                node,
                api=lambda: factory.api,
                store=factory.store,
                provider=factory.provider_of(node),
                other=factory.provider_recorded(node.also_on) if node.also_on else None,
                report=render.progress,
                warn=render.warn,
                force=force,
                keep_config=keep_config,
            )
        except EXPECTED as error:
            known = as_error(error)
            failed[node.name] = f"{known.message} {known.hint or ''}".strip()
    destroyed = [node.name for node in nodes if node.name not in failed]

    def show() -> None:
        for name in destroyed:
            render.mark(OK, f"{name} is gone")
        for name, why in failed.items():
            render.mark(FAILED, f"{name} is still there", detail=why)

    render.result({"destroyed": destroyed, "failed": failed}, show)
    return 1 if failed else 0


@click.command()
@click.option("--leave-cloud", is_flag=True, help="Leave what providers hold that is not on this machine.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
@output_options
@click.pass_obj
def uninstall(factory: Factory, leave_cloud: bool, yes: bool, dry_run: bool) -> int:
    """Remove the nodes on this machine, the daemon, and this tool's files.

    Your folders, Docker and everything that is not this tool's stay. Refuses while a cloud holds anything.
    """
    from ..providers.local.daemon import stop_daemon
    from ..providers.local.service import uninstall_service
    from ..usecases.uninstall import own_files, refuse_while_held, remove_files

    render, home = factory.render, factory.home
    refuse_while_held(factory.store, tuple(factory.providers), factory.provider_recorded, leave_cloud)
    nodes = [node for node in list_nodes(factory.store) if node.provider == DEFAULT_PROVIDER]
    context = partial(factory.provider_context, DEFAULT_PROVIDER)
    steps = [
        *(f"destroy {node.name} on {node.provider}" for node in nodes),
        "end the daemon, and take its service away where there is one",
        *(f"remove {path}" for path in own_files(home)),
    ]
    if dry_run:
        show_plan(render, steps)
        return 0
    for step in steps:
        render.progress(f"- {step}")
    confirm("Remove all of this?", yes)
    if nodes and _destroy(factory, nodes, force=True, keep_config=False):
        return 1
    uninstall_service(context())
    stop_daemon(context())
    done = remove_files(home)

    def show() -> None:
        render.mark(OK, f"{home} holds nothing of this tool any more")
        if done.left:
            render.say(f"Not this tool's, and left there: {', '.join(path.name for path in done.left)}")
        render.say("Last: pip uninstall numerai-compute")

    render.result({"removed": done.removed, "left": done.left}, show)
    return 0
