"""Ranks of predictions as Numerai ranks them: all that counts of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


def rank_percentile(values: Floats) -> Floats:
    """(average rank - 0.5) / number: inside (0, 1), ties alike. `ValueError` where a value is no number."""
    import numpy as np

    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} of the {len(values)} predictions are no numbers")
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - count / 2)[place] / len(values)
    return ranks
