"""Schedules mean at EventBridge what they mean everywhere else."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.providers.aws.cron import aws_cron
from numerai_compute.schedule import next_occurrence

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def fields(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    item = st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(number, number, st.integers(1, 9)).map(lambda it: f"{min(it[:2])}-{max(it[:2])}/{it[2]}"),
        st.tuples(number, st.integers(1, 9)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        *([st.sampled_from(names)] if names else []),
    )
    listed = st.lists(item, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), st.integers(1, 9).map(lambda step: f"*/{step}"), listed)


minutes, hours, days = fields(0, 59), fields(0, 23), fields(1, 28)
months = fields(1, 12, ("JAN", "JUN", "DEC"))
weekdays = st.one_of(fields(0, 7, ("SUN", "WED", "SAT")), st.sampled_from(["1#2", "FRI#1", "0L", "5L", "7L"]))


@pytest.mark.slow
@settings(max_examples=60)
@given(minutes, hours, days, months, weekdays, st.booleans())
def test_both_forms_fire_at_the_same_moments(
    minute: str, hour: str, day: str, month: str, weekday: str, by_day: bool
) -> None:
    text = f"{minute} {hour} {day if by_day else '*'} {month} {'*' if by_day else weekday}"
    try:
        first = next_occurrence(text, START)
    except UsageError:
        assume(False)
    translated = aws_cron(text)
    assert len(translated.split()) == 6
    assert (translated.split()[2] == "?") != (translated.split()[4] == "?")
    moment = START
    for _ in range(3):
        moment = next_occurrence(text, moment)
        assert next_occurrence(translated, moment - timedelta(seconds=1)) == moment
    assert next_occurrence(translated, START) == first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 12 * * TUE-SAT", "30 12 ? * TUE,WED,THU,FRI,SAT *"),
        ("0 1 1 * *", "0 1 1 * ? *"),
        ("0 1 * * *", "0 1 * * ? *"),
        ("cron(30 12 ? * 3-7 *)", "30 12 ? * 3-7 *"),
        ("30 12 ? * 3-7 *", "30 12 ? * 3-7 *"),
        ("0 1 * * 0-6", "0 1 * * ? *"),
    ],
)
def test_known_schedules(text: str, expected: str) -> None:
    assert aws_cron(text) == expected


@pytest.mark.parametrize("text", ["0 1 1 * MON", "0 1 */2 * 1-5"])
def test_two_limited_day_fields_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="both") as refusal:
        aws_cron(text)
    assert refusal.value.code == "bad-cron"


def test_what_is_no_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="not a schedule"):
        aws_cron("every day")
