"""Takes this tool away again: its service, its nodes on this machine and its files, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import EnvironmentNotReady
from ..files.private import remove_file, remove_tree
from ..models import DEFAULT_PROVIDER
from ..ports import HoldsElsewhere, Provider, StateStore
from .configure import refuse_legacy

OWN_FILES = (
    "nodes.json", "nodes.json.previous", ".keys", ".keys.previous", "rounds.db", "rounds.db-shm", "rounds.db-wal",
    "locks", "local", "events", "runtimes", "terraform-plugins",
    "aws/stack.json", "aws/stack.lock", "aws/told.sha256", "aws/terraform", "aws/official", "aws/move.json",
)  # fmt: skip
"""What this tool keeps in its home folder. Whatever else is there belongs to somebody else and stays."""


@dataclass(frozen=True)
class Uninstalled:
    """What was removed, and what stays in the home folder because it is not this tool's."""

    removed: tuple[Path, ...]
    left: tuple[Path, ...]


def refuse_while_held(
    store: StateStore, providers: tuple[str, ...], provider_named: Callable[[str], Provider], leave_cloud: bool
) -> None:
    """`EnvironmentNotReady` with code `cloud-resources` while a provider holds something that is not on this machine,
    unless it is to be left."""
    refuse_legacy(store)  # its files are the official tool's
    held = sorted(_held(store, providers, provider_named))
    if held and not leave_cloud:
        raise EnvironmentNotReady(
            f"There is still: {', '.join(held)}. It may cost money, and this home knows how to remove it.",
            "Run `numerai destroy-all` first. With --leave-cloud it is left as it is.",
            code="cloud-resources",
        )


def _held(store: StateStore, providers: tuple[str, ...], provider_named: Callable[[str], Provider]) -> Iterator[str]:
    for node in store.nodes().values():
        if node.provider != DEFAULT_PROVIDER:
            yield f"{node.name} on {node.provider}"
    for name in providers:
        provider = provider_named(name)
        if isinstance(provider, HoldsElsewhere):
            yield from provider.held()


def own_files(home: Path) -> list[Path]:
    """What there is of this tool's files."""
    broken = sorted(home.glob("nodes.json.broken-*"))
    return [path for path in (*(home / name for name in OWN_FILES), *broken) if path.is_symlink() or path.exists()]


def remove_files(home: Path) -> Uninstalled:
    """Remove this tool's files, and the folders that are empty then."""
    removed = own_files(home)
    for path in removed:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path, home)
        else:
            remove_file(path, home)
    for folder in (home / "aws", home):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    left = tuple(sorted(home.iterdir())) if home.is_dir() else ()
    return Uninstalled(tuple(path for path in removed if not path.exists()), left)
