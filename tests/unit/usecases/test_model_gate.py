"""What a model predicts of the newest rows is looked at before it is deployed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.usecases.validate import Look, check_before_deploy

FEATURES = [f"feature_{number}" for number in range(4)]
EVEN = [0.2] * 5


class Model:
    """Weighs the features; what it was trained on is spread evenly over the values, or was otherwise."""

    def __init__(self, *weights: float, drift: Any = None, features: Sequence[str] = FEATURES):
        self.features, self._weights = features, weights
        self.about = {"drift": drift}

    def predict(self, rows: np.ndarray[Any, Any], eras: Sequence[str]) -> np.ndarray[Any, Any]:
        assert len(eras) == len(rows)
        return np.asarray(rows @ np.array(self._weights), dtype=float)


GOOD = Model(1, 0.3, 0.1, 0.017, drift=dict.fromkeys(FEATURES, EVEN))
UPSIDE_DOWN = Model(-1, -0.3, -0.1, -0.017, drift=dict.fromkeys(FEATURES, EVEN))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Live rows, and a benchmark that follows the first feature."""
    random = np.random.default_rng(1)
    index = pd.Index([f"n{number:05d}" for number in range(400)], name="id")
    rows = pd.DataFrame(random.integers(0, 5, (400, 4), dtype=np.int8), index=index, columns=FEATURES)
    rows.insert(0, "era", "X")
    rows.to_parquet(tmp_path / "live.parquet")
    benchmark = pd.DataFrame({"v53_lgbm_ender20": rows["feature_0"] + random.random(400)}, index=index)
    benchmark.sample(frac=1, random_state=1).to_parquet(tmp_path / "live_benchmark_models.parquet")
    return tmp_path


def look(data: Path, model: Model, deployed: Model | None = None, *, refuse: bool = True) -> Look:
    models = {"new.model": model, "old.model": deployed or model}
    before = None if deployed is None else Path("old.model")
    return check_before_deploy(
        Path("new.model"), data, before, refuse=refuse, open_model=lambda path: models[path.name]
    )


def test_a_model_that_works_is_let_through(data: Path) -> None:
    found = look(data, GOOD, GOOD)
    assert (found.findings, found.notes) == ((), ())


@pytest.mark.parametrize(
    ("model", "deployed", "words"),
    [
        (UPSIDE_DOWN, None, "upside down"),
        (Model(0, 0, 0, 0), None, "the values hardly differ"),
        (Model(1, 0, 0, 0), None, "of the rows have one value"),
        (UPSIDE_DOWN, GOOD, "rank correlation with the last ones is -1.00: these are wrong, or those"),
        (Model(1, 0.3, 0.1, 0.017, drift={"feature_2": [0, 0, 1, 0, 0]}), None, "trained on: feature_2"),
    ],
)
def test_one_that_does_not_is_refused(data: Path, model: Model, deployed: Model | None, words: str) -> None:
    with pytest.raises(NumeraiError, match=words) as caught:
        look(data, model, deployed)
    assert caught.value.code == "gate"
    assert any(words in finding.message for finding in look(data, model, deployed, refuse=False).findings)


def test_what_cannot_be_compared_is_said(data: Path) -> None:
    (data / "live_benchmark_models.parquet").unlink()
    found = look(data, Model(1, 0.3, 0.1, 0.017), Model(1, features=["feature_of_v4"]))
    assert found.findings == ()
    assert found.notes == (
        "old.model is not compared: live.parquet lacks 1 feature of it.",
        "new.model does not say what its features were in training, so drift is not looked at.",
        "There are no benchmark models beside live.parquet to compare with.",
    )


def test_without_live_rows_the_last_era_of_validation_is_taken(data: Path) -> None:
    rows = pd.read_parquet(data / "live.parquet").assign(era=["0001"] * 200 + ["0002"] * 200)
    rows.to_parquet(data / "validation.parquet")
    (data / "live.parquet").unlink()
    assert look(data, GOOD).notes == ("There are no benchmark models beside validation.parquet to compare with.",)


def test_a_file_that_is_no_model_is_one_message(data: Path, tmp_path: Path) -> None:
    (tmp_path / "new.model").write_text("nothing")
    with pytest.raises(NumeraiError, match=r"new.model is damaged, or is no model file"):
        check_before_deploy(tmp_path / "new.model", data)


def test_a_good_model_takes_the_place_of_one_that_is_upside_down(data: Path) -> None:
    found = look(data, GOOD, UPSIDE_DOWN)
    assert found.findings == ()
    (note,) = found.notes
    assert "old.model looks upside down: its rank correlation with the benchmark is -0." in note
    assert "that of new.model 0." in note


def test_without_a_benchmark_nobody_can_say_which_model_is_wrong(data: Path) -> None:
    (data / "live_benchmark_models.parquet").unlink()
    (found,) = look(data, GOOD, UPSIDE_DOWN, refuse=False).findings
    assert found.check == "previous" and "these are wrong, or those" in found.message
