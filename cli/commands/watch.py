"""`numerai watch`: follow the rounds, trigger what is missing, tell somebody in time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import click

from ..factory import Factory
from ..render import FAILED, OK, Renderer
from ..watching.foreground import look_once, watch_until_ended
from ..watching.settings import watch_settings
from ..watching.watcher import Finding, Look, Watcher
from .options import at_terminal, decimal, output_options

PACKAGE_LOGGER = __name__.partition(".")[0]


@click.command()
@click.option("--once", is_flag=True, help="Look once and end, for cron: with 0 when all is well or nothing is due.")
@click.option(
    "--grace-minutes",
    type=decimal(),
    help="How long after the opening a node is left alone that Numerai or a schedule starts, half the window at most."
    "  [default: 10]",
)
@output_options
@click.pass_obj
def watch(factory: Factory, once: bool, grace_minutes: float | None) -> int:
    """Follow the rounds: trigger what is missing, and tell somebody in time.

    It watches all nodes, whatever their provider, until Ctrl-C. A node that Numerai cannot call is started when a round
    opens. Any other gets a grace time first; without a submission it is started then, three times and in long windows
    more often, and people are told well before the deadline. The daemon (`numerai daemon start`) does the same in the
    background.

    With --once it ends with 1 when this look finds anything wrong (missing, failed, late, covered by an earlier file,
    missed, or not to be seen); what an earlier look has found and told of rounds that are over does not count.

    With --json, a JSON object a line: one for each look that finds something new.

    \b
    Examples:
      numerai watch
      numerai watch --once
    """
    looks_once = "hand" if at_terminal() else "once"  # cron has no terminal
    watcher = watcher_of(factory, looks_once if once else "watch", grace_minutes=grace_minutes)
    with _warnings_shown(factory.render):
        if not once:
            return _follow(factory, watcher)
        look = look_once(watcher)
        _show(factory, look, look.findings)
        return 0 if look.well else 1


def watcher_of(factory: Factory, kind: str, *, wakes: bool = True, grace_minutes: float | None = None) -> Watcher:
    """The watcher of this home folder. Keys and nodes are read anew at every look."""
    api_with = lru_cache(maxsize=1)(factory.watchers_api_with)
    return Watcher(
        store=factory.store,
        api=lambda: api_with(factory.keys()),
        provider_named=factory.provider_recorded,
        ledger=factory.ledger,
        notifier=factory.notifier,
        clock=factory.clock,
        settings=watch_settings(factory.store.settings("local"), grace_minutes=grace_minutes),
        kind=kind,
        wakes=wakes,
    )


def _follow(factory: Factory, watcher: Watcher) -> int:
    shown: dict[object, object] = {}

    def on_look(look: Look) -> None:
        """Show what is new, not what goes on."""
        new = tuple(
            finding for finding in look.findings if shown.get((finding.node, finding.round_number)) is not finding.step
        )
        if new or look.told or (look.problems and shown.get("problems") != look.problems):
            _show(factory, look, new, quiet=True)
        shown.update({(finding.node, finding.round_number): finding.step for finding in look.findings})
        shown["problems"] = look.problems

    factory.render.progress("Watching. Ctrl-C ends it.")
    watch_until_ended(watcher, on_look)
    factory.render.progress("The watcher has stopped.")
    return 0


class _Warnings(logging.Handler):
    """Shows what the watcher has to say that must be seen."""

    def __init__(self, render: Renderer):
        super().__init__(logging.WARNING)
        self._render = render

    def emit(self, record: logging.LogRecord) -> None:
        """Show one warning."""
        try:
            self._render.warn(record.getMessage())
        except Exception:  # noqa: BLE001  as logging does it: a terminal that is closed must not end the watcher
            self.handleError(record)


@contextmanager
def _warnings_shown(render: Renderer) -> Iterator[None]:
    logger, handler = logging.getLogger(PACKAGE_LOGGER), _Warnings(render)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _payload(look: Look) -> dict[str, object]:
    return {
        "well": look.well,
        "now": look.now,
        "findings": look.findings,
        "problems": look.problems,
        "told": look.told,
    }


def _show(factory: Factory, look: Look, findings: tuple[Finding, ...], *, quiet: bool = False) -> None:
    if factory.render.json:
        factory.render.line(_payload(look))
        return
    for finding in findings:
        status = OK if finding.step.well else FAILED
        factory.render.mark(
            status, f"{finding.node}, round {finding.round_number}: {finding.step.value}", detail=finding.detail
        )
    for notice in look.told:
        factory.render.say(f"told ({notice.kind.value}): {notice.title}")
    if not quiet and not look.problems and not findings:
        factory.render.say("Nothing is due: no round is open for a configured node.")
