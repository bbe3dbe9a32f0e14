"""Reading features, and training on them, at any share of Numerai's size: `python -m benchmarks --only training`.

The sandbox writes the file (full size: 4 GB, about 3 minutes), once for each share where `--data` keeps it. Each way is
a process of its own. What a user would do otherwise: pandas and LGBMRegressor, as in Numerai's tutorials, or polars and
lightgbm.Dataset. A way that would take more than half of the memory that is free is left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import ROOT, Taken, emit, median, row

ERAS, ROWS_PER_ERA, FEATURES = 574, 4_700, 3_555
"""Numerai's v5.3 train.parquet: 2.7 million rows."""
TREES = 20
PARAMETERS: dict[str, Any] = {
    "num_leaves": 64,
    "max_depth": 6,
    "learning_rate": 0.01,
    "feature_fraction": 0.1,
    "num_threads": 1,
}


def write(place: Path, share: float) -> None:
    """Write train.parquet and features.json of that share of Numerai's eras, where they are not there."""
    from numerai_compute.sandbox.data.made_classic import MadeClassic
    from numerai_compute.sandbox.data.source import Edition
    from numerai_compute.sandbox.settings import DataSpec

    made = MadeClassic(DataSpec(eras=max(4, round(ERAS * share)), rows_per_era=ROWS_PER_ERA, features=FEATURES))
    place.mkdir(parents=True, exist_ok=True)
    for name in ("features.json", "train.parquet"):
        if not (place / name).exists():
            made.write(f"{made.version}/{name}", Edition(1, 20260101), place / name)


def ours(folder: Path, features: list[str]) -> list[float]:
    """Train as `numerai train` does."""
    import lightgbm as lgb
    from numerai_compute.modelling.dataset import build, open_file

    file = open_file(folder / "train.parquet")
    built = build([file], features, set(file.eras), "target", PARAMETERS)
    times: list[float] = []
    lgb.train(built.parameters, built.dataset, TREES, callbacks=[lambda _: times.append(time.process_time())])
    return times


def tutorial(folder: Path, features: list[str]) -> list[float]:
    """Train as Numerai's tutorials do."""
    import lightgbm as lgb
    import pandas as pd

    frame = pd.read_parquet(folder / "train.parquet", columns=["era", "target", *features])
    times: list[float] = []
    model = lgb.LGBMRegressor(n_estimators=TREES, verbosity=-1, **PARAMETERS)
    model.fit(frame[features], frame["target"], callbacks=[lambda _: times.append(time.process_time())])
    return times


def with_polars(folder: Path, features: list[str]) -> list[float]:
    """Train on a matrix that polars reads."""
    import lightgbm as lgb
    import polars as pl  # type: ignore[import-not-found,unused-ignore]

    frame = pl.read_parquet(folder / "train.parquet", columns=["target", *features])
    dataset = lgb.Dataset(frame.select(features).to_numpy(), frame["target"].to_numpy())
    times: list[float] = []
    parameters = PARAMETERS | {"verbosity": -1}
    lgb.train(parameters, dataset, TREES, callbacks=[lambda _: times.append(time.process_time())])
    return times


def read_ours(folder: Path, features: list[str]) -> list[float]:
    """One matrix of int8."""
    from numerai_compute.modelling.dataset import open_file, read_matrix

    file = open_file(folder / "train.parquet")
    read_matrix(file, features, file.eras)
    return []


def read_pandas(folder: Path, features: list[str]) -> list[float]:
    """One frame."""
    import pandas as pd

    pd.read_parquet(folder / "train.parquet", columns=features)
    return []


def read_polars(folder: Path, features: list[str]) -> list[float]:
    """One frame."""
    import polars as pl

    pl.read_parquet(folder / "train.parquet", columns=features)
    return []


@dataclass(frozen=True)
class Way:
    """`value_bytes` is the peak for each value, about, as it was measured: a way that would not fit is not run."""

    name: str
    work: Callable[[Path, list[str]], list[float]]
    value_bytes: float


TRAINING = (
    Way("numerai train", ours, 1.2),
    Way("tutorial: pandas, LGBMRegressor", tutorial, 20),
    Way("polars, lightgbm.Dataset", with_polars, 18),
)
READING = (
    Way("numerai, column blocks", read_ours, 1.8),
    Way("pandas.read_parquet", read_pandas, 4),
    Way("polars.read_parquet", read_polars, 1.4),
)


def measure(share: float, rounds: int, data: Path, sets: Sequence[str]) -> list[dict[str, Any]]:
    """Two rows for each feature set, each way in turn in each round; all features once."""
    place = data / f"share-{share:g}"
    subprocess.run([sys.executable, "-m", __spec__.name, "--write", str(place), "--share", str(share)], check=True)
    known = json.loads((place / "features.json").read_text())["feature_sets"]
    values = {name: max(4, round(ERAS * share)) * ROWS_PER_ERA * len(known[name]) for name in sets}
    rows = []
    for name in sets:
        often = 1 if name == "all" else rounds
        for what, ways in (("read", READING), (f"read, bin and train {TREES} trees", TRAINING)):
            rows.append(
                beside(f"{what}: {name}, {len(known[name]):,} features", ways, place, name, values[name], often)
            )
            rows[-1] |= {"share": share, "size": f"{values[name] // len(known[name]):,} rows"}
    return rows


def beside(what: str, ways: Sequence[Way], place: Path, feature_set: str, values: int, rounds: int) -> dict[str, Any]:
    """Each way that fits into the memory."""
    half = psutil.virtual_memory().available / 2
    taken = {way.name: Taken(way.name) for way in ways}
    left_out = [way for way in ways if way.value_bytes * values > half]
    trees: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            if way in left_out:
                continue
            argv = [sys.executable, "-m", __spec__.name, "--way", way.work.__name__, feature_set, "--data", str(place)]
            times = json.loads(taken[way.name].run(argv, cwd=ROOT).splitlines()[-1])
            trees[way.name] += [(times[-1] - times[0]) / (len(times) - 1)] if times else []
    said = [
        f"{way.name}: not run, it would take about {way.value_bytes * values / (1 << 30):.0f} GiB" for way in left_out
    ]
    per_tree = [f"{median(trees[way.name]):.3f}" for way in ways if trees[way.name]]
    if per_tree:
        said.insert(0, f"{' / '.join(per_tree)} s a tree")
    first, *others = (taken[way.name] for way in ways)
    return row(what, first, [one for one in others if one.cpu], "; ".join(said))


def main() -> None:
    """Measure; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sets", default="small,medium,all")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(given.write, given.share)
    elif given.way:
        work, feature_set = given.way
        features = json.loads((given.data / "features.json").read_text())["feature_sets"][feature_set]
        way = next(way for way in (*TRAINING, *READING) if way.work.__name__ == work)
        print(json.dumps(way.work(given.data, features)))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            emit(measure(given.share, given.rounds, given.data or Path(temporary), given.sets.split(",")))


if __name__ == "__main__":
    main()
