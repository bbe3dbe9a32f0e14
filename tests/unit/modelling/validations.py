"""Validations as `numerai validate --output` writes them, of made scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

ERAS = [f"{number:04d}" for number in range(575, 700)]


def figures(scores: Sequence[float | None]) -> dict[str, float]:
    """What is said of one metric over all eras."""
    known = np.array([score for score in scores if score is not None])
    total = known.cumsum()
    return {
        "mean": float(known.mean()),
        "std": float(known.std()),
        "sharpe": float(known.mean() / known.std()),
        "max_drawdown": float((np.maximum.accumulate(total) - total).max()),
        "autocorrelation": float(np.corrcoef(known[1:], known[:-1])[0, 1]),
        "hit_rate": float((known > 0).mean()),
    }


def model(name: str, seed: int, **more: Any) -> dict[str, Any]:
    """A model with scores of every kind; the first 20 eras have no MMC."""
    chance = np.random.default_rng(seed)
    scores: dict[str, list[float | None]] = {
        metric: [float(value) for value in chance.normal(mean, 0.02, len(ERAS))]
        for metric, mean in (("corr", 0.02), ("mmc", 0.005), ("bmc", 0.004), ("fnc", 0.015))
    }
    scores["mmc"][:20] = [None] * 20
    counts, edges = np.histogram(chance.random(5000), 40, (0.0, 1.0))
    return {
        "name": name,
        "source": f"{name}.model",
        "metrics": {metric: figures(values) for metric, values in scores.items()},
        "windows": {window: {"corr": 0.02 + seed / 1000, "mmc": 0.005} for window in ("20", "60", "200")},
        "per_era": scores,
        "exposures": {f"feature_{number}": abs(float(chance.normal(0, 0.05))) for number in range(42)}
        | {"feature_x": None},
        "histogram": {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]},
        "training": {"preset": "small", "parameters": {"learning_rate": 0.01 * seed}, "seeds": [0, 1]},
        **more,
    }


def validation(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A validation of these models."""
    data = {"version": "v5.3", "file": "validation.parquet", "eras": ERAS, "target": "target_ender_20"}
    return {"format": 1, "data": data, "models": list(models), "notes": [], **more}
