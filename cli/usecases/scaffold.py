"""Copies an example, with the runtime it carries, into a folder, without ever replacing a file that is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files.private import folder_unwritable, replacing
from ..models import DEFAULT_EXAMPLE, Tournament
from .runtime import RUNTIME, RuntimeState, runtime_copy, runtime_files, templates

TOURNAMENTS = {"tournament": Tournament.CLASSIC, "signals": Tournament.SIGNALS, "crypto": Tournament.CRYPTO}
"""What the first word of an example's name says of it; others fit every tournament."""


def example_names() -> list[str]:
    """Every example that can be copied."""
    return sorted(folder.name for folder in templates().iterdir() if (folder / "Dockerfile").is_file())


def example_for(tournament: int) -> str:
    """The example in Python of a tournament."""
    word = next((word for word, meant in TOURNAMENTS.items() if meant == tournament), None)
    return f"{word}-python3" if word else DEFAULT_EXAMPLE


def examples_of(tournament: int) -> list[str]:
    """The examples that fit a tournament."""
    return [name for name in example_names() if TOURNAMENTS.get(name.partition("-")[0], tournament) == tournament]


def is_python(example: str) -> bool:
    """Whether an example's program is a module of Python, and no program of another language."""
    return any((templates() / example).glob("*.py"))


def example_dockerfile(example: str) -> Path:
    """The Dockerfile of an example."""
    return templates() / example / "Dockerfile"


def check_tournament(example: str, tournament: int) -> None:
    """`UsageError` with code `wrong-example` for an example that predicts another tournament's targets."""
    meant = TOURNAMENTS.get(example.partition("-")[0])
    if meant is None or meant == tournament:
        return
    fitting = examples_of(tournament)
    theirs, own = meant.title, Tournament(tournament).title
    raise UsageError(
        f"The example {example} is made for {theirs}, and the model is in {own}.",
        f"Use one of: {', '.join(fitting)}.",
        code="wrong-example",
    )


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
        _check_way(target, folder)
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
            _check_way(target, plan.folder)
            with replacing(target, mode=0o666) as file:
                file.write(source.read_bytes())
        except OSError as error:
            raise folder_unwritable(target, error) from error
        written.append(target)
    return written


def _check_way(target: Path, folder: Path) -> None:
    """Whether a file can be made there, before any is."""
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"{target.parent} is a link that leads out of {folder}.", "Remove it.", code="folder-is-a-link"
        )
    there = next(path for path in target.parents if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise UsageError(f"{there} is no folder, so {target} cannot be made.", "Move it away.", code="would-overwrite")
    if not target.exists() and not os.access(there, os.W_OK | os.X_OK):
        raise folder_unwritable(target, OSError(errno.EACCES, os.strerror(errno.EACCES)))


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
