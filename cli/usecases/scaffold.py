"""Copies an example, with the runtime it carries, into a folder, without ever replacing a file that is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..errors import EnvironmentNotReady, UsageError

RUNTIME = "numerai_node"
_LEFT_OUT = ("__pycache__", "__init__.py")


def templates() -> Path:
    """The folder that the examples and the runtime are installed in."""
    return Path(str(files("numerai_compute.node_template")))


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
    for source, relative in _files(example):
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


def _files(example: str) -> Iterator[tuple[Path, Path]]:
    root = templates()
    for source in _tree(root / example):
        yield source, source.relative_to(root / example)
    for source in _tree(root / RUNTIME, keep_init=True):
        yield source, source.relative_to(root)


def _tree(folder: Path, *, keep_init: bool = False) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or "__pycache__" in relative.parts:
            continue
        if relative.name in _LEFT_OUT and not keep_init:
            continue
        yield path
