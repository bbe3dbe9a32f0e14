"""`numerai upgrade`: take over the files of the official tool, or give them back."""

from __future__ import annotations

import click

from ..errors import NumeraiError, UsageError
from ..factory import Factory
from ..names import plainly
from ..ports import OfficialFiles
from ..render import OK
from ..usecases.upgrade import AWS_PROFILE, describe, next_steps, plan_aws_keys, summary, use_profile
from .options import dry_run_option, output_options

NOTHING_TO_MOVE = "The official tool has recorded nothing on AWS here, so there is nothing to move."


@click.command()
@click.option("--undo", is_flag=True, help="Put the official tool's files back as they were.")
@click.option(
    "--aws-profile",
    metavar="NAME",
    help="Make a profile of the old tool's AWS keys in ~/.aws/credentials, and use it from now on. It can be asked for "
    "later, too.",
)
@click.option(
    "--move-aws",
    is_flag=True,
    help="Also move the old tool's nodes on AWS into this tool's cluster, then remove the old cluster. Interrupted, it "
    "goes on where it was. Where there are none it says so, and upgrades the rest.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --move-aws.")
@dry_run_option
@output_options
@click.pass_obj
def upgrade(factory: Factory, undo: bool, aws_profile: str | None, move_aws: bool, yes: bool, dry_run: bool) -> None:
    """Take over the nodes and keys of the official numerai-cli, of any version.

    Every file is kept as it was; `numerai upgrade --undo` puts them back.

    \b
    Example:
      numerai upgrade --aws-profile numerai
      numerai upgrade --aws-profile numerai --move-aws
    """
    if undo:
        if aws_profile is not None or dry_run or move_aws:
            raise UsageError("--undo takes none of --aws-profile, --move-aws and --dry-run.")
        _undo(factory)
        return
    cluster = factory.official_cloud.cluster() if move_aws else None
    if cluster is not None:
        from .official_move import move_aws as move

        move(factory, cluster, aws_profile, yes=yes, dry_run=dry_run)
        return
    _take_over(factory, aws_profile, [NOTHING_TO_MOVE] if move_aws else [], dry_run=dry_run)


def _take_over(factory: Factory, aws_profile: str | None, before: list[str], *, dry_run: bool) -> None:
    """Convert the files, and make the profile; `before` is said first."""
    official, store, render = factory.official_home, factory.store, factory.render
    found, moved = official.found(), {"moved": False} if before else {}
    if found is None and aws_profile is None:
        content = {"upgraded": False, "nodes": sorted(store.nodes()), **moved}
        render.result(content, lambda: _say(factory, [*before, "Nothing to upgrade."]))
        return
    lines = [*before, *(describe(found, factory.providers, factory.provider_recorded, aws_profile) if found else ())]
    add_profile = None if aws_profile is None else plan_aws_keys(official, aws_profile, factory.plan_aws_profile)
    if dry_run:
        made = [f"The old tool's AWS keys become the profile {aws_profile}."] if aws_profile and not found else []
        lines += [*made, "Nothing was changed."]
        render.result({"upgraded": False, "found": lines, **moved}, lambda: _say(factory, lines))
        return
    _say(factory, lines)
    profile = add_profile() if add_profile else None
    backup = official.take_over() if found else None
    if aws_profile is not None:
        use_profile(official, store, aws_profile)
    content = {
        "upgraded": found is not None,
        "nodes": sorted((*found.nodes, *found.unusable)) if found else sorted(store.nodes()),
        "backup": backup,
        "aws_profile": aws_profile,
        **moved,
    }

    def show() -> None:
        if profile is not None:
            render.mark(OK, f"the old tool's AWS keys are the profile {aws_profile} in {profile}, and used from now on")
        if found is not None:
            _show(factory, found, offer="aws" in found.cloud_keys and aws_profile is None)
            render.say(f"Backup: {backup}. `numerai upgrade --undo` puts everything back.")
            if found.numerai_keys or found.cloud_keys:
                render.say("It holds the old tool's keys, as they were: remove it when you will not go back.")
            _say_next(factory, found, offer=not before)

    render.result(content, show)


def _say_next(factory: Factory, found: OfficialFiles, *, offer: bool) -> None:
    say = factory.render.say
    say("What the official tool made in your cloud account is left as it is, and costs what it did. Next:")
    for step in next_steps(factory.store, factory.providers):
        say(f"  {step}")
    if offer and any(node.provider == "aws" for node in found.nodes.values()):
        say("Or all of it at once, the removal of the old cluster included: numerai upgrade --move-aws")


def _show(factory: Factory, found: OfficialFiles, *, offer: bool) -> None:
    factory.render.mark(OK, f"taken over: {summary(found)}")
    if offer:
        command = f"numerai upgrade --aws-profile {AWS_PROFILE}"
        factory.render.say(f"The old tool's AWS keys are in the backup. To use them here: {command}")


def _say(factory: Factory, lines: list[str]) -> None:
    for line in lines:
        factory.render.say(line)


def _undo(factory: Factory) -> None:
    from ..providers.local.daemon import daemon_runs
    from ..usecases.official_move import undo_upgrade

    serves, profile = daemon_runs(factory.home), _profile(factory)
    render, undone = factory.render, undo_upgrade(factory.official_home, factory.store, factory.move_record)
    if undone is None:
        render.result({"undone": False}, lambda: render.say("There is no upgrade to undo."))
        return
    if serves:
        render.warn("The daemon still runs: `numerai daemon stop` ends it.")

    def show() -> None:
        for path in undone.restored:
            render.mark(OK, f"{path} is again as it was")
        for path in undone.aside:
            render.say(f"  What had been changed since is kept in {path}.")
        if profile:
            render.say(f"The profile {plainly(str(profile))} in ~/.aws/credentials stays.")
        render.say("Webhooks at Numerai, and what was deployed since, its schedules included, are left as they are.")

    render.result({"undone": True, "restored": undone.restored, "aside": undone.aside}, show)


def _profile(factory: Factory) -> str | int | None:
    """The profile that the provider aws uses; an undo needs no file of nodes that can be read."""
    try:
        return factory.store.settings("aws").get("profile")
    except NumeraiError:
        return None
