"""Rounds files read by column blocks, and what LightGBM makes of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.modelling import dataset, footer
from numerai_compute.modelling.dataset import build, matrix_blocks, open_file, read_matrix
from numerai_compute.modelling.eras import purge_of, split
from numerai_compute.modelling.feature_sets import read_feature_sets
from numerai_compute.sandbox.data.made_universe import CRYPTO, SIGNALS, Kind, MadeUniverse
from numerai_compute.sandbox.data.source import Edition

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
    text: str = lgb.train({**parameters, "verbosity": -1}, data, 12).model_to_string()
    return text


def trees(text: str) -> str:
    return text.partition("\nparameters:")[0]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four features, binned three at a time: of eleven features none divides evenly."""
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 4 * 1200)
    monkeypatch.setattr(dataset, "BINNED_BYTES", 3 * 4 * 1200)


@pytest.mark.usefixtures("narrow")
def test_trees_from_blocks_are_those_of_plain_lightgbm_on_the_whole_matrix(train: Path) -> None:
    file = open_file(train)
    built = build([file], FEATURES, set(file.eras), "target", TRAINING)
    table = frame()
    matrix = table[FEATURES].to_numpy().astype(np.float32)
    ours = model_text(built.dataset, built.parameters)
    same = lgb.Dataset(matrix, label=table["target"], feature_name=FEATURES, params=dict(built.parameters))
    assert ours == model_text(same, built.parameters)
    usual = lgb.Dataset(matrix, label=table["target"], feature_name=FEATURES, params=TRAINING)
    assert trees(ours) == trees(model_text(usual, TRAINING))
    other = lgb.Dataset(matrix[:, ::-1], label=table["target"], feature_name=FEATURES, params=TRAINING)
    assert trees(ours) != trees(model_text(other, TRAINING))


@pytest.mark.usefixtures("narrow")
def test_rare_values_and_constant_features_make_the_same_trees_too(tmp_path: Path) -> None:
    table = frame()
    table[FEATURES[1]] = np.int8(2)
    table[FEATURES[2]] = np.where(np.arange(len(table)) == 700, 4, 2).astype(np.int8)
    table[FEATURES[3]] = np.where(np.arange(len(table)) % 10 == 0, 3, 0).astype(np.int8)
    file = open_file(written(tmp_path / "train.parquet", table))
    built = build([file], FEATURES, set(file.eras), "target", TRAINING)
    matrix = table[FEATURES].to_numpy().astype(np.float32)
    plain = lgb.Dataset(matrix, label=table["target"], feature_name=FEATURES, params=dict(built.parameters))
    assert model_text(built.dataset, built.parameters) == model_text(plain, built.parameters)


@pytest.mark.usefixtures("narrow")
def test_wanted_eras_of_several_files_are_joined_in_the_order_of_the_files(tmp_path: Path) -> None:
    first, second = frame(("0001", "0002")), frame(("0010", "0011"), seed=2)
    files = [open_file(written(tmp_path / f"{n}.parquet", table)) for n, table in enumerate((first, second))]
    built = build(files, FEATURES, {"0002", "0010"}, "target", TRAINING)
    table = pd.concat([first[first["era"] == "0002"], second[second["era"] == "0010"]])
    assert built.rows == len(table)
    assert list(built.eras) == list(table["era"])
    assert np.array_equal(built.targets["target"], table["target"])
    matrix = table[FEATURES].to_numpy().astype(np.float32)
    plain = lgb.Dataset(matrix, label=table["target"], feature_name=FEATURES, params=dict(built.parameters))
    assert model_text(built.dataset, built.parameters) == model_text(plain, built.parameters)


def test_rows_without_a_target_are_left_out_and_counted(train: Path) -> None:
    file, table = open_file(train), frame()
    empty = int(table["target_other_60"].isna().sum())
    built = build([file], FEATURES, set(file.eras), ["target_other_60", "target"], TRAINING)
    assert dict(built.dropped) == {"target_other_60": empty, "target": 0}
    assert built.rows == len(table) - empty == built.dataset.num_data()
    kept = table[table["target_other_60"].notna()]
    assert np.array_equal(built.targets["target"], kept["target"])
    assert np.array_equal(built.dataset.get_label(), kept["target_other_60"])


def test_matrices_for_prediction_are_the_file_in_its_order(train: Path) -> None:
    file, table = open_file(train), frame()
    wanted = table[table["era"].isin(["0002", "0004"])]
    some = [FEATURES[5], FEATURES[0]]
    matrix = read_matrix(file, some, {"0002", "0004"})
    assert matrix.dtype == np.int8
    assert np.array_equal(matrix, wanted[some].to_numpy())
    parts = list(matrix_blocks(file, some, {"0002", "0004"}, rows=70))
    assert max(len(part.matrix) for part in parts) <= 70
    assert np.array_equal(np.concatenate([part.matrix for part in parts]), matrix)
    assert list(np.concatenate([part.eras for part in parts])) == list(wanted["era"])
    assert sum(len(part.matrix) for part in matrix_blocks(file, some)) == len(table) == file.rows()


def test_ids_and_targets_are_read_apart_from_features(train: Path) -> None:
    file, table = open_file(train), frame()
    assert (file.id_column, file.eras) == ("id", ("0001", "0002", "0003", "0004"))
    found = file.read(["id", "target_other_60"], {"0003"})
    wanted = table[table["era"] == "0003"]
    assert list(found["id"]) == list(wanted.index)
    assert np.array_equal(found["target_other_60"], wanted["target_other_60"], equal_nan=True)
    assert file.rows({"0003"}) == len(wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "features"), [(SIGNALS, 20), (CRYPTO, 22)])
def test_tournaments_whose_eras_are_dates_are_built_and_split_by_weeks(
    tmp_path: Path, kind: Kind, features: int
) -> None:
    made = MadeUniverse(kind, 1, 120, 30, "signals/v3.1" if kind is SIGNALS else "crypto/v2.0")
    made.write(f"{made.version}/train.parquet", Edition(1, 20260101), tmp_path / "train.parquet")
    file = open_file(tmp_path / "train.parquet")
    assert (len(file.eras), file.id_column, len(file.feature_columns())) == (30, kind.id_column, features)
    halves = split(file.eras, 4, purge_of(kind.targets[0]))
    built = build([file], file.feature_columns(), set(halves.train), kind.targets[0], TRAINING)
    assert built.rows == 120 * (30 - 4 - 8)
    assert tuple(built.era_names) == halves.train


@pytest.mark.parametrize("kind", ["Int8", "float32", "float64", "Int64"])
def test_a_2_stays_and_only_what_is_empty_becomes_one(tmp_path: Path, kind: str) -> None:
    table = frame()
    whole = table[FEATURES[0]].to_numpy().copy()
    table = table.astype({FEATURES[0]: kind})
    table.iloc[3:9, 0] = pd.NA if kind.startswith("Int") else np.nan
    file = open_file(written(tmp_path / "old.parquet", table))
    expected = whole.copy()
    expected[3:9] = 2
    assert np.array_equal(read_matrix(file, FEATURES[:1], set(file.eras))[:, 0], expected)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([0, 1, 5], np.int8), "holds 0 to 5; features are 0 to 4"),
        (np.array([-1, 1, 4], np.int8), "holds -1 to 4; features are 0 to 4"),
        (np.array([0, 300, 4], np.int32), "holds 0 to 300"),
        (np.array([0, 0.25, 1.0], np.float32), "holds quarters"),
        (np.array([0, 0.3, 1.0], np.float32), "holds fractions"),
        (np.array([0, 7.0, 300.0], np.float32), "holds 0 to 300"),
        (np.array([0, np.inf, 1], np.float32), "holds 0 to inf"),
        (np.array(["a", "b", "c"], object), "no numbers"),
    ],
)
def test_values_that_no_feature_has_are_refused_by_the_columns_name(
    tmp_path: Path, values: np.ndarray, said: str
) -> None:
    table = pd.DataFrame({"era": "0001", "feature_a": np.int8(1), "feature_b": values, "target": 0.5})
    file = open_file(written(tmp_path / "bad.parquet", table))
    with pytest.raises(NumeraiError, match=said) as refused:
        build([file], ["feature_a", "feature_b"], {"0001"}, "target")
    assert "feature_b" in refused.value.message
    assert (refused.value.code, bool(refused.value.hint)) == ("data-values", True)
    assert read_matrix(file, ["feature_a"], {"0001"}).sum() == 3


def test_a_column_that_is_not_there_is_named_with_the_one_that_was_meant(train: Path) -> None:
    file = open_file(train)
    with pytest.raises(NumeraiError, match="has no column feature_aa") as refused:
        build([file], ["feature_aa"], set(file.eras), "target")
    assert (refused.value.code, refused.value.hint) == (
        "data-column-missing",
        "Did you mean feature_a, feature_k or feature_j?",
    )
    with pytest.raises(NumeraiError, match="has no column taget"):
        build([file], FEATURES, set(file.eras), "taget")


@pytest.mark.parametrize("kept", [0, 3, 1000, -20])
def test_a_damaged_file_is_one_message(train: Path, kept: int) -> None:
    content = train.read_bytes()
    train.write_bytes(content[:kept])
    with pytest.raises(NumeraiError, match="cannot be read") as refused:
        open_file(train)
    assert (refused.value.code, "numerai data download" in (refused.value.hint or "")) == ("data-unreadable", True)


def test_damage_in_the_midst_of_a_file_is_found_when_it_is_read(train: Path) -> None:
    content = bytearray(train.read_bytes())
    content[4:2000] = b"\xff" * 1996
    train.write_bytes(content)
    file = open_file(train)
    with pytest.raises(NumeraiError, match="cannot be read"):
        build([file], FEATURES, set(file.eras), "target")


def test_a_file_without_eras_and_no_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(NumeraiError, match="There is no file") as refused:
        open_file(tmp_path / "none.parquet")
    assert refused.value.code == "data-missing"
    without = written(tmp_path / "without.parquet", frame().drop(columns="era"))
    with pytest.raises(NumeraiError, match="has no column era"):
        open_file(without)


def test_eras_that_are_nowhere_or_twice_are_refused(tmp_path: Path, train: Path) -> None:
    file = open_file(train)
    with pytest.raises(UsageError, match="No file has 1 of these eras: 0009"):
        build([file], FEATURES, {"0001", "0009"}, "target")
    twice = open_file(written(tmp_path / "twice.parquet", frame(("0004", "0005"))))
    with pytest.raises(UsageError, match=r"Era 0004 is in train.parquet and in twice.parquet"):
        build([file, twice], FEATURES, {"0004"}, "target")
    with pytest.raises(NumeraiError, match="has no era 0009"):
        read_matrix(file, FEATURES, {"0009"})


def test_eras_are_in_the_order_of_their_numbers_and_live_comes_last(tmp_path: Path) -> None:
    file = open_file(written(tmp_path / "odd.parquet", frame(("10", "9", "X"))))
    assert file.eras == ("9", "10", "X")
    with pytest.raises(NumeraiError, match="No row of 1 era has a value of target"):
        build([open_file(written(tmp_path / "e.parquet", frame().assign(target=np.nan)))], FEATURES, {"0001"}, "target")


def test_a_large_footer_is_cut_and_what_is_read_stays_the_same(train: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_file(train)
    monkeypatch.setattr(footer, "LARGE", 1)
    cut = open_file(train)
    assert (cut.columns, cut.eras, cut.rows()) == (whole.columns, whole.eras, whole.rows())
    columns = [FEATURES[7], FEATURES[2]]
    assert np.array_equal(read_matrix(cut, columns, {"0002"}), read_matrix(whole, columns, {"0002"}))
    assert list(cut.read(["id"])["id"]) == list(whole.read(["id"])["id"])
    cut_footer = footer.large_footer(train)
    assert cut_footer is not None
    assert (cut_footer.of(["target", "era"]).num_columns, cut_footer.of(["era"], [1]).num_rows) == (2, 250)
    blocks = [list(matrix_blocks(file, columns, {"0002", "0004"}, 70)) for file in (cut, whole)]
    assert all(np.array_equal(one.matrix, other.matrix) for one, other in zip(*blocks, strict=True))


def test_a_footer_with_columns_in_columns_is_left_to_pyarrow(tmp_path: Path) -> None:
    table = pa.table({"era": ["0001"], "nested": [{"a": 1, "b": [1, 2]}]})
    pq.write_table(table, tmp_path / "nested.parquet")
    assert footer.large_footer(tmp_path / "nested.parquet", 1) is None


@pytest.mark.skipif("NUMERAI_REAL_DATA" not in os.environ, reason="NUMERAI_REAL_DATA names no folder with genuine rows")
def test_genuine_rows_train_as_plain_lightgbm_does() -> None:
    folder = Path(os.environ["NUMERAI_REAL_DATA"])
    names = read_feature_sets(folder / "features.json").features("medium")
    file = open_file(folder / "train.parquet")
    built = build([file], names, set(file.eras), "target", TRAINING)
    table = pd.read_parquet(folder / "train.parquet")
    kept = table[table["target"].notna()]
    plain = lgb.Dataset(kept[names].astype(np.float32), label=kept["target"], params=TRAINING)
    assert trees(model_text(built.dataset, built.parameters)) == trees(model_text(plain, TRAINING))
    assert built.rows == len(kept)
