"""`numerai daemon`: what serves the webhooks and runs of local nodes, and watches the rounds."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..counting import counted
from ..factory import Factory
from ..render import FAILED, OK, SKIPPED, WARNING
from .options import PlaceType, dry_run_option, output_options
from .watch import watcher_of

if TYPE_CHECKING:  # it takes sqlite3 and flask with it, which `daemon --help` does not need
    from ..providers.local.daemon import DaemonStatus
    from ..providers.local.service import Installation, Removal, ServiceStatus


@click.group()
@output_options
def daemon() -> None:
    """Serve the webhooks and runs of local nodes, and watch the rounds of all nodes.

    \b
    Examples:
      numerai daemon start
      numerai daemon status
    """


@daemon.command()
@click.option("--home", type=PlaceType(), help="The home folder, where NUMERAI_HOME cannot be set.")
@output_options
@click.pass_obj
def run(factory: Factory, home: Path | None) -> None:
    """Serve in the foreground until Ctrl-C; for service managers and for looking on.

    It also watches the rounds of all nodes, as `numerai watch` does."""
    from ..providers.local.daemon import run_daemon

    if home is not None:
        factory.home = home
        os.environ["NUMERAI_HOME"] = str(factory.home)  # for the processes that it starts
    watcher = watcher_of(factory, "daemon", wakes=False)
    run_daemon(factory.provider_context("local"), report=factory.render.progress, companions=[watcher])


@daemon.command()
@output_options
@click.pass_obj
def start(factory: Factory) -> None:
    """Start the daemon: as the service if one is installed, else in the background."""
    from ..providers.local.service import bring_up_daemon

    status = bring_up_daemon(factory.provider_context("local"), report=factory.render.progress)
    factory.render.result(status, lambda: _show(factory, status))


@daemon.command()
@output_options
@click.pass_obj
def stop(factory: Factory) -> None:
    """End the daemon. Runs that go on are left running and taken over at the next start."""
    from ..providers.local.daemon import stop_daemon
    from ..providers.local.service import starts_again

    before = stop_daemon(factory.provider_context("local"))

    def show() -> None:
        if not before.running:
            factory.render.say("The daemon was not running.")
            return
        runs = counted(len(before.going_on), "run")
        left = f"{runs} left at work: {', '.join(before.going_on)}" if before.going_on else None
        factory.render.mark(OK, "the daemon has stopped", detail=left)
        if again := starts_again(factory.home):
            factory.render.say(again)

    factory.render.result({"stopped": before.running, "left_running": before.going_on}, show)


@daemon.command()
@output_options
@click.pass_obj
def status(factory: Factory) -> int:
    """Say whether the daemon runs. Ends with 0 when its webhook answers, else with 1."""
    from ..providers.local.daemon import daemon_status
    from ..providers.local.service import service_status

    state, service = daemon_status(factory.provider_context("local")), service_status(factory.home)

    def show() -> None:
        _show(factory, state)
        _show_service(factory, service)

    factory.render.result({**asdict(state), "service": service}, show)
    return 0 if state.answering else 1


@daemon.command()
@dry_run_option
@output_options
@click.pass_obj
def install(factory: Factory, dry_run: bool) -> None:
    """Make the daemon a service, which comes back after a failure and a restart of this machine.

    A user unit of systemd, an agent of launchd, or a task of the Task Scheduler: for you only, without root, and
    without a key in its file. A daemon that runs already is replaced; its runs go on."""
    from ..providers.local.service import install_service

    done = install_service(
        factory.provider_context("local"), report=factory.render.progress, dry_run=dry_run, environ=os.environ
    )
    factory.render.result(done, lambda: _show_installation(factory, done))


@daemon.command()
@dry_run_option
@output_options
@click.pass_obj
def uninstall(factory: Factory, dry_run: bool) -> None:
    """Take the service away that `daemon install` made. Its daemon stops; runs that go on are left running."""
    from ..providers.local.service import uninstall_service

    done = uninstall_service(factory.provider_context("local"), dry_run=dry_run)
    factory.render.result(done, lambda: _show_removal(factory, done))


def _show(factory: Factory, state: DaemonStatus) -> None:
    if state.answering:
        work = f"{counted(len(state.going_on), 'run')} at work, {state.queued} waiting"
        factory.render.mark(OK, f"the daemon serves {state.url} (pid {state.pid})", detail=f"{work}; log: {state.log}")
    elif state.running:
        factory.render.mark(FAILED, "the daemon runs but does not answer", detail=f"log: {state.log}")
    else:
        factory.render.mark(FAILED, "the daemon does not run", mend="numerai daemon start")


def _show_service(factory: Factory, found: ServiceStatus) -> None:
    for problem in found.problems:
        factory.render.mark(WARNING, f"the service ({found.place}): {problem.why}", mend=problem.mend)
    if found.problems:
        return
    if found.ours:
        factory.render.mark(OK, f"{found.manager} starts it ({found.place})")
    elif found.installed:
        factory.render.mark(OK, f"there is a service of your own ({found.place})")
    else:
        factory.render.mark(SKIPPED, "it is not installed as a service", mend="numerai daemon install")


def _show_installation(factory: Factory, done: Installation) -> None:
    render = factory.render
    if done.dry_run:
        render.say(f"Would write {done.place}:" if done.changed else f"{done.place} is there already, as it would be:")
        render.say(done.content)
        render.say("and run:")
        for argv in done.commands:
            render.say(f"  {' '.join(argv)}")
    else:
        if done.handed_over is not None:
            render.mark(OK, f"the daemon that ran (pid {done.handed_over}) has ended; its runs go on")
        what = "installed" if done.changed else "was installed already"
        render.mark(OK, f"the service {what} ({done.place}): {done.manager} starts the daemon {done.begins}")
        if done.daemon is not None:
            _show(factory, done.daemon)
    for warning in done.warnings:
        render.mark(WARNING, warning.why, mend=warning.mend)
    if not done.dry_run:
        render.say(f"Look: {done.look}")


def _show_removal(factory: Factory, done: Removal) -> None:
    render = factory.render
    if not done.removed:
        render.say(f"There is no service to remove ({done.place}).")
        return
    if done.dry_run:
        render.say(f"Would remove {done.place} and run:")
        for argv in done.commands:
            render.say(f"  {' '.join(argv)}")
        return
    render.mark(OK, f"the service is removed ({done.place})")
    if done.stopped:
        render.say("The daemon has stopped with it. `numerai daemon start` starts it until this machine restarts.")
