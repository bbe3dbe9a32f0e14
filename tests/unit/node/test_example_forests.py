"""The examples predict with packed forests: the bytes are those that LightGBM gives for the same frame."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_node.forest import Forest

lgb = pytest.importorskip("lightgbm")

TEMPLATE = Path(__file__).parents[3] / "node_template"
FEATURES = ["feature_byte", "feature_single", "feature_double"]
DATES = pd.date_range("2025-01-03", periods=40, freq="7D").strftime("%Y-%m-%d")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """An example's predict.py, in whose folder the modules are that it imports."""

    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(TEMPLATE / name)
        monkeypatch.delitem(sys.modules, "train", raising=False)
        spec = importlib.util.spec_from_file_location(name.replace("-", "_"), TEMPLATE / name / "predict.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.delitem(sys.modules, "train", raising=False)
        return module

    return load


def rows(seed: int) -> pd.DataFrame:
    """Rows of 40 dates with features of several kinds, some of them missing."""
    chance = np.random.default_rng(seed)
    count = 40 * len(DATES)
    frame = pd.DataFrame({"feature_byte": chance.integers(0, 5, count, dtype=np.int8)})
    frame["feature_single"] = chance.normal(size=count).astype(np.float32)
    frame["feature_double"] = np.where(chance.random(count) < 0.1, np.nan, chance.normal(size=count))
    frame["date"], frame["symbol"], frame["numerai_ticker"] = np.repeat(DATES, 40), "A", "A"
    for target in ("target", "target_binned_return_20"):
        frame[target] = np.round(frame["feature_byte"] + chance.normal(size=count)).clip(0, 4) / 4
    return frame


class Node:
    """What the examples ask of a node."""

    def __init__(self, folder: Path):
        self.artifacts, self.threads, self.dataset = folder, 1, SimpleNamespace(version="v9.9")
        self.sent: pd.DataFrame | None = None

    def features(self, _: str) -> list[str]:
        return FEATURES

    def frame(self, name: str, columns: list[str]) -> pd.DataFrame:
        return rows(1 if name.startswith("train") else 2)[columns].copy()

    def live(self, _: list[str]) -> pd.DataFrame:
        return rows(3)

    def remember_version(self) -> None:
        """The runtime's business."""

    def remember_training(self) -> None:
        """The runtime's business."""

    def retrain(self, program: str, days: int) -> None:
        """The runtime's business."""

    def submit(self, predictions: pd.DataFrame) -> None:
        self.sent = predictions


@pytest.mark.slow
def test_the_crypto_example_keeps_a_model_that_predicts_as_lightgbm_does(
    tmp_path: Path, example: Callable[[str], ModuleType]
) -> None:
    crypto, node = example("crypto-python3"), Node(tmp_path)
    crypto.main(node)
    live = rows(3)
    booster = lgb.Booster(model_file=str(tmp_path / "model.txt"))
    expected = booster.predict(live[FEATURES], num_threads=1)
    kept: Any = crypto.load(node, FEATURES)
    assert isinstance(kept, Forest) and kept.predict(live[FEATURES].to_numpy(), 1).tobytes() == expected.tobytes()
    ranks = (pd.Series(expected).rank(method="first") - 0.5) / len(live)
    assert node.sent is not None and node.sent["prediction"].tolist() == ranks.tolist()
    assert crypto.load(node, ["feature_other"]) is None
    (tmp_path / "model.txt").write_text("damaged")
    assert crypto.load(node, FEATURES) is None


@pytest.mark.slow
def test_the_signals_example_predicts_as_lightgbm_does(tmp_path: Path, example: Callable[[str], ModuleType]) -> None:
    signals, node = example("signals-python3"), Node(tmp_path)
    signals.main(node)
    train, live = rows(1), rows(3)
    dataset = lgb.Dataset(train[FEATURES], train["target"])
    booster = lgb.train(signals.PARAMETERS | {"num_threads": 1}, dataset, num_boost_round=signals.TREES)
    ranks = (pd.Series(booster.predict(live[FEATURES], num_threads=1)).rank() - 0.5) / len(live)
    assert node.sent is not None and node.sent["prediction"].tolist() == ranks.tolist()
