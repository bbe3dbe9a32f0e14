"""Numerai's round calendar: Tuesday to Friday 12:00-13:00 UTC, Saturday 12:00 to Sunday 14:00 UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone

_OPENING = time(12, tzinfo=timezone.utc)
_WEEKDAY = timedelta(hours=1)
_WEEKEND = timedelta(hours=26)
_SATURDAY = 5


def window(day: date) -> tuple[datetime, datetime] | None:
    """When a round opens and closes that opens on `day`; None on Sundays and Mondays."""
    if day.weekday() in (6, 0):
        return None
    opens = datetime.combine(day, _OPENING)
    return opens, opens + (_WEEKEND if day.weekday() == _SATURDAY else _WEEKDAY)


def windows_after(moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows that open after `moment`, in order, without end."""
    day = moment.astimezone(timezone.utc).date()
    while True:
        found = window(day)
        if found is not None and found[0] > moment:
            yield found
        day += timedelta(days=1)


def windows_before(moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The windows that opened at or before `moment`, latest first, without end."""
    day = moment.astimezone(timezone.utc).date()
    while True:
        found = window(day)
        if found is not None and found[0] <= moment:
            yield found
        day -= timedelta(days=1)
