"""A round's data as files in one folder: the Parquet files that were downloaded, and on request the old CSV files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NumeraiError
from ..models import Tournament
from .handler import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .runtime import Node

TRAINING_FILES = ("features.json", "train.parquet", "validation.parquet")
TRAINING_CSV, TOURNAMENT_CSV = "numerai_training_data.csv", "numerai_tournament_data.csv"
CHUNK_ROWS = 50_000
HASH_CHUNK = 1 << 20
FOLDER = re.compile(r"numerai_dataset_(\d+)")


class RoundFolder(type(Path())):  # type: ignore[misc]  # the class of this platform's paths
    """A folder that has a file made when it is asked for: `folder / "numerai_training_data.csv"`."""

    _provide: Callable[[str], None] | None = None

    @classmethod
    def at(cls, path: Path, provide: Callable[[str], None]) -> RoundFolder:
        """The folder, with what puts a file of a given name into it."""
        folder = cls(path)
        folder._provide = provide
        return folder

    def __truediv__(self, key: Any) -> Path:
        return self.joinpath(key)

    def joinpath(self, *parts: Any) -> Path:
        """The path of something in the folder."""
        path = Path(str(self)).joinpath(*parts)
        if self._provide is not None and path.parent == Path(str(self)):
            self._provide(path.name)
        return path

    def with_segments(self, *parts: Any) -> Path:
        """What is derived from this path is an ordinary one (Python 3.12 asks here)."""
        return Path(*parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path, (str(self),))


class RoundData:
    """The folder of one round, below `base`; `node` gets what is not there yet.

    The CSV files hold the features of `feature_set`, and the target as `target_<tournament_name>`, as numerauto's
    handlers expect it.
    """

    def __init__(self, base: Path, round_number: int, node: Node, feature_set: str, tournament_name: str):
        self.path = folder_of(base, round_number)
        self._node = node
        self._feature_set = feature_set
        self._tournament_name = tournament_name

    @property
    def folder(self) -> RoundFolder:
        """The folder as handlers get it."""
        return RoundFolder.at(self.path, self.provide)

    def provide(self, name: str) -> None:
        """Have a file in the folder, if it is one of the dataset or one of the old CSV files."""
        if (self.path / name).exists():
            return
        if name in (TRAINING_CSV, TOURNAMENT_CSV):
            self.write_csv(name)
        elif name.endswith((".parquet", ".json")) and name in self._node.dataset.files():
            self._add(self._node.dataset.file(name))

    def add_training(self) -> None:
        """Have the training files in the folder; downloads what is not in the cache or no longer current."""
        for name in self._names():
            self._add(self._node.dataset.file(name))

    def add_live(self) -> None:
        """Have this round's live file in the folder."""
        self._add(self._node.live_file)

    def fingerprint(self, known: dict[str, Any]) -> str:
        """A digest over the contents of the training files.

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
        return whole.hexdigest()

    def write_csv(self, name: str) -> None:
        """Write one of the old CSV files; `numerai_tournament_data.csv` holds the validation and live rows."""
        path = self.path / name
        if self._node.dataset.tournament != Tournament.CLASSIC:
            raise NumeraiError(
                f"{name} is made for the Classic tournament only.",
                "Read the Parquet files in the same folder instead.",
                code="no-csv",
            )
        target = f"target_{self._tournament_name}"
        features = self._node.features(self._feature_set)
        logger.info("Writing %s with the %d features of the set %s", path, len(features), self._feature_set)
        if name == TRAINING_CSV:
            parts = [(self._node.dataset.file("train.parquet"), "train")]
        else:
            parts = [
                (self._node.dataset.file("validation.parquet"), "validation"),
                (self._node.live_file, "live"),
            ]
        temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                for number, (source, data_type) in enumerate(parts):
                    for first, rows in _chunks(source, features):
                        rows.insert(1, "data_type", data_type)
                        chunk = rows.rename(columns={"target": target})
                        if target not in chunk:
                            chunk[target] = float("nan")
                        chunk.to_csv(file, index_label="id", header=number == 0 and first, lineterminator="\n")
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _names(self) -> list[str]:
        there = self._node.dataset.files()
        return [name for name in TRAINING_FILES if name in there]

    def _add(self, source: Path) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        link = self.path / source.name
        if link.exists() and link.samefile(source):
            return
        temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(source, temporary)
        temporary.replace(link)


def folder_of(base: Path, round_number: int) -> Path:
    """The folder of a round's data."""
    return base / f"numerai_dataset_{round_number}"


def forget_rounds(base: Path, before: int) -> None:
    """Remove the data files of older rounds, and their folders where nothing else is in them."""
    for folder in base.glob("numerai_dataset_*"):
        match = FOLDER.fullmatch(folder.name)
        if match is None or int(match[1]) >= before or not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.suffix == ".parquet" or path.name in ("features.json", TRAINING_CSV, TOURNAMENT_CSV):
                with suppress(OSError):  # Windows keeps what somebody reads; the next round tries again
                    path.unlink()
        with suppress(OSError):  # somebody keeps files of their own there
            folder.rmdir()


def _chunks(path: Path, features: Sequence[str]) -> Iterator[tuple[bool, Any]]:
    """The rows of a Parquet file, some at a time, with id as the index; and whether they are the first."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    columns = [name for name in ("id", "era", *features, "target") if name in names]
    for number, batch in enumerate(file.iter_batches(batch_size=CHUNK_ROWS, columns=columns)):
        frame = batch.to_pandas().reset_index()
        yield number == 0, frame.set_index("id")[[name for name in columns if name != "id"]]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
