"""Signals and Crypto data made up from a seed: a fixed universe of names, new values every week and every round."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from .made_classic import version_key
from .parquet import write_parquet, write_whole
from .signal import Signal, made_signal, outcome, predictions, targets
from .source import Edition, Source
from .words import feature_names, renamed

_FIRST_FRIDAY = date(2022, 1, 7)
_COUNTRY_SINCE = (3,)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Kind:
    """What tells Signals from Crypto. `targets` are its targets' names; the first is the one that is scored. With
    `indexed` the ids are the index of the live file, as pandas' metadata has it, else a column."""

    id_column: str
    tag: int
    universe: Callable[[int], pd.DataFrame]
    features: int
    targets: tuple[str, ...]
    files: tuple[str, ...]
    indexed: bool = False


class MadeUniverse(Source):
    """One version: a universe of `size` names over `weeks` weeks of training data, and the live values of any round.

    Every version has the same names and values. Signals has a text column among its features since v3
    (`feature_country`), as Numerai's has. With `renames` the features have other names.
    """

    def __init__(self, kind: Kind, seed: int, size: int, weeks: int, version: str, *, renames: bool = False) -> None:
        self.kind = kind
        self.version = version
        self._seed = seed
        self.seed = seed + kind.tag
        self._weeks = weeks
        key = f"{kind.tag}:{seed}:{size}:{weeks}:{version}:{renames}"
        self.fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
        self.features = [renamed(name) if renames else name for name in feature_names(kind.features)]
        self.universe = kind.universe(size)
        if kind is SIGNALS and version_key(version.partition("/")[2]) >= _COUNTRY_SINCE:
            self.universe["feature_country"] = "US"

    @property
    def id_column(self) -> str:
        return self.kind.id_column

    @cached_property
    def signal(self) -> Signal:
        return made_signal(self.features, self.seed)

    def names(self) -> list[str]:
        return sorted(f"{self.version}/{name}" for name in self.kind.files)

    def write(self, name: str, edition: Edition, path: Path) -> None:
        short = name.rpartition("/")[2]
        if short == "live.parquet":
            write_parquet(path, [self.rows(edition) if self.kind.indexed else self.live(edition)])
        elif short == "live_example_preds.parquet":
            write_parquet(path, [self._example_predictions(edition)])
        elif short == "live_example_preds.csv":
            write_whole(path, self._example_predictions(edition).to_csv(index=False, lineterminator="\n").encode())
        else:
            write_parquet(path, (self._week(week) for week in self._part(short.partition(".")[0])))

    def live(self, edition: Edition) -> pd.DataFrame:
        day = str(edition.datestamp)
        generator = np.random.default_rng([self._seed, self.kind.tag, 3, edition.round_number])
        return self._draw(f"{day[:4]}-{day[4:6]}-{day[6:]}", "live", generator)

    def rows(self, edition: Edition) -> pd.DataFrame:
        return self.live(edition).set_index(self.id_column)

    def _example_predictions(self, edition: Edition) -> pd.DataFrame:
        rows = self.live(edition)
        value = self.signal.blurred([self._seed, 100], 0.5).value(rows)
        return pd.DataFrame({self.id_column: rows[self.id_column], "prediction": predictions(value)})

    def _part(self, part: str) -> range:
        return range(self._weeks) if part == "train" else range(self._weeks, self._weeks + max(4, self._weeks // 4))

    def _week(self, week: int) -> pd.DataFrame:
        day = (_FIRST_FRIDAY + timedelta(weeks=week)).isoformat()
        generator = np.random.default_rng([self._seed, self.kind.tag, 1, week])
        rows = self._draw(day, "train" if week < self._weeks else "validation", generator)
        latent = outcome(self.signal.value(rows), generator)
        main, *others = self.kind.targets
        rows[main] = targets(latent)
        for name in others:
            rows[name] = targets(0.8 * latent + 0.6 * generator.normal(size=len(latent)))
        return rows

    def _draw(self, day: str, data_type: str, generator: np.random.Generator) -> pd.DataFrame:
        count = len(self.universe)
        values = generator.integers(0, 5, size=(len(self.features), count), dtype=np.int8)
        head = self.universe.assign(date=day, data_type=data_type)
        return pd.concat([head, pd.DataFrame(values.T, columns=self.features)], axis=1)


def _letters(number: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        number, place = divmod(number, len(_LETTERS))
        letters = _LETTERS[place] + letters
    return letters


def _stocks(size: int) -> pd.DataFrame:
    codes = [_letters(place * 7919 % 26**4, 4) for place in range(size)]
    return pd.DataFrame(
        {
            "numerai_ticker": [f"{code} US" for code in codes],
            "composite_figi": [f"BBG00{place:07d}" for place in range(size)],
            "ticker": codes,
            "sedol": [f"B{place:06d}" for place in range(size)],
            "bloomberg_ticker": [f"{code} US Equity" for code in codes],
            "country": "US",
        }
    )


def _coins(size: int) -> pd.DataFrame:
    symbols = [_letters(place * 911 % 26**3, 3) for place in range(size)]
    return pd.DataFrame({"symbol": symbols, "ucid": [str(place + 1) for place in range(size)]})


SIGNALS = Kind(
    "numerai_ticker",
    11,
    _stocks,
    20,
    ("target",),
    ("live.parquet", "live_example_preds.csv", "live_example_preds.parquet", "train.parquet", "validation.parquet"),
)
CRYPTO = Kind(
    "symbol",
    12,
    _coins,
    22,
    ("target_binned_return_20", "target_binned_return_60"),
    ("live.parquet", "live_example_preds.parquet", "train.parquet"),
    indexed=True,
)
"""Source: the listing and the columns of Numerai's crypto/v2.0, seen in November 2026. Its index: numerai-cli 1.1.7's
crypto example submits the index of live.parquet as the ids, and its signals example sets one first."""
