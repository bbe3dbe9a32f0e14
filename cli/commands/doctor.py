"""`numerai doctor`: what stands well, what does not, and the command that mends it."""

from __future__ import annotations

from pathlib import Path

import click

from ..counting import counted
from ..errors import EXIT_ENVIRONMENT, UsageError
from ..factory import Factory
from ..models import Check, CheckStatus
from ..render import FAILED, OK, SKIPPED, WARNING
from ..usecases.api_check.ask import ask_api
from ..usecases.api_check.judge import Finding, judge
from ..usecases.api_check.record import record, refuse_existing, write_record
from ..usecases.api_check.rules import RULES
from ..usecases.doctor import Doctor
from .options import PlaceType, output_options


@click.command()
@click.option("--fix", is_flag=True, help="Do the safe mends: file modes, nodes.json, daemon, webhooks.")
@click.option("--api", is_flag=True, help="Compare Numerai's API with what this version relies on. Asks only.")
@click.option(
    "--save",
    type=PlaceType(dir_okay=False),
    help="With --api: write what was read to this new file, without keys, names, ids or amounts.",
)
@output_options
@click.pass_obj
def doctor(factory: Factory, fix: bool, api: bool, save: Path | None) -> int:
    """Check this machine, your keys and every node.

    Says what is wrong, why, and the command that mends it. With --api, what differs from docs/truth.md instead. Ends
    with 0 when nothing has failed, else with 3.

    \b
    Examples:
      numerai doctor
      numerai doctor --fix
    """
    if api and fix:
        raise UsageError("--api changes nothing: there is nothing for --fix to do.")
    if api:
        return _check_api(factory, save)
    if save is not None:
        raise UsageError("--save needs --api.")
    examiner = Doctor(
        factory.store, factory.api_with, factory.provider_recorded, factory.clock, factory.ledger, factory.may_sleep
    )
    checks = examiner.examine()
    fixed: list[str] = []
    if fix and any(check.safe_fix for check in checks):
        fixed = examiner.fix(checks, factory.render.progress)
        checks = examiner.examine()
    failed = any(check.status is CheckStatus.FAILED for check in checks)
    payload = {"ok": not failed, "fixed": fixed, "checks": checks}
    factory.render.result(payload, lambda: _show(factory, checks, fixed))
    return EXIT_ENVIRONMENT if failed else 0


def _check_api(factory: Factory, save: Path | None) -> int:
    if save is not None:
        refuse_existing(save)
    probe = factory.api_probe
    answers = ask_api(probe, lambda: probe.heard_time() or factory.clock.now(), factory.render.progress)
    findings = judge(answers)
    if save is not None:
        write_record(save, record(answers, findings))
    broken = any(finding.broken for finding in findings)
    payload = {"ok": not broken, "api": probe.url, "findings": findings, "saved": save}
    factory.render.result(payload, lambda: _show_findings(factory, findings, probe.url, save))
    return EXIT_ENVIRONMENT if broken else 0


def _show_findings(factory: Factory, findings: list[Finding], url: str, save: Path | None) -> None:
    render = factory.render
    marks = {"agrees": OK, "unchecked": SKIPPED}
    for finding in findings:
        mark = marks.get(finding.verdict.value, FAILED if finding.broken else WARNING)
        text = f"{finding.rule}: {finding.why}" + (" (not checked)" if mark == SKIPPED else "")
        differs = finding.verdict.value == "differs"
        detail = [f"Expected: {RULES[finding.rule].sentence}"] if differs else []
        render.mark(mark, text, detail="\n".join([*detail, *([finding.consequence] if finding.consequence else [])]))
    words = ("agrees", "differs", "deprecated", "unchecked")
    counts = {word: sum(finding.verdict.value == word for finding in findings) for word in words}
    render.say(
        f"{url}: {counts['agrees']} agree, {counts['differs']} differ, {counts['deprecated']} deprecated, "
        f"{counts['unchecked']} not checked. docs/truth.md tells the source of each rule."
    )
    if save is not None:
        render.say(f"Saved to {save}: no key, name, id, address or amount is in it.")


def _show(factory: Factory, checks: list[Check], fixed: list[str]) -> None:
    render = factory.render
    for line in fixed:
        render.say(f"fixed: {line}" if not line.startswith("could not") else line)
    for check in checks:
        name = f"{check.node} {check.name}" if check.node else check.name
        render.mark(check.status.value, f"{name}: {check.why}", mend=check.mend)
    counts = {status: sum(check.status.value == status for check in checks) for status in ("ok", "warning", "failed")}
    render.say(f"{counts['ok']} ok, {counted(counts['warning'], 'warning')}, {counts['failed']} failed.")
