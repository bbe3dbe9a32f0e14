"""Providers come through one door, whoever wrote them."""

from __future__ import annotations

from importlib import metadata

import pytest
from numerai_compute.errors import EnvironmentNotReady, UsageError
from numerai_compute.providers import registry
from numerai_compute.providers.registry import ENTRY_POINT_GROUP, provider_factory, provider_names


def points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    made = [metadata.EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in values.items()]
    monkeypatch.setattr(metadata, "entry_points", lambda group: made if group == ENTRY_POINT_GROUP else [])


def test_the_tools_own_providers_are_registered() -> None:
    assert {"aws", "local"} <= set(provider_names())
    assert provider_factory("local").__module__ == "numerai_compute.providers.local.provider"
    assert provider_factory("aws").__module__ == "numerai_compute.providers.aws.provider"


def test_another_packages_provider_stands_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, local="numerai_compute.providers.local.provider:create", mine="json:dumps")
    assert provider_names() == ["local", "mine"]
    assert provider_factory("mine").__name__ == "dumps"


@pytest.mark.parametrize("value", ["no_such_package:create", "json:no_such_function"])
def test_one_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points(monkeypatch, local="numerai_compute.providers.local.provider:create", mine=value)
    with pytest.raises(EnvironmentNotReady, match="mine cannot be loaded") as broken:
        provider_factory("mine")
    assert broken.value.code == "provider-broken" and value in str(broken.value.hint)


def test_an_unknown_one_is_told_what_there_is() -> None:
    with pytest.raises(UsageError) as unknown:
        provider_factory("nowhere")
    assert "aws" in str(unknown.value.hint) and "local" in str(unknown.value.hint)


def test_a_tool_without_its_record_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch)
    with pytest.raises(EnvironmentNotReady) as missing:
        registry.provider_names()
    assert missing.value.code == "not-installed"
