"""Schedules in the form of EventBridge: six fields, one of the two day fields `?`, days of the week from 1 (Sunday)."""

from __future__ import annotations

import re

from ...errors import UsageError
from ...schedule import validate_cron
from .occurrences import DAYS, MONTHS

_SIX_FIELDS = 6


def aws_cron(text: str) -> str:
    """The six fields of the same schedule at EventBridge.

    Raises `UsageError` with code `bad-cron` for what is no schedule, or one that EventBridge cannot express.
    """
    validate_cron(text)
    fields = text.strip().upper()
    if fields.startswith("CRON("):
        fields = fields[5:-1]
    parts = fields.split()
    if len(parts) == _SIX_FIELDS:
        return " ".join(parts)
    minute, hour, day, month, weekday = parts
    minute, hour = _expanded(minute, 0, 59), _expanded(hour, 0, 23)
    day, month = _expanded(day, 1, 31), _expanded(month, 1, 12)
    weekday = _weekday(weekday)
    if weekday == "*":
        return f"{minute} {hour} {day} {month} ? *"
    if day == "*":
        return f"{minute} {hour} ? {month} {weekday} *"
    raise UsageError(
        f"'{text}' cannot be scheduled on AWS: it limits both the day of the month and the day of the week.",
        "Limit one of them and leave the other one as `*`.",
        code="bad-cron",
    )


def _expanded(field: str, low: int, high: int) -> str:
    """The field with every step (`/`) written out: EventBridge reads steps differently in some fields."""
    return ",".join(_steps(item, low, high) for item in field.split(","))


def _steps(item: str, low: int, high: int) -> str:
    base, slash, step = item.partition("/")
    if not slash:
        return item
    if base == "*":
        first, last = low, high
    else:
        start, _, end = base.partition("-")
        first, last = _number(start), _number(end) if end not in ("", start) else high
    return ",".join(str(number) for number in range(first, last + 1, int(step)))


def _number(text: str) -> int:
    return MONTHS.index(text) + 1 if text in MONTHS else int(text)


def _weekday(field: str) -> str:
    if field == "*":
        return "*"
    if re.search(r"[#L]", field):
        return re.sub(r"(?<![#\d])([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(?=[#L])", _numbered, field)
    days: set[int] = set()
    for item in field.split(","):
        base, slash, step = item.partition("/")
        start, _, end = ("0", "-", "7") if base == "*" else base.partition("-")
        first = _day(start)
        last = _day(end) if end not in ("", start) else (7 if slash else first)
        days.update(day % 7 for day in range(first, last + 1, int(step or 1)))
    return "*" if len(days) == len(DAYS) else ",".join(DAYS[day] for day in sorted(days))


def _day(text: str) -> int:
    return DAYS.index(text) if text in DAYS else int(text)


def _numbered(match: re.Match[str]) -> str:
    return str(_day(match[1]) % 7 + 1)
