"""Takes over what an interrupted command made in AWS and could not record any more, so that the next one goes on.

Only what bears this stack's own id is taken over. Names alone prove nothing: a stranger's cluster may have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ProviderError
from ...ports import Clock, PlannedResource, Report, StackPlan, StackRunner
from .existing import Existing, Unknown

LOCK_SECONDS = 1800
"""How long the Terraform of a command that was killed is waited for: it finishes what it has begun."""


def take_over(
    runner: StackRunner,
    variables: Mapping[str, Any],
    existing: Existing,
    clock: Clock,
    report: Report,
    *,
    patient: bool,
) -> None:
    """Make everything of the stack that exists and that Terraform does not know a part of it.

    What another new thing belongs to can only be looked for once that one is known, so it is looked again after each
    step. With `patient` a state that is locked is waited for: where only a living program can lock it.
    """
    while True:
        plan = _plan(runner, variables, clock, report, patient=patient)
        planned = runner.planned(plan)
        found, unknown = _look(existing, planned.made)
        found = {address: here for address, here in found.items() if here not in planned.known}
        if not found:
            return
        report(f"taking over {len(found)} resource(s) that the interrupted command had made")
        ids = {address: name for address, (_, name) in found.items()}
        runner.apply(runner.plan_adoption(variables, ids, report), report)
        if not unknown:
            return


def _look(
    existing: Existing, made: tuple[PlannedResource, ...]
) -> tuple[dict[str, tuple[str, str]], list[PlannedResource]]:
    """What exists already, as (kind, id) by address, and what cannot be looked for yet."""
    found, unknown = {}, []
    for resource in made:
        try:
            name = existing.find(resource.kind, resource.values)
        except Unknown:
            unknown.append(resource)
            continue
        if name is not None:
            found[resource.address] = (resource.kind, name)
    return found, unknown


def _plan(
    runner: StackRunner, variables: Mapping[str, Any], clock: Clock, report: Report, *, patient: bool
) -> StackPlan:
    """The plan, once the Terraform of a command that was killed has ended."""
    deadline, said = clock.monotonic() + LOCK_SECONDS, False
    report_once: Callable[[str], None] = report
    while True:
        try:
            return runner.plan(variables, report_once)
        except ProviderError as error:
            if error.code != "state-locked" or not patient or clock.monotonic() > deadline:
                raise
        if not said:
            report("The interrupted command's Terraform is still at work: waiting for its end")
            said, report_once = True, _silent


def _silent(line: str) -> None:
    """Tells nobody: it was said before."""
