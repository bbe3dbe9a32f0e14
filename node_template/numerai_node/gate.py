"""The gate: whether predictions look like what their owner means to send. Pure; Numerai's own rules are in rules.py.

A model that is broken still makes predictions that Numerai takes: all but constant, of features that are missing,
upside down, or yesterday's. Each check looks for one such thing and answers with a finding, or with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .ranking import rank_percentile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

BINS = 5
"""Features are the whole numbers 0..4."""
BENCHMARK = "lgbm_ender20"
"""How the benchmark ends that predictions are compared with. Source: the columns of Numerai's
v5.3/live_benchmark_models.parquet and validation_benchmark_models.parquet."""


@dataclass(frozen=True)
class Limits:
    """Beyond what something is found. None of them is Numerai's: they are what a working model keeps easily."""

    rows: float = 0.8
    """At least this share of the expected rows. numerai-tools scores an era only with so many (scoring.py)."""
    deviation: float = 1e-4
    """At least this standard deviation; Numerai refuses below 1e-8."""
    tied: float = 0.1
    """At most this share of the rows has one value."""
    ends: float = 0.02
    """At most this share of the rows has the lowest value, or the highest: more were cut off there."""
    benchmark: float = 0.0
    """At least this rank correlation with the benchmark, less what chance makes of it: further below 0 a model is most
    likely upside down."""
    chance: float = 3.0
    """So many standard deviations of the rank correlation of values that have nothing to do with each other, which is
    1/sqrt(rows - 1) (Kendall, Rank Correlation Methods, 1948): 0.04 on the rows of a day."""
    previous: float = 0.5
    """At least this rank correlation with what was sent last."""
    repeated: float = 0.999999
    """At most this one: above it, the last predictions are sent again."""
    drift: float = 0.25
    """At most this population stability index of a feature. 0.25 is the usual word for a shift that matters (Siddiqi,
    Credit Risk Scorecards, 2006)."""
    drifted: float = 0.05
    """At most this share of the features has drifted."""


@dataclass(frozen=True)
class Facts:
    """What is known of predictions. What is None, or empty, is not looked at.

    `benchmark` and `previous` are two columns, ours and the other's, of the rows that both have; `drift` gives features
    their share of each value 0..4 in training and now.
    """

    values: Floats
    expected_rows: int | None = None
    benchmark: tuple[Floats, Floats] | None = None
    previous: tuple[Floats, Floats] | None = None
    drift: Mapping[str, tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """Something that a working model would hardly do: the check that found it, in words, and the number with its
    limit."""

    check: str
    message: str
    value: float
    limit: float


def look(facts: Facts, limits: Limits | None = None) -> list[Finding]:
    """All that the checks find."""
    return [finding for check in CHECKS for finding in check(facts, limits or Limits())]


def _rows(facts: Facts, limits: Limits) -> Iterator[Finding]:
    rows, expected = len(facts.values), facts.expected_rows
    if expected and rows < limits.rows * expected:
        share = rows / expected
        yield Finding("rows", f"there are {rows} rows, and {expected} were expected", share, limits.rows)


def _dispersion(facts: Facts, limits: Limits) -> Iterator[Finding]:
    deviation = float(facts.values.std()) if len(facts.values) else 0.0
    if deviation < limits.deviation:
        yield Finding(
            "dispersion", f"the values hardly differ: standard deviation {deviation:.2g}", deviation, limits.deviation
        )


def _ties(facts: Facts, limits: Limits) -> Iterator[Finding]:
    import numpy as np

    values, counts = np.unique(facts.values, return_counts=True)
    if not len(values):
        return
    share = float(counts.max()) / len(facts.values)
    if share > limits.tied:
        value = values[int(counts.argmax())]
        yield Finding("ties", f"{share:.0%} of the rows have one value, {value:.6g}", share, limits.tied)


def _tails(facts: Facts, limits: Limits) -> Iterator[Finding]:
    if len(facts.values) < 1 / limits.ends:
        return
    for name, end in (("lowest", facts.values.min()), ("highest", facts.values.max())):
        share = float((facts.values == end).mean())
        if share > limits.ends:
            message = f"{share:.0%} of the rows have the {name} value, {end:.6g}, as if they were cut off there"
            yield Finding("tails", message, share, limits.ends)


def _benchmark(facts: Facts, limits: Limits) -> Iterator[Finding]:
    value = likeness(facts.benchmark)
    if facts.benchmark is None or value is None:
        return
    least = limits.benchmark - limits.chance / (len(facts.benchmark[0]) - 1) ** 0.5
    if value < least:
        message = f"the rank correlation with the benchmark is {value:.2f}, as if they were upside down"
        yield Finding("benchmark", message, value, least)


def _previous(facts: Facts, limits: Limits) -> Iterator[Finding]:
    value = likeness(facts.previous)
    if value is None:
        return
    if value < limits.previous:
        message = f"the rank correlation with the last ones is {value:.2f}: these are wrong, or those"
        yield Finding("previous", message, value, limits.previous)
    elif value > limits.repeated:
        yield Finding("repeated", "they are the last ones again", value, limits.repeated)


def drift(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """The check of the features alone."""
    found = {name: stability_index(*shares) for name, shares in facts.drift.items()}
    drifted = sorted((name for name, index in found.items() if index > limits.drift), key=lambda name: -found[name])
    share = len(drifted) / len(found) if found else 0.0
    if share > limits.drifted:
        named = ", ".join(f"{name} ({found[name]:.2f})" for name in drifted[:3])
        more = f", and {len(drifted) - 3} more" if len(drifted) > 3 else ""
        yield Finding("drift", f"features are not what the model was trained on: {named}{more}", share, limits.drifted)


CHECKS: tuple[Callable[[Facts, Limits], Iterator[Finding]], ...] = (
    _rows,
    _dispersion,
    _ties,
    _tails,
    _benchmark,
    _previous,
    drift,
)


def likeness(columns: tuple[Floats, Floats] | None) -> float | None:
    """Spearman's correlation; None without two columns that both vary, or with too few rows to tell."""
    import numpy as np

    if columns is None or len(columns[0]) < 10:
        return None
    own, other = rank_percentile(columns[0]), rank_percentile(columns[1])
    if own.min() == own.max() or other.min() == other.max():
        return None
    return float(np.corrcoef(own, other)[0, 1])


def shares_of(matrix: npt.NDArray[Any], features: Sequence[str]) -> dict[str, list[float]]:
    """The share of each value 0..4 in each feature; `matrix` has shape (rows, features)."""
    import numpy as np

    rows = max(1, len(matrix))
    counts = (np.bincount(column.astype(np.int64), minlength=BINS)[:BINS] for column in matrix.T)
    return {name: (count / rows).tolist() for name, count in zip(features, counts, strict=True)}


def stability_index(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two distributions over the same values: the sum of (now - before) x ln(now /
    before), where a share below 0.01 % counts as that."""
    import numpy as np

    old, new = (np.maximum(np.asarray(shares, dtype=np.float64), 1e-4) for shares in (before, now))
    return float(((new - old) * np.log(new / old)).sum())
