"""The copy of `numerai_node` in a node's folder: which release it is, and how it is replaced by the tool's own.

A copy is known by one hash over its files, with line endings normalised, so that a checkout with CRLF is the same copy.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path

from ..errors import EnvironmentNotReady
from ..files.private import make_private_folder, remove_tree
from .runtime_releases import RELEASES

RUNTIME = "numerai_node"
VERSION_FILE = "_version.py"
BACKUPS = "runtimes"
"""The folder in the tool's home where replaced copies are kept: outside the node's folder, so never in an image."""
_STAGED, _ASIDE = f".{RUNTIME}.new", f".{RUNTIME}.old"


class RuntimeState(Enum):
    """How a node's copy of the runtime compares with the tool's own."""

    CURRENT = "current"
    OLD = "old"  # an unmodified copy of an earlier release
    CHANGED = "changed"  # none that was ever released
    NEWER = "newer"  # from a newer version of the tool
    LINK = "link"  # a symbolic link: what it points to belongs to someone else
    INTERRUPTED = "interrupted"  # a command that replaced it was killed half-way


class RuntimeChoice(str, Enum):
    """What `node deploy --runtime` may ask for, instead of replacing an unmodified old copy only."""

    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True)
class RuntimeCopy:
    """The runtime in a node's folder. `version` is None for a copy from before runtimes had versions."""

    folder: Path
    state: RuntimeState
    version: str | None = None

    @property
    def label(self) -> str:
        """The copy in words, e.g. `numerai_node 0.2.0`."""
        return f"{RUNTIME} {self.version}" if self.version else f"{RUNTIME} (from before it had versions)"

    def replaced(self, choice: RuntimeChoice | None) -> bool:
        """Whether a deploy puts the tool's runtime in its place."""
        if choice is RuntimeChoice.REPLACE:
            return self.state is not RuntimeState.CURRENT
        return self.state is RuntimeState.OLD and choice is None


def templates() -> Path:
    """The folder that the examples and the runtime are installed in."""
    return Path(str(files("numerai_compute.node_template")))


def own_version() -> str:
    """The version of the runtime that this tool carries."""
    return _version(templates() / RUNTIME) or ""


def runtime_files(folder: Path) -> Iterator[str]:
    """The files of a runtime, as sorted relative paths with `/`, without what Python and editors leave there."""
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if any(part == "__pycache__" or part.startswith(".") for part in relative.parts) or path.suffix == ".pyc":
            continue
        if path.is_symlink() or path.is_file():
            yield relative.as_posix()


def tree_hash(contents: dict[str, bytes]) -> str:
    """The SHA-256, in hex, over relative paths and contents, in the order of the paths and with line feeds only."""
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        plain = content.replace(b"\r\n", b"\n")
        digest.update(b"%d:%s %d:" % (len(name.encode()), name.encode(), len(plain)))
        digest.update(plain)
    return digest.hexdigest()


def runtime_hash(folder: Path) -> str:
    """The hash of a runtime on disk. A symbolic link in it counts as a change."""
    contents = {}
    for name in runtime_files(folder):
        path = folder / name
        contents[name] = b"\0link" if path.is_symlink() else path.read_bytes()
    return tree_hash(contents)


def runtime_copy(folder: Path) -> RuntimeCopy | None:
    """The runtime in a node's folder; None when it has none."""
    path = folder / RUNTIME
    if path.is_symlink() or (path.is_dir() and path.resolve() != folder.resolve() / RUNTIME):
        return RuntimeCopy(folder, RuntimeState.LINK, _version(path))
    if not path.exists() and (folder / _ASIDE).is_dir():
        return RuntimeCopy(folder, RuntimeState.INTERRUPTED, _version(folder / _ASIDE))
    if not path.is_dir():
        return None
    try:
        digest = runtime_hash(path)
    except OSError as error:
        raise EnvironmentNotReady(
            f"Cannot read {path}: {error.strerror or error}.", "Make it readable for you.", code="folder-unreadable"
        ) from error
    version = _version(path)
    if digest == runtime_hash(templates() / RUNTIME):
        return RuntimeCopy(folder, RuntimeState.CURRENT, version)
    if any(digest in hashes for hashes in RELEASES.values()):
        return RuntimeCopy(folder, RuntimeState.OLD, version)
    state = RuntimeState.NEWER if order(version) > order(own_version()) else RuntimeState.CHANGED
    return RuntimeCopy(folder, state, version)


def backup_folder(home: Path, node: str, copy: RuntimeCopy) -> Path:
    """Where the copy of a node is kept once it is replaced."""
    return home / BACKUPS / f"{node}-{runtime_hash(copy.folder / RUNTIME)[:12]}"


def replace_runtime(folder: Path, backup: Path) -> None:
    """Put the tool's runtime in the place of the one in a folder, which is kept in `backup`.

    The new copy is written beside the old one and the two are renamed: whatever kills this, the folder holds one of
    them whole, and `finish_interrupted` gives it its name. Raises `EnvironmentNotReady` with code `folder-unwritable`
    when a folder cannot be written to, with the old copy in place.
    """
    live, staged, aside = folder / RUNTIME, folder / _STAGED, folder / _ASIDE
    try:
        _keep(live, backup)
        remove_tree(staged, folder)
        _copy(templates() / RUNTIME, staged)
        live.rename(aside)
        try:
            staged.rename(live)
        except OSError:
            aside.rename(live)
            raise
        remove_tree(aside, folder, strict=True)
    except OSError as error:
        raise EnvironmentNotReady(
            f"Cannot replace {live}: {error.strerror or error}.",
            "Make the folder writable for you and close what uses it, or deploy with --runtime keep.",
            code="folder-unwritable",
        ) from error


def finish_interrupted(folder: Path) -> None:
    """Put right what a replacement left that was killed half-way; nothing to do otherwise."""
    live, staged, aside = folder / RUNTIME, folder / _STAGED, folder / _ASIDE
    if aside.is_dir() and not live.exists():
        whole = staged.is_dir() and runtime_hash(staged) == runtime_hash(templates() / RUNTIME)
        (staged if whole else aside).rename(live)
    for leftover in (staged, aside):
        if leftover.is_dir() and not leftover.is_symlink():
            remove_tree(leftover, folder, strict=True)


def _keep(live: Path, backup: Path) -> None:
    if backup.exists():
        return
    make_private_folder(backup.parent)
    partial = backup.with_name(f"{backup.name}.part")
    remove_tree(partial, backup.parent)
    shutil.copytree(live, partial, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    partial.rename(backup)


def _copy(source: Path, target: Path) -> None:
    for name in runtime_files(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with (target / name).open("wb") as file:
            file.write((source / name).read_bytes())
            file.flush()
            os.fsync(file.fileno())


def _version(runtime: Path) -> str | None:
    try:
        text = (runtime / VERSION_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"""^__version__ = ["']([0-9.]+)["']""", text, re.MULTILINE)
    return match[1] if match else None


def order(version: str | None) -> tuple[int, ...]:
    """A version as numbers, to compare; nothing for a copy from before runtimes had versions."""
    return tuple(int(part) for part in (version or "").split(".") if part)
