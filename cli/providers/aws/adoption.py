"""Takes over what an interrupted command made in AWS and could not record any more, so that the next one goes on.

Only what bears this stack's own id is taken over. Names alone prove nothing: a stranger's cluster may have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...counting import counted
from ...ports import PlannedResource, Report, StackRunner
from .existing import Existing, Unknown


def take_over(runner: StackRunner, variables: Mapping[str, Any], existing: Existing, report: Report) -> None:
    """Make everything of the stack that exists and that Terraform does not know a part of it.

    What belongs to another new thing can only be looked for once that one is known, so it is looked again where that is
    so.
    """
    again = True
    while again:
        planned = runner.planned(runner.plan(variables, report))
        found, unknown = _look(existing, planned.made)
        found = {address: here for address, here in found.items() if here not in planned.known}
        if not found:
            return
        report(f"taking over {counted(len(found), 'resource')} that the interrupted command had made")
        ids = {address: name for address, (_, name) in found.items()}
        runner.apply(runner.plan_adoption(variables, ids, report), report)
        blocks = {address.partition("[")[0] for address in found}
        again = any(resource.needs & blocks for resource in unknown)


def _look(
    existing: Existing, made: tuple[PlannedResource, ...]
) -> tuple[dict[str, tuple[str, str]], list[PlannedResource]]:
    """What exists already, as (kind, id) by address, and what cannot be looked for yet. Clears what is in the way."""
    found, unknown = {}, []
    for resource in made:
        try:
            if name := existing.find(resource.kind, resource.values):
                found[resource.address] = (resource.kind, name)
            else:
                existing.clear(resource.kind, resource.values)
        except Unknown:
            unknown.append(resource)
    return found, unknown
