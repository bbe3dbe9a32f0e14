"""A watcher that a person or cron has started: one look, or looks until a signal ends it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from ..errors import NumeraiError
from ..signals import ending_signals
from .watcher import Look, Watcher

LOOK_ENDS_SECONDS = 5.0


def look_once(watcher: Watcher) -> Look:
    """One look, after which the watcher has ended. People are told when it cannot be made."""
    try:
        look = watcher.look()
    except NumeraiError as error:
        watcher.cannot_work(error)
        raise
    watcher.end()
    return look


def watch_until_ended(watcher: Watcher, on_look: Callable[[Look], None]) -> None:
    """Watch until a signal comes, on a thread of its own: a look may hang for long. People are told unless Ctrl-C has
    ended it; an error that ended it is raised."""
    stop = threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            watcher.run(stop, on_look)
        except Exception as error:  # noqa: BLE001  handed to the main thread, which raises it
            errors.append(error)
            stop.set()

    thread = threading.Thread(target=work, name=watcher.name, daemon=True)
    with ending_signals(stop) as received:
        thread.start()
        while not stop.wait(1.0):  # with a time limit, as Windows would not see Ctrl-C otherwise
            pass
    if errors:
        watcher.stopped(f"by an error: {type(errors[0]).__name__}: {errors[0]}")
        raise errors[0]
    thread.join(LOOK_ENDS_SECONDS)
    if signal.SIGINT in received:
        watcher.end()
    else:
        watcher.stopped(f"from outside ({', '.join(signal.Signals(number).name for number in received)})")
