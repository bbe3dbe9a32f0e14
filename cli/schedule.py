"""Cron expressions of nodes, in UTC: five fields, or the six of the AWS form (with `?` and a year)."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from .errors import UsageError

_SIX_FIELDS = 6
_LAST_YEAR = 2199  # the last one that the AWS form allows
_DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def validate_cron(text: str) -> None:
    """Whether this is a schedule that fires at least once; `UsageError` with code `bad-cron` says what is wrong."""
    next_occurrence(text, datetime.now(timezone.utc))


def next_occurrence(text: str, after: datetime) -> datetime:
    """The first moment of the schedule that is later than `after` (aware), in UTC.

    Raises `UsageError` with code `bad-cron` when the expression is wrong or never fires again.
    """
    from cronsim import CronSim, CronSimError

    expression, years = _parse(text)
    start = after.astimezone(timezone.utc).replace(tzinfo=None)
    starts = [start] if years is None else [_start_in(year, start) for year in years if year >= start.year]
    try:
        for begin in starts:
            moment = next(CronSim(expression, begin))
            if years is None or moment.year in years:
                return moment.replace(tzinfo=timezone.utc)
    except CronSimError as error:
        raise _bad(text, str(error)) from error
    except (OverflowError, StopIteration) as error:
        raise _bad(text, "it never fires") from error
    raise _bad(text, "it never fires again")


def _start_in(year: int, start: datetime) -> datetime:
    return start if year == start.year else datetime(year - 1, 12, 31, 23, 59, 59)


def _parse(text: str) -> tuple[str, list[int] | None]:
    """The expression in five fields, and the years it is limited to."""
    fields = text.strip().upper()
    if fields.startswith("CRON(") and fields.endswith(")"):
        fields = fields[5:-1]
    parts = fields.split()
    if len(parts) == _SIX_FIELDS:
        return _from_aws(text, parts)
    if len(parts) != _SIX_FIELDS - 1:
        raise _bad(text, f"it has {len(parts)} fields, not 5 (or 6 in the AWS form)")
    return " ".join(parts), None


def _from_aws(text: str, parts: list[str]) -> tuple[str, list[int] | None]:
    minute, hour, day, month, weekday, year = parts
    if (day == "?") == (weekday == "?"):
        raise _bad(text, "in the AWS form exactly one of day-of-month and day-of-week is `?`")
    weekday = re.sub(r"(?<![#/\d])([1-7])(?!\d)", lambda match: _DAY_NAMES[int(match[1]) - 1], weekday)
    weekday = re.sub(r"(SUN|MON|TUE|WED|THU|FRI|SAT)L", lambda match: f"{_DAY_NAMES.index(match[1])}L", weekday)
    if re.search(r"(?<![#/])\d(?!L)", weekday):
        raise _bad(text, "days of the week are 1 (Sunday) to 7 (Saturday) in the AWS form")
    expression = " ".join((minute, hour, day.replace("?", "*"), month, weekday.replace("?", "*")))
    return expression, _years(text, year)


def _years(text: str, field: str) -> list[int] | None:
    if field == "*":
        return None
    years: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(\d{4})(?:-(\d{4}))?(?:/(\d{1,3}))?", part)
        if not match or (match[3] and int(match[3]) == 0):
            raise _bad(text, f"'{part}' is not a year")
        last = int(match[2]) if match[2] else (_LAST_YEAR if match[3] else int(match[1]))
        years.update(range(int(match[1]), min(last, _LAST_YEAR) + 1, int(match[3] or 1)))
    return sorted(years)


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        f"'{text}' is not a schedule: {why}.",
        "Give five fields in UTC, e.g. '30 12 * * TUE-SAT', or six in the AWS form, e.g. 'cron(30 12 ? * 3-7 *)'.",
        code="bad-cron",
    )
