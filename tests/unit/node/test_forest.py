"""Packed forests predict the very bytes that LightGBM predicts, whatever the model and the values are."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_node import forest
from numerai_node.errors import ConfigurationError
from numerai_node.forest import Boosted, Forest, NotPackable, cached, file_predictor, predictor

Matrix = npt.NDArray[Any]
TINY = 1e-36
"""LightGBM takes it for 0."""
VALUES = {
    "bins": [0, 1, 2, 3, 4],
    "signs": [-2.5, -1, 0, 1, 2.5],
    "tiny": [-1, -TINY, 0, TINY, 1],
    "missing": [0, 1, 2, np.nan],
    "signs and missing": [-1, 0, 1, np.nan],
    "many": list(np.linspace(-1, 1, 97)),
}


def table(values: str, rows: int, seed: int, features: int = 5) -> Matrix:
    return np.random.default_rng(seed).choice(np.array(VALUES[values], dtype=np.float64), (rows, features))


def trained(matrix: Matrix, trees: int = 5, **parameters: Any) -> lgb.Booster:
    target = np.nan_to_num(matrix[:, 0]) * 0.3 + np.isnan(matrix[:, 1]) + np.cos(np.nan_to_num(matrix[:, 2]) * 3)
    target += np.random.default_rng(1).normal(size=len(matrix)) * 0.1
    if parameters.get("objective") in ("lambdarank", "rank_xendcg"):
        data = lgb.Dataset(matrix, np.digitize(target, [0, 1]), group=[len(matrix)])
    else:
        data = lgb.Dataset(matrix, target)
    fixed = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "min_data_in_bin": 1}
    return lgb.train(fixed | parameters, data, trees)


def packed(booster: lgb.Booster) -> Forest:
    return Forest.of_text(booster.model_to_string().encode())


def assert_same(booster: lgb.Booster, matrix: Matrix, threads: int = 1) -> None:
    expected = booster.predict(matrix, num_threads=1)
    assert packed(booster).predict(matrix, threads).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.slow
@settings(max_examples=150)
@given(
    learnt=st.sampled_from(sorted(VALUES)),
    asked=st.sampled_from(sorted(VALUES)),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["float64", "float32"]),
    parameters=st.fixed_dictionaries(
        {
            "num_leaves": st.sampled_from([2, 3, 8, 31, 70]),
            "max_depth": st.sampled_from([-1, 1, 3, 6]),
            "zero_as_missing": st.booleans(),
            "use_missing": st.booleans(),
            "boost_from_average": st.booleans(),
            "extra_trees": st.booleans(),
            "feature_fraction": st.sampled_from([0.4, 1.0]),
            "lambda_l1": st.sampled_from([0, 5]),
            "max_bin": st.sampled_from([3, 5, 255]),
            "objective": st.sampled_from(
                ["regression", "l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"]
            ),
            "boosting": st.sampled_from(["gbdt", "dart", "rf"]),
            "bagging_fraction": st.just(0.7),
            "bagging_freq": st.just(1),
            "seed": st.integers(0, 5),
        }
    ),
)
def test_any_model_predicts_the_same_bytes(
    learnt: str, asked: str, seed: int, kind: str, parameters: dict[str, Any]
) -> None:
    matrix = table(learnt, 150, seed)
    if parameters["boosting"] == "rf" and parameters["objective"] in ("lambdarank", "rank_xendcg"):
        parameters["boosting"] = "gbdt"
    booster = trained(matrix, **parameters)
    for values in (learnt, asked):
        assert_same(booster, table(values, 130, seed + 1).astype(kind))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "bool", "float16", "float32", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_number_is_read_as_lightgbm_reads_it(dtype: str, order: Any) -> None:
    booster = trained(table("bins", 200, 1), zero_as_missing=True, num_leaves=20)
    matrix = np.array(table("bins", 500, 2).astype(dtype), order=order)
    asked = matrix.astype(np.float32) if dtype == "float16" else matrix  # which LightGBM does not take
    assert packed(booster).predict(matrix).tobytes() == np.asarray(booster.predict(asked, num_threads=1)).tobytes()


def test_integers_that_no_float_can_hold_are_rounded_as_lightgbm_rounds_them() -> None:
    matrix = np.random.default_rng(0).integers(2**24, 2**24 + 9, (300, 3))
    booster = trained(matrix.astype(np.float64), num_leaves=8, max_bin=255)
    assert_same(booster, matrix)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
def test_the_number_of_rows_and_threads_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, rows: int, threads: int
) -> None:
    monkeypatch.setattr(forest, "MOST_ROWS", 64)
    booster = trained(table("signs", 100, 1), num_leaves=9)
    matrix = table("signs", 200, 2)
    expected = np.asarray(booster.predict(matrix, num_threads=1))
    assert packed(booster).predict(matrix[:rows], threads).tobytes() == expected[:rows].tobytes()


@pytest.mark.parametrize("cells", [1, 64 * 7, 1 << 22])
def test_conditions_are_answered_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(forest, "CELLS", cells)
    assert_same(trained(table("many", 300, 1), num_leaves=31), table("many", 100, 2))


@pytest.mark.slow
@pytest.mark.parametrize("masks", [1, 7, 512])
@pytest.mark.parametrize(("leaves", "depth"), [(31, -1), (64, 6), (250, 10), (2, 1)])
def test_trees_of_every_shape_in_chunks_of_every_size(
    monkeypatch: pytest.MonkeyPatch, masks: int, leaves: int, depth: int
) -> None:
    monkeypatch.setattr("numerai_node.forest_packing.MASKS", masks)
    booster = trained(table("many", 500, 1), 20, num_leaves=leaves, max_depth=depth, min_data_in_leaf=1)
    assert_same(booster, table("many", 130, 2))


def chain(leaves: int) -> bytes:
    """A tree that is one long branch: LightGBM's text of it."""
    inner = range(leaves - 1)
    lines = {
        "num_leaves": leaves,
        "num_cat": 0,
        "split_feature": " ".join(str(node % 3) for node in inner),
        "split_gain": " ".join("0" for _ in inner),
        "threshold": " ".join(f"{node / leaves}" for node in inner),
        "decision_type": " ".join("2" for _ in inner),
        "left_child": " ".join(str(-1 - node) for node in inner),
        "right_child": " ".join(str(node + 1) for node in inner[:-1]) + f" {-leaves}",
        "leaf_value": " ".join(f"{leaf / 7:.17g}" for leaf in range(leaves)),
        "leaf_weight": " ".join("1" for _ in range(leaves)),
        "leaf_count": " ".join("1" for _ in range(leaves)),
        "internal_value": " ".join("0" for _ in inner),
        "internal_weight": " ".join("0" for _ in inner),
        "internal_count": " ".join("0" for _ in inner),
        "is_linear": 0,
        "shrinkage": 1,
    }
    head = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=2\n"
        "objective=regression\nfeature_names=a b c\nfeature_infos=[0:1] [0:1] [0:1]\n\nTree=0\n"
    )
    tree = "".join(f"{key}={value}\n" for key, value in lines.items())
    return f"{head}{tree}\n\nend of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n".encode()


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [300, 5000])
def test_a_tree_far_deeper_than_its_leaves_need_stays_small(leaves: int) -> None:
    text = chain(leaves)
    matrix = np.random.default_rng(0).uniform(0, 1, (100, 3))
    expected = np.asarray(lgb.Booster(model_str=text.decode()).predict(matrix, num_threads=1))
    made = Forest.of_text(text)
    assert made.predict(matrix).tobytes() == expected.tobytes()
    assert len(made._packed.values) <= 2 * leaves


def test_the_wrong_number_of_columns_is_named() -> None:
    with pytest.raises(ValueError, match="The model has 5 features, and the matrix is 10 x 4"):
        packed(trained(table("bins", 100, 1))).predict(np.zeros((10, 4), np.int8))


class TestWhatDoesNotFit:
    def refused(self, text: str | bytes) -> str:
        with pytest.raises(NotPackable) as caught:
            Forest.of_text(text.encode() if isinstance(text, str) else text)
        return str(caught.value)

    def model(self, **parameters: Any) -> str:
        return trained(table("bins", 200, 1), **parameters).model_to_string()

    def test_categorical_splits(self) -> None:
        data = lgb.Dataset(table("bins", 300, 1), table("bins", 300, 1)[:, 0] == 2, categorical_feature=[0])
        booster = lgb.train({"verbosity": -1, "min_data_in_leaf": 3}, data, 3)
        assert self.refused(booster.model_to_string()) == "it has categorical splits"

    def test_linear_trees(self) -> None:
        assert self.refused(self.model(linear_tree=True)) == "it has linear trees"

    @pytest.mark.parametrize("objective", ["binary", "poisson", "gamma", "tweedie", "cross_entropy"])
    def test_objectives_that_transform_the_sum(self, objective: str) -> None:
        matrix = table("bins", 200, 1)
        target = (matrix[:, 0] > 1) if objective in ("binary", "cross_entropy") else matrix[:, 0] + 1
        booster = lgb.train({"verbosity": -1, "objective": objective}, lgb.Dataset(matrix, target), 2)
        assert "transforms the sum of the trees" in self.refused(booster.model_to_string())

    def test_the_square_root_of_the_target(self) -> None:
        assert "regression sqrt, transforms" in self.refused(self.model(reg_sqrt=True))

    def test_several_classes(self) -> None:
        matrix = table("bins", 200, 1)
        booster = lgb.train(
            {"verbosity": -1, "objective": "multiclass", "num_class": 3}, lgb.Dataset(matrix, np.arange(200) % 3), 2
        )
        assert self.refused(booster.model_to_string()) == "it predicts several classes"

    def test_too_many_thresholds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("numerai_node.forest_packing.MOST_CONDITIONS", 3)
        assert "different splits, more than 3" in self.refused(self.model())

    def test_a_tree_with_too_many_leaves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("numerai_node.forest_packing.MOST_LEAVES", 3)
        assert self.refused(self.model()) == "a tree has more than 3 leaves"

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "not LightGBM's text format"),
            ("tree\nversion=v2\n", "not LightGBM's text format"),
            ("tree\nversion=v4\n", "it has no trees"),
        ],
    )
    def test_what_is_no_model(self, text: str, why: str) -> None:
        assert why in self.refused(text)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("end of trees", ""),
            ("left_child=", "left_child=1 "),
            ("right_child=", "right_child=99999 "),
            ("threshold=", "threshold=x"),
            ("leaf_value=", "leaf_value=7 "),
            ("max_feature_idx=2", "max_feature_idx=0"),
            ("max_feature_idx=2", ""),
            ("num_leaves=9", "num_leaves=0"),
            ("num_leaves=9", "num_leaves="),
            ("right_child=1 2", "right_child=1 1"),
            ("right_child=1 2", "right_child=0 2"),
        ],
    )
    def test_a_damaged_text(self, old: str, new: str) -> None:
        text = chain(9).decode()
        assert old in text
        assert "its text is damaged" in self.refused(text.replace(old, new, 1))

    def test_lightgbm_predicts_it_instead(self, capsys: pytest.CaptureFixture[str]) -> None:
        booster = trained(table("bins", 200, 1), linear_tree=True)
        model = predictor(booster.model_to_string().encode)
        matrix = table("bins", 100, 2)
        assert isinstance(model, Boosted)
        assert np.array_equal(model.predict(matrix), np.asarray(booster.predict(matrix, num_threads=1)))
        assert "it has linear trees" in capsys.readouterr().out
        with pytest.raises(ValueError, match="The model has 5 features"):
            model.predict(matrix[:, 1:])

    def test_without_lightgbm_there_is_one_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = self.model(linear_tree=True).encode()
        monkeypatch.setitem(sys.modules, "lightgbm", None)
        with pytest.raises(
            ConfigurationError, match=r"needs LightGBM to predict, because it has linear trees; .* not installed"
        ):
            predictor(lambda: text)

    def test_what_lightgbm_cannot_read_either(self) -> None:
        with pytest.raises(ConfigurationError, match="The model cannot be read: it is not LightGBM's text format"):
            predictor(lambda: b"\xff")


def keep(text: bytes, cache: Path) -> Forest:
    return cached(lambda: text, hashlib.sha256(text).hexdigest(), cache)


class TestTheCache:
    def test_packing_is_done_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text, matrix = trained(table("bins", 200, 1)).model_to_string().encode(), table("bins", 100, 2)
        first = keep(text, tmp_path / "m.forest").predict(matrix)
        monkeypatch.setattr(forest, "pack", lambda trees: pytest.fail("packed again"))
        assert keep(text, tmp_path / "m.forest").predict(matrix).tobytes() == first.tobytes()
        assert [path.name for path in tmp_path.iterdir()] == ["m.forest"]

    def test_a_cache_of_another_model_or_format_is_not_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = tmp_path / "m.forest"
        one, other = (trained(table("bins", 200, seed), num_leaves=seed + 3) for seed in (1, 2))
        keep(one.model_to_string().encode(), cache)
        matrix = table("bins", 100, 2)
        for _ in range(2):
            found = keep(other.model_to_string().encode(), cache).predict(matrix)
            assert np.array_equal(found, np.asarray(other.predict(matrix)))
        before = cache.read_bytes()
        monkeypatch.setattr(forest, "FORMAT", 2)
        keep(other.model_to_string().encode(), cache)
        assert cache.read_bytes() != before

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "no archive", "pickle", "folder"])
    def test_a_cache_that_cannot_be_used_is_made_anew(self, tmp_path: Path, damage: str) -> None:
        booster = trained(table("bins", 200, 1))
        text, cache = booster.model_to_string().encode(), tmp_path / "m.forest"
        keep(text, cache)
        whole = cache.read_bytes()
        middle = len(whole) // 2
        if damage == "folder":
            cache.unlink()
            cache.mkdir()
        elif damage == "pickle":
            with cache.open("wb") as file:
                np.savez(file, key=np.array([object()]))
        else:
            cut = {"empty": b"", "cut": whole[:middle], "no archive": b"x" * 99}
            flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
            cache.write_bytes(cut.get(damage, flipped))
        matrix = table("bins", 100, 2)
        assert np.array_equal(keep(text, cache).predict(matrix), np.asarray(booster.predict(matrix)))
        if damage != "folder":
            assert zipfile.is_zipfile(cache)
            assert cache.read_bytes() == whole

    def test_a_folder_that_cannot_be_written_is_only_a_pity(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = trained(table("bins", 200, 1)).model_to_string().encode()
        assert keep(text, tmp_path / "absent" / "m.forest").trees == 5
        assert "the packed forest is not kept in" in capsys.readouterr().out

    def test_the_features_names_are_kept(self, tmp_path: Path) -> None:
        matrix = table("bins", 200, 1)
        names = [f"feature_é{number}" for number in range(5)]
        for parameters in ({}, {"linear_tree": True}):
            data = lgb.Dataset(matrix, matrix[:, 0], feature_name=names)
            booster = lgb.train({"verbosity": -1} | parameters, data, 2)
            booster.save_model(tmp_path / "model.txt")
            assert [file_predictor(tmp_path / "model.txt").names for _ in range(2)] == [names] * 2

    def test_a_text_file_has_its_cache_beside_it(self, tmp_path: Path) -> None:
        booster, matrix = trained(table("bins", 200, 1)), table("bins", 100, 2)
        booster.save_model(tmp_path / "model.txt")
        for _ in range(2):
            assert np.array_equal(
                file_predictor(tmp_path / "model.txt").predict(matrix), np.asarray(booster.predict(matrix))
            )
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.txt", "model.txt.forest"]


def test_the_features_may_be_any_columns_of_a_larger_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    matrix = table("signs", 300, 1, features=9)
    columns = [7, 0, 3, 3, 8]
    for booster in (trained(matrix[:, columns], num_leaves=9), trained(matrix[:, columns], linear_tree=True)):
        expected = np.asarray(booster.predict(matrix[:, columns], num_threads=1))
        model = predictor(booster.model_to_string().encode)
        assert model.predict(matrix, 1, columns).tobytes() == expected.tobytes()
        with pytest.raises(ValueError, match="The model has 5 features"):
            model.predict(matrix, 1, columns[1:])
