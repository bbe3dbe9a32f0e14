"""A clock for a process in which waiting moves the sandbox's clock instead of lasting.

Importing it changes `time` of the process: what measures time is imported after it. `begin` says whose clock is moved.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from datetime import datetime as RealDatetime
from datetime import timedelta, tzinfo

REAL_SLEEP, REAL_MONOTONIC, REAL_TIME = time.sleep, time.monotonic, time.time
FIRST, SHARE, LOOK, OF_A_LOOK = 0.02, 0.0005, 5.0, 0.02
"""How long a warped sleep really lasts: FIRST seconds and a SHARE of its own. Of one between two looks at a submission,
at most LOOK seconds, a greater share, so that there is time for the verdict."""

_url: str | None = None
_passed = 0.0
_skew = 0.0
slept = 0.0
"""How many seconds the process wanted to sleep so far."""


def begin(url: str | None, skew: float = 0.0) -> None:
    """Let sleeps move the clock of the sandbox at `url`, and show this machine's clock as wrong by `skew` seconds.

    For "" sleeps are shortened and move nobody's clock, for None they last.
    """
    global _url, _skew
    _url, _skew = url, skew
    for module in [each for name, each in sys.modules.items() if name.startswith("numerai_node")]:
        if getattr(module, "datetime", None) is RealDatetime:
            module.datetime = Datetime  # type: ignore[attr-defined]


def _sleep(seconds: float) -> None:
    global _passed, slept  # noqa: PLW0603  the clock of this process
    slept += seconds
    lasts = min(seconds, FIRST + seconds * (OF_A_LOOK if seconds <= LOOK else SHARE))
    if _url is None:
        lasts = seconds
    REAL_SLEEP(lasts)
    if lasts == seconds:
        return
    if _url:
        body = json.dumps({"advance": seconds - lasts}).encode()
        request = urllib.request.Request(f"{_url}/sandbox/clock", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).close()
    _passed += seconds - lasts


class Datetime(RealDatetime):
    """The clock of this process, as `datetime` shows it."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> RealDatetime:  # type: ignore[override]  # as of C code
        return RealDatetime.now(tz) + timedelta(seconds=_passed + _skew)


time.sleep = _sleep  # type: ignore[assignment]
time.monotonic = lambda: REAL_MONOTONIC() + _passed
time.time = lambda: REAL_TIME() + _passed + _skew
