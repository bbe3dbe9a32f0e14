"""How good a model is on validation data: Numerai's CORR per era.

As numerai-tools 0.7.2 defines it (scoring.py: numerai_corr), which takes scipy and scikit-learn along; tests hold it to
that.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from .log import log
from .ranking import rank_percentile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """CORR over eras: its mean, and its Sharpe ratio (mean / standard deviation, not annualised)."""

    corr_mean: float
    corr_sharpe: float
    eras: int


def score(eras: pd.Series[Any], targets: pd.Series[Any], predictions: pd.Series[Any]) -> Score:
    """Score predictions against targets, one CORR per era, and log the `validated` line.

    All three share one index; rows without a target are left out, and an era of equal predictions counts as 0.
    """
    import pandas as pd

    frame = pd.DataFrame({"era": eras, "target": targets, "prediction": predictions}).dropna(subset=["target"])
    corr = pd.Series(
        {
            str(era): numerai_corr(rows["prediction"].to_numpy(float), rows["target"].to_numpy(float))
            for era, rows in frame.groupby("era")
        },
        dtype=float,
    )
    deviation = float(corr.std(ddof=0))
    sharpe = float(corr.mean()) / deviation if deviation > 0 else 0.0
    result = Score(corr_mean=float(corr.mean()), corr_sharpe=sharpe, eras=len(corr))
    log("validated", corr_mean=round(result.corr_mean, 4), corr_sharpe=round(result.corr_sharpe, 4), eras=result.eras)
    return result


def numerai_corr(predictions: Floats, targets: Floats) -> float:
    """One era's CORR: the correlation of the predictions' normal quantiles with the centred targets, both to the power
    of 1.5. 0 where all predictions or all targets are the same; rows without a prediction are left out."""
    import numpy as np

    known = ~np.isnan(predictions)
    if not known.any():
        return 0.0
    ranks, place = np.unique(rank_percentile(predictions[known]), return_inverse=True)
    quantiles = np.array([NormalDist().inv_cdf(rank) for rank in ranks.tolist()])[place]
    columns = [quantiles, (targets - targets.mean())[known]]
    left, right = (np.sign(column) * np.abs(column) ** 1.5 for column in columns)
    left, right = left - left.mean(), right - right.mean()
    spread = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / spread if spread > 0 else 0.0
