"""Telling people: everybody on their own, in time, in plain words, and never with what is secret."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import apprise
import pytest
from numerai_compute.adapters.notifications import EXAMPLES, AppriseNotifier, check_url, written
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.models import Notice, NoticeKind

from tests.listeners import free_port, http_inbox, silent_port

SECRET = "hunter2-s3cr3t"
NOTICE = Notice(NoticeKind.FAILURE, "alice: no submission", "The run ended with 65.", "numerai-alice", 801)


def tell(urls: Mapping[str, str], seconds: float = 5) -> Mapping[str, str | None]:
    return AppriseNotifier(lambda: urls, seconds).tell(NOTICE)


def webhook(port: int, extra: str = "") -> str:
    return f"json://user:{SECRET}@127.0.0.1:{port}/hook/{SECRET}{extra}"


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """Every record that any logger hands on, down to DEBUG."""
    kept: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(f"{record.name} {record.getMessage()}")

    root, handler = logging.getLogger(), Keep(level=0)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("apprise").addHandler(handler)
    yield kept
    logging.getLogger("apprise").removeHandler(handler)
    root.removeHandler(handler)
    root.setLevel(level)


# what is written


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        (NoticeKind.FAILURE, "numerai history -m numerai-alice"),
        (NoticeKind.LATE, "numerai history -m numerai-alice"),
        (NoticeKind.MISSED, "numerai history -m numerai-alice"),
        (NoticeKind.WATCHER_STOPPED, "numerai daemon start"),
        (NoticeKind.SUCCESS, None),
        (NoticeKind.TEST, None),
    ],
)
def test_a_notice_says_what_happened_where_and_what_to_do(kind: NoticeKind, command: str | None) -> None:
    title, text = written(Notice(kind, "alice:\r\n  it happened", "In short.", "numerai-alice", 801))
    assert title == "alice: it happened"
    assert text.startswith("In short.\n\nNode: numerai-alice\nRound: 801")
    assert text.endswith(f"\nNext: {command}") if command else "Next" not in text


def test_a_notice_that_names_its_command_gets_no_second_one() -> None:
    text = written(Notice(NoticeKind.FAILURE, "t", "Look with `numerai node -m alice logs`.", "numerai-alice"))[1]
    assert "history" not in text


def test_a_training_that_failed_points_at_the_nodes_status() -> None:
    said = written(Notice(NoticeKind.TRAINING, "t", "why", "numerai-alice"))[1]
    assert said.endswith("Next: numerai node -m numerai-alice status")


def test_a_failure_of_no_node_points_at_all_of_them() -> None:
    assert written(Notice(NoticeKind.FAILURE, "t", ""))[1] == "Next: numerai status"


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(NoticeKind))
def test_every_kind_arrives_marked_as_what_it_is(kind: NoticeKind) -> None:
    with http_inbox() as inbox:
        told = AppriseNotifier(lambda: {"hook": f"json://127.0.0.1:{inbox.port}"}).tell(Notice(kind, "title", "text"))
    warnings = {NoticeKind.LATE: "warning", NoticeKind.TRAINING: "warning", NoticeKind.GATE: "warning"}
    marks = {NoticeKind.SUCCESS: "success", NoticeKind.TEST: "info", **warnings}
    assert told == {"hook": None}
    assert inbox.posts[0][1]["type"] == marks.get(kind, "failure")


@pytest.mark.slow
def test_text_is_not_taken_for_markup() -> None:
    with http_inbox() as inbox:
        notice = Notice(NoticeKind.SUCCESS, "a_b *c*", "rows <1,2> of a_b & \\n {x} :smile:")
        AppriseNotifier(lambda: {"hook": f"json://127.0.0.1:{inbox.port}"}).tell(notice)
    assert inbox.posts[0][1]["title"] == notice.title and inbox.posts[0][1]["message"] == notice.text


# who cannot be told


@pytest.mark.slow
def test_everybody_is_told_whatever_happens_to_the_others() -> None:
    check_url("json://127.0.0.1/")  # apprise loads all its services at first, for longer than anybody gets here
    with (
        http_inbox() as good,
        http_inbox(500, SECRET.encode()) as broken,
        http_inbox(404) as gone,
        silent_port() as mute,
    ):
        started = time.monotonic()
        told = tell(
            {
                "mute": webhook(mute),
                "good": webhook(good.port),
                "broken": webhook(broken.port),
                "gone": webhook(gone.port),
                "refuses": webhook(free_port()),
                "nonsense": f"nonsense://{SECRET}",
                "unknown": f"json://user:{SECRET}@nowhere.invalid/{SECRET}",
            },
            seconds=2,
        )
        took = time.monotonic() - started
    assert list(told) == ["mute", "good", "broken", "gone", "refuses", "nonsense", "unknown"]
    assert told["good"] is None and len(good.posts) == 1
    assert told["mute"] in ("it did not answer in time", "it did not answer within 2 seconds")  # whoever gives up first
    assert told["broken"] == "it answered 500 (Internal Server Error)"
    assert told["gone"] == "it answered 404 (Not Found); check its address"
    assert told["refuses"] == "nobody answers there (connection refused)"
    assert "does not understand the address" in str(told["nonsense"])
    assert told["unknown"]
    assert SECRET not in str(told)
    assert took < 10


@pytest.mark.slow
def test_a_mail_server_that_says_nothing_is_given_up_in_time() -> None:
    with silent_port() as mute:
        started = time.monotonic()
        told = tell({"mail": f"mailto://user:{SECRET}@127.0.0.1:{mute}?from=a@x.org&to=b@x.org"}, seconds=0.5)
    assert "did not answer" in str(told["mail"]) and time.monotonic() - started < 10


def test_a_plugin_that_hangs_is_abandoned_by_a_thread_that_keeps_nobody_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_: Any, **__: Any) -> bool:
        return released.wait(30)

    monkeypatch.setattr(apprise.Apprise, "notify", hang)
    told = tell({"hook": webhook(9)}, seconds=0.2)
    left = [thread for thread in threading.enumerate() if thread.name == "notify-hook"]
    released.set()
    assert told == {"hook": "it did not answer within 0.2 seconds"}
    assert [thread.daemon for thread in left] == [True]
    left[0].join(5)


def test_whatever_a_plugin_raises_becomes_words_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: Any, **__: Any) -> bool:
        raise RuntimeError(f"cannot post to /hook/{SECRET}?key=pa%2Fss and pa/ss with user:ab1")

    monkeypatch.setattr(apprise.Apprise, "notify", burst)
    told = tell({"hook": f"json://user:ab1@127.0.0.1:9/hook/{SECRET}?+key=pa%2Fss"})
    assert str(told["hook"]).startswith("RuntimeError: cannot post to /")
    for part in (SECRET, "hunter2", "s3cr3t", "ab1"):
        assert part not in str(told)


def test_certificates_that_are_none_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    told = tell({"hook": f"jsons://127.0.0.1:9/hook/{SECRET}"})
    assert str(told["hook"]).startswith("REQUESTS_CA_BUNDLE names /nowhere.pem ")


def test_a_keys_file_that_cannot_be_read_is_a_reason_too() -> None:
    def unreadable() -> Mapping[str, str]:
        raise NumeraiError("/home/.keys cannot be read: not valid JSON.")

    assert AppriseNotifier(unreadable).tell(NOTICE) == {"recipients": "/home/.keys cannot be read: not valid JSON."}


def test_nobody_to_tell_is_nothing_to_do() -> None:
    assert tell({}) == {}


@pytest.mark.slow
def test_nothing_secret_is_logged_at_any_level(everything_logged: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with http_inbox(500) as broken, http_inbox() as good:
        tell(
            {
                "broken": webhook(broken.port, "?+X-Key=" + SECRET),
                "good": webhook(good.port),
                "refuses": webhook(free_port()),
                "mail": f"mailto://user:{SECRET}@127.0.0.1:{free_port()}?from=a@x.org&to=b@x.org",
                "slack": f"slack://{SECRET}",
            }
        )
    with pytest.raises(UsageError):
        check_url(f"slack://{SECRET}")
    logging.getLogger("elsewhere").debug("still heard")
    assert [line for line in everything_logged if "elsewhere" in line]
    shown = "".join(capfd.readouterr()) + "\n".join(everything_logged)
    assert SECRET not in shown and "s3cr3t" not in shown


# which addresses are accepted


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "mailtos://somebody:abcdabcdabcdabcd@gmail.com",
        "mailto://127.0.0.1:2525?from=a@x.org&to=b@x.org",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "ntfy://a-topic",
        "ntfys://user:pass@ntfy.example.org/a-topic",
        "pover://uqiZgVJXPNJUcyMJKRRMgqEqHjyMWF@a0b1c2d3e4f5a0b1c2d3e4f5a0b1c2",
        "json://127.0.0.1:8080/path",
        "jsons://user:pass@example.org/path",
        "MAILTO://127.0.0.1:2525?from=a@x.org&to=b@x.org",
    ],
)
def test_addresses_of_the_documentation_are_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"nonsense://{SECRET}", "no service nonsense://"),
        (SECRET, "does not begin with a scheme"),
        ("", "is empty or has blanks"),
        (f"json://h/{SECRET} json://i", "is empty or has blanks"),
        (f"slack://{SECRET}", "This slack:// address is incomplete or wrong"),
        (f"https://example.org/{SECRET}", "no service behind this https:// address"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_do_and_without_the_address(url: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_url(url)
    assert says in caught.value.message and caught.value.code == "notify-url"
    assert caught.value.hint and SECRET not in caught.value.message + caught.value.hint


def test_an_unknown_service_is_answered_with_examples() -> None:
    with pytest.raises(UsageError) as caught:
        check_url("nonsense://x")
    assert all(example in str(caught.value.hint) for example in EXAMPLES)


def test_a_service_that_needs_more_says_what(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.manager_plugins import NotificationManager

    service = NotificationManager()["gotify"]  # type: ignore[no-untyped-call]
    monkeypatch.setattr(service, "enabled", False)
    monkeypatch.setattr(service, "requirements", {"packages_required": ["left-pad >= 2"]})
    with pytest.raises(UsageError) as caught:
        check_url(f"gotify://h/{SECRET}")
    assert "needs left-pad >= 2" in caught.value.message
