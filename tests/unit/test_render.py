"""What is printed of errors."""

from __future__ import annotations

import pytest
from numerai_compute.errors import NumeraiError
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
