"""CPU seconds of scoring: ours beside numerai-tools, in one run, as medians. Run by hand, never by a test.

python benchmarks/scoring.py [--eras 574] [--rows 4700] [--runs 3]

Measured are CORR of one prediction column, with the rows aligned and with predictions whose string ids are shuffled
(the ways to align are shown as well); all metrics of `numerai validate` on 42 features; and the largest difference from
numerai-tools' scores. numerai-tools is measured once: it takes long, and varies little beside the ratio.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numerai_compute.modelling.alignment import DataRows, IdIndex, Source
from numerai_compute.modelling.scoring import Column, EraFeatures, Eras, Scorer, summary
from numerai_tools import scoring as theirs

FEATURES = 42


def cpu(work: Callable[[], Any], runs: int = 1) -> tuple[float, Any]:
    """The median of the CPU seconds of this process, and the last result."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), result


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
    scores = [theirs.numerai_corr(era[["prediction"]], era["target"]).iloc[0] for _, era in frame.groupby("era")]
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


def by_sorting(made: Made) -> np.ndarray[Any, Any]:
    """Positions by sorting the ids as fixed-width bytes."""
    reference, asked = made.ids.astype("S16"), made.ids[made.shuffled].astype("S16")
    order = np.argsort(reference)
    return order[np.searchsorted(reference[order], asked)]


def main() -> None:
    """Print a row for each thing that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--eras", type=int, default=574)
    parser.add_argument("--rows", type=int, default=4700)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    made = Made(options.eras, options.rows)
    column = Column(made.predictions, made.sizes)
    ours(made, column)  # scipy is imported now
    in_order = made.frame.sort_values(["era", "id"])  # the least work for numerai-tools
    their_seconds, expected = cpu(lambda: by_numerai_tools(in_order))
    joined_seconds, _ = cpu(lambda: made.frame.drop(columns="prediction").join(made.sent))
    seconds, corr = cpu(lambda: ours(made, column), options.runs)
    whole_seconds, whole = cpu(lambda: aligned_first(made), options.runs)
    both = their_seconds + joined_seconds
    print(f"{options.eras} eras x {options.rows} rows, CPU seconds")
    print(f"{'':22} {'ours':>7}  numerai-tools")
    print(f"{'CORR, aligned':22} {seconds:7.2f}  {their_seconds:7.2f}  x {their_seconds / seconds:.1f}")
    print(
        f"{'CORR, shuffled ids':22} {whole_seconds:7.2f}  {both:7.2f}  x {both / whole_seconds:.1f}, with pandas' join"
    )
    print(f"{'':22} {'':7}  {their_seconds:7.2f}  x {their_seconds / whole_seconds:.1f}, without it")
    print(f"largest difference     {max(np.abs(corr - expected).max(), np.abs(whole - expected).max()):.1e}")
    print(f"all metrics, {FEATURES} features  {cpu(lambda: all_metrics(made), options.runs)[0]:7.2f}")
    asked, index = made.source.ids, IdIndex(made.rows.ids)
    ways: dict[str, Callable[[], Any]] = {
        "ours: make the tables": lambda: IdIndex(made.rows.ids),
        "ours: find all ids": lambda: index.find(asked),
        "pyarrow index_in": lambda: pc.index_in(asked, value_set=made.rows.ids).to_numpy(),
        "numpy: sort bytes": lambda: by_sorting(made),
        "pandas join": lambda: made.frame.drop(columns="prediction").join(made.sent),
    }
    for name, way in ways.items():
        print(f"  align, {name:22} {cpu(way, options.runs)[0]:7.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB, the made-up data included")


if __name__ == "__main__":
    main()
