"""Where files that one provider gives another may go."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import ProviderError
from ..files.private import make_private_folder, replacing
from ..names import shown
from ..ports import Artifact


def artifacts_of(folder: Path) -> Iterator[Artifact]:
    """Every file below a folder of this machine; links are left out."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve() == folder.resolve() / path.relative_to(folder):
            name = path.relative_to(folder).as_posix()
            yield Artifact(name, path.stat().st_size, partial(_opened, path))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def checked(artifacts: Iterable[Artifact]) -> Iterable[Artifact]:
    """The same files; `ProviderError` with code `bad-artifact` at a name that would lead out of a folder."""
    for artifact in artifacts:
        path = PurePosixPath(artifact.name)
        if path.is_absolute() or ".." in path.parts or "\\" in artifact.name or ":" in path.parts[0]:
            raise ProviderError(
                f"A file that runs have kept is named {shown(artifact.name)}, which is no name in a folder.",
                "Remove it there, or destroy the node instead of moving it.",
                code="bad-artifact",
            )
        yield artifact


def write_artifacts(folder: Path, artifacts: Iterable[Artifact]) -> None:
    """Write files into a folder of this machine, each complete or not at all, for its owner alone."""
    for artifact in checked(artifacts):
        target = folder / artifact.name
        make_private_folder(target.parent)
        with replacing(target) as file, closing(artifact.open()) as content:
            shutil.copyfileobj(content, file)
