"""`numerai status`: all nodes at a glance."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from .options import output_options

if TYPE_CHECKING:
    from ..factory import Factory
    from ..usecases.overview import NodeGlance, Overview, TournamentGlance


@click.command()
@output_options
@click.pass_obj
def status(factory: Factory) -> None:
    """Show all nodes at a glance, with the time to the next close.

    Also says who follows the rounds and who is told. What could not be asked is said first.
    """
    from ..usecases.overview import overview
    from .history import reader_of

    found = overview(factory.store, reader_of(factory), factory.ledger, factory.provider_of)
    factory.render.result(found, lambda: _show(factory, found))


def _show(factory: Factory, found: Overview) -> None:
    render = factory.render
    for problem in found.problems:
        render.warn(problem)
    if not found.nodes:
        render.say("No node is configured. Next: numerai node -m MODEL config")
        return
    for each in found.tournaments:
        render.say(_tournament(each))
    columns = ("node", "provider", "round", "result", "last run", "submission")
    render.table(columns, [_row(each, found.now) for each in found.nodes])
    _show_watch(factory, found)


def _tournament(found: TournamentGlance) -> str:
    from ..schedule import span

    def left(seconds: int | None) -> str:
        return span(timedelta(seconds=seconds or 0))

    if found.closes is not None:
        return (
            f"{found.name}: round {found.round_number} closes in {left(found.closes_in_seconds)}"
            f" ({found.closes:%a %H:%M} UTC)"
        )
    if found.opens is not None:
        opens = f"{left(found.opens_in_seconds)} ({found.opens:%a %H:%M} UTC)"
        return f"{found.name}: no round is open; the next opens in {opens}"
    return f"{found.name}: no round is open, and when the next one opens is not known"


def _row(found: NodeGlance, now: datetime) -> tuple[str, ...]:
    from ..render import ago

    latest = found.latest
    name = found.node if found.deployed is not False else f"{found.node} (not deployed)"
    if latest is None:
        return name, found.provider, "-", "-", "-", "-"
    run = latest.runs[-1] if latest.runs else None
    ran = "-" if run is None else f"{run.id or 'none'} {run.state or run.message or ''}".rstrip()
    made = latest.submission
    submitted = "-"
    if made is not None:
        submitted = f"{made.id} {ago(made.inserted_at, now)}" if made.inserted_at else made.id
    return name, found.provider, str(latest.round_number), latest.standing.value.replace("-", " "), ran, submitted


def _show_watch(factory: Factory, found: Overview) -> None:
    from ..render import OK, WARNING, ago
    from ..usecases.overview import name_of

    render = factory.render
    if found.watchers:
        newest = found.watchers[0]
        seen = ago(newest.seen, found.now)
        render.mark(OK, f"the rounds are followed by {name_of(newest)}; last look: {seen}")
    elif found.needs_watching:
        render.mark(WARNING, "nobody on this machine follows the rounds", mend="numerai daemon start")
    if found.told:
        render.mark(OK, f"told: {', '.join(found.told)}")
    elif found.needs_watching:
        render.mark(WARNING, "nobody is told when a round is missed", mend="numerai notify add NAME")
