"""`numerai upgrade --move-aws`: from the official tool's AWS cluster to this tool's, and its removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import EnvironmentNotReady
from ..render import OK
from .options import confirm, show_plan

if TYPE_CHECKING:
    from ..factory import Factory
    from ..ports import OfficialCluster, Provider
    from ..usecases.official_move import Move, MovePlan


def move_aws(factory: Factory, cluster: OfficialCluster, aws_profile: str | None, *, yes: bool, dry_run: bool) -> None:
    """Show what there is and what would be done, ask, and do it. Nothing is changed before a person agrees."""
    from ..usecases.upgrade import describe

    render, official = factory.render, factory.official_home
    found = official.found()
    move = _move(factory, cluster, _planned_provider(factory, aws_profile))
    plan = move.plan()
    if not plan.pending and found is None:
        if not dry_run:
            _use_profile(factory, aws_profile)
        _end(factory, plan)
        return
    lines = [
        *(describe(found, factory.providers, factory.provider_recorded, aws_profile) if found else ()),
        *plan.found,
    ]
    previews = _previews(factory, move)
    if dry_run:
        show_plan(render, [step.words for step in plan.pending], [*lines, *plan.notes, *previews, *_by_hand(plan)])
        return
    for line in [*lines, "This will be done:", *_numbered(plan), *plan.notes, *previews]:
        render.progress(line)
    for doubt in plan.doubts:
        confirm(f"{doubt} Go on?", yes)
    confirm("Do it?", yes)
    if found is not None:
        backup = official.take_over()
        render.mark(OK, f"the official tool's files are taken over; they are kept in {backup}")
    _use_profile(factory, aws_profile)
    move = _move(factory, cluster, factory.renewed("aws"))
    move.carry_out(plan := move.plan())
    _end(factory, plan)


def _planned_provider(factory: Factory, aws_profile: str | None) -> Provider:
    """The provider as it will be once the profile is there, which can be made."""
    from ..usecases.upgrade import kept_aws_keys, plan_aws_keys

    if aws_profile is None:
        return factory.provider("aws")
    plan_aws_keys(factory.official_home, aws_profile, factory.plan_aws_profile)
    keys = kept_aws_keys(factory.official_home)
    return factory.provider_with("aws", {"profile": aws_profile}, {aws_profile: keys})


def _use_profile(factory: Factory, aws_profile: str | None) -> None:
    """Make the profile, beside what the file holds by now, and use it from now on."""
    from ..usecases.upgrade import plan_aws_keys, use_profile

    if aws_profile is not None:
        plan_aws_keys(factory.official_home, aws_profile, factory.plan_aws_profile)()
        use_profile(factory.official_home, factory.store, aws_profile)


def _move(factory: Factory, cluster: OfficialCluster, provider: Provider) -> Move:
    from ..usecases.official_move import Move

    render = factory.render
    return Move(
        cluster,
        factory.official_cloud,
        factory.store,
        provider,
        factory.provider_recorded,
        factory.api,
        factory.clock,
        factory.move_record,
        factory.why_no_answer,
        render.progress,
        render.warn,
        on_done=lambda step: render.mark(OK, step.words),
        on_fact=lambda fact: render.progress(fact.detail if fact.holds is None else f"{fact.name}: {fact.detail}"),
        on_log=lambda line: render.detail(f"    | {line.text}"),
    )


def _previews(factory: Factory, move: Move) -> list[str]:
    from ..usecases.official_move import with_hint

    try:
        return move.previews()
    except EnvironmentNotReady as error:
        raise with_hint(error, factory.official_home.aws_keys()) from error


def _numbered(plan: MovePlan) -> list[str]:
    return [f"  {number}. {step.words}" for number, step in enumerate(plan.pending, 1)]


def _by_hand(plan: MovePlan) -> list[str]:
    """What this tool cannot remove, line by line."""
    if not plan.by_hand:
        return []
    return ["To be removed by hand, in the AWS console:", *(f"  - {each}" for each in plan.by_hand)]


def _end(factory: Factory, plan: MovePlan) -> None:
    render, nodes = factory.render, [step.key.partition(":")[2] for step in plan.steps if step.key.startswith("image:")]

    def show() -> None:
        render.say(f"Runs in this tool's cluster now: {', '.join(nodes) or 'no node of the old one'}.")
        for line in _by_hand(plan):
            render.say(line)
        if not plan.by_hand:
            render.say("Nothing of the official tool is left on AWS.")

    render.result({"moved": True, "nodes": nodes, "by_hand": plan.by_hand}, show)
