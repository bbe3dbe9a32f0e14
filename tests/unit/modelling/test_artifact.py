"""The artifact: one file without pickle or times, that LightGBM's own reader and `zipfile` open."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import lightgbm as lgb
import numpy as np
import pytest
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.modelling.artifact import About, ForestMember, read_about, write_artifact
from numerai_compute.modelling.boosters import train_block

ABOUT = About(8, "v5.3", ["a", "b", "c"], None, {"preset": "small"}, {"corr": 0.01}, {"a": [0.2] * 5})


@pytest.fixture
def blocks(tmp_path: Path) -> list[Path]:
    """Two blocks of a forest."""
    chance = np.random.default_rng(3)
    matrix = chance.integers(0, 5, (300, 3)).astype(np.float32)
    dataset = lgb.Dataset(matrix, matrix[:, 0] / 4, params={"verbosity": -1}).construct()
    first = train_block(dataset, None, {"num_leaves": 4, "num_threads": 1}, 2, None)
    second = train_block(dataset, None, {"num_leaves": 4, "num_threads": 1}, 3, first.scores)
    paths = [tmp_path / "0.txt", tmp_path / "1.txt"]
    for path, block in zip(paths, (first, second), strict=True):
        path.write_bytes(block.text)
    return paths


def test_the_same_model_gives_the_same_bytes_and_says_what_it_is(tmp_path: Path, blocks: list[Path]) -> None:
    members = [ForestMember(blocks, None, "target", 0), ForestMember(blocks[:1], [0, 2], "target_60", 1, 2.0)]
    for name in ("one.model", "two.model"):
        write_artifact(tmp_path / name, ABOUT, members)
    assert (tmp_path / "one.model").read_bytes() == (tmp_path / "two.model").read_bytes()
    with ZipFile(tmp_path / "one.model") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["members/000.txt", "members/001.txt", "model.json"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        text = archive.read("model.json").decode()
        forests = [lgb.Booster(model_str=archive.read(f"members/{number:03}.txt").decode()) for number in range(2)]
    about = json.loads(text)
    assert [forest.num_trees() for forest in forests] == [5, 2]
    assert text == json.dumps(about, indent=1, sort_keys=True)
    assert set(about) == {
        *("format", "tournament", "data_version", "features", "members", "combine", "neutralize"),
        *("training", "metrics", "drift", "environment"),
    }
    assert about["members"] == [
        {"file": "members/000.txt", "features": None, "target": "target", "seed": 0, "trees": 5, "weight": 1.0},
        {"file": "members/001.txt", "features": [0, 2], "target": "target_60", "seed": 1, "trees": 2, "weight": 2.0},
    ]
    assert set(about["environment"]) == {"python", "lightgbm", "numpy", "numerai_compute"}
    assert read_about(tmp_path / "one.model") == about


def test_a_folder_that_takes_no_file_is_one_message(tmp_path: Path, blocks: list[Path]) -> None:
    with pytest.raises(EnvironmentNotReady, match=r"Cannot write .*x\.model"):
        write_artifact(tmp_path / "none" / "x.model", ABOUT, [ForestMember(blocks, None, "target", 0)])


def test_what_is_no_artifact_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"no zip")
    assert read_about(tmp_path / "x.model") is None and read_about(tmp_path / "y.model") is None
