"""A round's data as files in one folder: links to the Parquet files that were downloaded."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.private import make_private_folder, owner_only

if TYPE_CHECKING:
    from .runtime import Node

TRAINING_FILES = ("features.json", "train.parquet", "validation.parquet")
HASH_CHUNK = 1 << 20
FOLDER = re.compile(r"numerai_dataset_(\d+)")


class RoundData:
    """The folder of one round, below `base`; `node` gets what is not there yet."""

    def __init__(self, base: Path, round_number: int, node: Node):
        self.path = folder_of(base, round_number)
        self._node = node

    @owner_only()
    def provide(self, name: str) -> None:
        """Have a file in the folder, if it is one of the dataset."""
        there = (self.path / name).exists()
        if not there and name.endswith((".parquet", ".json")) and name in self._node.dataset.files():
            self._add(self._node.dataset.file(name))

    @owner_only()
    def add_live(self) -> None:
        """Have this round's live file in the folder."""
        self._add(self._node.live_file)

    @owner_only()
    def add_training(self, known: dict[str, Any]) -> str:
        """Have the training files in the folder; returns a digest over their contents. Downloads what is not in the
        cache or no longer current.

        `known` remembers each file's digest with its size and time, so that a file which the cache did not have to
        download again (same ETag) is not read again; it is changed in place.
        """
        whole = hashlib.sha256()
        for name in self._names():
            path = self._node.dataset.file(name)
            about = path.stat()
            mark = [str(path), about.st_size, about.st_mtime_ns]
            kept = known.get(name)
            if not (isinstance(kept, dict) and kept.get("mark") == mark):
                known[name] = kept = {"mark": mark, "sha256": _sha256(path)}
            whole.update(f"{name}={kept['sha256']}\n".encode())
            self._add(path)
        return whole.hexdigest()

    def _names(self) -> list[str]:
        there = self._node.dataset.files()
        return [name for name in TRAINING_FILES if name in there]

    def _add(self, source: Path) -> None:
        make_private_folder(self.path)
        link = self.path / source.name
        if link.exists() and link.samefile(source):
            return
        temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(source, temporary)
        temporary.replace(link)


def folder_of(base: Path, round_number: int) -> Path:
    """The folder of a round's data."""
    return base / f"numerai_dataset_{round_number}"


def forget_rounds(base: Path, before: int, made: Sequence[str] = ()) -> None:
    """Remove the data files of older rounds, those `made` of them too, and their folders where nothing else is left."""
    for folder in base.glob("numerai_dataset_*"):
        match = FOLDER.fullmatch(folder.name)
        if match is None or int(match[1]) >= before or not folder.is_dir() or folder.is_symlink():
            continue  # what a link leads to is somebody else's
        for path in folder.iterdir():
            if path.suffix == ".parquet" or path.name in ("features.json", *made):
                with suppress(OSError):  # Windows keeps what somebody reads; the next round tries again
                    path.unlink()
        with suppress(OSError):  # somebody keeps files of their own there
            folder.rmdir()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
