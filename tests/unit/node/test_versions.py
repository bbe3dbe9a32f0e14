"""Which version of the data a run uses, and what it says about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_node.errors import ConfigurationError
from numerai_node.node import Node
from numerai_node.settings import from_environment
from numerai_node.versions import choose, complete_versions, listed_versions

from .conftest import Stub, classic_files, parquet

MakeNode = Callable[..., Node]
ALL = ("features.json", "live.parquet", "train.parquet", "validation.parquet", "meta_model.parquet")


def names(**files: tuple[str, ...]) -> list[str]:
    """`v5_2=ALL` as Numerai lists it."""
    return [f"{version.replace('_', '.')}/{name}" for version, own in files.items() for name in own]


def choice_of(listing: list[str], pinned: str | None = None, trained_on: str | None = None) -> Any:
    return choose(listed_versions(listing, 8), pinned, trained_on)


class TestChoice:
    def test_versions_are_listed_by_number_and_tournament(self) -> None:
        listing = [*names(v5_10=("a",), v5_9=("a", "b")), "signals/v3.1/live.parquet", "v5/../x/y", "readme.txt", "v7"]
        assert listed_versions(listing, 8) == {"v5": frozenset({"../x/y"}), "v5.9": {"a", "b"}, "v5.10": {"a"}}
        assert list(listed_versions(listing, 8)) == ["v5", "v5.9", "v5.10"]
        assert listed_versions(listing, 11) == {"v3.1": {"live.parquet"}}

    @pytest.mark.parametrize("lacks", ALL)
    def test_a_version_that_lacks_a_file_which_the_one_before_has_is_not_complete(self, lacks: str) -> None:
        half = tuple(name for name in ALL if name != lacks)
        listing = names(v5_3=ALL, v6_0=half)
        assert complete_versions(listed_versions(listing, 8)) == ["v5.3"]
        choice = choice_of(listing)
        assert (choice.version, choice.coming, choice.newer) == ("v5.3", "v6.0", None)

    def test_what_nobody_needs_is_not_waited_for(self) -> None:
        listing = names(v5_3=(*ALL, "live_example_preds.csv", "live_int8.parquet"), v6_0=ALL)
        assert choice_of(listing).version == "v6.0"

    def test_a_version_is_compared_with_the_complete_one_before_it(self) -> None:
        listing = names(v5_2=ALL, v5_3=("live.parquet",), v6_0=("live.parquet", "train.parquet"))
        choice = choice_of(listing)
        assert (choice.version, choice.coming) == ("v5.2", "v6.0")

    def test_the_model_keeps_its_version_while_it_is_served(self) -> None:
        choice = choice_of(names(v5_2=ALL, v5_3=ALL), trained_on="v5.2")
        assert (choice.version, choice.newer, choice.gone) == ("v5.2", "v5.3", None)

    def test_a_pin_counts_more_than_the_model(self) -> None:
        listing = names(v5_1=ALL, v5_2=ALL, v5_3=ALL)
        assert choice_of(listing, "v5.1", "v5.2").version == "v5.1"
        assert choice_of(listing, "newest", "v5.2").version == "v5.3"
        assert choice_of(listing, "newest", "v5.2").newer is None

    def test_a_version_is_served_as_long_as_its_live_file_is(self) -> None:
        listing = names(v5_2=("live.parquet",), v5_3=ALL)
        assert choice_of(listing, trained_on="v5.2").version == "v5.2"
        listing = names(v5_2=("train.parquet",), v5_3=ALL)
        choice = choice_of(listing, trained_on="v5.2")
        assert (choice.version, choice.gone) == ("v5.3", "v5.2")

    def test_a_newer_one_than_the_newest_complete_can_be_pinned(self) -> None:
        listing = names(v5_3=ALL, v6_0=("live.parquet",))
        choice = choice_of(listing, "v6.0")
        assert (choice.version, choice.newer, choice.coming) == ("v6.0", None, "v6.0")

    def test_without_any_live_file_nothing_is_final(self) -> None:
        choice = choice_of(names(v5_2=("train.parquet",), v5_3=("train.parquet",)), trained_on="v5.2")
        assert (choice.version, choice.live, choice.gone) == ("v5.3", False, None)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The notices that went out."""
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr("numerai_node.node.addresses", lambda: ["json://a"])
    monkeypatch.setattr("numerai_node.node.tell", lambda kind, title, text, **_: sent.append((kind, title)) or True)
    return sent


@pytest.fixture
def older(stub: Stub) -> dict[str, bytes]:
    """Version v5.2, which the stub serves besides v5.10."""
    files = {name.replace("v5.10", "v5.2"): body for name, body in classic_files().items() if "v5.10" in name}
    stub.files = dict(classic_files()) | files
    return files


class TestRun:
    def test_a_model_remembers_its_version(
        self, make_node: MakeNode, stub: Stub, older: dict[str, bytes], told: list[Any], tmp_path: Path
    ) -> None:
        released, stub.files = stub.files, older
        node = make_node()
        assert node.trained_on is None
        assert not (tmp_path / "artifacts").exists(), "looking makes no folder"
        node.remember_version()
        assert (tmp_path / "artifacts" / "data_version").read_text() == "v5.2\n"
        stub.files = released
        for _ in range(2):
            node = make_node()
            assert node.dataset.version == "v5.2"
            assert node.trained_on == "v5.2"
        assert told == [("data", "numerai-alice: the data version v5.10 is out")], "once, and not in every run"
        assert make_node(NUMERAI_DATA_VERSION="newest").dataset.version == "v5.10"
        assert len(told) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("kept", [True, False])
    def test_a_kept_model_of_older_code_is_remembered_once_it_was_submitted(
        self, make_node: MakeNode, stub: Stub, older: dict[str, bytes], tmp_path: Path, kept: bool
    ) -> None:
        """Its code calls no `remember_version`, and the next release must not take its features away."""
        released, stub.files = stub.files, older
        (tmp_path / "artifacts").mkdir()
        if kept:
            (tmp_path / "artifacts" / "model.txt").write_text("a tree")
        node = make_node()
        node.submit(node.live(node.features())["feature_0"] / 4 * 0.9 + 0.05)
        stub.files = released
        assert make_node().dataset.version == ("v5.2" if kept else "v5.10")

    def test_a_version_that_is_gone_is_replaced_and_told(
        self, make_node: MakeNode, stub: Stub, told: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            node = make_node(NUMERAI_DATA_VERSION="v5.2")
            assert node.dataset.version == "v5.10"
        assert told == [("data", "numerai-alice: the data version v5.2 is gone")]
        assert 'data version=v5.10 why="the newest complete version" gone=v5.2' in capsys.readouterr().out
        with pytest.raises(ConfigurationError, match=r"lacks 1 .*v5\.2 that this model needs.*Train it on v5\.10"):
            node.live(["feature_of_v5_2"])

    def test_a_notice_that_did_not_go_out_is_told_by_the_next_run(
        self, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, told: list[Any]
    ) -> None:
        sends = iter([False, True])
        monkeypatch.setattr("numerai_node.node.tell", lambda *_, **__: next(sends))
        for _ in range(3):
            assert make_node(NUMERAI_DATA_VERSION="v5.2").dataset.version == "v5.10"
        assert next(sends, None) is None

    def test_the_version_stays_the_same_for_all_of_a_run(self, node: Node, stub: Stub) -> None:
        assert node.dataset.version == "v5.10"
        stub.files |= {name.replace("v5.10", "v6.0"): body for name, body in stub.files.items() if "v5.10" in name}
        node.dataset.forget_names()
        assert node.live_file.parent.name == "v5.10"
        assert node.features()

    def test_a_half_published_version_is_not_used(self, make_node: MakeNode, stub: Stub) -> None:
        stub.files["v6.0/train.parquet"] = b""
        assert make_node().dataset.version == "v5.10"
        stub.files["v6.0/live.parquet"] = b""
        assert make_node().dataset.version == "v5.10"

    @pytest.mark.parametrize("text", ["", "v", "newest\n", "\x00\n"])
    def test_a_memory_that_is_not_understood_is_none(self, make_node: MakeNode, tmp_path: Path, text: str) -> None:
        (tmp_path / "artifacts").mkdir()
        (tmp_path / "artifacts" / "data_version").write_text(text)
        assert make_node().trained_on is None
        assert make_node().dataset.version == "v5.10"

    def test_an_artifacts_folder_that_cannot_be_used_costs_only_the_memory(
        self, make_node: MakeNode, tmp_path: Path, told: list[Any]
    ) -> None:
        (tmp_path / "file").touch()
        for place in (str(tmp_path / "file" / "x"), "gs://bucket/alice"):
            node = make_node(NUMERAI_ARTIFACTS=place, NUMERAI_DATA_VERSION="v5.2")
            assert node.dataset.version == "v5.10"
            node.remember_version()

    @pytest.mark.parametrize("value", ["5.3", "v5.x", "latest", "v5.3/..", "signals/v2.1", "v5.3 v5.2"])
    def test_a_malformed_pin_is_named(self, value: str) -> None:
        with pytest.raises(ConfigurationError, match=r"NUMERAI_DATA_VERSION .*like v5\.3, or newest"):
            from_environment({"NUMERAI_DATA_VERSION": value})

    @pytest.mark.parametrize("name", ["v5.10/../../etc/passwd", "/etc/passwd", "..", "v5.10/.hidden", "v5.10//live"])
    def test_names_that_lead_out_of_the_cache_are_refused(self, node: Node, stub: Stub, name: str) -> None:
        stub.files[name] = b""
        with pytest.raises(ConfigurationError, match=r"no name of a data file|no file"):
            node.dataset.fetch(name)
        with pytest.raises(ConfigurationError, match=r"no name of a data file|no file"):
            node.dataset.file(name.removeprefix("v5.10/"))


class TestValues:
    def test_only_what_is_missing_becomes_2(self, node: Node, stub: Stub) -> None:
        """A 2 in the file stays a 2: a missing value and the middle bin cannot be told apart."""
        index = pd.Index(["a", "b", "c"], name="id")
        frame = pd.DataFrame(
            {
                "era": "X",
                "feature_0": pd.array([0, None, 2], dtype="Int8"),
                "feature_1": np.array([4.0, np.nan, 2.0], dtype="float32"),
                "feature_2": np.array([0, 2, 4], dtype="int8"),
                "target": [np.nan, 0.5, 1.0],
            },
            index=index,
        )
        for name in ("live", "train", "validation"):
            stub.files[f"v5.10/{name}.parquet"] = parquet(frame)
        features = ["feature_0", "feature_1", "feature_2"]
        for rows in (node.live(features), node.train(features), node.validation(features)):
            assert rows[features].to_numpy().tolist() == [[0, 4, 0], [2, 2, 2], [2, 2, 4]]
            assert [str(kind) for kind in rows[features].dtypes] == ["int8", "float32", "int8"]
        assert node.train(features)["target"].isna().tolist() == [True, False, False]
        raw = node.frame("train.parquet", features)
        assert raw.isna().sum().tolist() == [1, 1, 0]

    def test_text_columns_are_no_features(self, make_node: MakeNode, stub: Stub) -> None:
        stocks = pd.DataFrame({"numerai_ticker": ["A US"], "feature_country": ["US"], "feature_0": [1], "x": [1]})
        stub.files = {"signals/v3.1/live.parquet": parquet(stocks)}
        node = make_node(NUMERAI_TOURNAMENT="11")
        assert node.features() == node.features("all") == ["feature_0"]
        with pytest.raises(ConfigurationError, match=r"no feature set medium\. There is: all"):
            node.features("medium")

    def test_feature_sets_of_the_version_in_use(self, make_node: MakeNode, stub: Stub, older: dict[str, bytes]) -> None:
        stub.files["v5.2/features.json"] = json.dumps({"feature_sets": {"small": ["feature_3"]}}).encode()
        assert make_node(NUMERAI_DATA_VERSION="v5.2").features() == ["feature_3"]
