"""The reason that a failed run printed, in one short line."""

from __future__ import annotations

from pathlib import Path

import pytest
from numerai_compute.foreign import MOST
from numerai_compute.models import RunState
from numerai_compute.providers.local.run_log import LogWriter, last_lines
from numerai_compute.providers.outcomes import NOT_SUBMITTED, ended, explained, of_test, timed_out
from numerai_compute.providers.reasons import reason_in
from numerai_compute.redaction import Redactor

TRACEBACK = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "KeyError: 'x'", ""]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], None),
        (["", "  "], None),
        (TRACEBACK, "KeyError: 'x'"),
        (["+  1.0s failed exit=65 reason=bad"], "bad"),
        (
            [
                "+  1.0s problem what=one",
                "+  1.0s problem what=two",
                '+ 12.5s failed exit=65 reason="It is \\"bad\\"."',
            ],
            'It is "bad". one',
        ),
        ([*TRACEBACK, "+  1.0s failed exit=1 reason=\"KeyError: 'x'\"", "a last word"], "KeyError: 'x'"),
        (['+  1.0s interrupted exit=75 reason="told\\nto stop"'], "told to stop"),
        (["red \x1b[31malert\x07"], "red \ufffd[31malert\ufffd"),
    ],
)
def test_the_reason(lines: list[str], reason: str | None) -> None:
    assert reason_in(lines) == reason


def test_it_is_short() -> None:
    assert len(str(reason_in(["x" * 5000]))) == MOST


def test_it_stands_in_the_message() -> None:
    outcome = explained(ended(1, limit="1 MiB"), lambda: "the moon is full", "numerai node -m alice logs --run r1")
    assert outcome.message == (
        "It ended with exit code 1. It said: the moon is full. `numerai node -m alice logs --run r1` shows the rest."
    )
    assert explained(ended(1, limit="1 MiB"), lambda: None, "x") == ended(1, limit="1 MiB")
    assert explained(timed_out(5), lambda: pytest.fail("asked"), "x") == timed_out(5)


def test_the_end_of_a_test_without_submitting_is_a_success_for_that_only() -> None:
    assert ended(79, limit="1 MiB").state is RunState.FAILED
    good = of_test(ended(79, limit="1 MiB"))
    assert (good.state, good.exit_code, good.message) == (RunState.SUCCEEDED, 79, NOT_SUBMITTED)
    assert of_test(ended(65, limit="1 MiB")) == ended(65, limit="1 MiB")


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path, 3) == []
    with LogWriter(path, Redactor()) as log:
        for number in range(5000):
            log.add(f"line {number}")
    assert last_lines(path, 3) == ["line 4997", "line 4998", "line 4999"]
