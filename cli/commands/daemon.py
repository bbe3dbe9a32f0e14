"""`numerai daemon`: what serves the webhooks and runs of local nodes, and watches the rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..factory import Factory
from ..render import FAILED, OK
from .options import output_options
from .watch import watcher_of

if TYPE_CHECKING:  # it takes sqlite3 and flask with it, which `daemon --help` does not need
    from ..providers.local.daemon import DaemonStatus


@click.group()
@output_options
def daemon() -> None:
    """Serve the webhooks and runs of local nodes, and watch the rounds of all nodes."""


@daemon.command()
@output_options
@click.pass_obj
def run(factory: Factory) -> None:
    """Serve in the foreground until Ctrl-C; for service managers and for looking on.

    It also watches the rounds of all nodes, as `numerai watch` does."""
    from ..providers.local.daemon import run_daemon

    watcher = watcher_of(factory, "daemon", wakes=False)
    run_daemon(factory.provider_context("local"), report=factory.render.progress, companions=[watcher])


@daemon.command()
@output_options
@click.pass_obj
def start(factory: Factory) -> None:
    """Start the daemon in the background."""
    from ..providers.local.daemon import start_daemon

    status = start_daemon(factory.provider_context("local"), report=factory.render.progress)
    factory.render.result(status, lambda: _show(factory, status))


@daemon.command()
@output_options
@click.pass_obj
def stop(factory: Factory) -> None:
    """End the daemon. Runs that go on are left running and taken over at the next start."""
    from ..providers.local.daemon import stop_daemon

    before = stop_daemon(factory.provider_context("local"))

    def show() -> None:
        if not before.running:
            factory.render.say("The daemon was not running.")
            return
        left = f"{len(before.going_on)} run(s) go on: {', '.join(before.going_on)}" if before.going_on else None
        factory.render.mark(OK, "the daemon has stopped", detail=left)

    factory.render.result({"stopped": before.running, "left_running": before.going_on}, show)


@daemon.command()
@output_options
@click.pass_obj
def status(factory: Factory) -> int:
    """Say whether the daemon runs. Ends with 0 when its webhook answers, else with 1."""
    from ..providers.local.daemon import daemon_status

    state = daemon_status(factory.provider_context("local"))
    factory.render.result(state, lambda: _show(factory, state))
    return 0 if state.answering else 1


def _show(factory: Factory, state: DaemonStatus) -> None:
    if state.answering:
        work = f"{len(state.going_on)} run(s) go on, {state.queued} wait"
        factory.render.mark(OK, f"the daemon serves {state.url} (pid {state.pid})", detail=f"{work}; log: {state.log}")
    elif state.running:
        factory.render.mark(FAILED, "the daemon runs but does not answer", detail=f"log: {state.log}")
    else:
        factory.render.mark(FAILED, "the daemon does not run", mend="numerai daemon start")
