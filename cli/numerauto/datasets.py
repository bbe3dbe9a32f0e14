"""A round's data as numerauto's handlers ask for them: a folder that makes its CSV files when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NumeraiError
from ..events.datasets import RoundData
from ..events.messages import logger
from ..files.private import make_private_folder, owner_only, replacing
from ..models import Tournament

if TYPE_CHECKING:
    from ..events.runtime import Node

TRAINING_CSV, TOURNAMENT_CSV = "numerai_training_data.csv", "numerai_tournament_data.csv"
CHUNK_ROWS = 50_000


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


class CsvRoundData(RoundData):
    """A round's folder that can hold the old CSV files too: with the features of `feature_set`, and the target as
    `target_<tournament_name>`."""

    def __init__(self, base: Path, round_number: int, node: Node, feature_set: str, tournament_name: str):
        super().__init__(base, round_number, node)
        self._feature_set = feature_set
        self._tournament_name = tournament_name

    def provide(self, name: str) -> None:
        """Have a file in the folder, if it is one of the dataset or one of the old CSV files."""
        if name in (TRAINING_CSV, TOURNAMENT_CSV) and not (self.path / name).exists():
            self.write_csv(name)
        super().provide(name)

    @owner_only()
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
        make_private_folder(self.path)
        with replacing(path) as file:
            for number, (source, data_type) in enumerate(parts):
                for first, rows in _chunks(source, features):
                    rows.insert(1, "data_type", data_type)
                    chunk = rows.rename(columns={"target": target})
                    if target not in chunk:
                        chunk[target] = float("nan")
                    chunk.to_csv(file, index_label="id", header=number == 0 and first, lineterminator="\n")


def _chunks(path: Path, features: Sequence[str]) -> Iterator[tuple[bool, Any]]:
    """The rows of a Parquet file, some at a time, with id as the index; and whether they are the first."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    names = file.schema_arrow.names
    columns = [name for name in ("id", "era", *features, "target") if name in names]
    for number, batch in enumerate(file.iter_batches(batch_size=CHUNK_ROWS, columns=columns)):
        frame = batch.to_pandas().reset_index()
        yield number == 0, frame.set_index("id")[[name for name in columns if name != "id"]]
