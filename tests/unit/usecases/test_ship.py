"""A trained model goes into the node's folder: whole, of the right tournament, looked at; the one before is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.modelling.runtime import DEPLOYED
from numerai_compute.models import Node
from numerai_compute.usecases.ship import GATES, KEPT_MODELS, check_model, kept_models, put_model
from numerai_compute.usecases.validate import data_place

lightgbm = pytest.importorskip("lightgbm")

FEATURES = ["feature_a", "feature_b"]


def made(
    path: Path,
    seed: int = 1,
    *,
    sign: int = 1,
    tournament: int = 8,
    version: str = "v5.3",
    more: dict[str, object] | None = None,
    categorical: list[int] | None = None,
) -> Path:
    """A model file with one little forest."""
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, 5, (500, 2)).astype(np.int8)
    target = sign * rows[:, 0] + chance.normal(0, 1, 500)
    parameters = {"objective": "regression", "verbosity": -1, "num_threads": 1, "max_bin": 5, "seed": seed}
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, target, categorical_feature=categorical or []), 5)
    member = {"file": "members/000.txt", "features": None, "target": "target", "seed": seed, "trees": 5, "weight": 1.0}
    about = {"format": 1, "tournament": tournament, "data_version": version, "features": FEATURES, "combine": "rank"}
    with ZipFile(path, "w") as archive:
        archive.writestr(
            "model.json", json.dumps({**about, "members": [member], "neutralize": None, "drift": None, **(more or {})})
        )
        archive.writestr("members/000.txt", booster.model_to_string())
    return path


@pytest.fixture
def node(tmp_path: Path) -> Node:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "predict.py").write_text("model = node.model()\n")
    return Node("numerai-alice", "alice", "id", 8, "local", str(folder), 1, 1024)


def nowhere(tournament: int, version: str) -> Path:
    """No data are here."""
    return Path("/nowhere") / str(tournament) / version


def test_a_model_goes_beside_the_code_packed(node: Node, tmp_path: Path) -> None:
    model = made(tmp_path / "alice.model")
    put_model(model, node, tmp_path / "home", lambda text: None)
    target = Path(node.path) / DEPLOYED
    assert target.read_bytes() == model.read_bytes()
    assert [path.name for path in target.parent.glob("*.forest")] == [f"{DEPLOYED}.0.forest"]
    before = {path: path.stat().st_mtime_ns for path in target.parent.iterdir()}
    put_model(model, node, tmp_path / "home", lambda text: None)
    assert {path: path.stat().st_mtime_ns for path in target.parent.iterdir()} == before


def test_the_models_before_are_kept(node: Node, tmp_path: Path) -> None:
    models = [made(tmp_path / f"{seed}.model", seed) for seed in range(KEPT_MODELS + 2)]
    for model in models:
        put_model(model, node, tmp_path / "home", lambda text: None)
    kept = list((tmp_path / "home" / "models" / node.name).glob("*.model"))
    assert len(kept) == KEPT_MODELS
    assert models[-2].read_bytes() in [path.read_bytes() for path in kept]


def test_a_model_that_a_node_cannot_use_is_refused(node: Node, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(UsageError, match=r"predicts Signals, and numerai-alice is in Classic"):
        check_model(made(tmp_path / "s.model", tournament=11), node, nowhere, "refuse", said.append)
    damaged = tmp_path / "d.model"
    damaged.write_bytes(made(tmp_path / "w.model").read_bytes()[:-30])
    with pytest.raises(NumeraiError) as caught:
        check_model(damaged, node, nowhere, "refuse", said.append)
    assert caught.value.code == "model-unusable"
    assert not (Path(node.path) / DEPLOYED).exists()


def test_what_cannot_be_looked_at_is_not_deployed(node: Node, tmp_path: Path) -> None:
    said: list[str] = []
    model = made(tmp_path / "a.model")
    with pytest.raises(NumeraiError, match="cannot be looked at: There is no") as caught:
        check_model(model, node, nowhere, "refuse", said.append)
    assert caught.value.code == "gate" and "--gate warn" in str(caught.value.hint)
    assert said == []
    check_model(model, node, nowhere, "warn", said.append)
    assert len(said) == 1 and "cannot be looked at" in said[0]


def test_code_that_does_not_read_the_model_is_not_deployed(node: Node, tmp_path: Path) -> None:
    code, said = Path(node.path) / "predict.py", list[str]()
    code.write_text("print()")
    (code.parent / "numerai_node").mkdir()
    (code.parent / "numerai_node" / "node.py").write_text("def read_model(): ...")
    model = made(tmp_path / "a.model")
    with pytest.raises(NumeraiError, match=r"reads deployed\.model") as caught:
        check_model(model, node, nowhere, "refuse", said.append)
    assert "node.model()" in str(caught.value.hint)
    code.unlink()
    (code.parent / "src").mkdir()
    (code.parent / "src" / "main.py").write_text("read_model(path)")
    check_model(model, node, nowhere, "warn", said.append)
    assert not any("reads" in text for text in said)


def test_a_damaged_deployed_model_does_not_stop_a_good_one(node: Node, tmp_path: Path) -> None:
    (Path(node.path) / DEPLOYED).write_bytes(b"PK damaged")
    said: list[str] = []
    check_model(made(tmp_path / "a.model"), node, lambda *_: live(tmp_path, chance=True), "warn", said.append)
    assert any("not compared with what is deployed" in text for text in said)


@pytest.mark.parametrize("about", [{"tournament": 99}, {"drift": "text"}, {"data_version": "../../etc"}], ids=str)
def test_a_description_that_cannot_be_is_refused(node: Node, about: dict[str, object], tmp_path: Path) -> None:
    model = made(tmp_path / "a.model", more=about)
    with pytest.raises(NumeraiError, match="cannot be understood") as caught:
        check_model(model, node, nowhere, "warn", lambda text: None)
    assert caught.value.code == "model-unusable"


def live(folder: Path, *, chance: bool = False) -> Path:
    """A folder with live rows: all alike, or by chance."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = 400
    columns = {"id": [f"n{number}" for number in range(rows)], "era": ["X"] * rows}
    drawn = np.random.default_rng(1).integers(0, 5, (2, rows)) if chance else np.zeros((2, rows))
    columns |= {name: pa.array(drawn[number], pa.int8()) for number, name in enumerate(FEATURES)}
    parquet.write_table(pa.table(columns), folder / "live.parquet")
    return folder


def test_a_version_of_the_data_is_that_of_the_models_tournament(tmp_path: Path) -> None:
    model = str(made(tmp_path / "s.model", tournament=11, version="v2.1"))
    assert data_place("v3.1", [model], nowhere) == nowhere(11, "v3.1")
    assert data_place(None, ["x.csv", model], nowhere) == nowhere(11, "v2.1")
    assert data_place("v3.1", ["x.csv"], nowhere) == nowhere(8, "v3.1")
    assert data_place(str(tmp_path), [model], nowhere) == tmp_path


def test_a_model_that_needs_lightgbm_goes_to_a_node_that_has_it(node: Node, tmp_path: Path) -> None:
    model, said = made(tmp_path / "a.model", categorical=[0]), list[str]()
    requirements = Path(node.path) / "requirements.txt"
    requirements.write_text("numpy==2.0\npandas==3.0\n")
    with pytest.raises(NumeraiError, match="does not ask for that") as caught:
        check_model(model, node, nowhere, "refuse", said.append)
    assert caught.value.code == "gate" and "Add lightgbm there" in str(caught.value.hint)
    for fine in ("numpy==2.0\nlightgbm==4.0\n", "-r others.txt\n"):
        requirements.write_text(fine)
        check_model(model, node, nowhere, "warn", said.append)
    assert not any("does not ask" in text for text in said)
    requirements.write_text("numpy==2.0\n")
    check_model(made(tmp_path / "b.model"), node, nowhere, "warn", said.append)  # packs
    assert not any("does not ask" in text for text in said)


@pytest.mark.parametrize("gate", GATES)
def test_predictions_that_do_not_look_right_are_refused(node: Node, gate: str, tmp_path: Path) -> None:
    said: list[str] = []
    model = made(tmp_path / "a.model")
    if gate == "refuse":
        with pytest.raises(NumeraiError, match="does not look right") as caught:
            check_model(model, node, lambda *_: live(tmp_path), gate, said.append)
        assert caught.value.code == "gate"
    else:
        check_model(model, node, lambda *_: live(tmp_path), gate, said.append)
        assert any("a.model" in text for text in said) is (gate == "warn")


def test_a_model_that_is_unlike_the_deployed_one_is_refused_with_the_way_on(node: Node, tmp_path: Path) -> None:
    """What is deployed may be what is wrong."""
    one, other = made(tmp_path / "a.model"), made(tmp_path / "b.model", sign=-1)
    put_model(one, node, tmp_path / "home", lambda text: None)
    with pytest.raises(NumeraiError, match="these are wrong, or those") as caught:
        check_model(other, node, lambda *_: live(tmp_path, chance=True), "refuse", lambda text: None)
    hint = str(caught.value.hint)
    assert "If it is the deployed model that is wrong" in hint and "`--gate warn` deploys it all the same" in hint


def test_the_models_before_are_listed_newest_first(node: Node, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert kept_models(node, home) == []
    models = [made(tmp_path / f"{seed}.model", seed) for seed in range(3)]
    for moment, model in enumerate(models):
        put_model(model, node, home, lambda text: None)
        for kept in kept_models(node, home)[:1]:
            os.utime(kept, (moment, moment))
    assert [kept.read_bytes() for kept in kept_models(node, home)] == [model.read_bytes() for model in models[1::-1]]
    put_model(models[1], node, home, lambda text: None)
    assert models[1].read_bytes() not in [kept.read_bytes() for kept in kept_models(node, home)], "it is deployed"
