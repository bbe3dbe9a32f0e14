"""`numerai status`: all nodes at a glance."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from ..factory import Factory
from ..render import FAILED, OK, WARNING, Renderer, ago
from ..usecases.configure import PICKLE_ASSIGNED, UNASSIGN_PICKLE
from ..usecases.inspect import where_it_is
from ..usecases.overview import NodeGlance, Overview, TournamentGlance, name_of, overview
from ..usecases.resolve import first_steps
from ..watching.policy import span
from .history import reader_of, words_of
from .options import output_options
from .patience import word_when_slow


@click.command()
@output_options
@click.pass_obj
def status(factory: Factory) -> None:
    """Show all nodes at a glance, with the time to the next deadline.

    Also says who follows the rounds and who is told. What could not be asked is said first.

    \b
    Example:
      numerai status --json
    """
    with word_when_slow(factory.render, "Numerai has not answered yet; it is still being asked."):
        summary = overview(factory.store, reader_of(factory), factory.ledger)
    factory.render.result(summary, lambda: _show(factory, summary))


def _show(factory: Factory, summary: Overview) -> None:
    render = factory.render
    for problem in summary.problems:
        render.warn(problem)
    if not summary.nodes:
        render.say(f"No node is configured. Next: {first_steps(factory.store)}")
        return
    for tournament in summary.tournaments:
        render.say(_tournament(tournament))
    columns = ("node", "provider", "round", "result", "last run", "submission")
    render.table(columns, [_row(node, summary.now) for node in summary.nodes])
    for glance in summary.nodes:
        if glance.pickle is not None:
            render.mark(FAILED, f"{glance.node}: {PICKLE_ASSIGNED}", mend=UNASSIGN_PICKLE)
        for found in (glance.move, glance.webhook if glance.pickle is None else None):
            if found is not None:
                render.mark(found.status.value, f"{glance.node} {found.name}: {found.why}", mend=found.mend)
        _show_failure(render, glance)
    _show_watch(factory, summary)


def _show_failure(render: Renderer, glance: NodeGlance) -> None:
    """Why the latest run of the round failed, or could not be started."""
    run = glance.latest.runs[-1] if glance.latest is not None and glance.latest.runs else None
    if run is None or not run.message or run.state not in (None, "failed"):
        return
    what = f"run {run.id} failed" if run.id else "a run could not be started"
    logs = f"numerai node -m {glance.node} logs --run {run.id}" if run.id else "numerai doctor"
    render.mark(FAILED, f"{glance.node}: {what}: {run.message}", mend=logs)


def _tournament(glance: TournamentGlance) -> str:
    def left(seconds: int | None) -> str:
        return span(timedelta(seconds=seconds or 0))

    if glance.deadline is not None:
        return (
            f"{glance.name}: round {glance.round_number}, deadline in {left(glance.deadline_in_seconds)}"
            f" ({glance.deadline:%a %H:%M} UTC)"
            + ("" if glance.known else ", as seen earlier: Numerai could not be asked now")
        )
    if not glance.known:
        seen = f"; the last one seen is {glance.round_number}" if glance.round_number is not None else ""
        return f"{glance.name}: whether a round is open is not known, as Numerai could not be asked{seen}"
    if glance.opens is not None:
        opens = f"{left(glance.opens_in_seconds)} ({glance.opens:%a %H:%M} UTC)"
        return f"{glance.name}: no round is open; the next opens in {opens}"
    return f"{glance.name}: no round is open, and when the next one opens is not known"


def _row(glance: NodeGlance, now: datetime) -> tuple[str, ...]:
    latest, where = glance.latest, where_it_is(glance)
    name = glance.node if glance.deployed is not False else f"{glance.node} (not deployed)"
    if glance.not_here is not None:
        name = f"{glance.node} (cannot be seen from here)"
    if latest is None:
        return name, where, "-", "-", "-", "-"
    run = latest.runs[-1] if latest.runs else None
    ran = "-" if run is None else f"{run.id or 'none'} {run.state or run.message or ''}".rstrip()
    file = latest.submission
    submitted = "-"
    if file is not None:
        submitted = f"{file.id} {ago(file.inserted_at, now)}" if file.inserted_at else file.id
        if latest.covered:
            submitted += " (earlier file)"
    return name, where, str(latest.round_number), words_of(latest.standing), ran, submitted


def _show_watch(factory: Factory, summary: Overview) -> None:
    render = factory.render
    if summary.watchers:
        newest = summary.watchers[0]
        seen = ago(newest.seen, summary.now)
        render.mark(OK, f"the rounds are followed by {name_of(newest)}; last look: {seen}")
    elif summary.needs_watching:
        last = summary.last_look
        seen = f"; last look: {ago(last.seen, summary.now)}, by {name_of(last)}" if last is not None else ""
        render.mark(WARNING, f"nobody on this machine follows the rounds{seen}", mend="numerai daemon start")
    if summary.told:
        render.mark(OK, f"told: {', '.join(summary.told)}")
    elif summary.needs_watching:
        render.mark(WARNING, "nobody is told when a round is missed", mend="numerai notify add NAME")
