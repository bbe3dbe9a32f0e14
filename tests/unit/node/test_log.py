"""A log line is readable by people and by anything that reads logfmt."""

from __future__ import annotations

import io
import re
import sys

import pytest
from numerai_node.log import hide, log


def test_a_line_has_elapsed_time_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log("downloaded", file="v5.3/live.parquet", bytes=131324, seconds=0.4, missing=None)
    line = capsys.readouterr().out
    assert re.fullmatch(r"\+ *\d+\.\ds downloaded file=v5\.3/live\.parquet bytes=131324 seconds=0\.4\n", line)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ('a "b"', r'"a \"b\""'),
        ("a=b", '"a=b"'),
        ("one\ntwo", r'"one\ntwo"'),
        ("\x1b]0;TITLE\x07 \x9b31m\u202e", r'"\x1b]0;TITLE\x07 \x9b31m\u202e"'),
        ("a\u2028b\u200bc \ufeff\u061c", r'"a\u2028b\u200bc \ufeff\u061c"'),
        ("", '""'),
        (0.0231456789, "0.0231457"),
        (float("nan"), "nan"),
    ],
)
def test_values_are_quoted_only_where_needed(capsys: pytest.CaptureFixture[str], value: object, shown: str) -> None:
    log("event", field=value)
    assert capsys.readouterr().out.endswith(f"event field={shown}\n")


def test_a_hidden_secret_never_appears(capsys: pytest.CaptureFixture[str]) -> None:
    hide("HUSHHUSH")
    hide("")
    log("event", header="Token x$HUSHHUSH")
    assert capsys.readouterr().out.endswith('header="Token x$***"\n')


def test_a_terminal_without_unicode_still_gets_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    log("event", name="ä")
    assert raw.getvalue().decode("ascii").endswith("event name=\\xe4\n")
