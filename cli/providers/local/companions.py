"""What the daemon keeps at work beside the webhook and the scheduler: started and stopped with it, restarted when it
crashes, and never able to end it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ...ports import Clock

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
STEADY_SECONDS = 600.0
"""What has worked for so long crashes anew, not again."""
STOP_SECONDS = 5.0
TELL_SECONDS = 20.0

log = logging.getLogger(__name__)


class Companion(Protocol):
    """Work for a thread of its own."""

    @property
    def name(self) -> str:
        """What it is called in the log."""

    def run(self, stop: threading.Event) -> None:
        """Work until the event is set. Whoever raises or returns earlier is started again after a pause."""

    def crashed(self, error: Exception) -> None:
        """Hear that `run` has raised, before it is started again."""

    def stopped(self) -> None:
        """Hear that the daemon stops. `run` has been asked to end, but may still hang in what it was doing."""


class Companions:
    """The companions of one daemon."""

    def __init__(self, companions: Sequence[Companion], clock: Clock):
        self._clock = clock
        self._stop = threading.Event()
        self._companions = companions
        self._threads = [
            threading.Thread(target=self._keep_at_work, args=(each,), name=each.name, daemon=True)
            for each in companions
        ]

    def start(self) -> None:
        """Start them all."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop them all, and return when they have said what they have to say, after half a minute at the latest."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
        telling = [
            threading.Thread(target=self._say, args=(each, each.stopped), daemon=True) for each in self._companions
        ]
        for thread in telling:
            thread.start()
        for thread in telling:
            thread.join(TELL_SECONDS)

    def _keep_at_work(self, companion: Companion) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            began = self._clock.monotonic()
            try:
                companion.run(self._stop)
                if self._stop.is_set():
                    return
                log.error("%s has ended by itself", companion.name)
            except Exception as error:  # a companion's bug must not end the daemon, nor the companion for good
                log.exception("%s", companion.name)
                self._say(companion, partial(companion.crashed, error))
            if self._clock.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE
            log.info("%s is started again in %.0f s", companion.name, pause)
            self._stop.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _say(self, companion: Companion, words: Callable[[], None]) -> None:
        """Let a companion say something; that it cannot even do that must end neither its thread nor the daemon."""
        try:
            words()
        except Exception:
            log.exception("%s could not tell of its end", companion.name)
