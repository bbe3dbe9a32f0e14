"""A word for the person who waits, when something takes longer than they would expect."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..render import Renderer

SECONDS = 3.0


@contextmanager
def word_when_slow(render: Renderer, text: str, seconds: float = SECONDS) -> Iterator[None]:
    """Say `text` once, when the block takes longer than that."""
    timer = threading.Timer(seconds, render.progress, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
