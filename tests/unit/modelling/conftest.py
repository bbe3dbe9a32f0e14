"""A small Classic dataset, as the sandbox makes it, in a folder as `numerai data download` fills it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from numerai_compute.sandbox.data.made_classic import MadeClassic
from numerai_compute.sandbox.data.source import Edition
from numerai_compute.sandbox.settings import DataSpec

BENCHMARKS = "validation_benchmark_models.parquet"
FILES = (
    "features.json",
    "live.parquet",
    "meta_model.parquet",
    "validation.parquet",
    "validation_benchmark_models.parquet",
)


@pytest.fixture(scope="session")
def classic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder v5.3 with 10 eras of validation, 0041 to 0050, of 100 rows and 24 features."""
    folder = tmp_path_factory.mktemp("data") / "v5.3"
    folder.mkdir()
    made = MadeClassic(DataSpec(rows_per_era=100, eras=40, features=24))
    for name in FILES:
        made.write(f"v5.3/{name}", Edition(1, 20261128), folder / name)
    meta = pd.read_parquet(folder / "meta_model.parquet")
    meta[meta["era"] >= "0044"].to_parquet(folder / "meta_model.parquet")  # Numerai's begins late, too
    return folder


@pytest.fixture(scope="session")
def rows(classic: Path) -> pd.DataFrame:
    """The validation rows."""
    return pd.read_parquet(classic / "validation.parquet")
