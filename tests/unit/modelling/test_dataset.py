"""Rounds files read by column blocks, and what LightGBM makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numerai_compute.errors import UsageError
from numerai_compute.modelling import dataset
from numerai_compute.modelling.dataset import build, open_file

FEATURES = [f"feature_{letter}" for letter in "abcdefghijk"]
TRAINING = {"num_leaves": 8, "learning_rate": 0.1, "feature_fraction": 0.5, "seed": 7, "num_threads": 1}


def frame(eras: Sequence[str] = ("0001", "0002", "0003", "0004"), rows: int = 300, seed: int = 1) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    count = rows * len(eras)
    values = generator.integers(0, 5, size=(count, len(FEATURES)), dtype=np.int8)
    table = pd.DataFrame(
        values, columns=FEATURES, index=pd.Index([f"n{seed}{row:08d}" for row in range(count)], name="id")
    )
    table["era"] = np.repeat(eras, rows)
    table["target"] = (values[:, 0] / 4 + generator.random(count) > 1).astype(np.float32)
    table["target_other_60"] = np.where(generator.random(count) < 0.1, np.nan, generator.random(count)).astype(
        np.float32
    )
    return table


def written(path: Path, table: pd.DataFrame, group: int = 250) -> Path:
    pq.write_table(pa.Table.from_pandas(table), path, row_group_size=group)
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return written(tmp_path / "train.parquet", frame())


def model_text(data: Any, parameters: Any) -> str:
    return lgb.train({**parameters, "verbosity": -1}, data, 12).model_to_string()


def test_trees_from_blocks_are_those_of_plain_lightgbm_on_the_whole_matrix(
    train: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 4 * 1200)
    monkeypatch.setattr(dataset, "BINNED_BYTES", 3 * 4 * 1200)
    file = open_file(train)
    built = build([file], FEATURES, set(file.eras), "target", TRAINING)
    table = frame()
    matrix = table[FEATURES].to_numpy().astype(np.float32)
    plain = lgb.Dataset(matrix, label=table["target"], feature_name=FEATURES, params=dict(built.parameters))
    ours, theirs = model_text(built.dataset, built.parameters), model_text(plain, built.parameters)
    assert ours == theirs
    assert "split_gain" in ours


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
    trees = model_text(alone.dataset, alone.parameters).partition("end of trees")[0]
    assert booster.model_to_string().partition("end of trees")[0] == trees
    errors = booster.predict(ours[FEATURES].to_numpy().astype(np.float32)) - ours["target"].to_numpy()
    assert booster.eval_valid()[0][2] == pytest.approx(float((errors**2).mean()), rel=1e-12)
    shares = np.stack([(theirs[FEATURES].to_numpy() == value).mean(axis=0) for value in range(5)], axis=1)
    assert np.allclose(built.shares, shares, atol=1e-12) and np.array_equal(built.shares, alone.shares)


def test_an_era_on_both_sides_is_refused(train: Path) -> None:
    file = open_file(train)
    with pytest.raises(UsageError, match="trained on and judged on") as error:
        build([file], FEATURES, file.eras, "target", held_out=file.eras[-1:])
    assert error.value.code == "era-on-both-sides"
