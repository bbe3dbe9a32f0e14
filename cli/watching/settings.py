"""How a watcher looks: its settings, from where they are recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from ..settings import Recorded, decimal, read_all


@dataclass(frozen=True)
class WatchSettings:
    """How a watcher looks: every `seconds` while something is to be expected, half as often otherwise. `grace` is what
    a node whose runs others start is left alone for after the opening, at most half of the window; None stands for ten
    minutes, and a sixth of a window that is shorter than an hour."""

    seconds: float = 30.0
    grace: timedelta | None = None


DEFAULTS = WatchSettings()
SETTINGS = (
    decimal("watch_seconds", "seconds between two looks of a watcher", 0.05, 300, 30.0, ("NUMERAI_WATCH_SECONDS",)),
    decimal("watch_grace_minutes", "minutes that a node whose runs others start is left alone after the opening", 0,
            24 * 60, None, ("NUMERAI_WATCH_GRACE_MINUTES",)),
)  # fmt: skip
"""They are recorded with those of the provider `local`."""


def watch_settings(
    recorded: Recorded, environ: Mapping[str, str] = os.environ, grace_minutes: float | None = None
) -> WatchSettings:
    """The settings; `grace_minutes` wins. Raises `UsageError` with code `bad-setting` for values that cannot be."""
    values = read_all(SETTINGS, recorded, environ)
    if grace_minutes is not None:
        values["watch_grace_minutes"] = SETTINGS[1].check(grace_minutes)
    minutes = values["watch_grace_minutes"]
    return WatchSettings(values["watch_seconds"], None if minutes is None else timedelta(minutes=minutes))
