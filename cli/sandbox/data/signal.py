"""The weak true signal in the data: what the features say about the targets, and everything computed from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

STRENGTH = 0.07
"""Correlation of the perfect prediction with the latent outcome; a model fitted on the default data reaches about
two thirds of it."""
_BINS = (0.05, 0.25, 0.75, 0.95)
_SPREAD = math.sqrt(2.0)
"""Standard deviation of a feature whose values 0..4 are equally likely."""


@dataclass(frozen=True)
class Signal:
    """A weighted sum of some features (and of products of some pairs), scaled to variance one.

    `weights` belong to `columns`; `pairs` are (first, second, weight) with indices into `columns`.
    """

    columns: tuple[str, ...]
    weights: tuple[float, ...]
    pairs: tuple[tuple[int, int, float], ...] = ()

    def value(self, frame: pd.DataFrame) -> Floats:
        """The signal of every row; missing values count as the middle."""
        wide = frame[list(self.columns)].to_numpy(dtype=np.float64)
        scaled = (np.nan_to_num(wide, nan=2.0) - 2.0) / _SPREAD
        total = scaled @ np.asarray(self.weights)
        for first, second, weight in self.pairs:
            total = total + weight * scaled[:, first] * scaled[:, second]
        scale = math.sqrt(sum(w * w for w in self.weights) + sum(w * w for _, _, w in self.pairs)) or 1.0
        result: Floats = total / scale
        return result

    def blurred(self, seed: Sequence[int], amount: float) -> Signal:
        """A flawed version of this signal, as an imperfect model would see it; `amount` 0 is no flaw at all."""
        noise = np.random.default_rng(list(seed)).normal(size=len(self.weights))
        size = float(np.sqrt(np.mean(np.square(self.weights)))) or 1.0
        weights = tuple(weight + amount * size * flaw for weight, flaw in zip(self.weights, noise, strict=True))
        return Signal(self.columns, weights)


def made_signal(columns: Sequence[str], seed: int) -> Signal:
    """A signal over at most a dozen of the features, drawn from the seed."""
    generator = np.random.default_rng([seed, 77])
    chosen = sorted(generator.choice(len(columns), size=min(12, len(columns)), replace=False).tolist())
    signs = generator.choice([-1.0, 1.0], size=len(chosen))
    weights = signs * generator.uniform(0.6, 1.4, size=len(chosen))
    pairs = tuple((i, i + 1, 0.7) for i in range(0, min(6, len(chosen) - 1), 2))
    return Signal(tuple(columns[i] for i in chosen), tuple(weights.tolist()), pairs)


def fitted_signal(columns: Sequence[str], moments: Floats) -> Signal:
    """The signal whose weights are each feature's measured covariance with the target."""
    weights = moments if np.any(moments) else np.ones(len(columns))
    return Signal(tuple(columns), tuple(float(weight) for weight in weights))


def predictions(value: Floats) -> Floats:
    """A signal turned into predictions strictly between 0 and 1."""
    result: Floats = np.clip(1.0 / (1.0 + np.exp(-1.7 * value)), 0.0005, 0.9995)
    return result


def targets(latent: Floats) -> npt.NDArray[np.float32]:
    """Numerai's five target bins: the lowest 5 % get 0, then 20 % get .25, 50 % get .5, 20 % get .75 and 5 % get 1."""
    ranks = latent.argsort().argsort()
    share = (ranks + 0.5) / max(1, len(latent))
    return (np.searchsorted(_BINS, share) / 4.0).astype(np.float32)


def outcome(value: Floats, generator: np.random.Generator, strength: float = STRENGTH) -> Floats:
    """What really happens to rows with this signal: a little of the signal and a lot of chance."""
    result: Floats = strength * value + math.sqrt(1 - strength**2) * generator.normal(size=len(value))
    return result


@dataclass(frozen=True)
class Truth:
    """What became of a round's live rows: targets as of each scoring day, the meta model and rival models.

    Every frame and series is indexed by the tournament's id. `by_day` maps day 1..20 to that day's targets.
    """

    by_day: Mapping[int, pd.Series[float]]
    meta_model: pd.Series[float]
    rivals: pd.DataFrame


RIVALS = ("benchmark_ender", "benchmark_teager", "integration_test", "steady_badger", "lucky_heron", "odd_marmot")
DAYS = tuple(range(1, 21))


def made_truth(signal: Signal, frame: pd.DataFrame, seed: Sequence[int]) -> Truth:
    """The truth about live rows, always the same for the same seed. The outcome builds up over 20 days."""
    ids, value = frame.index, signal.value(frame)
    generator = np.random.default_rng([*seed, 5])
    path = np.cumsum(generator.normal(size=(len(DAYS), len(ids))), axis=0) / math.sqrt(len(DAYS))
    chance = math.sqrt(1 - STRENGTH**2)
    by_day = {
        day: pd.Series(targets(STRENGTH * day / len(DAYS) * value + chance * path[day - 1]), index=ids, name="target")
        for day in DAYS
    }
    meta = 0.8 * value + 0.6 * generator.normal(size=len(ids))
    rivals = pd.DataFrame(
        {
            name: predictions(0.6 * signal.blurred([*seed[:1], place], 0.3 * place).value(frame) + noise)
            for place, name in enumerate(RIVALS)
            for noise in [0.4 * generator.normal(size=len(ids))]
        },
        index=ids,
    )
    return Truth(by_day, pd.Series(predictions(meta), index=ids, name="meta_model"), rivals)
