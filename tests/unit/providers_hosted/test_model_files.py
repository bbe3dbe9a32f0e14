"""A file of `numerai train` runs at Numerai with its reader; no code of the folder's own is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from numerai_compute.errors import NumeraiError
from numerai_compute.models import Node, RunState
from numerai_compute.providers.hosted.environments import packages_for
from numerai_compute.providers.hosted.packing import (
    Packer,
    artifact_of,
    model_in,
    refuse_links_elsewhere,
    with_reader,
)
from numerai_compute.providers.hosted.settings import HostedSettings
from numerai_compute.usecases.ship import put_model
from numerai_node.model_file import DEPLOYED, read_model

from tests.contract.hosted_bench import HostedBench
from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.unit.usecases.test_ship import made

OTHER = ["cloudpickle", "numpy", "pandas", "pyarrow", "urllib3"]


@pytest.mark.slow
def test_a_model_file_becomes_a_submission_with_the_very_numbers_that_a_node_predicts(
    tmp_path: Path, sandbox: ServedSandbox
) -> None:
    bench = HostedBench(tmp_path, sandbox)
    live = pd.read_parquet(sandbox.download("v5.3/live.parquet", tmp_path))
    features = [name for name in live.columns if name.startswith("feature_")][:2]
    trained = made(tmp_path / "alice.model", more={"features": features})
    node = bench.node("def main(node):\n    node.model()\n")
    put_model(trained, node, tmp_path / "home", bench.say)
    bench.assign(node, bench.provider.deploy(bench.provider.configure(node, bench.say), force=False, report=bench.say))
    assert "Packing deployed.model with its reader" in "\n".join(bench.said)
    bench.sandbox.open_round()
    (run,) = wait_for(lambda: [run for run in bench.provider.runs(node.name) if run.state.final])
    assert run.state is RunState.SUCCEEDED, run
    compute = sandbox.running.sandbox.compute
    (upload,) = compute.pickles.all()
    found = pd.read_pickle(compute.uploads.path(upload.filename))(live)
    assert list(found["prediction"]) == list(read_model(trained).predict(live))
    assert found.index.equals(live.index)


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Node]:
    def make(*names: str, code: str = "def main(node):\n    pass\n") -> Node:
        (tmp_path / "predict.py").write_text(code)
        for name in names:
            (tmp_path / name).write_bytes(b"")
        return Node("numerai-alice", "alice", "id", 8, "hosted", str(tmp_path), 1, 4096)

    return make


def own(node: Node) -> dict[str, Path]:
    return {path.name: path for path in Path(node.path).iterdir()}


def test_what_runs_is_predict_then_the_deployed_model_then_the_only_one(node: Callable[..., Node]) -> None:
    assert model_in(own(node("a.model")), "predict") == Path(node().path) / "a.model"
    with pytest.raises(NumeraiError, match=r"there are 2 models \(a\.model, b\.pkl\)"):
        model_in(own(node("b.pkl")), "predict")
    assert model_in({"b.pkl": Path("b.pkl")}, "predict") == Path("b.pkl"), "nothing else is there"
    assert model_in(own(node(DEPLOYED)), "predict") == Path(node().path) / DEPLOYED
    assert model_in(own(node(code="def predict(live_features):\n    pass\n")), "predict") is None


def test_a_model_of_another_tournament_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NumeraiError, match=r"predicts Signals, and Numerai runs models of Classic only"):
        artifact_of(made(tmp_path / "s.model", tournament=11))
    (tmp_path / "bad.model").write_bytes(b"no zip")
    with pytest.raises(NumeraiError, match=r"damaged, or is no model file"):
        artifact_of(tmp_path / "bad.model")


def test_lightgbm_is_needed_for_a_model_that_is_not_packed_only(tmp_path: Path, node: Callable[..., Node]) -> None:
    model = made(tmp_path / "alice.model")
    assert packages_for([model]) == sorted([*OTHER, "lightgbm", "scikit-learn", "scipy"])
    put_model(model, node(), tmp_path / "home", lambda text: None)
    assert packages_for([tmp_path / DEPLOYED]) != OTHER, "its forest does not go along"
    assert packages_for([tmp_path / DEPLOYED, *tmp_path.glob("*.forest")]) == OTHER


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    from helper import predict\nexcept ImportError:\n    predict = None\n",
        "import os\nif os.name:\n    def predict(live_features):\n        pass\n",
        "from helper import *\n",
        "with open('x') as file:\n    predict = file.read\n",
        "predict, columns = make()\n",
        "[first, *predict] = make()\n",
        "print(predict := make())\n",
        "match make():\n    case 1:\n        predict = 2\n",
        "match make():\n    case [predict, *_]:\n        pass\n",
        "match make():\n    case {'a': 1, **predict}:\n        pass\n",
        "for predict in make():\n    pass\n",
        "ALL = [predict := each for each in make()]\n",
    ],
)
def test_a_predict_that_is_given_inside_of_a_statement_runs_and_no_pickle_beside_it(
    node: Callable[..., Node], code: str
) -> None:
    assert model_in(own(node("old.pkl", code=code)), "predict") is None


NONE = (
    "class A:\n    def predict(self):\n        pass\ndef make():\n    predict = 1\n",
    "ALL = [predict for predict in ()]\n",
    "predict: object\n",
    "print(predict)\n",
)


@pytest.mark.parametrize("code", NONE)
def test_a_pickle_beside_a_module_without_predict_is_refused(node: Callable[..., Node], code: str) -> None:
    with pytest.raises(NumeraiError, match=r"predict\.py defines no function predict, and old\.pkl is beside it") as no:
        model_in(own(node("old.pkl", code=code)), "predict")
    assert no.value.code == "not-hosted" and "Define predict(live_features)" in str(no.value.hint)
    assert "move predict.py away" in str(no.value.hint)


@pytest.mark.parametrize("code", NONE)
def test_a_pickle_beside_the_program_of_a_node_is_what_that_runs(node: Callable[..., Node], code: str) -> None:
    code += "def main(node):\n    pass\n"
    assert model_in(own(node("a.pkl", code=code)), "predict") == Path(node().path) / "a.pkl"


def test_a_package_may_be_the_module(tmp_path: Path) -> None:
    init = tmp_path / "__init__.py"
    init.write_text("from .impl import predict\n")
    assert model_in({"predict/__init__.py": init, "old.pkl": tmp_path / "old.pkl"}, "predict") is None
    init.write_text("")
    with pytest.raises(NumeraiError, match=r"predict/__init__\.py defines no function predict, and old\.pkl"):
        model_in({"predict/__init__.py": init, "old.pkl": tmp_path / "old.pkl"}, "predict")


def test_a_forest_comes_from_the_files_of_the_folder_that_go_along(tmp_path: Path) -> None:
    names = ("a.model", "a.model.0.forest", "a.model.1.forest", "a.model.x/1.forest")
    files = {name: tmp_path / name for name in names}
    for path in files.values():
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    del files["a.model.1.forest"]  # as .dockerignore leaves it out
    packed = with_reader(files["a.model"], files)
    assert packed["model.model"] == files["a.model"] and packed["model.model.0.forest"] == files["a.model.0.forest"]
    assert [name for name in packed if name.endswith(".forest")] == ["model.model.0.forest"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_goes_along_only_where_its_file_does(tmp_path: Path, node: Callable[..., Node]) -> None:
    folder = Path(node().path) / "own"
    folder.mkdir()
    (folder / "weights.txt").write_text("1")
    (folder / "same.txt").symlink_to("weights.txt")
    files = {path.name: path for path in folder.iterdir()}
    refuse_links_elsewhere(files)
    outside = tmp_path / "outside.txt"
    outside.write_text("a key")
    for target in (outside, folder / "gone.txt", folder / "link.txt", tmp_path):
        (folder / "link.txt").unlink(missing_ok=True)
        (folder / "link.txt").symlink_to(target)
        with pytest.raises(NumeraiError, match=r"link\.txt is a link to .*, which is no file of the folder"):
            refuse_links_elsewhere({**files, "link.txt": folder / "link.txt"})


def test_what_tools_keep_in_the_folder_is_no_part_of_an_upload(node: Callable[..., Node]) -> None:
    packer, settings = Packer(lambda: pytest.fail("no engine is needed")), HostedSettings()
    before = packer.source_hash(node(), settings)
    for name in (".git/index", "__pycache__/predict.cpython-313.pyc", "sub/.venv/pyvenv.cfg", "old.pyc"):
        path = Path(node().path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        assert packer.source_hash(node(), settings) == before, name
    (Path(node().path) / "helper.py").write_text("x")
    assert packer.source_hash(node(), settings) != before
