"""`numerai watch`: follow the rounds, trigger what is missing, tell somebody in time."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..errors import NumeraiError
from ..factory import Factory
from ..models import Keys
from ..ports import NumeraiApi
from ..render import FAILED, OK, Renderer
from ..signals import ending_signals
from ..watching.settings import watch_settings
from ..watching.watcher import Finding, Look, Watcher
from .options import output_options

PACKAGE_LOGGER = __name__.partition(".")[0]


@click.command()
@click.option("--once", is_flag=True, help="Look once and end, for cron: with 0 when all is well or nothing is due.")
@click.option(
    "--grace-minutes",
    type=float,
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
    """
    watcher = watcher_of(factory, "once" if once else "watch", grace_minutes=grace_minutes)
    with _warnings_shown(factory.render):
        return _look_once(factory, watcher) if once else _follow(factory, watcher)


def watcher_of(factory: Factory, kind: str, *, wakes: bool = True, grace_minutes: float | None = None) -> Watcher:
    """The watcher of this home folder. Keys and nodes are read anew at every look."""
    return Watcher(
        store=factory.store,
        api=_CurrentApi(factory),
        provider_named=factory.provider,
        ledger=factory.ledger,
        notifier=factory.notifier,
        clock=factory.clock,
        settings=watch_settings(factory.store.settings("local"), grace_minutes=grace_minutes),
        kind=kind,
        wakes=wakes,
    )


class WatchingCompanion:
    """The watcher beside the daemon."""

    name = "watcher"

    def __init__(self, watcher: Watcher):
        self._watcher = watcher

    def run(self, stop: threading.Event) -> None:
        """Watch until the event is set."""
        self._watcher.run(stop)

    def crashed(self, error: Exception) -> None:
        """Tell that the watcher has ended by an error."""
        self._watcher.crashed(error)

    def stopped(self) -> None:
        """Tell that nobody watches any more."""
        self._watcher.stopped("with the daemon")


class _CurrentApi:
    """Numerai's API with the keys as they are now; the same one as long as they are the same."""

    def __init__(self, factory: Factory):
        self._factory = factory
        self._made: tuple[Keys, NumeraiApi] | None = None

    def __call__(self) -> NumeraiApi:
        keys = self._factory.keys()
        if self._made is None or self._made[0] != keys:
            self._made = keys, self._factory.watchers_api_with(keys)
        return self._made[1]


def _look_once(factory: Factory, watcher: Watcher) -> int:
    try:
        look = watcher.look()
    except NumeraiError as error:
        watcher.cannot_work(error)
        raise
    watcher.end()
    factory.render.result(_payload(look), lambda: _show(factory, look, look.findings))
    return 0 if look.well else 1


def _follow(factory: Factory, watcher: Watcher) -> int:
    stop = threading.Event()
    shown: dict[tuple[str, int], str] = {}
    errors: list[Exception] = []

    def on_look(look: Look) -> None:
        new = [each for each in look.findings if shown.get((each.node, each.round_number)) != each.step.value]
        if new or look.told or (look.problems and shown.get(("", 0)) != str(look.problems)):
            if factory.render.json:
                factory.render.document(_payload(look))
            else:
                _show(factory, look, tuple(new), quiet=True)
        shown.update({(each.node, each.round_number): each.step.value for each in look.findings})
        shown[("", 0)] = str(look.problems)

    def work() -> None:
        try:
            watcher.run(stop, on_look)
        except Exception as error:  # noqa: BLE001  handed to the main thread, which raises it
            errors.append(error)
            stop.set()

    factory.render.progress("Watching. Ctrl-C ends it.")
    thread = threading.Thread(target=work, name="watcher", daemon=True)
    with ending_signals(stop) as received:
        thread.start()
        while not stop.wait(1.0):  # with a time limit, as Windows would not see Ctrl-C otherwise
            pass
    if errors:
        watcher.stopped(f"by an error: {type(errors[0]).__name__}: {errors[0]}")
        raise errors[0]
    thread.join(5.0)
    if signal.SIGINT in received:
        watcher.end()
    else:
        watcher.stopped(f"from outside ({', '.join(signal.Signals(number).name for number in received)})")
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
    for each in findings:
        status = OK if each.step.well else FAILED
        factory.render.mark(status, f"{each.node}, round {each.round_number}: {each.step.value}", detail=each.detail)
    for notice in look.told:
        factory.render.say(f"told ({notice.kind.value}): {notice.title}")
    if not quiet and not look.problems and not findings:
        factory.render.say("Nothing is due: no round is open for a configured node.")
