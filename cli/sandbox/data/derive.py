"""Files that follow from the features: example predictions, benchmark models, the meta model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .parquet import write_parquet, write_whole
from .signal import predictions
from .source import Edition, ValidationSource

BENCHMARKS = ("lgbm_ender20", "lgbm_cyrusd20", "lgbm_teager2b20")
"""The benchmark models. In a file each carries its data version in front: `v53_lgbm_ender20`.
Source: the columns of Numerai's v5.3/live_benchmark_models.parquet."""
META_MODEL = "numerai_meta_model"

_EXAMPLE_FLAW = 0.5


class Derived:
    """Makes the derived files of a Classic dataset from its rows, piece by piece."""

    def __init__(self, rows: ValidationSource) -> None:
        self._rows = rows

    @staticmethod
    def names() -> list[str]:
        """The files that can be derived, without their version folder."""
        return [
            "live_benchmark_models.parquet",
            "live_example_preds.csv",
            "live_example_preds.parquet",
            "meta_model.parquet",
            "train_benchmark_models.parquet",
            "validation_benchmark_models.parquet",
            "validation_example_preds.csv",
            "validation_example_preds.parquet",
        ]

    def write(self, name: str, edition: Edition, path: Path) -> None:
        """Make one of `names()`."""
        part = name.partition("_")[0]
        if name == "meta_model.parquet":
            write_parquet(path, self.meta_model())
        elif name.endswith("_benchmark_models.parquet"):
            write_parquet(path, self.benchmarks(part, edition))
        elif name.endswith(".csv"):
            text = pd.concat(self.example_predictions(part, edition)).to_csv(lineterminator="\n")
            write_whole(path, text.encode())
        else:
            write_parquet(path, self.example_predictions(part, edition))

    def example_predictions(self, part: str, edition: Edition | None = None) -> Iterator[pd.DataFrame]:
        """Frames with `prediction` in (0, 1), indexed by id."""
        model = self._rows.signal.blurred([self._rows.seed, 100], _EXAMPLE_FLAW)
        for block in self._rows.blocks(part, model.columns, edition):
            yield pd.DataFrame({"prediction": predictions(model.value(block))}, index=block.index)

    def benchmarks(self, part: str, edition: Edition) -> Iterator[pd.DataFrame]:
        """Frames with `era` and one column for each benchmark model, indexed by id."""
        signal = self._rows.signal
        prefix = self._rows.version.replace(".", "")
        models = {
            f"{prefix}_{name}": signal.blurred([self._rows.seed, 200 + n], 0.4 + 0.2 * n)
            for n, name in enumerate(BENCHMARKS)
        }
        for block in self._rows.blocks(part, signal.columns, edition):
            values = {name: predictions(model.value(block)).astype(np.float32) for name, model in models.items()}
            yield pd.DataFrame({"era": block["era"], **values}, index=block.index)

    def meta_model(self) -> Iterator[pd.DataFrame]:
        """Frames with `era`, `data_type` and the meta model's prediction for the validation rows, indexed by id."""
        signal = self._rows.signal
        for place, block in enumerate(self._rows.blocks("validation", signal.columns)):
            noise = np.random.default_rng([self._rows.seed, 300, place]).normal(size=len(block))
            value = predictions(0.8 * signal.value(block) + 0.6 * noise)
            columns = {"era": block["era"], "data_type": "validation", META_MODEL: value}
            yield pd.DataFrame(columns, index=block.index)
