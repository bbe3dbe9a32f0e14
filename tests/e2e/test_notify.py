"""Telling people over real HTTP and real SMTP, by the command as it is typed and by what the watcher uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from numerai_compute.adapters.notifications import AppriseNotifier
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.models import Notice, NoticeKind

from tests.e2e.command_line import Shell
from tests.listeners import Inbox, free_port, http_inbox, silent_port, smtp_inbox

SECRET = "pa55-w0rd-of-mine"
PIECES = (SECRET, "w0rd")

# What the watcher tells, and what must stand in every message of that kind.
NOTICES = {
    NoticeKind.SUCCESS: Notice(NoticeKind.SUCCESS, "alice: submitted", "Accepted at 12:07.", "numerai-alice", 801),
    NoticeKind.FAILURE: Notice(NoticeKind.FAILURE, "alice: failed", "The run ended with 65.", "numerai-alice", 802),
    NoticeKind.LATE: Notice(NoticeKind.LATE, "alice: late", "Submitted 4 minutes late.", "numerai-alice", 803),
    NoticeKind.MISSED: Notice(NoticeKind.MISSED, "alice: missed", "Nothing was submitted.", "numerai-alice", 804),
}
NEXT = "Next: numerai history -m numerai-alice"


def hook(port: int) -> str:
    return f"json://user:{SECRET}@127.0.0.1:{port}/hooks/{SECRET}?+X-Key={SECRET}"


def mail(port: int, credentials: str = "") -> str:
    """A server without TLS (mailto://, not mailtos://) on a port of its own; sender and receiver are parameters."""
    return f"mailto://{credentials}127.0.0.1:{port}?from=node@example.org&to=me@example.org"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A terminal; these commands need no Numerai."""
    nobody = {"url": f"http://127.0.0.1:{free_port()}", "public_id": "P", "secret_key": "S" * 12}
    return Shell(tmp_path, nobody, "process")


@pytest.fixture
def inboxes() -> Iterator[tuple[Inbox, Inbox]]:
    with http_inbox() as web, smtp_inbox() as post:
        yield web, post


def test_a_test_reaches_a_webhook_and_a_mailbox(shell: Shell, inboxes: tuple[Inbox, Inbox]) -> None:
    web, post = inboxes
    assert shell("notify", "add", "hook", NUMERAI_NOTIFY_URL=hook(web.port)).exit_code == 0
    assert shell("notify", "add", "mail", NUMERAI_NOTIFY_URL=mail(post.port)).exit_code == 0
    shell.ok("notify", "test")
    shell.ok("notify", "test", "mail", "--json")
    assert [(path, content["title"], content["type"]) for path, content in web.posts] == [
        (f"/hooks/{SECRET}", "numerai: a test", "info")
    ]
    assert [message["Subject"] for message in post.mails] == ["numerai: a test"] * 2
    assert post.mails[0]["X-Envelope-To"] == "me@example.org" and "node@example.org" in post.mails[0]["From"]
    assert "This is a test" in web.posts[0][1]["message"] and "This is a test" in post.mails[0].as_string()


@pytest.mark.parametrize("kind", list(NOTICES))
def test_a_message_of_every_kind_arrives_by_both_ways(
    home: Path, inboxes: tuple[Inbox, Inbox], kind: NoticeKind
) -> None:
    web, post = inboxes
    store, notice = HomeStore(home), NOTICES[kind]
    store.save_notify_url("hook", hook(web.port))
    store.save_notify_url("mail", mail(post.port))
    assert AppriseNotifier(store.notify_urls).tell(notice) == {"hook": None, "mail": None}
    body = f"{notice.text}\n\nNode: numerai-alice\nRound: {notice.round_number}"
    if kind is not NoticeKind.SUCCESS:
        body += f"\n{NEXT}"
    assert [(content["title"], content["message"]) for _, content in web.posts] == [(notice.title, body)]
    (message,) = post.mails
    assert message["Subject"] == notice.title
    plain = message.get_body(("plain",))  # apprise before 2.2 sends HTML beside it
    assert plain is not None and plain.get_content().replace("\r\n", "\n").strip() == body


def test_who_cannot_be_told_is_named_with_the_reason_in_time_and_without_secrets(
    shell: Shell, inboxes: tuple[Inbox, Inbox]
) -> None:
    """A webhook that hangs, one that refuses, one that answers 500, a mail server that wants no login or hangs."""
    web, post = inboxes
    with ExitStack() as stack:
        broken, mute = stack.enter_context(http_inbox(500)), stack.enter_context(silent_port())
        login = f"user:{SECRET}@"
        failing = {
            "broken": hook(broken.port),
            "refuses": hook(free_port()),
            "mute": hook(mute) + "&rto=1",
            "no-login": mail(post.port, login),
            "mute-mail": mail(mute, login) + "&cto=1",
        }
        for name, url in {"fine": hook(web.port), **failing}.items():
            assert shell("notify", "add", name, NUMERAI_NOTIFY_URL=url).exit_code == 0
        listed = shell.ok("notify", "list", "--json", "--verbose")
        answer = shell("notify", "test", "--json", "--verbose")
        human = shell("notify", "test", "--verbose")
        missing = shell("notify", "remove", "nobody", "--verbose")
        wrong = shell("notify", "add", "wrong", "--verbose", NUMERAI_NOTIFY_URL=f"slack://{SECRET}")
    assert [one["name"] for one in listed.json] == ["fine", *failing]
    told = {one["name"]: one["why_not"] for one in answer.json["recipients"]}
    assert (answer.exit_code, human.exit_code, missing.exit_code, wrong.exit_code) == (1, 1, 2, 2)
    assert told["fine"] is None and len(web.posts) == 2
    assert told["broken"] == "it answered 500 (Internal Server Error)"
    assert told["refuses"] == "nobody answers there (connection refused)"
    assert told["mute"] == told["mute-mail"] == "it did not answer in time"
    assert "SMTP AUTH extension not supported" in told["no-login"] and not post.mails
    _holds_no_secret(shell)


def test_what_is_read_from_the_environment_is_as_secret(shell: Shell) -> None:
    environment = {"NUMERAI_NOTIFY": f"{hook(free_port())} tgram://{SECRET}"}
    shell("notify", "list", "--verbose", **environment)
    assert shell("notify", "test", "--verbose", **environment).exit_code == 1
    _holds_no_secret(shell)


def _holds_no_secret(shell: Shell) -> None:
    """Neither what was printed nor any file below the home folder holds it, but the keys file and its predecessor."""
    for piece in PIECES:
        assert [text for text in shell.printed if piece in text] == []
    kept = [path for path in shell.home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert {path.name for path in kept} <= {".keys", ".keys.previous"}
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in kept} <= {0o600}
