"""Numerai's scores of predictions, era by era, equal to numerai-tools' and without pandas.

Source of every formula: numerai-tools 0.7, scoring.py and signals.py; each function names its original. Where that
one raises because too few ids are in common, or returns NaN, the score here is NaN. Ids that the data do not have are
in common with nobody, even where predictions and meta model share them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

LEAST_OVERLAP = 0.8
"""The share of each side's rows that must be in common (1 - DEFAULT_MAX_FILTERED_INDEX_RATIO)."""
LEAST_LIKENESS = 0.9
"""How much a power of values must correlate with them (`power`)."""
_RCOND = 1e-6
_WELL_CONDITIONED = 1e-4
"""From which ratio of singular values on the normal equations are as good as numerai-tools' least squares."""


@dataclass(frozen=True)
class Eras:
    """Rows that are sorted by era: the names of the eras, and where each begins; `starts` has one number more."""

    names: tuple[str, ...]
    starts: NDArray[np.int64]

    def __iter__(self) -> Iterator[slice]:
        return (slice(int(first), int(end)) for first, end in zip(self.starts[:-1], self.starts[1:], strict=True))

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Column:
    """The values of one source for the data's rows, NaN where it has none. `rows` counts for each era all rows that
    the source has, those without a value and those that the data do not have included."""

    values: Floats
    rows: NDArray[np.int64]


class Scorer:
    """Scores any number of models on one target. What they share (the target, the rivals) is prepared once."""

    def __init__(self, eras: Eras, target: Floats, rivals: Mapping[str, Column] | None = None):
        """`target` has one value a row and may be NaN; `rivals` are what contributions are measured against."""
        self.eras = eras
        self.rivals = dict(rivals or {})
        self._target = target
        self._shared = [_Era(target[rows], {k: c.values[rows] for k, c in self.rivals.items()}) for rows in eras]

    def scores(self, predictions: Column) -> dict[str, Floats]:
        """`corr` and the contribution to each rival, one value an era."""
        found = {name: np.full(len(self.eras), np.nan) for name in ("corr", *self.rivals)}
        for era, rows in enumerate(self.eras):
            shared, own = self._shared[era], _Ranked(predictions.values[rows])
            count = int(predictions.rows[era])
            found["corr"][era] = shared.corr(own, count)
            for name, rival in self.rivals.items():
                found[name][era] = shared.contribution(name, own, count, int(rival.rows[era]))
        return found


class _Ranked:
    """One model's values in one era, and their gaussianized ranks."""

    def __init__(self, values: Floats):
        self.values = values
        self.known = ~np.isnan(values)
        self.whole = bool(self.known.all())
        self._all: Floats | None = None

    def gaussian(self, kept: Flags | None) -> Floats:
        """Of the rows that are kept; None keeps all."""
        if kept is not None:
            return gaussian_ranks(self.values[kept])
        if self._all is None:
            self._all = gaussian_ranks(self.values)
        return self._all


class _Era:
    """One era's target and rivals."""

    def __init__(self, target: Floats, rivals: Mapping[str, Floats]):
        self._target = target
        self._known = ~np.isnan(target)
        self._whole = bool(self._known.all())
        self._rivals = {name: _Ranked(values) for name, values in rivals.items()}
        self._centred = target - target[self._known].mean() if self._known.any() else target
        self._powered = _powered(self._centred) if self._whole else None
        self._bucketed = _bucketed(target) if self._whole else None

    def corr(self, own: _Ranked, count: int) -> float:
        """`numerai_corr` (target_pow15=True): the target is centred before rows are left out."""
        if self._whole and own.whole:
            kept, common = None, len(own.values)
        else:
            kept = self._known & own.known
            common = int(kept.sum())
        if not _enough(common, len(self._target), count):
            return np.nan
        powered = self._powered if kept is None else _powered(self._centred[kept])
        mine = _powered(own.gaussian(kept))
        return np.nan if powered is None or mine is None else pearson(powered, mine)

    def contribution(self, name: str, own: _Ranked, count: int, rival_count: int) -> float:
        """`correlation_contribution` of the predictions to the rival."""
        rival = self._rivals[name]
        if self._whole and own.whole and rival.whole:
            kept, both, common = None, len(own.values), len(own.values)
        else:
            with_rival = own.known & rival.known
            kept = with_rival & self._known
            both, common = int(with_rival.sum()), int(kept.sum())
        if not (_enough(both, rival_count, count) and _enough(common, len(self._target), both)):
            return np.nan
        bucketed = self._bucketed if kept is None else _bucketed(self._target[kept])
        return _contribution(own.gaussian(kept), rival.gaussian(kept), bucketed)


def _enough(common: int, *sides: int) -> bool:
    """`filter_sort_index`: whether the common rows are enough of each side's."""
    return all(rows > 0 and common / rows >= LEAST_OVERLAP for rows in sides)


def percentile_ranks(values: Floats) -> Floats:
    """`tie_kept_rank`: (average rank - 0.5) / rows, in (0, 1). The values hold no NaN."""
    order = np.argsort(values)
    shares = np.empty(len(values))
    shares[order] = (_average_ranks(values[order]) + 0.5) / max(1, len(values))
    return shares


def gaussian_ranks(values: Floats) -> Floats:
    """`gaussian(tie_kept_rank(...))`: the normal quantile of each percentile rank."""
    order = np.argsort(values)
    ordered = values[order]
    quantiles = np.empty(len(values))
    if _distinct(ordered):
        quantiles[order] = _quantiles(len(values))
    else:
        quantiles[order] = _ndtri((_average_ranks(ordered) + 0.5) / len(values))
    return quantiles


def _distinct(ordered: Floats) -> bool:
    return bool((ordered[1:] != ordered[:-1]).all())


def _average_ranks(ordered: Floats) -> Floats:
    """Ranks from 0 of sorted values; equal ones share the mean of theirs."""
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))[: len(ordered)])
    ends = np.append(first[1:], len(ordered))
    return np.repeat((first + ends - 1) / 2, ends - first)


@lru_cache(maxsize=1024)
def _quantiles(rows: int) -> Floats:
    """The normal quantiles of the ranks of so many distinct values."""
    return _ndtri((np.arange(rows) + 0.5) / rows)


def _ndtri(shares: Floats) -> Floats:
    from scipy.special import ndtri  # what scipy.stats.norm.ppf calls

    quantiles: Floats = ndtri(shares)
    return quantiles


def _powered(values: Floats) -> Floats | None:
    """`power(..., 1.5)`; None where that refuses: one row, or values that their power resembles too little."""
    if len(values) < 2:
        return None
    powered = values * np.sqrt(np.abs(values))
    return powered if _constant(powered) or pearson(values, powered) >= LEAST_LIKENESS else None


def _constant(values: Floats) -> bool:
    return bool(values.min() == values.max())


def _bucketed(target: Floats) -> Floats:
    """`contribution_scores`: a target of 0 to 1 becomes -2 to 2, or whatever it is, centred."""
    if len(target) and target.min() >= 0 and target.max() <= 1:
        target = target * 4
    return target - target.mean() if len(target) else target


def _contribution(own: Floats, rival: Floats, target: Floats | None) -> float:
    """`orthogonalize`, then the mean product with the centred target. The rival itself has 0, without the rounding."""
    square = rival @ rival
    if target is None or not square > 0:
        return np.nan
    if np.array_equal(own, rival):
        return 0.0
    return float((target @ own - (target @ rival) * (own @ rival) / square) / len(target))


def pearson(left: Floats, right: Floats) -> float:
    """`pearson_correlation`; NaN when either side is constant, or there are no two rows."""
    if len(left) < 2 or _constant(left) or _constant(right):
        return np.nan
    left, right = left - left.mean(), right - right.mean()
    return float(np.clip((left @ right) / np.sqrt((left @ left) * (right @ right)), -1.0, 1.0))


def spearman(left: Floats, right: Floats) -> float:
    """`spearman_correlation`: Pearson of the ranks, equal values sharing theirs."""
    return pearson(percentile_ranks(left), percentile_ranks(right))


@dataclass(frozen=True)
class FeatureScores:
    """What one era's features say of predictions: the correlation with the target once neutral to them
    (`feature_neutral_corr`), and the correlation of the percentile ranks with each feature, NaN for constant ones."""

    fnc: float
    exposures: Floats

    @property
    def exposure(self) -> float:
        """`max_feature_correlation`: the largest of all, in absolute value."""
        known = np.abs(self.exposures[~np.isnan(self.exposures)])
        return float(known.max()) if len(known) else np.nan


class EraFeatures:
    """One era's features, prepared once for all models. `features` has shape (rows, features) and no NaN."""

    def __init__(self, features: NDArray[np.int8] | Floats, target: Floats):
        self._era = _Era(target, {})
        self._features = features
        self._whole: _Basis | None = None

    def scores(self, predictions: Floats) -> FeatureScores:
        """Of one model's values in this era, NaN where it has none; rows without one are left out."""
        known = ~np.isnan(predictions)
        values, rows = predictions[known], int(known.sum())
        if rows < 2 or _constant(values):
            return FeatureScores(np.nan, np.full(self._features.shape[1], np.nan))
        basis = self._basis(known)
        neutral = np.full(len(predictions), np.nan)
        neutral[known] = basis.residual(gaussian_ranks(values))
        fnc = self._era.corr(_Ranked(neutral), rows)
        return FeatureScores(fnc, basis.correlations(percentile_ranks(values)))

    def _basis(self, known: Flags) -> _Basis:
        if not known.all():
            return _Basis(self._features[known])
        self._whole = self._whole or _Basis(self._features)
        return self._whole


class _Basis:
    """The features of some rows, centred, and what is needed to project on them."""

    def __init__(self, features: NDArray[np.int8] | Floats):
        self._matrix = np.asarray(features, dtype=np.float64)
        self._means = self._matrix.mean(axis=0)
        self._gram = self._matrix.T @ self._matrix
        self._gram -= len(features) * np.outer(self._means, self._means)
        self._varies = self._matrix.min(axis=0) < self._matrix.max(axis=0) if len(features) else self._means > 0

    def correlations(self, values: Floats) -> Floats:
        """Pearson's correlation of values with each feature; NaN for a feature that is constant."""
        centred = values - values.mean()
        found = np.full(self._matrix.shape[1], np.nan)
        if _constant(values):
            return found
        products = self._matrix.T @ centred
        variances = np.diag(self._gram)[self._varies] * (centred @ centred)
        found[self._varies] = np.clip(products[self._varies] / np.sqrt(variances), -1.0, 1.0)
        return found

    def residual(self, values: Floats) -> Floats:
        """`neutralize` with proportion 1: the values without their projection on the features and a constant.

        By the normal equations where these are well conditioned, which takes a tenth of the time, else by the very
        least squares of numerai-tools.
        """
        residual: Floats = values - values.mean()
        chosen = self._varies
        if not chosen.any():
            return residual
        matrix, rows = self._matrix[:, chosen] if not chosen.all() else self._matrix, len(values)
        roots, vectors = np.linalg.eigh(self._gram[np.ix_(chosen, chosen)])
        if rows <= 2 * matrix.shape[1] or roots[0] <= roots[-1] * _WELL_CONDITIONED**2:
            whole = np.column_stack((self._matrix, np.ones(rows)))
            residual = values - whole @ np.linalg.lstsq(whole, values, rcond=_RCOND)[0]
        else:
            weights: Floats = vectors @ ((vectors.T @ (matrix.T @ residual)) / roots)
            residual += self._means[chosen] @ weights - matrix @ weights
        return residual


def churn(earlier: Floats, later: Floats, rows: Sequence[int]) -> float:
    """`churn` of signals.py: 1 - Spearman over the common tickers; `rows` are how many each side has. NaN where that
    refuses."""
    if not _enough(len(earlier), *rows):
        return np.nan
    return 1 - spearman(earlier, later)


def neutral_weights(values: Floats, neutralizers: Floats, sample_weights: Floats) -> Floats:
    """`generate_neutralized_weights` with center_and_normalize: the portfolio that a signal makes.

    `neutralizers` has shape (rows, factors); nothing is NaN.
    """
    powered = _powered(gaussian_ranks(values))
    if powered is None:
        return np.full(len(values), np.nan)
    weights = (powered - neutralizers @ (neutralizers.T @ (sample_weights * powered))) * sample_weights
    weights = weights - weights.mean()
    total = np.abs(weights).sum()
    return weights / total if total > 0 else np.full(len(weights), np.nan)


def turnover(earlier: Floats, later: Floats, rows: Sequence[int]) -> float:
    """`turnover` of signals.py: half the change of the weights over the common tickers; NaN where that refuses."""
    if not _enough(len(earlier), *rows):
        return np.nan
    return float(np.abs(earlier - later).sum() / 2)


def summary(scores: Floats) -> dict[str, float | int | None]:
    """What a column of scores of eras comes to, those without a score left out; None for what cannot be said.

    std has no degree of freedom taken off, and sharpe = mean / std (`sharpe_ratio`). max_drawdown is the deepest fall
    of the sum below its highest so far (numerai/example-scripts, hello_numerai.ipynb); autocorrelation is between each
    era and the one before, hit_rate the share above 0.
    """
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        names = ("mean", "std", "sharpe", "max_drawdown", "autocorrelation", "hit_rate")
        return {**dict.fromkeys(names), "eras": 0}
    mean, std = float(scores.mean()), float(scores.std())
    total = scores.cumsum()
    drawdown = float((np.maximum.accumulate(total) - total).max())
    autocorrelation = pearson(scores[:-1], scores[1:])
    return {
        "mean": mean,
        "std": std,
        "sharpe": mean / std if std > 0 else None,
        "max_drawdown": drawdown,
        "autocorrelation": None if np.isnan(autocorrelation) else autocorrelation,
        "hit_rate": float((scores > 0).mean()),
        "eras": len(scores),
    }


def mean_of_last(scores: Floats, eras: int) -> float | None:
    """The mean over the last so many eras that have a score; None where none has."""
    known = scores[~np.isnan(scores)][-eras:]
    return float(known.mean()) if len(known) else None
