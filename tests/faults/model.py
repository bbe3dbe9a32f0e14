"""The model of the matrix: its predictions follow from the features alone, so that no wrong file can pass for right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 2e-6

PREDICT = """
import csv, sys
with open("live.csv", newline="") as source, open("predictions.csv", "w", newline="") as target:
    rows = csv.reader(source)
    header = next(rows)
    columns = [number for number, name in enumerate(header) if name.startswith("feature")]
    most = sum(4 * (number % 7 + 1) for number in range(len(columns)))
    out = csv.writer(target)
    out.writerow(["id", "prediction"])
    for row in rows:
        total = sum(int(row[column]) * (number % 7 + 1) for number, column in enumerate(columns))
        out.writerow([row[0], f"{0.01 + 0.98 * total / most:.6f}"])
"""
"""The same model as a program without any library, for `python -m numerai_node exec --csv`."""


def features_of(columns: Sequence[str]) -> list[str]:
    """The features among the columns of a live file, in its order."""
    return [name for name in columns if name.startswith("feature")]


def predict(live: pd.DataFrame) -> pd.Series[float]:
    """One prediction for each row of a live frame, in (0, 1), by its index."""
    import numpy as np

    features = features_of(list(live.columns))
    assert features, "there are no features to predict from"
    weights = np.arange(len(features)) % 7 + 1
    total = live[features].to_numpy(dtype=float) @ weights
    found = (0.01 + 0.98 * total / (4 * weights.sum())).round(6)
    return live.assign(prediction=found)["prediction"]


def difference(held: Mapping[str, float], right: Mapping[str, float]) -> str | None:
    """What is wrong with predictions that Numerai holds; None when they are the right ones."""
    if held.keys() != right.keys():
        return f"{len(held.keys() ^ right.keys())} ids differ"
    wrong = sum(not abs(held[each] - right[each]) <= TOLERANCE for each in right)  # what is NaN is wrong, too
    return f"{wrong} of {len(right)} predictions differ" if wrong else None
