"""How good a model is on validation data: Numerai's CORR per era, as numerai-tools defines it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .log import log

if TYPE_CHECKING:
    import pandas as pd


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
    import numpy as np
    import pandas as pd
    from numerai_tools.scoring import numerai_corr

    frame = pd.DataFrame({"era": eras, "target": targets, "prediction": predictions}).dropna(subset=["target"])
    with np.errstate(invalid="ignore", divide="ignore"):
        by_era = {
            str(era): float(numerai_corr(rows[["prediction"]], rows["target"])["prediction"])
            for era, rows in frame.groupby("era")
        }
    corr = pd.Series(by_era, dtype=float).fillna(0.0)
    deviation = float(corr.std(ddof=0))
    sharpe = float(corr.mean()) / deviation if deviation > 0 else 0.0
    result = Score(corr_mean=float(corr.mean()), corr_sharpe=sharpe, eras=len(corr))
    log("validated", corr_mean=round(result.corr_mean, 4), corr_sharpe=round(result.corr_sharpe, 4), eras=result.eras)
    return result
