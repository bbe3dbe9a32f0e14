"""What asks this process to end, as an event."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGHUP")
"""A service manager, Ctrl-C, the same on Windows, a terminal that is closed."""


@contextmanager
def ending_signals(stop: threading.Event) -> Iterator[list[int]]:
    """Let the signals that end a process set the event instead; gives those received so far. One that is ignored, as
    SIGHUP is under nohup, stays ignored. Outside the main thread, which alone may ask for signals, none is received."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    numbers = [number for name in ENDING if (number := getattr(signal, name, None))]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
