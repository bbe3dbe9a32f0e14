"""When a schedule in EventBridge's six fields fires. The watcher's function carries this file, so it is on the standard
library alone. Source: docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html."""

from __future__ import annotations

from datetime import datetime, timedelta

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (1, 7, DAYS), (1970, 2199, ()))


def scheduled_start(cron: str | None, begin: datetime, end: datetime) -> tuple[datetime | None, bool]:
    """The first start of a schedule in a round, and whether there is a schedule that is not read here."""
    try:
        return (first_occurrence(cron, begin, end) if cron else None), False
    except ValueError:
        return None, True


def first_occurrence(cron: str, begin: datetime, end: datetime) -> datetime | None:
    """The first minute from `begin` on and before `end` (aware, UTC) that the schedule names.

    Raises `ValueError` for a schedule that is not read here: one with L, W or #.
    """
    fields = [_values(field, *kind) for field, kind in zip(cron.upper().split(), _FIELDS, strict=True)]
    moment = begin.replace(second=0, microsecond=0)
    moment += timedelta(minutes=1) if moment < begin else timedelta(0)
    while moment < end:
        now = (moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7 + 1, moment.year)
        if all(value in field for value, field in zip(now, fields, strict=True)):
            return moment
        moment += timedelta(minutes=1)
    return None


def _values(field: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    """The values that a field stands for: `*`, `?`, numbers or names, ranges, steps, and lists of these."""
    values: set[int] = set()
    for item in field.split(","):
        base, _, step = item.partition("/")
        first, _, last = (str(low), "-", str(high)) if base in ("*", "?") else base.partition("-")
        ends = [names.index(text) + low if text in names else int(text) for text in (first, last or first)]
        if step and not last:
            ends[1] = high
        if ends[0] > ends[1]:
            raise ValueError(item)
        values.update(range(ends[0], ends[1] + 1, int(step or 1)))
    return values
