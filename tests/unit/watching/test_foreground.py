"""A watcher in the foreground: what ends it, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.watching.foreground import look_once, watch_until_ended
from numerai_compute.watching.watcher import Look

from tests.fakes import NOW

LOOK = Look(NOW, (), (), (), 60.0)


class ScriptedWatcher:
    """Looks once, or fails; keeps what it was told."""

    name = "watcher"

    def __init__(self, error: Exception | None = None):
        self.error = error
        self.heard: list[str] = []

    def look(self) -> Look:
        if self.error:
            raise self.error
        return LOOK

    def run(self, stop: threading.Event, on_look: Callable[[Look], None]) -> None:
        on_look(self.look())
        stop.set()

    def cannot_work(self, error: NumeraiError) -> None:
        self.heard.append(f"cannot work: {error.message}")

    def stopped(self, by: str) -> None:
        self.heard.append(f"stopped {by}")

    def end(self) -> None:
        self.heard.append("ended")


def test_one_look_ends_the_watcher_as_planned() -> None:
    watcher = ScriptedWatcher()
    assert look_once(watcher) is LOOK and watcher.heard == ["ended"]  # type: ignore[arg-type]


def test_one_look_that_cannot_be_made_is_told() -> None:
    watcher = ScriptedWatcher(NumeraiError("the disk is full"))
    with pytest.raises(NumeraiError):
        look_once(watcher)  # type: ignore[arg-type]
    assert watcher.heard == ["cannot work: the disk is full"]


def test_an_error_that_ends_the_watcher_is_told_and_raised() -> None:
    watcher = ScriptedWatcher(ValueError("odd"))
    with pytest.raises(ValueError, match="odd"):
        watch_until_ended(watcher, lambda look: None)  # type: ignore[arg-type]
    assert watcher.heard == ["stopped by an error: ValueError: odd"]
