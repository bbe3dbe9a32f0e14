"""CORR of raw scores on the eras that are held out of a training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .runtime import combine
from .scoring import Column, Eras, Scorer, summary

Floats = npt.NDArray[np.float64]


class HeldOutEras:
    """The held-out rows' eras and target, sorted once. Scores come in the rows' own order."""

    def __init__(self, names: Sequence[str], codes: npt.NDArray[np.int32], target: npt.NDArray[np.float32]):
        """Row i is of era `names[codes[i]]`."""
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._order], np.arange(len(names) + 1))
        self._scorer = Scorer(Eras(tuple(names), self._starts), target[self._order].astype(np.float64))

    def corr(self, scores: Floats) -> Floats:
        """CORR of each era; NaN where it cannot be said, as of an era whose scores are all the same."""
        column = Column(scores[self._order], np.diff(self._starts))
        return self._scorer.scores(column)["corr"]

    def mean_corr(self, scores: Floats) -> float | None:
        """The mean over the eras that have one, None where none has."""
        corr = self.corr(scores)
        return float(np.nanmean(corr)) if not np.isnan(corr).all() else None

    def combined(
        self, raw: Sequence[Floats], explain: npt.NDArray[np.int8] | None = None, proportion: float = 0.0
    ) -> Floats:
        """Several members' raw scores as the one prediction that a node makes of them, era by era; `explain` are the
        features (rows, features) that it is neutralized against."""
        result = np.empty(len(self._order))
        for start, end in zip(self._starts[:-1], self._starts[1:], strict=True):
            rows = self._order[start:end]
            part = None if explain is None else explain[rows]
            result[rows] = combine([scores[rows] for scores in raw], [1.0] * len(raw), part, proportion)
        return result

    def summary(self, scores: Floats) -> dict[str, float | int | None]:
        """Mean, standard deviation, sharpe and so on of CORR over the eras."""
        return summary(self.corr(scores))
