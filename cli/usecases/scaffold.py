"""Copies an example, with the runtime it carries, into a folder, without ever replacing a file that is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import EnvironmentNotReady, UsageError
from .runtime import RUNTIME, RuntimeState, runtime_copy, runtime_files, templates


def example_names() -> list[str]:
    """Every example that can be copied."""
    return sorted(folder.name for folder in templates().iterdir() if (folder / "Dockerfile").is_file())


@dataclass(frozen=True)
class ScaffoldPlan:
    """Which files go where: `new` are copied, `same` are there already with the same content."""

    example: str
    folder: Path
    new: tuple[tuple[Path, Path], ...]
    same: tuple[Path, ...]


def plan_scaffold(example: str, folder: Path) -> ScaffoldPlan:
    """What copying an example into a folder would do.

    Raises `UsageError` when there is no such example, when the folder is a file, or when a file there has another
    content: nothing that a user has written is replaced.
    """
    if example not in example_names():
        known = ", ".join(example_names())
        raise UsageError(f"There is no example '{example}'.", f"Choose one of: {known}.", code="unknown-example")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file, not a folder.", "Choose another folder with --path or --dest.")
    new: list[tuple[Path, Path]] = []
    same: list[Path] = []
    different: list[Path] = []
    for source, relative in _files(example, folder):
        target = folder / relative
        if not target.exists():
            new.append((source, target))
        elif target.is_file() and target.read_bytes() == source.read_bytes():
            same.append(target)
        else:
            different.append(relative)
    if different:
        listed = ", ".join(str(path) for path in sorted(different)[:5])
        raise UsageError(
            f"{folder} already holds other files of these names: {listed}.",
            "Choose an empty folder, or leave out --example to use the folder as it is.",
            code="would-overwrite",
        )
    return ScaffoldPlan(example, folder, tuple(new), tuple(same))


def scaffold(plan: ScaffoldPlan) -> list[Path]:
    """Copy the files; returns the new ones. Can be repeated after an interruption."""
    written = []
    for source, target in plan.new:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        except OSError as error:
            raise EnvironmentNotReady(
                f"Cannot write {target}: {error.strerror or error}.",
                "Choose a folder you may write to.",
                code="folder-unwritable",
            ) from error
        written.append(target)
    return written


def _files(example: str, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The files of an example and of the runtime; an unmodified older runtime stays, as `node deploy` replaces it."""
    root = templates()
    for source in sorted((root / example).rglob("*")):
        relative = source.relative_to(root / example)
        if source.is_file() and "__pycache__" not in relative.parts and relative.name != "__init__.py":
            yield source, relative
    copy = runtime_copy(folder)
    if copy is None or copy.state is not RuntimeState.OLD:
        for name in runtime_files(root / RUNTIME):
            yield root / RUNTIME / name, Path(RUNTIME, name)
