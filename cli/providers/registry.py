"""Finds providers: the built-in ones and those that other packages register (entry points)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from ..errors import UsageError
from ..models import Keys
from ..ports import Clock, ContainerEngine, Provider

ENTRY_POINT_GROUP = "numerai_compute.providers"
BUILT_IN = {
    "aws": "numerai_compute.providers.aws.provider:create",
    "local": "numerai_compute.providers.local.provider:create",
}


@dataclass(frozen=True)
class ProviderContext:
    """What a provider is made from. Nothing here is contacted before it is needed.

    `home` is the tool's home folder, `settings` what `setup` recorded for this provider, `keys` and `engine` are
    asked for when a run or a build needs them, `notify_urls` (name -> apprise URL) when runs on other machines are to
    tell people by themselves.
    """

    home: Path
    settings: Mapping[str, str | int]
    keys: Callable[[], Keys | None]
    engine: Callable[[], ContainerEngine]
    clock: Clock
    notify_urls: Callable[[], Mapping[str, str]] = dict


ProviderFactory = Callable[[ProviderContext], Provider]


def provider_names() -> list[str]:
    """Every provider that can be chosen, built-in or installed by another package."""
    return sorted({*BUILT_IN, *_installed()})


def provider_factory(name: str) -> ProviderFactory:
    """The function that makes the provider of that name; `UsageError` when there is none."""
    if name in BUILT_IN:
        module, _, function = BUILT_IN[name].partition(":")
        return cast(ProviderFactory, getattr(import_module(module), function))
    installed = _installed()
    if name not in installed:
        known = ", ".join(sorted({*BUILT_IN, *installed}))
        raise UsageError(f"There is no provider '{name}'.", f"Choose one of: {known}.", code="unknown-provider")
    return installed[name]()


def _installed() -> dict[str, Callable[[], ProviderFactory]]:
    from importlib.metadata import entry_points

    points = entry_points(group=ENTRY_POINT_GROUP)
    return {point.name: point.load for point in points if point.name not in BUILT_IN}
