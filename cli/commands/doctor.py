"""`numerai doctor`: what stands well, what does not, and the command that mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import output_options

if TYPE_CHECKING:
    from ..factory import Factory
    from ..models import Check


@click.command()
@click.option("--fix", is_flag=True, help="Do the safe mends: file modes, nodes.json, daemon, webhooks.")
@output_options
@click.pass_obj
def doctor(factory: Factory, fix: bool) -> int:
    """Check this machine, your keys and every node.

    Says what is wrong, why, and the command that mends it. Ends with 0 when nothing has failed, else with 3."""
    from ..errors import EXIT_ENVIRONMENT
    from ..models import CheckStatus
    from ..usecases.doctor import Doctor

    examiner = Doctor(factory.store, factory.api_with, factory.provider, factory.clock, factory.ledger)
    checks = examiner.examine()
    fixed: list[str] = []
    if fix and any(check.safe_fix for check in checks):
        fixed = examiner.fix(checks, factory.render.progress)
        checks = examiner.examine()
    failed = any(check.status is CheckStatus.FAILED for check in checks)
    payload = {"ok": not failed, "fixed": fixed, "checks": checks}
    factory.render.result(payload, lambda: _show(factory, checks, fixed))
    return EXIT_ENVIRONMENT if failed else 0


def _show(factory: Factory, checks: list[Check], fixed: list[str]) -> None:
    render = factory.render
    for line in fixed:
        render.say(f"fixed: {line}" if not line.startswith("could not") else line)
    for check in checks:
        name = f"{check.node} {check.name}" if check.node else check.name
        render.mark(check.status.value, f"{name}: {check.why}", mend=check.mend)
    counts = {status: sum(check.status.value == status for check in checks) for status in ("ok", "warning", "failed")}
    render.say(f"{counts['ok']} ok, {counts['warning']} warning(s), {counts['failed']} failed.")
