"""What the model's code is given: the newest data with only the wanted columns, its folder and its threads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from numerai_node import __version__
from numerai_node.errors import ConfigurationError, TemporaryFailure
from numerai_node.node import Node
from numerai_node.scores import score
from numerai_node.versions import version_key

from .conftest import Handler, Stub, classic_files, parquet

MakeNode = Callable[..., Node]


def test_the_log_says_which_runtime_runs(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.check_access()
    (ready,) = [line for line in capsys.readouterr().out.splitlines() if " ready " in line]
    assert f"runtime={__version__}" in ready


def test_versions_sort_as_numbers(node: Node) -> None:
    assert node.dataset.version == "v5.10"
    assert version_key("v5.10") > version_key("v5.9")  # type: ignore[operator]
    assert version_key("v6") == (6, 0)
    assert version_key("5.10") is None


@pytest.mark.parametrize(("tournament", "version"), [(11, "signals/v2.1"), (12, "crypto/v1.0")])
def test_each_tournament_has_its_own_data(make_node: MakeNode, stub: Stub, tournament: int, version: str) -> None:
    stub.files |= {f"{version}/live.parquet": b"", "signals/v1.0/live.parquet": b"", "crypto/notes.txt": b""}
    assert make_node(NUMERAI_TOURNAMENT=str(tournament)).dataset.version == version


def test_no_data_at_all(node: Node, stub: Stub) -> None:
    stub.files = {"readme.txt": b""}
    with pytest.raises(TemporaryFailure, match="lists no data for tournament 8"):
        node.features()
    stub.files = dict(classic_files())
    assert node.features(), "the listing is asked for again"


def test_feature_sets(node: Node) -> None:
    assert node.features("small") == ["feature_0", "feature_1"]
    assert len(node.features("all")) == 4
    with pytest.raises(ConfigurationError, match=r"no feature set huge\. There are: small, all"):
        node.features("huge")


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"feature_sets": null}', b'{"feature_sets": {"small": 5}}'])
def test_feature_sets_that_are_none_are_temporary(make_node: MakeNode, stub: Stub, content: bytes) -> None:
    good = stub.files["v5.10/features.json"]
    stub.files["v5.10/features.json"] = content
    with pytest.raises(TemporaryFailure, match=r"features\.json of v5\.10 holds no feature sets"):
        make_node().features()
    stub.files["v5.10/features.json"] = good
    assert make_node().features()


def test_frames_hold_only_the_wanted_columns(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    features = node.features("small")
    assert list(node.train(features).columns) == ["era", *features, "target"]
    assert list(node.validation(features).columns) == ["era", *features, "target"]
    live = node.live(features)
    assert list(live.columns) == features
    assert live.index.name == "id"
    assert live.index[0] == "n0000"
    assert str(live["feature_0"].dtype) == "int8"
    assert "read file=train.parquet rows=200 columns=4" in capsys.readouterr().out


def test_an_id_column_that_is_no_index_becomes_one(node: Node, stub: Stub) -> None:
    frame = pd.DataFrame({"era": ["X", "X"], "id": ["a", "b"], "feature_0": [1, 2]})
    stub.files["v5.10/live.parquet"] = parquet(frame)
    assert list(node.live(["feature_0"]).index) == ["a", "b"]
    assert list(node.live(["id", "feature_0"]).columns) == ["id", "feature_0"]


def test_ids_of_signals_are_columns(make_node: MakeNode, stub: Stub) -> None:
    frame = pd.DataFrame({"numerai_ticker": ["A US"], "sedol": ["B1"], "date": ["2026-11-20"], "feature_0": [1]})
    stub.files["signals/v2.1/live_universe.parquet"] = parquet(frame)
    node = make_node(NUMERAI_TOURNAMENT="11")
    assert list(node.live(["feature_0"]).columns) == ["numerai_ticker", "sedol", "feature_0"]
    assert list(node.universe.columns) == ["numerai_ticker", "sedol"]


def test_columns_and_files_that_do_not_exist_are_named(node: Node) -> None:
    with pytest.raises(ConfigurationError, match=r"lacks 6 of the columns asked for: a, b, c, d, e, \.\.\."):
        node.live(list("abcdef"))
    with pytest.raises(ConfigurationError, match=r"no file meta_model.parquet in v5.10. There are: features"):
        node.dataset.file("meta_model.parquet")


def test_a_damaged_file_is_downloaded_again_by_the_next_run(make_node: MakeNode, stub: Stub) -> None:
    whole = stub.files["v5.10/live.parquet"]
    stub.files["v5.10/live.parquet"] = whole[:4] + bytes(len(whole) - 12) + whole[-8:]
    stub.etags["v5.10/live.parquet"] = '"the same"'
    with pytest.raises(TemporaryFailure, match=r"live.parquet is damaged"):
        make_node().live(["feature_0"])
    stub.files["v5.10/live.parquet"] = whole
    assert len(make_node().live(["feature_0"])) == 200


def test_the_live_file_is_the_same_for_all_of_a_run(node: Node, stub: Stub) -> None:
    before = node.live()
    stub.files["v5.10/live.parquet"] = stub.files["v5.10/train.parquet"]
    assert node.live().index.equals(before.index)
    assert list(node.universe["id"]) == list(before.index)


def test_the_artifacts_folder_is_made(node: Node, tmp_path: Path) -> None:
    assert node.artifacts == tmp_path / "artifacts"
    assert node.artifacts.is_dir()


def test_artifacts_elsewhere_are_not_supported_yet(make_node: MakeNode) -> None:
    with pytest.raises(ConfigurationError, match=r"NUMERAI_ARTIFACTS is a .*:// address") as caught:
        _ = make_node(NUMERAI_ARTIFACTS="gs://bucket/alice").artifacts
    assert caught.value.exit_code == 78


def test_an_artifacts_folder_that_cannot_be_made(make_node: MakeNode, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="NUMERAI_ARTIFACTS"):
        _ = make_node(NUMERAI_ARTIFACTS=str(tmp_path / "file" / "x")).artifacts


@pytest.mark.parametrize(("cpu", "threads"), [("0.5", 1), ("2", 2), ("3.7", 3)])
def test_threads_follow_the_nodes_size(make_node: MakeNode, cpu: str, threads: int) -> None:
    assert make_node(NUMERAI_CPU=cpu).threads == threads


def test_threads_without_a_size(node: Node) -> None:
    assert 1 <= node.threads <= (os.cpu_count() or 1)


def test_the_score_is_numerais_corr_per_era(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    rows = node.validation(["feature_0"])
    perfect = score(rows["era"], rows["target"], rows["target"])
    assert perfect.eras == 2
    assert perfect.corr_mean > 0.9
    opposite = score(rows["era"], rows["target"], -rows["target"])
    assert opposite.corr_mean == pytest.approx(-perfect.corr_mean, abs=1e-6)
    line = capsys.readouterr().out.splitlines()[-2]
    assert f"validated corr_mean={round(perfect.corr_mean, 4):.6g} corr_sharpe=" in line
    assert line.endswith("eras=2")


def test_equal_predictions_score_nothing(node: Node) -> None:
    rows = node.validation(["feature_0"])
    result = score(rows["era"], rows["target"], rows["target"] * 0)
    assert (result.corr_mean, result.corr_sharpe) == (0.0, 0.0)


def test_rows_without_a_target_are_left_out(node: Node) -> None:
    rows = node.validation(["feature_0"])
    rows.loc[rows["era"] == "0006", "target"] = None
    assert score(rows["era"], rows["target"], rows["feature_0"]).eras == 1


def test_a_dataset_address_is_asked_anew_for_each_try(node: Node, stub: Stub) -> None:
    def expired(handler: Handler) -> None:
        handler.answer(403, b"")

    stub.script["download"] = [expired]
    assert json.loads(node.dataset.file("features.json").read_text())["targets"] == ["target"]
    assert stub.asked("dataset") == 2
