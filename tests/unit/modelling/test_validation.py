"""What models score on past rows: numerai-tools' numbers, and what could not be scored said in words."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.modelling.dataset import open_file
from numerai_compute.modelling.validation import era_blocks
from numerai_compute.usecases.validate import Judgement, validate_models
from numerai_tools import scoring as theirs

BENCHMARK = "v53_lgbm_ender20"


class Sum:
    """A model: the sum of two features."""

    features: Sequence[str]

    def __init__(self, *features: str):
        self.features = features

    def predict(self, rows: np.ndarray[Any, Any], eras: Sequence[str]) -> np.ndarray[Any, Any]:
        assert rows.dtype == np.int8 and len(eras) == len(rows)
        weights = np.arange(1, len(self.features) + 1)
        return np.asarray(rows @ weights, dtype=np.float64)


@pytest.fixture
def write(tmp_path: Path, rows: pd.DataFrame) -> Callable[..., str]:
    """Writes predictions of the rows and returns the file's path."""

    def write(name: str, seed: int = 1, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame) -> str:
        random = np.random.default_rng(seed)
        frame = pd.DataFrame({"prediction": random.random(len(rows))}, index=rows.index).sample(frac=1, random_state=1)
        frame, path = change(frame), tmp_path / name
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path)
        return str(path)

    return write


def per_era(rows: pd.DataFrame, score: Callable[[pd.DataFrame], Any]) -> list[float]:
    with np.errstate(all="ignore"):
        return [float(score(one.sort_index())) for _, one in rows.groupby("era")]


def only(found: dict[str, Any]) -> dict[str, Any]:
    (model,) = found["models"]
    assert isinstance(model, dict)
    return model


@pytest.mark.slow
def test_every_metric_is_numerai_tools(classic: Path, rows: pd.DataFrame, write: Callable[..., str]) -> None:
    model = only(found := validate_models(Judgement([write("mine.csv")], classic)))
    small = json.loads((classic / "features.json").read_text())["feature_sets"]["small"]
    frame = rows.assign(
        prediction=pd.read_csv(model["source"], index_col="id")["prediction"],
        meta=pd.read_parquet(classic / "meta_model.parquet")["numerai_meta_model"],
        benchmark=pd.read_parquet(classic / "validation_benchmark_models.parquet")[BENCHMARK].astype(float),
    )
    late = frame[frame["era"] >= "0044"]

    def one(era: pd.DataFrame) -> pd.DataFrame:
        return era[["prediction"]]

    expected = {
        "corr": per_era(frame, lambda era: theirs.numerai_corr(one(era), era["target"]).iloc[0]),
        "bmc": per_era(
            frame, lambda era: theirs.correlation_contribution(one(era), era["benchmark"], era["target"]).iloc[0]
        ),
        "fnc": per_era(frame, lambda era: theirs.feature_neutral_corr(one(era), era[small], era["target"]).iloc[0]),
        "exposure": per_era(
            frame, lambda era: theirs.max_feature_correlation(theirs.tie_kept_rank(era["prediction"]), era[small])[1]
        ),
        "mmc": [
            *[np.nan] * 3,
            *per_era(late, lambda era: theirs.correlation_contribution(one(era), era["meta"], era["target"]).iloc[0]),
        ],
    }
    for name, values in expected.items():
        ours = np.array(model["per_era"][name], dtype=float)
        assert np.allclose(ours, values, rtol=0, atol=1e-8, equal_nan=True), name
        assert model["metrics"][name]["mean"] == pytest.approx(np.nanmean(values), abs=1e-8)
        assert model["windows"]["20"][name] is None, "there are fewer eras"
    assert found["data"] == {
        "version": "v5.3",
        "file": "validation.parquet",
        "eras": [f"{era:04d}" for era in range(41, 51)],
        "target": "target",
    }
    assert found["notes"] == ["MMC of numerai_meta_model begins with era 0044."]
    assert set(model["exposures"]) == set(small)
    assert sum(model["histogram"]["counts"]) == len(rows)


@pytest.mark.slow
def test_a_model_predicts_each_era_from_its_own_features(
    classic: Path, rows: pd.DataFrame, write: Callable[..., str], tmp_path: Path
) -> None:
    """The same as scoring a file with these predictions, whatever the order of the model's features."""
    first, second = [str(name) for name in rows if str(name).startswith("feature")][4:6]
    (tmp_path / "sum.model").touch()
    value = rows[second] + 2 * rows[first]
    as_file = write("sum.parquet", change=lambda frame: frame.assign(prediction=value))
    judgement = Judgement([str(tmp_path / "sum.model"), as_file, BENCHMARK], classic, against=as_file)
    found = validate_models(judgement, lambda path: Sum(second, first))
    predicted, read, benchmark = found["models"]
    assert predicted["per_era"] == read["per_era"]
    assert predicted["similarity"]["deployed"] == pytest.approx(1)
    assert benchmark["similarity"]["benchmark"] == pytest.approx(1)
    assert abs(benchmark["metrics"]["bmc"]["mean"]) < 1e-12
    assert found["against"] == as_file  # both files are called sum


@pytest.mark.parametrize("rows_at_once", [43, 100, 250, 5000])
def test_blocks_hold_whole_eras(
    rows_at_once: int, classic: Path, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numerai_compute.modelling import dataset

    features = [str(name) for name in rows if str(name).startswith("feature")][:3]
    monkeypatch.setattr(dataset, "BLOCK_BYTES", 3 * rows_at_once)
    eras = ["0042", "0043", "0044", "0050"]
    blocks = list(era_blocks(open_file(classic / "validation.parquet"), features, eras))
    expected = rows[rows["era"].isin(eras)]
    assert (np.concatenate([matrix for _, matrix in blocks]) == expected[features].to_numpy()).all()
    assert np.concatenate([names for names, _ in blocks]).tolist() == expected["era"].tolist()
    assert all(len(matrix) % 100 == 0 for _, matrix in blocks)
    assert len(blocks) == (2 if rows_at_once == 5000 else 4)  # an era that may go on waits for the next part


def test_eras_without_a_target_are_left_out(
    classic: Path, rows: pd.DataFrame, tmp_path: Path, write: Callable[..., str]
) -> None:
    folder = tmp_path / "v5.4"
    folder.mkdir()
    rows = rows.copy()
    rows.loc[rows["era"] >= "0049", "target"] = np.nan
    rows.to_parquet(folder / "validation.parquet")
    found = validate_models(Judgement([write("mine.csv")], folder, eras="0046:"))
    assert found["data"]["eras"] == ["0046", "0047", "0048"]
    assert found["notes"] == [
        "FNC and exposure are not computed: the data have no features.json.",
        "2 eras without target left out: 0049 and 0050.",
        "MMC is not computed: the data have no meta model.",
        "BMC is not computed: the data have no benchmark.",
    ]
    with pytest.raises(NumeraiError, match=r"No row of validation.parquet has a value of target"):
        validate_models(Judgement([write("mine.csv")], folder, eras="0049:"))


def test_predictions_of_later_eras_are_scored_there(
    classic: Path, rows: pd.DataFrame, write: Callable[..., str]
) -> None:
    late = rows.index[rows["era"] >= "0048"]
    mine = write("mine.csv", change=lambda frame: frame.loc[frame.index.isin(late)])
    found = validate_models(Judgement([mine, BENCHMARK], classic))
    assert found["models"][0]["per_era"]["corr"][:7] == [None] * 7
    assert found["models"][0]["metrics"]["corr"]["eras"] == 3
    assert found["models"][1]["metrics"]["corr"]["eras"] == 10
    assert "Every score of mine begins with era 0048." in found["notes"]


def test_eras_that_rank_nothing_are_said(rows: pd.DataFrame, classic: Path, write: Callable[..., str]) -> None:
    """The same value throughout an era, and another in the next: no era of it can be scored."""
    flat = rows["era"].isin(["0042", "0043", "0045"])
    mine = write("mine.csv", change=lambda frame: frame.mask(flat.reindex(frame.index), 0.25))
    found = validate_models(Judgement([mine], classic))
    assert only(found)["metrics"]["corr"]["eras"] == 7
    assert any("mine has no CORR in 3 eras, 0042 to 0045" in note for note in found["notes"])


BROKEN: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    ("a.csv", lambda frame: frame.assign(prediction=0.5), r"a.csv: prediction holds one value only \(0.5\)"),
    (
        "a.csv",
        lambda frame: frame.rename(columns={"prediction": "x"}).assign(y=1.0),
        "a.csv has no column `prediction`",
    ),
    ("a.csv", lambda frame: frame.assign(prediction="high"), "a.csv: the column prediction holds string, no numbers"),
    ("a.csv", lambda frame: frame.assign(prediction=np.nan), "a.csv: prediction holds no value|holds null"),
    ("a.parquet", lambda frame: frame.assign(prediction=np.inf), "a.parquet: prediction holds infinite values"),
    ("a.parquet", lambda frame: frame.rename_axis("row"), "a.parquet has no column of ids"),
    (
        "a.parquet",
        lambda frame: frame.reset_index(drop=True).assign(id=range(len(frame))),
        "a.parquet: id holds int64, no text",
    ),
    ("a.csv", lambda frame: frame.rename(index=lambda one: f"x{one}"), "No id of a.csv is in validation.parquet"),
    ("a.csv", lambda frame: pd.concat([frame, frame.head(1)]), "a.csv has the id n.* twice"),
    ("a.csv", lambda frame: frame.sort_index().iloc[::2], "a has a value for .* of the rows of era 0041"),
    ("a.csv", lambda frame: frame.assign(era="0041"), "a.csv has n.* in era 0041, and validation.parquet has it in"),
]


@pytest.mark.parametrize(("name", "change", "words"), BROKEN, ids=[f"{n}: {w[:40]}" for n, _, w in BROKEN])
def test_predictions_that_nobody_can_score_are_one_message(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], words: str, classic: Path, write: Callable[..., str]
) -> None:
    with pytest.raises(NumeraiError, match=words):
        validate_models(Judgement([write(name, change=change)], classic))


@pytest.mark.parametrize(
    ("judgement", "words"),
    [
        ({"target": "target_enders"}, "has no target target_enders"),
        ({"eras": "0900:"}, "has no era of 0900:"),
        ({"eras": "0041-0043"}, "'0041-0043' is no range of eras"),
        ({"benchmark": "v53_lgbm"}, "has no column v53_lgbm"),
        ({"features": "tiny"}, "There is no feature set tiny"),
        ({"against": "nobody"}, "There is no model nobody"),
        ({"data": Path("nowhere")}, "There is no folder nowhere"),
    ],
)
def test_what_is_not_there_is_named(
    judgement: dict[str, Any], words: str, classic: Path, write: Callable[..., str]
) -> None:
    with pytest.raises(NumeraiError, match=words):
        validate_models(replace(Judgement([write("mine.csv")], classic), **judgement))


def test_a_damaged_file_is_named(classic: Path, write: Callable[..., str]) -> None:
    path = Path(write("mine.parquet"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(NumeraiError, match=r"mine.parquet cannot be read: it is damaged"):
        validate_models(Judgement([str(path)], classic))
    (broken := path.with_suffix(".model")).write_bytes(b"PK")
    with pytest.raises(NumeraiError, match=r"mine.model is damaged, or is no model file"):
        validate_models(Judgement([str(broken)], classic))


@pytest.mark.slow
def test_signals_have_churn_and_turnover(tmp_path: Path) -> None:
    """Tickers come back in each era, so a prediction is found by both; a tenth of the tickers changes."""
    from numerai_tools import signals as their_signals

    random = np.random.default_rng(1)
    names = [f"T{number:03d}" for number in range(140)]
    blocks = [
        pd.DataFrame({"numerai_ticker": names[5 * era : 5 * era + 110], "era": f"2026-01-{2 + 7 * era:02d}"})
        for era in range(3)
    ]
    data = pd.concat(blocks, ignore_index=True)
    data["feature_one"] = random.integers(0, 5, len(data), dtype=np.int8)
    data["target"] = random.choice([0, 0.25, 0.5, 0.75, 1], len(data)).astype("float32")
    data.to_parquet(tmp_path / "validation.parquet", index=False)
    data["signal"] = random.random(len(data))
    data.sample(frac=1, random_state=1)[["numerai_ticker", "era", "signal"]].to_csv(tmp_path / "mine.csv", index=False)
    model = only(found := validate_models(Judgement([str(tmp_path / "mine.csv")], tmp_path)))
    eras = [era.set_index("numerai_ticker")["signal"] for _, era in data.groupby("era")]
    expected = [their_signals.churn(before, after) for before, after in itertools.pairwise(eras)]
    assert model["per_era"]["churn"][0] is None
    assert model["per_era"]["churn"][1:] == pytest.approx(expected, abs=1e-8)
    weights = [
        theirs.generate_neutralized_weights(
            theirs.tie_kept_rank(era.sort_index().to_frame()),
            pd.DataFrame({"none": 0.0}, index=era.index.sort_values()),
            pd.Series(1.0, index=era.index),
            center_and_normalize=True,
        )["signal"]
        for era in eras
    ]
    expected = [their_signals.turnover(before, after) for before, after in itertools.pairwise(weights)]
    assert model["per_era"]["turnover"][1:] == pytest.approx(expected, abs=1e-8)
    assert any("Turnover is of weights without" in note for note in found["caveats"])


@pytest.mark.skipif("NUMERAI_REAL_DATA" not in os.environ, reason="NUMERAI_REAL_DATA names no folder")
def test_genuine_rows_are_scored_as_numerai_tools_does(tmp_path: Path) -> None:
    """A model is trained on genuine rows, its predictions of the next eras are written and scored."""
    import lightgbm as lgb

    folder = Path(os.environ["NUMERAI_REAL_DATA"])
    train, rows = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "validation"))
    medium = json.loads((folder / "features.json").read_text())["feature_sets"]["medium"]
    small = json.loads((folder / "features.json").read_text())["feature_sets"]["small"]
    parameters = {"verbosity": -1, "num_threads": 1, "num_leaves": 8, "seed": 1}
    booster = lgb.train(parameters, lgb.Dataset(train[medium], train["target"]), 30)
    rows["prediction"] = booster.predict(rows[medium])
    rows[["prediction"]].sample(frac=1, random_state=3).to_csv(tmp_path / "mine.csv")
    artifact = a_model_file(tmp_path / "trained.model", medium, booster.model_to_string())
    found = validate_models(Judgement([str(tmp_path / "mine.csv"), str(artifact)], folder))
    corr = per_era(rows, lambda era: theirs.numerai_corr(era[["prediction"]], era["target"]).iloc[0])
    fnc = per_era(rows, lambda era: theirs.feature_neutral_corr(era[["prediction"]], era[small], era["target"]).iloc[0])
    for model in found["models"]:
        assert model["per_era"]["corr"] == pytest.approx(corr, abs=1e-8)
        assert model["per_era"]["fnc"] == pytest.approx(fnc, abs=1e-8)
        assert model["metrics"]["corr"]["sharpe"] == pytest.approx(theirs.sharpe_ratio(pd.Series(corr)), abs=1e-8)


def a_model_file(path: Path, features: Sequence[str], booster: str) -> Path:
    """A model file of one LightGBM model, as `numerai train` writes them."""
    member = {"file": "members/000.txt", "features": None, "target": "target", "seed": 1, "trees": 30, "weight": 1.0}
    about = {"format": 1, "tournament": 8, "data_version": "v5.3", "features": list(features), "members": [member]}
    with ZipFile(path, "w") as archive:
        archive.writestr("model.json", json.dumps(about | {"combine": "rank", "neutralize": None, "drift": None}))
        archive.writestr("members/000.txt", booster)
    return path
