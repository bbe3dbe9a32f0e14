"""A folder with model.toml and a folder with data become one artifact, and what is wrong with either is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from numerai_compute.errors import EnvironmentNotReady, NumeraiError
from numerai_compute.modelling import memory
from numerai_compute.modelling.checkpoint import FOLDER
from numerai_compute.modelling.runtime import read_model
from numerai_compute.modelling.scoring import Column, Eras, Scorer
from numerai_compute.modelling.training import Progress
from numerai_compute.usecases.train import train_folder
from numerai_tools.scoring import numerai_corr

FEATURES = [f"feature_{number}" for number in range(6)]
ERAS, ROWS = 24, 60
TOML = """
[data]
feature_sets = ["small"]
[held_out]
eras = 3
[parameters]
trees = 20
block = 5
num_leaves = 6
learning_rate = 0.2
"""


def make_data(folder: Path) -> Path:
    """Data of a version: features 0 to 5, two targets, and a live file that is never looked at."""
    chance = np.random.default_rng(11)
    rows = ERAS * ROWS
    table = pd.DataFrame(chance.integers(0, 5, (rows, len(FEATURES)), dtype=np.int8), columns=FEATURES)
    table.index = pd.Index([f"n{number:07}" for number in range(rows)], name="id")
    table["era"] = np.repeat([f"{number:04}" for number in range(1, ERAS + 1)], ROWS)
    for name, feature in (("target", FEATURES[0]), ("target_other_20", FEATURES[1])):
        noisy = table[feature] + chance.normal(0, 2, rows)
        table[name] = (noisy.rank(pct=True) * 4.999).astype(int).astype(np.float32) / 4
    table.loc[table["era"] == f"{ERAS:04}", ["target", "target_other_20"]] = np.nan  # not resolved yet
    folder.mkdir(parents=True)
    table.to_parquet(folder / "train.parquet")
    sets = {"small": FEATURES[:3], "medium": FEATURES, "two": FEATURES[2:4]}
    (folder / "features.json").write_text(json.dumps({"feature_sets": sets, "targets": ["target", "target_other_20"]}))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data") / "v5.3")


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = TOML, name: str = "model") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "model.toml").write_text(text)
        return folder

    return write


def about(folder: Path) -> dict[str, object]:
    with ZipFile(next(folder.glob("*.model"))) as archive:
        content: dict[str, object] = json.loads(archive.read("model.json"))
    return content


@pytest.mark.slow
def test_a_folder_becomes_an_artifact_that_says_how_it_was_made(data: Path, model: Callable[..., Path]) -> None:
    folder = model()
    training = train_folder(folder, data, threads=1)
    assert training.artifact == folder / "model.model" and not (folder / FOLDER).exists()
    content = about(folder)
    assert content["features"] == FEATURES[:3] and content["data_version"] == "v5.3" and content["tournament"] == 8
    how = content["training"]
    assert isinstance(how, dict)
    assert (how["eras"], how["held_out"], how["purge"]) == (["0001", "0012"], ["0021", "0023"], 8)
    drift = content["drift"]
    assert isinstance(drift, dict) and list(drift) == FEATURES[:3]
    assert all(sum(shares) == pytest.approx(1, abs=1e-5) for shares in drift.values())
    table = pd.read_parquet(data / "train.parquet")
    train = table[table["era"] <= "0012"]
    assert drift[FEATURES[0]][3] == pytest.approx(float((train[FEATURES[0]] == 3).mean()), abs=1e-6)


NEUTRAL = """
[neutralize]
features = "two"
proportion = 0.5
"""


@pytest.mark.parametrize("toml", [TOML, f"seeds = [4, 5]\n{TOML}{NEUTRAL}"], ids=["one member", "several, neutralized"])
def test_the_corr_in_it_is_that_of_what_a_node_predicts(data: Path, model: Callable[..., Path], toml: str) -> None:
    training = train_folder(model(toml), data, threads=1)
    table = pd.read_parquet(data / "train.parquet")
    held = table[table["era"].between("0021", "0023")]
    eras = Eras(("0021", "0022", "0023"), np.arange(4) * ROWS)
    scorer = Scorer(eras, held["target"].to_numpy().astype(float))
    artifact = read_model(training.artifact)

    def corr(predictions: np.ndarray) -> float:
        return float(scorer.scores(Column(predictions, np.full(3, ROWS)))["corr"].mean())

    whole = training.metrics["corr"]
    assert isinstance(whole, dict)
    assert whole["mean"] == pytest.approx(corr(artifact.predict(held, held["era"].tolist())), abs=1e-14)
    for member, raw in zip(training.members, artifact.raw(held), strict=True):
        assert member["corr"] == pytest.approx(corr(raw), abs=1e-14)


@pytest.mark.slow
def test_feature_sets_targets_and_seeds_are_an_ensemble(data: Path, model: Callable[..., Path]) -> None:
    text = TOML.replace('["small"]', '["small", "two"]\ntargets = ["target", "target_other_20"]\nevery = 2')
    folder = model(f"seeds = [4, 5]\n{text}{NEUTRAL}")
    train_folder(folder, data, threads=1)
    content = about(folder)
    assert content["features"] == FEATURES[:4]
    members = content["members"]
    assert isinstance(members, list) and len(members) == 8
    made = {(tuple(each["features"]), each["target"], each["seed"]) for each in members}
    targets = ("target", "target_other_20")
    assert made == {(columns, target, seed) for columns in ((0, 1, 2), (2, 3)) for target in targets for seed in (4, 5)}
    assert content["neutralize"] == {"features": FEATURES[2:4], "proportion": 0.5}
    how = content["training"]
    assert isinstance(how, dict) and (how["every"], how["eras"], how["held_out"]) == (
        2,
        ["0001", "0011"],
        ["0021", "0023"],
    )


@pytest.mark.slow
def test_what_is_trained_already_is_not_trained_again_unless_that_is_asked_for(
    data: Path, model: Callable[..., Path]
) -> None:
    folder = model()
    train_folder(folder, data, threads=1)
    before = (folder / "model.model").read_bytes()
    seen: list[Progress] = []
    assert train_folder(folder, data, threads=1, report=seen.append).up_to_date and not seen
    assert not train_folder(folder, data, threads=2, report=seen.append, again=True).up_to_date and seen
    assert (folder / "model.model").read_bytes() == before, "neither a second run nor more threads change a byte"
    (folder / "model.toml").write_text(TOML.replace("trees = 20", "trees = 10"))
    assert not train_folder(folder, data, threads=1).up_to_date
    assert (folder / "model.model").read_bytes() != before


KILLED = """
import os, signal, sys
from pathlib import Path
from numerai_compute.usecases.train import train_folder
def report(progress):
    if not progress.block_ended and progress.trees == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
train_folder(Path(sys.argv[1]), Path(sys.argv[2]), threads=1, report=report)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_training_that_is_killed_again_and_again_ends_in_the_same_bytes(
    data: Path, model: Callable[..., Path]
) -> None:
    whole, folder = model(name="whole"), model(name="killed")
    text = f'name = "m"\n{TOML}'
    for each in (whole, folder):
        (each / "model.toml").write_text(text)
    train_folder(whole, data, threads=1)
    for tree in (3, 8, 14, 16):
        done = subprocess.run([sys.executable, "-c", KILLED, folder, data, str(tree)], timeout=120)
        assert done.returncode == -signal.SIGKILL
    seen: list[Progress] = []
    train_folder(folder, data, threads=1, report=seen.append)
    assert seen[0].trees == 16, "fifteen trees, three blocks, were kept"
    assert (folder / "m.model").read_bytes() == (whole / "m.model").read_bytes()


@pytest.mark.slow
def test_it_goes_on_with_nothing_that_has_changed_and_says_what_has(data: Path, model: Callable[..., Path]) -> None:
    folder = model()

    def cut(progress: Progress) -> None:
        if progress.block_ended and progress.trees == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_folder(folder, data, threads=1, report=cut)
    (folder / "model.toml").write_text(TOML.replace("learning_rate = 0.2", "learning_rate = 0.1"))
    with pytest.raises(NumeraiError, match=r"model\.toml\.parameters\.learning_rate was 0\.2 and is 0\.1") as error:
        train_folder(folder, data, threads=1)
    assert error.value.code == "training-changed"
    (folder / "model.toml").write_text(TOML)
    other = make_data(folder / "other" / "v5.3")
    table = pd.read_parquet(other / "train.parquet")
    table.iloc[:-1].to_parquet(other / "train.parquet")
    with pytest.raises(NumeraiError, match=r"files\.train\.parquet was .* bytes") as error:
        train_folder(folder, other, threads=1)
    seen: list[Progress] = []
    train_folder(folder, data, threads=1, report=seen.append)
    assert seen[0].trees == 11, "nothing was lost"


@pytest.mark.slow
def test_the_progress_never_says_more_trees_than_are_planned(data: Path, model: Callable[..., Path]) -> None:
    seen: list[Progress] = []
    train_folder(model(TOML.replace("trees = 20", "trees = 12")), data, threads=1, report=seen.append)
    assert [each.trees for each in seen if each.block_ended] == [5, 10, 12] and seen[-1].seconds_left == 0


def test_what_was_begun_again_and_interrupted_goes_on(data: Path, model: Callable[..., Path]) -> None:
    folder = model()
    train_folder(folder, data, threads=1)
    before = (folder / "model.model").read_bytes()

    def cut(progress: Progress) -> None:
        if progress.block_ended and progress.trees == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_folder(folder, data, threads=1, report=cut, again=True)
    seen: list[Progress] = []
    assert not train_folder(folder, data, threads=1, report=seen.append).up_to_date
    assert seen[0].trees == 11 and not (folder / FOLDER).exists()
    assert (folder / "model.model").read_bytes() == before


def _infinite(folder: Path) -> None:
    table = pd.read_parquet(folder / "train.parquet")
    table.loc[table.index[0], "target"] = np.inf
    table.to_parquet(folder / "train.parquet")


def _no_rows(folder: Path) -> None:
    pd.read_parquet(folder / "train.parquet").iloc[:0].to_parquet(folder / "train.parquet")


def _no_labels(folder: Path) -> None:
    table = pd.read_parquet(folder / "train.parquet")
    table.assign(target=np.nan).to_parquet(folder / "train.parquet")


def _words(folder: Path) -> None:
    table = pd.read_parquet(folder / "train.parquet")
    table.assign(target=table["target"].astype(str)).to_parquet(folder / "train.parquet")


def _without(column: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        pd.read_parquet(folder / "train.parquet").drop(columns=column).to_parquet(folder / "train.parquet")

    return change


def _as_text(folder: Path) -> None:
    table = pd.read_parquet(folder / "train.parquet")
    table.assign(feature_1=table["feature_1"].astype(str)).to_parquet(folder / "train.parquet")


def _truncate(folder: Path) -> None:
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def _twice(folder: Path) -> None:
    (folder / "validation.parquet").write_bytes((folder / "train.parquet").read_bytes())


BAD_DATA = [
    ("missing column", _without("feature_1"), TOML, "no column feature_1"),
    ("missing target", _without("target"), TOML, "no column target"),
    ("wrong dtype", _as_text, TOML, "feature_1 holds"),
    ("truncated", _truncate, TOML, "cannot be read"),
    ("no file", lambda folder: (folder / "train.parquet").unlink(), TOML, "There is no file"),
    ("era in both files", _twice, TOML.replace("[data]", '[data]\nfiles = ["train", "validation"]'), "count twice"),
    ("unknown feature set", lambda _: None, TOML.replace('"small"', '"smal"'), "no feature set smal"),
    (
        "unknown target",
        lambda _: None,
        TOML.replace("[data]", '[data]\ntargets = ["target_othr_20"]'),
        "target_othr_20",
    ),
    ("unknown neutralizer", lambda _: None, f"{TOML}[neutralize]\nfeatures = 'x'\n", "no feature set x"),
    ("too few eras", lambda _: None, TOML.replace("eras = 3", "eras = 20"), "too few to hold out 20"),
    ("other version", lambda _: None, TOML.replace("[data]", '[data]\nversion = "v5.2"'), "asks for .* v5.2"),
    ("infinite target", _infinite, TOML, "something else than finite numbers"),
    ("text as target", _words, TOML, "target"),
    ("no rows", _no_rows, TOML, "No row"),
    ("no labels", _no_labels, TOML, "No row of train.parquet has a value of target"),
    ("nothing to learn", lambda _: None, f"{TOML}min_data_in_leaf = 100000\n", "could be split"),
]


@pytest.mark.parametrize(("change", "toml", "message"), [each[1:] for each in BAD_DATA], ids=[e[0] for e in BAD_DATA])
def test_bad_input_is_one_message_and_leaves_nothing_behind(
    tmp_path: Path, model: Callable[..., Path], change: Callable[[Path], None], toml: str, message: str
) -> None:
    data, folder = make_data(tmp_path / "v5.3"), model(toml)
    change(data)
    (folder / "model.model").write_bytes(b"the one from before")
    with pytest.raises(NumeraiError, match=message) as error:
        train_folder(folder, data, threads=1)
    assert error.value.hint and "\n" not in error.value.in_full
    assert (folder / "model.model").read_bytes() == b"the one from before"


def test_too_little_memory_is_said_before_anything_is_read_with_what_fits(
    data: Path, model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(TOML.replace('"small"', '"medium"'))
    monkeypatch.setattr(memory, "available_memory", lambda: memory.training_memory(900, 6, leaves=6) - 1)
    with pytest.raises(EnvironmentNotReady, match=r"6 features of 900 rows take about .* of memory") as error:
        train_folder(folder, data, threads=1)
    assert error.value.code == "too-little-memory" and "every 2nd era" in (error.value.hint or "")
    assert not (folder / FOLDER).exists()
    (folder / "model.toml").write_text(TOML.replace("[data]", "[data]\nevery = 2"))
    train_folder(folder, data, threads=1)


def test_too_little_disk_is_said_before_anything_is_trained(
    data: Path, model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    folder = model()
    with pytest.raises(EnvironmentNotReady, match="The training takes") as error:
        train_folder(folder, data, threads=1)
    assert error.value.code == "disk-full" and not (folder / FOLDER).exists()


REAL = os.environ.get("NUMERAI_REAL_DATA", "")


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="NUMERAI_REAL_DATA names no folder with genuine rows")
def test_genuine_rows_are_trained_on(model: Callable[..., Path]) -> None:
    text = 'seeds = [0, 1]\n[data]\nversion = "v4.1"\nfeature_sets = ["small", "all"]\n[held_out]\npatience = 100\n'
    folder = model(f"{text}[parameters]\ntrees = 300\nblock = 50\n")
    training = train_folder(folder, Path(REAL), threads=1)
    corrs = {str(each["label"]): each["corr"] for each in training.members}
    assert corrs["all, target, seed 0"] == pytest.approx(0.0922, abs=1e-3)
    corr = training.metrics["corr"]
    assert isinstance(corr, dict) and corr["eras"] == 12
    table = pd.read_parquet(Path(REAL) / "train.parquet")
    held = table[table["era"] >= "0109"]
    artifact = read_model(training.artifact)
    columns = [artifact.predict(held, held["era"].tolist()), *artifact.raw(held)]
    predictions = pd.DataFrame(np.column_stack(columns), index=held.index)
    expected = held.groupby("era").apply(lambda era: numerai_corr(predictions.loc[era.index], era["target"])).mean()
    ours = [corr["mean"], *(each["corr"] for each in training.members)]
    assert ours == pytest.approx(list(np.asarray(expected)), abs=1e-8)


def test_data_of_which_nobody_knows_the_version_are_refused(data: Path, model: Callable[..., Path]) -> None:
    place = data.parent / "mine"
    if not place.exists():
        make_data(place)
    with pytest.raises(NumeraiError, match="Which version") as error:
        train_folder(model(name="unnamed"), place, threads=1)
    assert error.value.code == "data-version-missing"
