"""`numerai notify` as it is typed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.listeners import free_port, http_inbox
from tests.unit.commands.conftest import Line

SECRET = "s3cr3t-path"


def test_an_address_comes_from_the_environment_and_is_never_shown(
    line: Line, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMERAI_NOTIFY_URL", f"json://127.0.0.1:9/{SECRET}")
    planned = line("notify", "add", "hook", "--dry-run")
    assert planned.exit_code == 0 and "would be added" in planned.out and not home.exists()
    added = line("notify", "add", "hook", "--json")
    assert added.json == {
        "recipient": {"name": "hook", "address": "json://127.0.0.1", "origin": "file"},
        "action": "added",
    }
    listed = line("notify", "list", "--verbose")
    assert "json://127.0.0.1" in listed.out
    assert SECRET not in added.out + added.err + listed.out + listed.err + planned.out
    assert json.loads((home / ".keys").read_text())["notify"] == {"hook": f"json://127.0.0.1:9/{SECRET}"}


def test_an_address_comes_from_standard_input(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"json://127.0.0.1:9/{SECRET}\n"))
    assert line("notify", "add", "hook", "-").err == ""


def test_an_address_on_the_command_line_is_taken_with_a_warning(line: Line) -> None:
    added = line("notify", "add", "hook", f"json://127.0.0.1:9/{SECRET}")
    assert added.exit_code == 0 and "history" in added.err and SECRET not in added.out + added.err


def test_without_an_address_and_a_terminal_the_ways_to_give_it_are_named(line: Line) -> None:
    answer = line("notify", "add", "hook")
    assert answer.exit_code == 2 and "NUMERAI_NOTIFY_URL" in answer.err


def test_whoever_is_asked_sees_what_an_address_looks_like(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda label, **more: "json://127.0.0.1:9")
    answer = line("notify", "add", "hook")
    assert answer.exit_code == 0 and "- https://hooks.slack.com/services/" in answer.err and "mailtos://" in answer.err
    monkeypatch.setenv("NUMERAI_NOTIFY_URL", "json://127.0.0.1:9")
    assert line("notify", "add", "hook").err == ""


@pytest.mark.slow
def test_a_test_says_who_got_it_and_why_others_did_not(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_inbox() as inbox:
        line("notify", "add", "good", f"json://127.0.0.1:{inbox.port}/{SECRET}")
        assert line("notify", "test").exit_code == 0
        monkeypatch.setenv("NUMERAI_NOTIFY", f"json://127.0.0.1:{free_port()}/{SECRET}")
        answer = line("notify", "test")
        assert answer.exit_code == 1 and "good" in answer.out and "connection refused" in answer.out
        as_json = line("notify", "test", "--json")
        assert as_json.exit_code == 1 and as_json.json == {
            "ok": False,
            "recipients": [
                {"name": "good", "sent": True, "why_not": None},
                {"name": "env-1", "sent": False, "why_not": "nobody answers there (connection refused)"},
            ],
        }
        assert line("notify", "test", "good").exit_code == 0
    assert len(inbox.posts) == 4 and SECRET not in answer.out + answer.err


def test_who_is_not_listed_cannot_be_removed_or_tested(line: Line) -> None:
    line("notify", "add", "hook", "json://127.0.0.1:9")
    for command in ("remove", "test"):
        answer = line("notify", command, "hock", "--json")
        assert answer.exit_code == 2 and answer.json["error"]["hint"] == "Listed: hook."
    assert "would be removed" in line("notify", "remove", "hook", "--dry-run").out
    assert line("notify", "remove", "hook").exit_code == 0
    assert line("notify", "list", "--json").json == []
    assert "numerai notify add" in line("notify", "list").out
    assert line("notify", "test").exit_code == 1
