"""What every source of tournament data offers, whether made up or read from a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from .signal import Signal, Truth, made_truth


def is_live(name: str) -> bool:
    """Whether a file is published anew for every round."""
    return name.rpartition("/")[2].startswith("live")


@dataclass(frozen=True)
class Edition:
    """Which live data is meant: a round's number and the day its data is from (YYYYMMDD)."""

    round_number: int
    datestamp: int


class Source(Protocol):
    """One version of a tournament's data. Names are full dataset names such as `v5.3/train.parquet`."""

    fingerprint: str
    """Changes whenever the same name would give other bytes."""
    seed: int
    """What the outcome of the live rows is drawn from."""

    def names(self) -> list[str]:
        """Every file that can be asked for."""

    def per_round(self, name: str) -> bool:
        """Whether the file is another one in every round."""
        return is_live(name)

    def given(self, name: str) -> Path | None:
        """The file itself where it exists already and is served as it is."""
        return None

    def write(self, name: str, edition: Edition, path: Path) -> None:
        """Make the file."""

    def live(self, edition: Edition) -> pd.DataFrame:
        """The round's live rows with every column by which a submission may name them."""

    def rows(self, edition: Edition) -> pd.DataFrame:
        """The round's live rows with the signal's columns, indexed by the tournament's own id."""

    def truth(self, edition: Edition) -> Truth:
        """What became of the round's live rows, indexed by the tournament's own id. It is always made up, also for the
        rows of a folder, whose real outcome is not known."""
        return made_truth(self.signal, self.rows(edition), [self.seed, edition.round_number])

    @property
    def id_column(self) -> str:
        """The column of `live` that `truth` is indexed by."""

    @property
    def signal(self) -> Signal:
        """What the features really say."""


class ValidationSource(Source, Protocol):
    """The Classic data, with what diagnostics and derived files need."""

    version: str
    """The data version, e.g. `v5.3`."""

    def blocks(self, part: str, columns: Sequence[str], edition: Edition | None = None) -> Iterator[pd.DataFrame]:
        """The rows of `train`, `validation` or `live` in pieces, indexed by id, with `era` and these columns."""

    def feature_sets(self) -> dict[str, list[str]]:
        """The names of the features in each set."""
