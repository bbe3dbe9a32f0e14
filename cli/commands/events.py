"""`numerai events`: code of one's own that is called as rounds open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import output_options, tournament_option

if TYPE_CHECKING:
    from ..events.runner import HandlersRun
    from ..factory import Factory


@click.group()
@output_options
def events() -> None:
    """Run your own code as rounds open (event handlers)."""


@events.command()
@click.argument("handlers", nargs=-1, required=True, metavar="FILE_OR_NAME...")
@click.option("--single-run", is_flag=True, help="End after one round: the open one, or the next to open.")
@click.option("--again", is_flag=True, help="Deliver the events of the round that is open once more.")
@click.option("-m", "--model-name", "--model", help="The model to submit to; needed when the account has several.")
@tournament_option("Whose rounds: 8 Classic, 11 Signals, 12 Crypto.", default=8, show_default=True)
@output_options
@click.pass_obj
def run(
    factory: Factory,
    handlers: tuple[str, ...],
    single_run: bool,
    again: bool,
    model_name: str | None,
    tournament: int,
) -> int:
    """Call the handlers of a file or an installed package as rounds open.

    A file is given as its path (handlers.py), a package's handlers by the name it registered. It follows the rounds
    until Ctrl-C. Each round's events are delivered once, over restarts. Ends with 0 when nothing failed, else with 1,
    and with 2 when the model to submit to is missing or unknown: those events count as not delivered.

    \b
    Example:
      numerai events run handlers.py -m alice
    """
    from ..events.runner import run_handlers
    from ..numerauto.loop import NumerautoLoop

    done = run_handlers(
        handlers,
        factory.surroundings,
        tournament=tournament,
        model=model_name,
        single_run=single_run,
        again=again,
        loop=NumerautoLoop,
        report=factory.render.progress,
    )
    factory.render.result(done, lambda: _show(factory, done))
    return 0 if done.succeeded else 1


def _show(factory: Factory, done: HandlersRun) -> None:
    from ..render import FAILED, OK

    for name in done.not_loaded:
        factory.render.mark(FAILED, f"{name} could not be loaded", detail=f"log: {done.log}")
    for name in done.failed:
        factory.render.mark(FAILED, f"{name} failed", detail=f"log: {done.log}")
    if not done.rounds:
        factory.render.say("No round's events were delivered.")
    for found in done.rounds:
        made = ", ".join(f"{item.model} ({item.submission_id})" for item in found.submissions) or "none"
        mark = FAILED if found.failed else OK
        detail = f"failed: {', '.join(found.failed)}; log: {done.log}" if found.failed else None
        factory.render.mark(mark, f"round {found.round_number}: submissions: {made}", detail=detail)
