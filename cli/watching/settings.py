"""How a watcher looks: its settings, from where they are recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from ..errors import UsageError


@dataclass(frozen=True)
class WatchSettings:
    """How a watcher looks: every `seconds` while something is to be expected, half as often otherwise. `grace` is what
    a node whose runs others start is left alone for after the opening, at most half of the window; None stands for ten
    minutes, and a sixth of a window that is shorter than an hour."""

    seconds: float = 30.0
    grace: timedelta | None = None


DEFAULTS = WatchSettings()


def watch_settings(
    recorded: Mapping[str, str | int], environ: Mapping[str, str] = os.environ, grace_minutes: float | None = None
) -> WatchSettings:
    """The settings from what is recorded (`watch_seconds`, `watch_grace_minutes`), overridden by the environment
    (NUMERAI_WATCH_SECONDS, NUMERAI_WATCH_GRACE_MINUTES) and by `grace_minutes`.

    Raises `UsageError` with code `bad-setting` for values that cannot be.
    """
    chosen: dict[str, object] = {"watch_seconds": 30, "watch_grace_minutes": None, **recorded}
    chosen |= {name: value for name in chosen if (value := environ.get(f"NUMERAI_{name.upper()}"))}
    minutes = chosen["watch_grace_minutes"] if grace_minutes is None else grace_minutes
    return WatchSettings(
        _number("watch_seconds", chosen["watch_seconds"], 0.05, 300),
        None if minutes is None else timedelta(minutes=_number("watch_grace_minutes", minutes, 0, 24 * 60)),
    )


def _number(name: str, value: object, low: float, high: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise UsageError(
            f"'{value}' is no value for {name}.",
            f"Give a number from {low:g} to {high:g} (also in NUMERAI_{name.upper()}).",
            code="bad-setting",
        )
    return number
