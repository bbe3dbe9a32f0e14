"""Providers come through one door, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

import pytest
from numerai_compute.errors import EnvironmentNotReady, UsageError
from numerai_compute.providers import registry
from numerai_compute.providers.registry import ENTRY_POINT_GROUP, provider_factory, provider_names

OWN = {name: f"numerai_compute.providers.{name}.provider:create" for name in ("aws", "hosted", "local")}


def points(monkeypatch: pytest.MonkeyPatch, *others: tuple[str, str], own: Mapping[str, str] = OWN) -> None:
    made = [metadata.EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in (*own.items(), *others)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: made if group == ENTRY_POINT_GROUP else [])


def test_the_tools_own_providers_are_registered() -> None:
    assert {"aws", "hosted", "local"} <= set(provider_names())
    assert provider_factory("local").__module__ == "numerai_compute.providers.local.provider"
    assert provider_factory("aws").__module__ == "numerai_compute.providers.aws.provider"


def test_another_packages_provider_stands_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, ("mine", "json:dumps"))
    assert provider_names() == ["aws", "hosted", "local", "mine"]
    assert provider_factory("mine").__name__ == "dumps"


@pytest.mark.parametrize("value", ["no_such_package:create", "json:no_such_function"])
def test_one_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    points(monkeypatch, ("mine", value))
    with pytest.raises(EnvironmentNotReady, match="mine cannot be loaded") as broken:
        provider_factory("mine")
    assert broken.value.code == "provider-broken" and value in str(broken.value.hint)


def test_an_unknown_one_is_told_what_there_is() -> None:
    with pytest.raises(UsageError) as unknown:
        provider_factory("nowhere")
    assert "aws" in str(unknown.value.hint) and "local" in str(unknown.value.hint)


@pytest.mark.parametrize("name", OWN)
def test_another_package_cannot_take_the_place_of_the_tools_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    points(monkeypatch, (name, "json:dumps"))
    assert provider_factory(name).__module__ == f"numerai_compute.providers.{name}.provider"


@pytest.mark.parametrize("own", [{}, {"local": OWN["local"]}, {**OWN, "aws": "json:dumps"}])
def test_a_tool_without_its_own_record_says_so(monkeypatch: pytest.MonkeyPatch, own: dict[str, str]) -> None:
    points(monkeypatch, own=own)
    with pytest.raises(EnvironmentNotReady) as missing:
        registry.provider_names()
    assert missing.value.code == "not-installed"
