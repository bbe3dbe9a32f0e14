"""A Classic dataset made up from a seed, with the shape of Numerai's v5.3 or of another version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ..settings import DataSpec
from .derive import Derived
from .parquet import write_parquet, write_whole
from .signal import Signal, made_signal, outcome, targets
from .source import Edition, ValidationSource
from .words import feature_names, renamed

VERSION = "v5.3"
_QUANTUM_SHARE = 807 / 3555
_SMALL, _MEDIUM = 42, 780
"""Sizes of the feature sets, and the share of all features in the set `quantum`, which came with v5.3.
Source: feature_sets in Numerai's v5.3/features.json."""
MAIN_TARGET = "target"
SAME_AS_MAIN = "target_ender_20"
AUXILIARY = ("target_cyrusd_20", "target_ender_60", "target_cyrusd_60", "target_teager2b_20")
TARGETS = (MAIN_TARGET, SAME_AS_MAIN, *AUXILIARY)
_PARTS = {"train": 1, "validation": 2, "live": 3}
_NULL_SHARE = 0.15
MISSING = 2
"""What stands for a missing value since v5.3, and the middle bin too. Source: Numerai's v5.3 files, whose int8 features
hold no nulls."""


class MadeClassic(ValidationSource):
    """Rows drawn era by era; each era has its own generator, so any of them can be made again without the others.

    Every version has the same rows with the same targets. Versions before v5.3 lack the features of the set `quantum`,
    and their missing values are nulls; since v5.3 a missing value is 2, like the middle bin. With `renames` the
    features have other names, as after a major release (v4 to v5).
    """

    id_column = "id"

    def __init__(self, spec: DataSpec, version: str = VERSION, *, renames: bool = False) -> None:
        self.spec = spec
        self.seed = spec.seed
        self.version = version
        key = f"{spec!r}" if (version, renames) == (VERSION, False) else f"{spec!r}:{version}:{renames}"
        self.fingerprint = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._drawn = feature_names(spec.features)
        self._is_older = version_key(version) < version_key(VERSION)
        self._classic = spec.features - max(1, round(spec.features * _QUANTUM_SHARE))
        kept = self._drawn[: self._classic] if self._is_older else self._drawn
        self.features = [renamed(name) if renames else name for name in kept]
        self._derived = Derived(self)

    @cached_property
    def signal(self) -> Signal:
        """What the features really say; it lives among the features of the small set."""
        return made_signal(self.feature_sets()["small"], self.spec.seed)

    def feature_sets(self) -> dict[str, list[str]]:
        """Small (at most 42) within medium (at most 780) within all; and quantum, the features that v5.3 added."""
        small = min(self._classic, max(5, min(_SMALL, self.spec.features // 4)))
        medium = max(small, min(_MEDIUM, self._classic // 2))
        sets = {"small": self.features[:small], "medium": self.features[:medium], "all": list(self.features)}
        return sets if self._is_older else {**sets, "quantum": self.features[self._classic :]}

    def names(self) -> list[str]:
        own = ["features.json", "live.parquet", "train.parquet", "validation.parquet", *Derived.names()]
        return sorted(f"{self.version}/{name}" for name in own)

    def write(self, name: str, edition: Edition, path: Path) -> None:
        short = name.rpartition("/")[2]
        if short == "features.json":
            write_whole(path, json.dumps(self.features_json(), indent=1).encode())
        elif short in ("train.parquet", "validation.parquet"):
            part = short.partition(".")[0]
            write_parquet(path, (self.draw(part, era) for era in self.eras(part)))
        elif short == "live.parquet":
            write_parquet(path, [self.draw("live", edition.round_number)])
        else:
            self._derived.write(short, edition, path)

    def features_json(self) -> dict[str, object]:
        """What `features.json` holds."""
        statistics = {name: {"legacy_uniqueness": None} for name in self.features}
        return {"feature_stats": statistics, "feature_sets": self.feature_sets(), "targets": list(TARGETS)}

    def eras(self, part: str) -> range:
        """The numbers of a part's eras; validation follows train."""
        first = self.spec.eras + 1
        return range(1, first) if part == "train" else range(first, first + max(4, self.spec.eras // 4))

    def draw(self, part: str, era: int) -> pd.DataFrame:
        """All columns of one era (of one round, for live), indexed by id."""
        generator = np.random.default_rng([self.spec.seed, _PARTS[part], era])
        count = self.spec.rows_per_era
        ids = pd.Index([f"n{number:015x}" for number in generator.integers(0, 1 << 60, size=count)], name="id")
        values = generator.integers(0, 5, size=(len(self._drawn), count), dtype=np.int8)
        holes = None
        if self.spec.missing:
            holes = generator.random(values.shape, dtype=np.float32) < self.spec.missing
            values[holes] = MISSING
        frame = pd.DataFrame(values[: len(self.features)].T, index=ids, columns=self.features, copy=False)
        tail = [] if part == "live" else [self._targets(frame, generator)]
        if holes is not None and self._is_older:
            frame = frame.astype("Int8").mask(holes[: len(self.features)].T)
        head = pd.DataFrame({"era": "X" if part == "live" else f"{era:04d}", "data_type": part}, index=ids)
        return pd.concat([head, frame, *tail], axis=1)

    def blocks(self, part: str, columns: Sequence[str], edition: Edition | None = None) -> Iterator[pd.DataFrame]:
        """The rows of a part, era by era, with `era` and the columns asked for."""
        eras = self.eras(part) if edition is None or part != "live" else [edition.round_number]
        for era in eras:
            yield self.draw(part, era)[["era", *columns]]

    def live(self, edition: Edition) -> pd.DataFrame:
        return self.draw("live", edition.round_number).reset_index()[["id"]]

    def rows(self, edition: Edition) -> pd.DataFrame:
        return self.draw("live", edition.round_number)

    def _targets(self, frame: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
        latent = outcome(self.signal.value(frame), generator)
        main = targets(latent)
        columns = {MAIN_TARGET: main, SAME_AS_MAIN: main}
        for name in AUXILIARY:
            column = targets(0.8 * latent + 0.6 * generator.normal(size=len(latent)))
            column[generator.random(len(latent)) < _NULL_SHARE] = np.nan
            columns[name] = column
        return pd.DataFrame(columns, index=frame.index)


def version_key(version: str) -> tuple[int, ...]:
    """`v5.10` -> (5, 10), so that versions sort as numbers."""
    return tuple(int(part) for part in version.removeprefix("v").split("."))
