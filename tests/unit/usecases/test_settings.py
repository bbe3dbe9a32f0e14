"""Settings are typed, listed, shown, set and taken back; what is unknown or cannot be is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from numerai_compute.adapters.state_store import HomeStore
from numerai_compute.errors import UsageError
from numerai_compute.providers.aws import settings as aws
from numerai_compute.providers.local import settings as local
from numerai_compute.settings import Setting
from numerai_compute.usecases.settings import ProviderSettings
from numerai_compute.watching import settings as watching

from tests.fakes import FakeProvider


class Configurable(FakeProvider):
    settings_table = local.SETTINGS


@pytest.fixture
def store(home: Path) -> HomeStore:
    return HomeStore(home, {})


def settings_of(store: HomeStore, **environ: str) -> ProviderSettings:
    return ProviderSettings(Configurable(), store, environ)


def test_each_value_says_where_it_comes_from(store: HomeStore) -> None:
    settings = settings_of(store, NUMERAI_EXECUTOR="process")
    settings.set({"port": "4000", "executor": "docker", "watch_seconds": "5"})
    rows = {row.name: row for row in settings.rows()}
    assert (rows["port"].value, rows["port"].source) == (4000, "recorded")
    assert (rows["executor"].value, rows["executor"].source) == ("process", "NUMERAI_EXECUTOR")
    assert (rows["attempts"].value, rows["attempts"].source) == (3, "default")
    assert rows["watch_seconds"].value == 5.0
    settings.unset("port")
    assert settings.row("port").source == "default" and "port" not in store.settings("local")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("foo", "bar", "unknown-setting"),
        ("prot", "1", "unknown-setting"),
        ("port", "abc", "bad-setting"),
        ("port", "", "bad-setting"),
        ("port", "0", "bad-setting"),
        ("executor", "podman", "bad-setting"),
        ("read_only", "maybe", "bad-setting"),
        ("public_url", "http://example.org", "bad-setting"),
        ("public_url", "https://user:pass@example.org/", "bad-setting"),
        ("public_url", "https://example.org/#f", "bad-setting"),
        ("watch_seconds", "nan", "bad-setting"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_recorded(store: HomeStore, name: str, value: str, code: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings_of(store).set({"attempts": 2, name: value})
    assert refused.value.code == code and store.settings("local") == {}


def test_a_near_name_is_offered(store: HomeStore) -> None:
    with pytest.raises(UsageError, match="no setting 'prot'") as refused:
        settings_of(store).row("prot")
    assert "port" in str(refused.value.hint)


def test_what_was_recorded_wrongly_before_is_shown_and_can_be_taken_back(store: HomeStore) -> None:
    store.save_settings("local", {"port": "abc", "foo": "bar"})
    settings = settings_of(store)
    rows = {row.name: row for row in settings.rows()}
    assert "whole number" in str(rows["port"].problem) and "no such setting" in str(rows["foo"].problem)
    with pytest.raises(UsageError) as refused:
        local.read_settings(store.settings("local"), {})
    assert "numerai config unset port" in str(refused.value.hint)
    settings.unset("port")
    settings.unset("foo")
    assert store.settings("local") == {}


def test_a_setting_of_another_command_is_left_to_it(store: HomeStore) -> None:
    class Cloud(FakeProvider):
        name = "aws"
        settings_table = aws.SETTINGS

    store.save_settings("aws", {"state_bucket": "b"})
    cloud = ProviderSettings(Cloud(), store, {})
    for change in (partial(cloud.set, {"state_bucket": "c"}), partial(cloud.unset, "state_bucket")):
        with pytest.raises(UsageError) as refused:
            change()
        assert "--remote-state" in str(refused.value.hint)
    assert store.settings("aws") == {"state_bucket": "b"}


def test_a_provider_that_names_none_takes_any(store: HomeStore) -> None:
    settings = ProviderSettings(FakeProvider(), store, {})
    settings.set({"anything": "goes"})
    assert [(row.name, row.problem) for row in settings.rows()] == [("anything", None)]


@pytest.mark.parametrize("table", [local.SETTINGS, aws.SETTINGS, watching.SETTINGS])
def test_every_default_is_a_value(table: tuple[Setting, ...]) -> None:
    for setting in table:
        assert setting.about and setting.wanted
        if setting.default is not None:
            assert setting.check(setting.default) == setting.default
