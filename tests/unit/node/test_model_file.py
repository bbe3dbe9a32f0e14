"""Model files: what they predict, by the definitions of pandas and numerai-tools, and which are refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_node import forest
from numerai_node.errors import ConfigurationError
from numerai_node.model_file import combine, neutralize, read_model
from numerai_node.ranking import rank_percentile
from numerai_tools.scoring import neutralize as reference

FEATURES = [f"feature_{number}" for number in range(6)]
SUBSET = [4, 0, 2]
Floats = npt.NDArray[np.float64]


def bins(rows: int, seed: int, features: int = len(FEATURES)) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(0, 5, (rows, features)).astype(np.int8)


@pytest.fixture(scope="module")
def boosters() -> list[lgb.Booster]:
    """One on all features, one on three of them."""
    rows = bins(400, 0)
    target = rows[:, 0] * 0.2 - rows[:, 4] * 0.1 + np.random.default_rng(3).normal(size=400) * 0.1
    fixed = {"verbosity": -1, "num_threads": 1, "num_leaves": 7}
    return [
        lgb.train(fixed, lgb.Dataset(rows[:, columns], target), 8) for columns in (list(range(len(FEATURES))), SUBSET)
    ]


def description(**changes: Any) -> dict[str, Any]:
    member = {"file": "members/000.txt", "features": None, "target": "target", "seed": 0, "trees": 8, "weight": 1.0}
    about = {
        "format": 1,
        "tournament": 8,
        "data_version": "v5.3",
        "features": FEATURES,
        "members": [member, member | {"file": "members/001.txt", "features": SUBSET, "weight": 3.0}],
        "combine": "rank",
        "neutralize": None,
    }
    return about | changes


def write(path: Path, boosters: list[lgb.Booster], about: object) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", json.dumps(about))
        for number, booster in enumerate(boosters):
            archive.writestr(f"members/{number:03}.txt", booster.model_to_string())
    return path


@pytest.fixture
def model(tmp_path: Path, boosters: list[lgb.Booster]) -> Path:
    return write(tmp_path / "alice.model", boosters, description())


def percentile(values: Floats) -> Floats:
    series = pd.Series(values)
    return np.asarray((series.rank(method="average") - 0.5) / len(series))


def expected(boosters: list[lgb.Booster], rows: npt.NDArray[np.int8], proportion: float | None = None) -> Floats:
    ranks = [
        percentile(np.asarray(boosters[0].predict(rows))),
        percentile(np.asarray(boosters[1].predict(rows[:, SUBSET]))),
    ]
    mean = (ranks[0] + 3.0 * ranks[1]) / 4.0
    if proportion is not None:
        frame = pd.DataFrame({"p": (mean - mean.mean()) / mean.std()})
        mean = reference(frame, pd.DataFrame(rows[:, [1, 4]]), proportion)["p"].to_numpy()
    return percentile(mean)


def test_members_are_combined_by_their_ranks(model: Path, boosters: list[lgb.Booster]) -> None:
    rows = bins(200, 1)
    found = read_model(model).predict(rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected(boosters, rows), atol=1e-12)
    assert found.min() > 0 and found.max() < 1


@pytest.mark.parametrize("proportion", [0.0, 0.5, 1.0])
def test_neutralisation_is_numerais(tmp_path: Path, boosters: list[lgb.Booster], proportion: float) -> None:
    neutral = {"features": [FEATURES[1], FEATURES[4]], "proportion": proportion}
    path = write(tmp_path / "m.model", boosters, description(neutralize=neutral))
    rows = bins(200, 1)
    np.testing.assert_allclose(read_model(path).predict(rows), expected(boosters, rows, proportion), atol=1e-12)


def test_each_era_is_ranked_on_its_own(model: Path, boosters: list[lgb.Booster]) -> None:
    rows = bins(300, 1)
    eras = np.array(["0002", "0001", "0003"])[np.random.default_rng(0).integers(0, 3, 300)]
    found = read_model(model).predict(rows, list(eras))
    for era in np.unique(eras):
        np.testing.assert_allclose(found[eras == era], expected(boosters, rows[eras == era]), atol=1e-12)
    with pytest.raises(ValueError, match="300 rows, and eras for 2"):
        read_model(model).predict(rows, ["0001", "0002"])


def test_a_frame_is_taken_by_the_names_of_its_columns(model: Path) -> None:
    rows = bins(100, 1)
    frame = pd.DataFrame(rows, columns=FEATURES)
    known = read_model(model)
    for shape in (
        frame,
        frame[FEATURES[::-1]].assign(era="0001"),
        frame.astype("float32"),
        frame.astype({FEATURES[0]: float}),
    ):
        assert known.predict(shape).tobytes() == known.predict(rows).tobytes()


def test_missing_columns_are_named(model: Path) -> None:
    frame = pd.DataFrame(bins(100, 1), columns=FEATURES).drop(columns=FEATURES[2:4])
    with pytest.raises(ConfigurationError) as caught:
        read_model(model).predict(frame)
    assert str(caught.value).startswith("alice.model needs 2 columns that the data lack: feature_2, feature_3.")
    assert "trained on v5.3" in str(caught.value)
    with pytest.raises(ConfigurationError, match="needs 6 features; the matrix is 10 x 5"):
        read_model(model).predict(bins(10, 1, 5))


def test_text_in_a_feature_is_one_message(model: Path) -> None:
    frame = pd.DataFrame(bins(100, 1), columns=FEATURES).astype({FEATURES[0]: str})
    with pytest.raises(ConfigurationError, match="needs features that are numbers"):
        read_model(model).predict(frame)


def test_packed_members_are_kept_beside_the_file(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = bins(100, 1)
    without = read_model(model).predict(rows, keep=False)
    assert [path.name for path in model.parent.iterdir()] == ["alice.model"]
    first = read_model(model).predict(rows)
    kept = sorted(path.name for path in model.parent.iterdir())
    assert kept == ["alice.model", "alice.model.0.forest", "alice.model.1.forest"]
    monkeypatch.setattr(forest, "pack", lambda trees: pytest.fail("packed again"))
    assert first.tobytes() == read_model(model).predict(rows).tobytes() == without.tobytes()


def test_a_new_file_of_the_same_name_is_packed_anew(model: Path, boosters: list[lgb.Booster]) -> None:
    rows = bins(100, 1)
    before = read_model(model).predict(rows)
    write(model, [lgb.train({"verbosity": -1}, lgb.Dataset(rows, rows[:, 5]), 3), boosters[1]], description())
    assert read_model(model).predict(rows).tobytes() != before.tobytes()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": 2}, "format 2"),
        ({"format": None}, "format None"),
        ({"combine": "mean"}, "combines by 'mean'"),
    ],
)
def test_another_format_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{why}.*this numerai_node reads format 1"):
        read_model(write(tmp_path / "m.model", [], description(**changes)))


@pytest.mark.parametrize(
    "about",
    [
        [],
        {"format": 1, "combine": "rank"},
        description(features=[]),
        description(features=["a", "a"]),
        description(features=3),
        description(members=[]),
        description(members=[{"file": "members/000.txt"}]),
        description(members=[description()["members"][0] | {"weight": -1}]),
        description(members=[description()["members"][0] | {"weight": 0}]),
        description(members=[description()["members"][0] | {"weight": float("nan")}]),
        description(members=[description()["members"][0] | {"weight": "x"}]),
        description(members=[description()["members"][0] | {"features": [6]}]),
        description(members=[description()["members"][0] | {"features": [-1]}]),
        description(members=[description()["members"][0] | {"features": ["a"]}]),
        description(neutralize={"features": ["unknown"], "proportion": 1}),
        description(neutralize={"features": [], "proportion": 2}),
        description(neutralize=7),
    ],
)
def test_a_description_that_cannot_be_is_one_message(tmp_path: Path, about: object) -> None:
    with pytest.raises(ConfigurationError, match=r"is damaged, or is no model file: model.json cannot be understood"):
        read_model(write(tmp_path / "m.model", [], about))


def test_what_is_no_model_file_is_one_message(tmp_path: Path, model: Path, boosters: list[lgb.Booster]) -> None:
    whole = model.read_bytes()
    broken = tmp_path / "broken.model"
    for content in (b"", b"x" * 100, whole[: len(whole) // 2], whole[:-1]):
        broken.write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"broken.model is damaged, or is no model file"):
            read_model(broken)
    with pytest.raises(ConfigurationError, match=r"absent.model cannot be read: No such file"):
        read_model(tmp_path / "absent.model")
    write(broken, boosters[:1], description())
    with pytest.raises(ConfigurationError, match=r"is damaged.*members/001.txt"):
        read_model(broken).predict(bins(10, 1))
    write(broken, boosters[::-1], description())
    with pytest.raises(ConfigurationError, match=r"members/000.txt has 3 features, and not 6"):
        read_model(broken).predict(bins(10, 1))


def test_a_member_with_a_flipped_bit_is_found(tmp_path: Path, boosters: list[lgb.Booster]) -> None:
    path = write(tmp_path / "m.model", boosters, description())
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("members/000.txt").header_offset + 200
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is damaged"):
        read_model(path).predict(bins(10, 1))


@pytest.mark.slow
@given(st.lists(st.sampled_from([-1.0, 0.0, -0.0, 1e-300, 0.1, 0.2, 3.0]), min_size=1, max_size=40))
def test_ranks_are_those_of_pandas(values: list[float]) -> None:
    np.testing.assert_allclose(rank_percentile(np.array(values)), percentile(np.array(values)), atol=1e-15)


@pytest.mark.slow
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.1, 0.5, 1.0]))
def test_what_features_explain_is_what_numerai_tools_says(seed: int, features: int, proportion: float) -> None:
    random = np.random.default_rng(seed)
    known = random.integers(0, 5, (50, features)).astype(np.int8)
    values = percentile(random.normal(size=50))
    standard = pd.DataFrame({"p": (values - values.mean()) / values.std()})
    told = reference(standard, pd.DataFrame(known), proportion)["p"].to_numpy()
    np.testing.assert_allclose(neutralize(values, known, proportion), told, atol=1e-10)


def test_equal_predictions_stay_equal() -> None:
    assert list(combine([np.full(4, 0.7)], [1.0], bins(4, 1), 1.0)) == [0.5] * 4


def test_what_is_no_number_is_refused(model: Path) -> None:
    with pytest.raises(ValueError, match="1 of the 3 predictions are no numbers"):
        combine([np.array([0.1, np.nan, 0.2])], [1.0])
    with pytest.raises(ValueError, match="missing values"):
        neutralize(np.arange(3.0), np.array([[0.0], [np.nan], [1.0]]))
    with pytest.raises(ValueError, match="add up to nothing"):
        combine([np.arange(3.0)], [0.0])
    with pytest.raises(ConfigurationError, match=r"alice.model cannot predict these rows: 1 of the 3"):
        read_model(model).combine([np.array([0.1, np.nan, 0.2])] * 2, bins(3, 1))
