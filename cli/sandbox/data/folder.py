"""A Classic dataset from a folder of files; what is missing and can be derived from them is derived."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from .derive import Derived
from .made_classic import MAIN_TARGET, VERSION
from .parquet import write_whole
from .signal import Signal, fitted_signal
from .source import Edition, ValidationSource

_SUFFIXES = (".parquet", ".csv", ".json")
_ROWS = ("train", "validation", "live")
_BATCH_ROWS = 65_536


class FolderClassic(ValidationSource):
    """The folder's files under a version's name. Live rows are the same in every round.

    The folder must have `train.parquet` and `live.parquet`.
    """

    id_column = "id"

    def __init__(self, folder: Path, seed: int, version: str = VERSION) -> None:
        self._folder = folder
        self.seed = seed
        self.version = version
        self.fingerprint = hashlib.sha256(f"{folder}:{seed}:{version}".encode()).hexdigest()[:16]
        self._derived = Derived(self)

    @cached_property
    def signal(self) -> Signal:
        """A small model of the folder's training rows: each feature weighted by its covariance with the target."""
        columns = self.feature_sets()["small"]
        moments = np.zeros(len(columns))
        for block in self.blocks("train", [*columns, MAIN_TARGET]):
            features = block[columns].to_numpy(dtype=np.float64)
            centred = block[MAIN_TARGET].to_numpy(dtype=np.float64)
            moments += np.nan_to_num(features - 2.0).T @ np.nan_to_num(centred - np.nanmean(centred))
        return fitted_signal(columns, moments)

    def feature_sets(self) -> dict[str, list[str]]:
        """From `features.json`, or all feature columns of the training rows as one set."""
        path = self._folder / "features.json"
        if path.is_file():
            sets = cast(dict[str, list[str]], json.loads(path.read_text(encoding="utf-8"))["feature_sets"])
        else:
            names = pq.read_schema(self._folder / "train.parquet").names
            sets = {"all": [name for name in names if name.startswith("feature")]}
        smallest = min(sets.values(), key=len)
        return {"small": smallest, "medium": smallest, "all": smallest, **sets}

    def names(self) -> list[str]:
        """The folder's own files and those that can be derived from them."""
        own = {path.name for path in self._folder.iterdir() if path.suffix in _SUFFIXES}
        parts = [part for part in _ROWS if f"{part}.parquet" in own]
        derived = {name for name in Derived.names() if name.partition("_")[0] in parts}
        meta = {"meta_model.parquet"} if "validation" in parts else set()
        return sorted(f"{self.version}/{name}" for name in own | derived | meta | {"features.json"})

    def per_round(self, name: str) -> bool:
        """The folder's files are served as they are, in every round."""
        return False

    def given(self, name: str) -> Path | None:
        path = self._folder / name.rpartition("/")[2]
        return path if path.is_file() else None

    def write(self, name: str, edition: Edition, path: Path) -> None:
        """Make a file that the folder lacks."""
        short = name.rpartition("/")[2]
        if short == "features.json":
            targets = [name for name in pq.read_schema(self._folder / "train.parquet").names if "target" in name]
            body = {"feature_sets": self.feature_sets(), "targets": targets}
            write_whole(path, json.dumps(body, indent=1).encode())
        else:
            self._derived.write(short, edition, path)

    def blocks(self, part: str, columns: Sequence[str], edition: Edition | None = None) -> Iterator[pd.DataFrame]:
        """The rows of a part in pieces of at most 65,536, with `era` and the columns asked for."""
        file = pq.ParquetFile(self._folder / f"{part}.parquet")
        index = [name for name in file.schema_arrow.names if name in ("id", "__index_level_0__")]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=["era", *columns, *index]):
            frame = batch.to_pandas()
            if frame.index.name is None and index and index[0] in frame.columns:
                frame = frame.set_index(index[0])
            yield frame.rename_axis("id")

    def live(self, edition: Edition) -> pd.DataFrame:
        return pd.concat(self.blocks("live", [])).reset_index()[["id"]]

    def rows(self, edition: Edition) -> pd.DataFrame:
        return pd.concat(self.blocks("live", self.signal.columns))
