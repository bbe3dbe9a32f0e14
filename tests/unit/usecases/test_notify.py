"""Who is told: recorded, listed without secrets, tried out, removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.models import NoticeKind
from numerai_compute.usecases.notify import add, recipients, remove, shown, try_out

from tests.fakes import FakeNotifier


@pytest.fixture
def store(home: Path) -> HomeStore:
    return HomeStore(home, {"NUMERAI_NOTIFY": "json://env/secret"})


def accept(url: str) -> None:
    """Every address is one."""


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("json://user:secret@host:80/secret?+k=secret", "json://host"),
        ("https://hooks.slack.com/services/secret", "https://hooks.slack.com"),
        ("mailtos://user:secret@gmail.com?to=a@b.co", "mailtos://gmail.com"),
        ("mailto://user:sec@ret/x@gmail.com", "mailto://***"),
        ("json://[broken/secret", "json://***"),
        ("TGRAM://secret/1", "tgram://***"),
        ("slack://secret/a/b", "slack://***"),
        ("pover://secret@secret", "pover://***"),
        ("ntfy://secret", "ntfy://***"),
        ("secret", "***"),
        ("sec ret://x", "***"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(url: str, seen: str) -> None:
    assert shown(url) == seen


def test_recipients_come_from_the_file_and_the_environment(store: HomeStore) -> None:
    assert add("me", "slack://a/b", store=store, check=accept).action == "added"
    assert add("me", "json://h", store=store, check=accept).action == "replaced"
    assert [(one.name, one.address, one.origin) for one in recipients(store)] == [
        ("me", "json://h", "file"),
        ("env-1", "json://env", "environment"),
    ]


def test_nothing_is_recorded_that_was_refused_or_only_planned(store: HomeStore) -> None:
    def refuse(url: str) -> None:
        raise UsageError("no such service")

    with pytest.raises(UsageError):
        add("me", "nonsense://", store=store, check=refuse)
    for name in ("", "-x", "a b", "env-1", "x" * 41, "a/b"):
        with pytest.raises(UsageError):
            add(name, "json://h", store=store, check=accept)
    assert add("me", "json://h", store=store, check=accept, dry_run=True).action == "added"
    assert not store.home.exists()


def test_removing_forgets_the_one_and_names_the_known_when_there_is_none(store: HomeStore) -> None:
    add("me", "json://h", store=store, check=accept)
    remove("me", store=store, dry_run=True)
    assert "me" in store.notify_urls()
    with pytest.raises(UsageError) as caught:
        remove("you", store=store)
    assert "me, env-1" in str(caught.value.hint)
    with pytest.raises(UsageError) as caught:
        remove("env-1", store=store)
    assert "NUMERAI_NOTIFY" in caught.value.message
    assert remove("me", store=store).recipient.address == "json://h"
    assert list(store.notify_urls()) == ["env-1"]


def test_trying_out_tells_all_or_one(store: HomeStore) -> None:
    add("me", "json://h", store=store, check=accept)
    asked: list[Mapping[str, str]] = []
    notifier = FakeNotifier({"me": "it hung up"})

    def notifier_to(urls: Mapping[str, str]) -> FakeNotifier:
        asked.append(urls)
        return notifier

    assert try_out("me", store=store, notifier_to=notifier_to) == {"me": "it hung up"}
    try_out(None, store=store, notifier_to=notifier_to)
    assert [list(urls) for urls in asked] == [["me"], ["me", "env-1"]]
    assert {notice.kind for notice in notifier.told} == {NoticeKind.TEST}
    with pytest.raises(UsageError) as caught:
        try_out("you", store=store, notifier_to=notifier_to)
    assert "me, env-1" in str(caught.value.hint)


def test_trying_out_with_nobody_listed_says_how_to_list_somebody(home: Path) -> None:
    with pytest.raises(NumeraiError) as caught:
        try_out(None, store=HomeStore(home, {}), notifier_to=lambda urls: FakeNotifier())
    assert caught.value.code == "nobody-to-tell" and "numerai notify add" in str(caught.value.hint)
