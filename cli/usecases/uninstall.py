"""Takes this tool away again: its service, its nodes on this machine and its files, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..counting import counted
from ..errors import EnvironmentNotReady, NumeraiError
from ..files.private import remove_file, remove_tree, unfinished
from ..models import DEFAULT_PROVIDER, MOVE_AWS
from ..names import plainly
from ..ports import HoldsElsewhere, MoveRecord, NotHere, OfficialCluster, Provider, RunByNumerai, StateStore
from .configure import refuse_legacy
from .inspect import forget_command, list_nodes, refuse_half_moved
from .official_move import refuse_undo

OWN_FILES = (
    "nodes.json", "nodes.json.previous", ".keys", ".keys.previous", "rounds.db", "rounds.db-shm", "rounds.db-wal",
    "locks", "local", "hosted", "events", "runtimes", "terraform-plugins",
    "aws/stack.json", "aws/stack.lock", "aws/told.sha256", "aws/terraform", "aws/official", "aws/move.json",
)  # fmt: skip
"""What this tool keeps in its home folder. Whatever else is there belongs to somebody else and stays."""


_ASIDE = re.compile(r"nodes\.json\.broken-.*|(nodes\.json|\.keys)\.upgraded-\d{8}T\d{6}(-\d+)?")
"""What `doctor --fix` and `upgrade --undo` have put aside of them."""


@dataclass(frozen=True)
class Uninstalled:
    """What was removed, what is left in the home folder because it is not this tool's, and what of this tool's could
    not be removed, with why."""

    removed: tuple[Path, ...] = ()
    left: tuple[Path, ...] = ()
    stays: dict[Path, str] = field(default_factory=dict)

    def notes(self, home: Path) -> Iterator[str]:
        """What a person should know of what is still there."""
        others = [path for path in self.left if path not in self.stays]
        if others:
            names = (
                f"{path.name} (a link to {path.readlink()})" if path.is_symlink() else path.name for path in others
            )
            yield f"Not this tool's, and left there: {', '.join(names)}"
        keys = [path.name for path in others if path.match("official-*")]
        if keys:
            yield f"Keys are still in {', '.join(keys)}, as the official tool had them. Remove that by hand."
        if home.is_symlink():
            yield f"{home} is a link to {home.readlink()}: both stay."


def refuse_while_held(
    store: StateStore,
    providers: tuple[str, ...],
    provider_named: Callable[[str], Provider],
    official: OfficialCluster | None,
    leave_cloud: bool,
) -> list[str]:
    """`EnvironmentNotReady` with code `cloud-resources` while a provider holds or may hold something elsewhere, or the
    `official` tool's cluster is there, unless that is to be left; `half-moved` while a node is left between two
    providers. What is left is returned."""
    refuse_legacy(store)  # its files are the official tool's
    refuse_half_moved(list_nodes(store), provider_named)
    held, unknown = _held(store, providers, provider_named), _unknown(store, provider_named)
    old = _official(official)
    if leave_cloud or not (held or unknown or old):
        return [*held, *unknown.values(), *old]
    destroy = ["Run `numerai destroy-all` first."] if held else []
    what = "removes a record" if len(unknown) == 1 else "remove records"
    forget = [f"{', '.join(map(forget_command, unknown))} {what}, and nothing else."] if unknown else []
    remove = [f"`{MOVE_AWS}` removes the official tool's cluster."] if old else []
    there = ", ".join([*held, *unknown.values(), *old])
    free = {
        f"{node.name} on {node.provider}"
        for node in list_nodes(store)
        if isinstance(provider_named(node.provider), RunByNumerai)
    }
    costs = "Numerai may go on running it" if free >= {*held, *unknown.values(), *old} else "It may cost money"
    raise EnvironmentNotReady(
        f"There is still: {there}. {costs}, and only this home tells of it.",
        " ".join([*destroy, *forget, *remove, "With --leave-cloud all of it is left as it is."]),
        code="cloud-resources",
    )


def _held(store: StateStore, providers: tuple[str, ...], provider_named: Callable[[str], Provider]) -> list[str]:
    """What this tool can remove."""
    held = [
        f"{node.name} on {node.provider}"
        for node in list_nodes(store)
        if node.provider != DEFAULT_PROVIDER and not isinstance(provider_named(node.provider), NotHere)
    ]
    for provider in map(provider_named, providers):
        if isinstance(provider, HoldsElsewhere):
            held += provider.held()
    return sorted(held)


def _unknown(store: StateStore, provider_named: Callable[[str], Provider]) -> dict[str, str]:
    """The records, by name, of which this tool cannot remove anything."""
    absent = {
        node.name: f"{node.name} on {node.provider}"
        for node in list_nodes(store)
        if isinstance(provider_named(node.provider), NotHere)
    }
    return absent | {name: f"{plainly(name)} (a record that cannot be used)" for name in store.unusable_nodes()}


def _official(cluster: OfficialCluster | None) -> list[str]:
    """What the official tool's cluster has, as far as it is known."""
    if cluster is None or not cluster.resources:
        return []
    return [f"{counted(len(cluster.resources), 'resource')} of the official tool's cluster on AWS ({cluster.where})"]


def own_files(home: Path) -> list[Path]:
    """What there is of this tool's files. What a link leads to outside of the home folder is none of them."""
    aside = [path for path in (home.iterdir() if home.is_dir() else ()) if _ASIDE.fullmatch(path.name)]
    named = [home / name for name in OWN_FILES]
    begun = [path for name in OWN_FILES if "/" not in name for path in unfinished(home / name)]
    there = [path for path in (*named, *sorted([*aside, *begun])) if path.is_symlink() or path.exists()]
    return [path for path in there if not path.parent.is_symlink() or path.parent == home]


def before_removal(home: Path, record: MoveRecord, official: OfficialCluster | None) -> list[str]:
    """What a person should know before anything is removed."""
    notes = []
    if any(home.glob("official-*/upgrade.json")):
        with suppress(NumeraiError):  # where there is no way back, or it is not known whether there is
            refuse_undo(record)
            notes.append("To go back to the official tool, run `numerai upgrade --undo` before this.")
    if official is not None and official.by_hand:
        notes.append(f"The official tool's cluster cannot be removed from here: {official.unusable}.")
        notes.append(f"What of it is still on AWS, remove by hand: {'; '.join(official.by_hand)}.")
    if home.is_symlink():
        notes.append(f"{home} is a link to {home.readlink()}: this tool's files in there are removed, both stay.")
    return notes


def remove_files(home: Path) -> Uninstalled:
    """Remove this tool's files, and the folders that are empty then."""
    own, why = own_files(home), dict[Path, str]()
    for path in own:
        try:
            if path.is_dir() and not path.is_symlink():
                remove_tree(path, home, strict=True)
            else:
                remove_file(path, home)
        except OSError as error:
            why[path] = f"{error.strerror or error}: {error.filename or path}"
    for folder in (home / "aws", home):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            with suppress(OSError):  # an empty folder may be a place where a disk is mounted
                folder.rmdir()
    left = tuple(sorted(home.iterdir())) if home.is_dir() else ()
    return Uninstalled(tuple(path for path in own if path not in why), left, why)
