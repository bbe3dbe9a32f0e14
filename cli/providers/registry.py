"""Finds providers: the tool's own and those of other packages, all by the same entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import EnvironmentNotReady, UsageError
from ..models import Keys
from ..ports import Clock, ContainerEngine, Provider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "numerai_compute.providers"
OWN = ("aws", "hosted", "local")


@dataclass(frozen=True)
class ProviderContext:
    """What a provider is made from. Nothing here is contacted before it is needed.

    `home` is the tool's home folder, `settings` what `setup` recorded for this provider, `keys` and `engine` are
    asked for when a run or a build needs them, `notify_urls` (name -> apprise URL) when runs on other machines are to
    tell people by themselves. `profiles` are AWS profiles that are about to be made: name -> id and secret of a key.
    """

    home: Path
    settings: Mapping[str, str | int]
    keys: Callable[[], Keys | None]
    engine: Callable[[], ContainerEngine]
    clock: Clock
    notify_urls: Callable[[], Mapping[str, str]] = dict
    profiles: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)


ProviderFactory = Callable[[ProviderContext], Provider]


def provider_names() -> list[str]:
    """Every provider that can be chosen, the tool's own and those of other packages."""
    return sorted(_points())


def provider_factory(name: str) -> ProviderFactory:
    """The function that makes the provider of that name.

    `UsageError` when there is none, `EnvironmentNotReady` when the package that has it cannot be loaded.
    """
    points = _points()
    if name not in points:
        known = ", ".join(sorted(points))
        raise UsageError(f"There is no provider '{name}'.", f"Choose one of: {known}.", code="unknown-provider")
    try:
        return cast(ProviderFactory, points[name].load())
    except (ImportError, AttributeError) as error:
        raise EnvironmentNotReady(
            f"The provider {name} cannot be loaded: {error}.",
            f"Install again the package that has it ({points[name].value}).",
            code="provider-broken",
        ) from error


def _points() -> Mapping[str, EntryPoint]:
    """The entry points by name; the tool's own win over another package's of the same name.

    `EnvironmentNotReady` when one of its own is not there: it runs from a folder that was never installed, or the
    record is that of another version.
    """
    from importlib.metadata import entry_points

    own = {name: f"{__name__.rpartition('.')[0]}.{name}.provider:create" for name in OWN}
    found = entry_points(group=ENTRY_POINT_GROUP)
    points = {point.name: point for point in sorted(found, key=lambda each: each.value == own.get(each.name))}
    if any(name not in points or points[name].value != value for name, value in own.items()):
        raise EnvironmentNotReady(
            "The record of this installation does not name the tool's own providers.",
            "Install numerai again (`pip install .` in its folder).",
            code="not-installed",
        )
    return points
