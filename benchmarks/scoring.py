"""Scoring predictions: ours beside numerai-tools, in one run. `python -m benchmarks --only scoring` runs it.

CORR of one prediction column, with the rows aligned and with predictions whose string ids are shuffled (pandas' join is
what numerai-tools' users do), and all metrics of `numerai validate` on 42 features.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import argparse
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numerai_compute.modelling.alignment import DataRows, Source
from numerai_compute.modelling.scoring import Column, EraFeatures, Eras, Scorer, summary
from numerai_tools import scoring as tools

from benchmarks.measuring import Taken, emit, row

ERAS, ROWS, FEATURES = 574, 4_700, 42
"""Numerai's v5.3 train.parquet, and its feature set `small`."""


class Made:
    """Rows with made-up ids, targets, features and predictions; the predictions come shuffled, too."""

    def __init__(self, eras: int, rows: int):
        random, count = np.random.default_rng(1), eras * rows
        self.eras = Eras(tuple(f"{era:04d}" for era in range(1, eras + 1)), np.arange(eras + 1) * rows)
        self.sizes = np.full(eras, rows)
        self.target = random.choice([0, 0.25, 0.5, 0.75, 1], count, p=[0.05, 0.2, 0.5, 0.2, 0.05])
        self.predictions, self.meta, self.benchmark = random.random((3, count))
        self.features = random.integers(0, 5, (count, FEATURES), dtype=np.int8)
        self.ids = np.array([f"n{number:015x}" for number in random.permutation(count)])
        self.shuffled = random.permutation(count)
        self.rows = DataRows("data", pa.array(self.ids, pa.large_string()), self.eras)
        self.frame = pd.DataFrame(
            {"era": np.repeat(self.eras.names, rows), "target": self.target, "prediction": self.predictions},
            index=pd.Index(self.ids, name="id"),
        )
        self.sent = self.frame["prediction"].iloc[self.shuffled]
        self.source = Source("sent", pa.array(self.ids[self.shuffled], pa.large_string()))


def by_numerai_tools(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """CORR per era, as its users compute it."""
    scores = [tools.numerai_corr(era[["prediction"]], era["target"]).iloc[0] for _, era in frame.groupby("era")]
    return np.array(scores)


def ours(made: Made, predictions: Column) -> np.ndarray[Any, Any]:
    """CORR per era, everything that is prepared included."""
    return Scorer(made.eras, made.target).scores(predictions)["corr"]


def aligned_first(made: Made) -> np.ndarray[Any, Any]:
    """CORR per era of the shuffled predictions."""
    rows = DataRows("data", made.rows.ids, made.eras)  # its index is made anew
    column = made.source.column(rows, made.source.places(rows), made.sent.to_numpy())
    return ours(made, column)


def all_metrics(made: Made) -> dict[str, Any]:
    """CORR, MMC, BMC, FNC and exposure with their summaries."""
    rivals = {"mmc": Column(made.meta, made.sizes), "bmc": Column(made.benchmark, made.sizes)}
    scores = Scorer(made.eras, made.target, rivals).scores(Column(made.predictions, made.sizes))
    found = [
        EraFeatures(made.features[block], made.target[block]).scores(made.predictions[block]) for block in made.eras
    ]
    scores |= {"fnc": np.array([one.fnc for one in found]), "exposure": np.array([one.exposure for one in found])}
    return {name: summary(values) for name, values in scores.items()}


def measure(share: float, rounds: int) -> list[dict[str, Any]]:
    """A row for each thing that is scored, each way in turn in each round."""
    made = Made(max(4, round(ERAS * share)), ROWS)
    column = Column(made.predictions, made.sizes)
    in_order = made.frame.sort_values(["era", "id"])  # the least work for numerai-tools
    expected, few = by_numerai_tools(in_order[in_order["era"] <= "0020"]), slice(0, 20)
    found = (ours(made, column)[few], aligned_first(made)[few])  # scipy is imported now, too
    difference = max(float(np.abs(one - expected).max()) for one in found)
    aligned, whole, metrics = (Taken("numerai validate") for _ in range(3))
    theirs, joined = Taken("numerai-tools"), Taken("numerai-tools and pandas' join")
    alone = Taken("numerai-tools, aligned already")
    for _ in range(rounds):
        aligned.fork(lambda: ours(made, column))
        theirs.fork(lambda: by_numerai_tools(in_order))
        whole.fork(lambda: aligned_first(made))
        joined.fork(lambda: by_numerai_tools(made.frame.drop(columns="prediction").join(made.sent)))
        metrics.fork(lambda: all_metrics(made))
    alone.cpu, alone.wall, alone.mib = theirs.cpu, theirs.wall, theirs.mib
    size = f"{len(made.target):,} rows"
    same = f"largest difference {difference:.0e}"
    return [
        row("CORR, rows aligned", aligned, [theirs], same, share, size),
        row("CORR, string ids shuffled", whole, [joined, alone], same, share, size),
        row("CORR, MMC, BMC, FNC and exposure", metrics, [], "", share, size),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    emit(measure(options.share, options.rounds))
