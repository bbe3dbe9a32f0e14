"""The time by Numerai's own clock, so that a container whose clock is wrong still knows when the round closes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

YEARS = range(1970, 2200)
"""Years that a time of anything here can lie in: others overflow when something is added to them."""


class NumeraiClock:
    """Numerai's time as its last answer told it, carried on by a clock that nobody sets. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic):
        self._monotonic = monotonic
        self._told: tuple[datetime, float] | None = None

    def learn(self, date: str | None) -> None:
        """Take over the time of an answer's Date header; what is none changes nothing."""
        moment = http_date(date or "")
        if moment is not None:
            self._told = (moment, self._monotonic())

    @property
    def heard(self) -> bool:
        """Whether Numerai has told the time."""
        return self._told is not None

    def now(self) -> datetime:
        """The present moment, aware; by this machine's clock as long as Numerai has not answered."""
        if self._told is None:
            return datetime.now(timezone.utc)
        moment, then = self._told
        return moment + timedelta(seconds=self._monotonic() - then)


def http_date(value: str) -> datetime | None:
    """A date of an HTTP header, aware; None when it is none."""
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None and moment.year in YEARS else None


def moment(text: object) -> datetime | None:
    """A time of the API, such as `2026-01-31T12:00:00Z`, aware; None when it is none."""
    if not isinstance(text, str):
        return None
    date, _, fraction = text.strip().replace("Z", "+00:00").partition(".")
    zone = next((fraction[at:] for at, letter in enumerate(fraction) if letter in "+-"), "")
    try:
        found = datetime.fromisoformat(date + zone)
    except ValueError:
        return None
    if found.year not in YEARS:
        return None
    digits = fraction.removesuffix(zone) if zone else fraction
    if digits.isascii() and digits.isdigit():
        found += timedelta(seconds=float(f"0.{digits}"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
