"""`numerai validate` as a user types it: tables that fit a terminal, JSON, a file, one message for an error."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from numerai_compute.render import Renderer
from rich.console import Console

from tests.fakes import FakeDataFiles
from tests.unit.commands.conftest import Line


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with six eras and the predictions of two models."""
    folder, random = tmp_path / "v5.3", np.random.default_rng(1)
    folder.mkdir()
    ids = [f"n{number:015x}" for number in range(300)]
    rows = pd.DataFrame({"id": ids, "era": np.repeat([f"{era:04d}" for era in range(1, 7)], 50)})
    for feature in ("feature_a", "feature_b"):
        rows[feature] = random.integers(0, 5, 300, dtype=np.int8)
    rows["target"] = random.choice([0, 0.25, 0.5, 0.75, 1], 300).astype("float32")
    rows.to_parquet(folder / "validation.parquet", index=False)
    (folder / "features.json").write_text(json.dumps({"feature_sets": {"small": ["feature_a"]}}))
    for name in ("a_model_with_quite_a_long_name_2026", "deployed"):
        rows.assign(prediction=random.random(300))[["id", "prediction"]].to_csv(folder / f"{name}.csv", index=False)
    benchmarks = rows[["id", "era"]].assign(v53_lgbm_ender20=random.random(300).astype("float32"))
    benchmarks.to_parquet(folder / "validation_benchmark_models.parquet", index=False)
    rows.assign(numerai_meta_model=random.random(300))[["id", "era", "numerai_meta_model"]].to_parquet(
        folder / "meta_model.parquet", index=False
    )
    return folder


def test_models_stand_side_by_side_in_eighty_columns(line: Line, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Renderer, "_out", property(lambda self: Console(width=80, highlight=False, soft_wrap=True)))
    models = [str(data / "a_model_with_quite_a_long_name_2026.csv"), "v53_lgbm_ender20"]
    answer = line("validate", *models, "--against", str(data / "deployed.csv"), "--data", str(data))
    assert answer.exit_code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= 80
    assert answer.out.startswith("validation.parquet of v5.3, target, 6 eras: 0001 to 0006\n")
    titles = [line.strip() for line in answer.out.splitlines() if not line.startswith((" ", "model", "a_model"))]
    for title in ("CORR", "Mean over the eras", "Mean of the last eras", "Against deployed"):
        assert title in titles
    assert answer.out.count("a_model_with_quite_...") == 4


def test_the_result_is_json_and_a_file(line: Line, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "validation.json"
    answer = line(
        "validate",
        str(data / "deployed.csv"),
        "--data",
        str(data),
        "--eras",
        "0002:0005",
        "--json",
        "--output",
        str(output),
    )
    assert answer.exit_code == 0, answer.err
    assert answer.json == json.loads(output.read_text())
    assert answer.json["data"]["eras"] == ["0002", "0003", "0004", "0005"]
    assert set(answer.json["models"][0]["metrics"]) == {"corr", "mmc", "bmc", "fnc", "exposure"}


def test_what_is_wrong_is_one_message(line: Line, data: Path) -> None:
    answer = line("validate", "nothing.csv", "--data", str(data))
    assert answer.exit_code == 2
    assert "There is no model nothing.csv" in answer.err
    constant = data / "constant.csv"
    pd.read_csv(data / "deployed.csv").assign(prediction=0.5).to_csv(constant, index=False)
    answer = line("validate", str(constant), "--data", str(data))
    assert (answer.exit_code, len(answer.err.splitlines())) == (1, 1)
    assert "constant.csv: prediction holds one value only (0.5)" in answer.err


def test_the_data_may_be_a_version_or_that_of_the_model(line: Line, data: Path, tmp_path: Path) -> None:
    """Where `numerai data download` keeps it."""
    mine = str(data / "deployed.csv")
    answer = line("validate", mine, "--data", "v9.9")
    assert answer.exit_code != 0 and "v9.9" in answer.err
    folder = FakeDataFiles(line.home / "data").folder(8, "v5.3")
    folder.parent.mkdir(parents=True)
    data.rename(folder)
    mine = str(folder / "deployed.csv")
    assert line("validate", mine, "--data", "v5.3").out.startswith("validation.parquet of v5.3")
    assert "Which data are these predictions of?" in line("validate", mine).err
    with ZipFile(tmp_path / "a.model", "w") as archive:
        about = {"format": 1, "tournament": 8, "data_version": "v5.3", "features": ["feature_a"], "combine": "rank"}
        member = {"file": "m", "features": None, "target": "t", "weight": 1}
        archive.writestr("model.json", json.dumps(about | {"members": [member], "neutralize": None}))
    assert line("validate", str(tmp_path / "a.model"), mine).err.startswith("Error: ")  # of the member, not the data
    assert "is damaged" in line("validate", str(tmp_path / "a.model"), mine).err


def test_what_is_read_is_not_written_over(line: Line, data: Path) -> None:
    mine = data / "deployed.csv"
    before = mine.read_bytes()
    answer = line("validate", str(mine), "--data", str(data), "--output", str(mine))
    assert answer.exit_code == 2 and "is not written over" in answer.err and mine.read_bytes() == before
    output = data / "validation.json"
    assert line("validate", str(mine), "--data", str(data), "--output", str(output)).exit_code == 0
    before = output.read_bytes()
    answer = line("report", str(output), "--output", str(output))
    assert answer.exit_code == 2 and "is not written over" in answer.err and output.read_bytes() == before


def test_windows_have_all_their_eras_or_no_value(line: Line, data: Path) -> None:
    answer = line("validate", str(data / "deployed.csv"), "--data", str(data), "--json")
    assert {value for window in answer.json["models"][0]["windows"].values() for value in window.values()} == {None}


def test_eras_that_a_model_has_seen_are_no_proof_of_it(line: Line, data: Path, tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    rows = pd.read_parquet(data / "validation.parquet")
    dataset = lightgbm.Dataset(rows[["feature_a"]].to_numpy(), rows["target"])
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, dataset, 3)
    training = {"eras": ["0001", "0003"], "held_out": ["0006", "0006"], "purge": 1, "curves": [[[1, 0.1]]]}
    member = {"file": "m.txt", "features": None, "target": "target", "weight": 1, "seed": 0, "trees": 3}
    about = {"format": 1, "tournament": 8, "data_version": "v5.3", "features": ["feature_a"], "combine": "rank"}
    with ZipFile(tmp_path / "a.model", "w") as archive:
        archive.writestr(
            "model.json", json.dumps({**about, "members": [member], "neutralize": None, "training": training})
        )
        archive.writestr("m.txt", booster.model_to_string())
    found = line("validate", str(tmp_path / "a.model"), "--data", str(data), "--json").json
    assert ["trained on 4 eras of these" in found["caveats"][0], len(found["caveats"])] == [True, 2]
    assert "stopped by its CORR on 1 era of these" in found["caveats"][1]
    assert not set(found["caveats"]) & set(found["notes"])
    assert "trained on 4 eras of these" in line("validate", str(tmp_path / "a.model"), "--data", str(data)).out
    assert found["models"][0]["training"]["members"] == ["target, seed 0, 3 trees"]
    assert found["models"][0]["training"]["eras"] == ["0001", "0003"] and "curves" not in found["models"][0]["training"]
    later = line("validate", str(tmp_path / "a.model"), "--data", str(data), "--eras", "0005:0005", "--json").json
    assert later["caveats"] == []


def test_eras_after_the_held_out_ones_did_not_stop_a_training() -> None:
    from numerai_compute.modelling.validation import Candidate
    from numerai_compute.usecases.validate import _seen

    training = {"eras": ["0001", "0500"], "held_out": ["0509", "0574"], "purge": 8}
    assert list(_seen(Candidate("m", "m.model", training=training), ["0575", "0576", "0600"])) == []
    (note,) = _seen(Candidate("m", "m.model", training=training), ["0574", "0575"])
    assert "stopped by its CORR on 1 era of these" in note


def test_predictions_that_numerai_refuses_are_scored_and_that_is_said(line: Line, data: Path, tmp_path: Path) -> None:
    predictions = pd.read_csv(data / "deployed.csv")
    name = predictions.columns[-1]
    predictions.loc[[0, 1], name] = [5.0, np.nan]
    predictions.to_csv(tmp_path / "wrong.csv", index=False)
    caveats = line("validate", str(tmp_path / "wrong.csv"), "--data", str(data), "--json").json["caveats"]
    assert caveats[0].startswith("wrong has no prediction in 1 row of its file") and len(caveats) == 2
    assert "wrong has 1 prediction not between 0 and 1 (lowest 0" in caveats[1] and "highest 5)" in caveats[1]
    good = line("validate", str(data / "deployed.csv"), "v53_lgbm_ender20", "--data", str(data), "--json").json
    assert good["caveats"] == []
