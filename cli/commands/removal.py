"""`numerai destroy-all` and `numerai uninstall`: the way out, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import click

from ..factory import Factory
from ..models import DEFAULT_PROVIDER, Node
from ..names import plainly
from ..render import FAILED, OK, Renderer
from ..usecases.configure import refuse_legacy
from ..usecases.destroy import cannot_be_removed, destroy_node, what_stays
from ..usecases.inspect import list_nodes, where_it_is
from ..usecases.uninstall import Uninstalled
from .options import confirm, destroy_options, dry_run_option, output_options, show_plan, yes_option


@click.command(name="destroy-all")
@destroy_options
@output_options
@click.pass_obj
def destroy_all(factory: Factory, preserve_node_config: bool, force: bool, yes: bool, dry_run: bool) -> int:
    """Take every node out of service and remove everything the providers hold. Your folders stay.

    Asks once. A node that cannot be destroyed is named, and the others are destroyed all the same; it ends with 1 then.
    """
    render = factory.render
    refuse_legacy(factory.store)
    stays = cannot_be_removed(factory.store, factory.provider_recorded)
    nodes = [node for node in list_nodes(factory.store) if node.name not in stays]
    notes = [*stays.values(), *(note for node in nodes for note in what_stays(node, factory.provider_recorded))]
    if dry_run:
        show_plan(render, [f"destroy {node.name} on {where_it_is(node)}" for node in nodes], notes)
        return 1 if stays else 0
    for line in (*(f"- {node.name} on {where_it_is(node)}" for node in nodes), *notes):
        render.progress(line)
    if nodes:
        confirm(f"Destroy {'it' if len(nodes) == 1 else f'all {len(nodes)} of them'}?", yes)
    destroyed, failed = _destroy(factory, nodes, force=force, keep_config=preserve_node_config)
    failed |= stays

    def show() -> None:
        if not nodes and not stays:
            render.say("No node is configured.")
        _show(render, destroyed, failed)

    render.result({"destroyed": destroyed, "failed": failed}, show)
    return 1 if failed else 0


def _destroy(
    factory: Factory, nodes: list[Node], *, force: bool, keep_config: bool
) -> tuple[list[str], dict[str, str]]:
    """Destroy one after the other; which are gone, and why the others are not."""
    from ..translation import EXPECTED, as_error

    failed = dict[str, str]()
    for node in nodes:
        try:
            destroy_node(
                node,
                api=lambda: factory.api,
                store=factory.store,
                provider_named=factory.provider_recorded,
                report=factory.render.progress,
                warn=factory.render.warn,
                force=force,
                keep_config=keep_config,
            )
        except EXPECTED as error:
            failed[node.name] = as_error(error).in_full
    return [node.name for node in nodes if node.name not in failed], failed


def _show(render: Renderer, destroyed: list[str], failed: Mapping[str, str]) -> None:
    for name in destroyed:
        render.mark(OK, f"{name} is gone")
    for name, why in failed.items():
        render.mark(FAILED, f"{plainly(name)} is still there", detail=why)


@click.command()
@click.option("--leave-cloud", is_flag=True, help="Leave what providers hold that is not on this machine.")
@yes_option
@dry_run_option
@output_options
@click.pass_obj
def uninstall(factory: Factory, leave_cloud: bool, yes: bool, dry_run: bool) -> int:
    """Remove the nodes on this machine, the daemon, and this tool's files.

    Your folders, Docker and everything that is not this tool's stay. Refuses while a cloud holds anything.
    """
    from ..providers.local.daemon import stop_daemon
    from ..providers.local.service import uninstall_service
    from ..usecases.uninstall import before_removal, own_files, refuse_while_held, remove_files

    render, home = factory.render, factory.home
    official = factory.official_cloud.cluster()
    held = refuse_while_held(factory.store, tuple(factory.providers), factory.provider_recorded, official, leave_cloud)
    left = [f"Left as it is: {', '.join(held)}."] if held else []
    notes = [*left, *before_removal(home, factory.move_record, official)]
    nodes = [node for node in list_nodes(factory.store) if node.provider == DEFAULT_PROVIDER]
    context = partial(factory.provider_context, DEFAULT_PROVIDER)
    steps = [
        *(f"destroy {node.name} on {node.provider}" for node in nodes),
        "end the daemon, and take its service away where there is one",
        *(f"remove {path}" for path in own_files(home)),
    ]
    if dry_run:
        show_plan(render, steps, notes)
        return 0
    for line in (*(f"- {step}" for step in steps), *notes):
        render.progress(line)
    confirm("Remove all of this?", yes)
    destroyed, failed = _destroy(factory, nodes, force=True, keep_config=False)
    done = Uninstalled()
    if not failed:
        uninstall_service(context())
        stop_daemon(context())
        done = remove_files(home)

    def show() -> None:
        _show(render, destroyed, failed)
        if failed:
            render.say("So nothing else was removed.")
            return
        for path, why in done.stays.items():
            render.mark(FAILED, f"{path} is still there", detail=why)
        if not done.stays:
            render.mark(OK, f"{home} holds nothing of this tool any more")
        for line in done.notes(home):
            render.say(line)
        if not done.stays:
            render.say("Last: pip uninstall numerai-compute")

    content = {
        "removed": done.removed,
        "left": done.left,
        "stays": {str(path): why for path, why in done.stays.items()},
    }
    render.result({"destroyed": destroyed, "failed": failed, **content}, show)
    return 1 if failed or done.stays else 0
