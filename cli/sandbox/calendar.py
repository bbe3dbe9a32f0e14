"""Numerai's round calendar: Tuesday to Friday 12:00-13:00 UTC, Saturday 12:00 to Sunday 14:00 UTC.

Source: docs.numer.ai, the schedule since 2026-04-06. Rounds open minutes late (up to 54 in a recorded answer of the
API, 2025-09) and their on-time window then ends later too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone

_OPENING = time(12, tzinfo=timezone.utc)
_WEEKDAY = timedelta(hours=1)
_WEEKEND = timedelta(hours=26)
_SATURDAY = 5

Window = tuple[datetime, datetime]
"""An opening and the deadline that belongs to it."""


@dataclass(frozen=True)
class Calendar:
    """The calendar with late openings: each window is shifted as a whole by `delay`.

    With a `seed` each day has a delay of its own, drawn between nothing and `delay`; the same seed draws the same.
    """

    delay: timedelta = timedelta(0)
    seed: int | None = None

    def window(self, day: date) -> Window | None:
        """When the round of `day` opens and its on-time window ends; None on Sundays and Mondays."""
        if day.weekday() in (6, 0):
            return None
        share = 1.0 if self.seed is None else random.Random(f"{self.seed} {day}").random()  # noqa: S311 not a secret
        opens = datetime.combine(day, _OPENING) + timedelta(seconds=round(share * self.delay.total_seconds()))
        return opens, opens + (_WEEKEND if day.weekday() == _SATURDAY else _WEEKDAY)

    def after(self, moment: datetime) -> Iterator[Window]:
        """The windows that open after `moment`, in order, without end."""
        return self._from(moment, timedelta(days=1))

    def before(self, moment: datetime) -> Iterator[Window]:
        """The windows that opened at or before `moment`, latest first, without end."""
        return self._from(moment, timedelta(days=-1))

    def _from(self, moment: datetime, step: timedelta) -> Iterator[Window]:
        day = moment.astimezone(timezone.utc).date()
        while True:
            window = self.window(day)
            if window is not None and (window[0] > moment) == (step > timedelta(0)):
                yield window
            day += step
