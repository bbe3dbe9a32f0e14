"""Schedules in both forms, and lengths of time in words."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_compute.errors import UsageError
from numerai_compute.schedule import next_occurrence, validate_cron

SUNDAY = datetime(2026, 11, 22, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("cron", "first"),
    [
        ("30 12 * * TUE-SAT", "2026-11-24 12:30"),
        ("cron(30 12 ? * 3-7 *)", "2026-11-24 12:30"),
        ("30 12 ? * TUE-SAT *", "2026-11-24 12:30"),
        ("0 12 ? * SAT,1 2026-2030", "2026-11-22 12:00"),
        ("0 0 ? * 6L *", "2026-11-27 00:00"),
        ("0 0 ? * FRIL *", "2026-11-27 00:00"),
        ("0 0 ? * 2#1 *", "2026-12-07 00:00"),
        ("0 0 LW * ? *", "2026-11-30 00:00"),
        ("0/15 * ? * MON-FRI *", "2026-11-23 00:00"),
        ("0 0 ? * 2/2 *", "2026-11-23 00:00"),
        ("* * * * ? 2030", "2030-01-01 00:00"),
        ("5 4 1 1 ? 2025/2", "2027-01-01 04:05"),
        ("0 0 * * ? 2026", "2026-11-23 00:00"),
    ],
)
def test_the_next_occurrence(cron: str, first: str) -> None:
    assert next_occurrence(cron, SUNDAY).strftime("%Y-%m-%d %H:%M") == first
    validate_cron(cron)


@pytest.mark.parametrize(
    "cron",
    ["", "a", "* * * *", "* * * * * *", "0 0 ? * ? *", "0 0 ? * 8 *", "0 0 ? * 0 *", "0 0 31 2 *", "61 * * * *",
     "0 0 1 1 ? 2020", "0 0 29 2 ? 2027", "0 0 1W * ? *", "0 0 1 1 ? x", "0 0 1 1 ? 2026/0", "0 0 ? * 2-9 *"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(cron: str) -> None:
    with pytest.raises(UsageError) as error:
        next_occurrence(cron, SUNDAY)
    assert error.value.code == "bad-cron"


@given(st.text(alphabet="0123456789*/-,?#LW SUNMOTE()cronCRON", max_size=40))
def test_any_text_is_either_a_schedule_or_refused(text: str) -> None:
    try:
        assert next_occurrence(text, SUNDAY) > SUNDAY
    except UsageError as error:
        assert error.code == "bad-cron"
