"""Eras that are held out: read along with those to train on, binned alike, and scored after each block."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from numerai_compute.errors import UsageError
from numerai_compute.modelling import dataset
from numerai_compute.modelling.dataset import build, open_file
from numerai_compute.modelling.held_out import HeldOutEras

from tests.unit.modelling.test_dataset import FEATURES, TRAINING, frame, model_text, trees, written


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return written(tmp_path / "train.parquet", frame())


def test_held_out_eras_are_binned_alike_and_change_nothing_of_the_trees(
    train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 4 * 1200)
    file = open_file(train)
    held, kept = file.eras[-2:], file.eras[:-2]
    built = build([file], FEATURES, kept, "target", TRAINING, held_out=held)
    alone = build([file], FEATURES, kept, "target", TRAINING)
    assert built.held_out is not None and built.held_out.era_names == held and built.era_names == kept
    assert built.rows + built.held_out.rows == len(frame()) and set(built.held_out.eras) == set(held)
    table = frame()
    ours, theirs = table[table["era"].isin(held)], table[table["era"].isin(kept)]
    booster = lgb.Booster({**built.parameters, "verbosity": -1, "metric": "l2"}, built.dataset)
    booster.add_valid(built.held_out.dataset, "held out")
    for _ in range(12):
        booster.update()
    assert trees(booster.model_to_string()) == trees(model_text(alone.dataset, alone.parameters))
    errors = booster.predict(ours[FEATURES].to_numpy().astype(np.float32)) - ours["target"].to_numpy()
    assert booster.eval_valid()[0][2] == pytest.approx(float((errors**2).mean()), rel=1e-12)
    shares = np.stack([(theirs[FEATURES].to_numpy() == value).mean(axis=0) for value in range(5)], axis=1)
    assert np.allclose(built.shares, shares, atol=1e-12) and np.array_equal(built.shares, alone.shares)


def test_an_era_on_both_sides_is_refused(train: Path) -> None:
    file = open_file(train)
    with pytest.raises(UsageError, match="trained on and judged on") as error:
        build([file], FEATURES, file.eras, "target", held_out=file.eras[-1:])
    assert error.value.code == "era-on-both-sides"


def test_rows_in_any_order_are_scored_by_era_and_an_era_without_a_score_is_left_out() -> None:
    chance = np.random.default_rng(2)
    codes = chance.permutation(np.repeat([0, 1, 2], 200)).astype(np.int32)
    target = (chance.integers(0, 5, 600) / 4).astype(np.float32)
    eras = HeldOutEras(("0007", "0008", "0009"), codes, target)
    scores = target + chance.normal(0, 1, 600)
    scores[codes == 1] = 0.5
    corr = eras.corr(scores)
    assert np.isnan(corr[1]) and eras.mean_corr(scores) == pytest.approx((corr[0] + corr[2]) / 2)
    alone = HeldOutEras(("0007",), np.zeros(200, np.int32), target[codes == 0])
    assert alone.corr(scores[codes == 0])[0] == corr[0]
    assert eras.mean_corr(np.full(600, 0.5)) is None
    assert eras.summary(scores)["eras"] == 2


def test_members_are_combined_within_each_era() -> None:
    codes = np.array([1, 0, 1, 0, 0], np.int32)
    eras = HeldOutEras(("0001", "0002"), codes, np.zeros(5, np.float32))
    first, second = np.array([9.0, 1.0, 8.0, 3.0, 2.0]), np.array([1.0, 10.0, 2.0, 30.0, 20.0])
    assert eras.combined([first, second]).tolist() == pytest.approx([0.5, 1 / 6, 0.5, 5 / 6, 0.5])
