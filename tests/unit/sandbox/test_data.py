"""The datasets: their shape, their determinism, their signal, and folders of real files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from numerai_compute.errors import UsageError
from numerai_compute.sandbox.data.catalog import Catalog
from numerai_compute.sandbox.data.made_classic import MadeClassic
from numerai_compute.sandbox.data.parquet import write_parquet
from numerai_compute.sandbox.data.signal import targets
from numerai_compute.sandbox.data.source import Edition
from numerai_compute.sandbox.data.words import feature_names
from numerai_compute.sandbox.refusal import HttpRefusal
from numerai_compute.sandbox.scores import scores_by_day
from numerai_compute.sandbox.settings import DataSpec, Settings
from numerai_tools.scoring import correlation_contribution, numerai_corr

from tests.fixtures.sandbox import ServedSandbox

Factory = Callable[..., ServedSandbox]
SPEC = DataSpec(seed=2, eras=16, rows_per_era=150, features=24)
ROUND = Edition(1000, 20260106)
NEXT = Edition(1001, 20260107)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog(tmp_path_factory.mktemp("data"), SPEC)


def read(catalog: Catalog, name: str, edition: Edition = ROUND) -> pd.DataFrame:
    return pd.read_parquet(catalog.file(name, edition).path)


class TestShape:
    @pytest.mark.slow
    def test_training_rows(self, catalog: Catalog) -> None:
        train = read(catalog, "v5.3/train.parquet")
        sets = json.loads(catalog.file("v5.3/features.json", ROUND).path.read_text())
        features = sets["feature_sets"]["all"]
        assert train.index.name == "id"
        assert train.index.is_unique
        assert list(train.columns) == ["era", "data_type", *features, *sets["targets"]]
        assert {str(train[name].dtype) for name in features} == {"int8"}
        assert set(np.unique(train[features])) == {0, 1, 2, 3, 4}
        assert list(train["era"].unique()) == [f"{era:04d}" for era in range(1, 17)]
        assert train.groupby("era").size().eq(150).all()
        assert set(sets["feature_sets"]["small"]) < set(sets["feature_sets"]["medium"]) < set(features)

    def test_targets(self, catalog: Catalog) -> None:
        train = read(catalog, "v5.3/train.parquet")
        sets = json.loads(catalog.file("v5.3/features.json", ROUND).path.read_text())
        for name in sets["targets"]:
            assert train[name].dtype == np.float32
            assert set(train[name].dropna().unique()) == {0, 0.25, 0.5, 0.75, 1}
        assert train["target"].notna().all()
        assert (train["target"] == train["target_ender_20"]).all()
        assert train["target_cyrusd_60"].isna().mean() == pytest.approx(0.15, abs=0.03)

    @pytest.mark.slow
    def test_validation_follows_train(self, catalog: Catalog) -> None:
        validation = read(catalog, "v5.3/validation.parquet")
        assert list(validation["era"].unique()) == ["0017", "0018", "0019", "0020"]
        for name in ("validation_example_preds", "validation_benchmark_models", "meta_model"):
            assert list(read(catalog, f"v5.3/{name}.parquet").index) == list(validation.index)

    def test_live(self, catalog: Catalog) -> None:
        live = read(catalog, "v5.3/live.parquet")
        assert set(live["era"]) == {"X"}
        assert not any("target" in name for name in live.columns)
        example = read(catalog, "v5.3/live_example_preds.parquet")
        assert list(example.index) == list(live.index)
        assert example["prediction"].between(0, 1, inclusive="neither").all()
        csv = pd.read_csv(catalog.file("v5.3/live_example_preds.csv", ROUND).path)
        assert list(csv["id"]) == list(live.index)

    def test_missing_values(self, tmp_path: Path) -> None:
        """A missing value is 2 since v5.3, and null in the files before it."""
        spec = DataSpec(eras=4, rows_per_era=100, features=8, missing=0.2)
        holes = Catalog(tmp_path, spec, versions=["v5.2"])
        newer = read(holes, "v5.3/train.parquet")
        features = [name for name in newer.columns if name.startswith("feature")]
        assert {str(newer[name].dtype) for name in features} == {"int8"}
        assert (newer[features] == 2).to_numpy().mean() == pytest.approx(0.2 + 0.8 / 5, abs=0.03)
        table = pq.read_table(holes.file("v5.2/train.parquet", ROUND).path)
        older = [name for name in table.column_names if name.startswith("feature")]
        assert {str(table.schema.field(name).type) for name in older} == {"int8"}
        share = sum(table[name].null_count for name in older) / (len(older) * len(table))
        assert share == pytest.approx(0.2, abs=0.03)
        assert read(holes, "v5.2/train.parquet")[older].fillna(2).astype("int8").equals(newer[older])
        for version in ("v5.2", "v5.3"):
            assert read(holes, f"{version}/live_example_preds.parquet")["prediction"].notna().all()

    def test_missing_values_are_few_unless_asked_for(self, catalog: Catalog) -> None:
        assert (
            not pd.concat([read(catalog, "v5.3/train.parquet"), read(catalog, "v5.3/live.parquet")])
            .iloc[:, :20]
            .isna()
            .any()
            .any()
        )

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("folder", "column", "target"),
        [
            ("signals/v2.1", "numerai_ticker", "target"),
            ("signals/v3.1", "numerai_ticker", "target"),
            ("crypto/v2.0", "symbol", "target_binned_return_20"),
        ],
    )
    def test_universes(self, catalog: Catalog, folder: str, column: str, target: str) -> None:
        live, later = read(catalog, f"{folder}/live.parquet"), read(catalog, f"{folder}/live.parquet", NEXT)
        assert live.index.name == ("symbol" if column == "symbol" else None), "as the official examples 1.1.7 read them"
        if live.index.name:
            live, later = live.reset_index(), later.reset_index()
        assert list(live[column]) == list(later[column])
        assert live[column].is_unique
        assert set(live["date"]) == {"2026-01-06"}
        features = [name for name in live.columns if name.startswith("feature")]
        assert not live[features].equals(later[features])
        train = read(catalog, f"{folder}/train.parquet")
        assert train.groupby("date").size().eq(len(live)).all()
        assert set(train[target].unique()) == {0, 0.25, 0.5, 0.75, 1}
        names = read(catalog, f"{folder}/live_example_preds.parquet")[column]
        assert list(names) == list(live[column])

    @pytest.mark.slow
    def test_signals(self, catalog: Catalog) -> None:
        assert "feature_country" not in read(catalog, "signals/v2.1/live.parquet")
        live = read(catalog, "signals/v3.1/live.parquet")
        assert set(live["feature_country"]) == {"US"}
        train = read(catalog, "signals/v3.1/train.parquet")
        assert read(catalog, "signals/v3.1/validation.parquet")["date"].min() > train["date"].max()
        names = pd.read_csv(catalog.file("signals/v2.1/live_example_preds.csv", ROUND).path)["numerai_ticker"]
        assert list(names) == list(live["numerai_ticker"]), "no name reads as a missing value"

    @pytest.mark.slow
    def test_crypto(self, catalog: Catalog) -> None:
        assert catalog.names(12) == [
            f"crypto/v2.0/{name}" for name in ("live.parquet", "live_example_preds.parquet", "train.parquet")
        ]
        live = read(catalog, "crypto/v2.0/live.parquet")
        assert len(live) == 300
        assert live["ucid"].is_unique
        assert sum(name.startswith("feature") for name in live.columns) == 22
        train = read(catalog, "crypto/v2.0/train.parquet")
        assert [name for name in train.columns if "target" in name] == [
            "target_binned_return_20",
            "target_binned_return_60",
        ]

    def test_the_bins_of_the_targets(self) -> None:
        found = pd.Series(targets(np.random.default_rng(0).normal(size=1000))).value_counts(normalize=True)
        assert found.to_dict() == pytest.approx({0.5: 0.5, 0.25: 0.2, 0.75: 0.2, 0.0: 0.05, 1.0: 0.05})

    def test_names_are_different(self) -> None:
        assert len(set(feature_names(8000))) == 8000
        assert feature_names(10) == feature_names(3000)[:10]
        with pytest.raises(ValueError):
            feature_names(8001)


class TestVersions:
    """Several versions at once: an older one, a release that comes file by file, and one that goes."""

    @pytest.fixture
    def shelf(self, catalog: Catalog) -> Catalog:
        return catalog.own()

    @pytest.mark.slow
    def test_an_older_version_has_the_same_rows_and_fewer_features(self, shelf: Catalog) -> None:
        shelf.publish("v5.2")
        older, newer = read(shelf, "v5.2/train.parquet"), read(shelf, "v5.3/train.parquet")
        assert set(older.columns) < set(newer.columns)
        assert newer[older.columns].equals(older)
        live, newer_live = read(shelf, "v5.2/live.parquet"), read(shelf, "v5.3/live.parquet")
        assert newer_live[live.columns].equals(live)
        names = [name for name in read(shelf, "v5.2/live_benchmark_models.parquet").columns if name != "era"]
        assert names == ["v52_lgbm_ender20", "v52_lgbm_cyrusd20", "v52_lgbm_teager2b20"]

    @pytest.mark.parametrize(("version", "before"), [("v6.0", "v5.3"), ("signals/v4.0", "signals/v3.1")])
    def test_a_major_release_renames_the_features(self, shelf: Catalog, version: str, before: str) -> None:
        shelf.publish(version, renames=True)
        old, new = read(shelf, f"{before}/live.parquet"), read(shelf, f"{version}/live.parquet")
        of_old = [name for name in old.columns if name.startswith("feature") and name != "feature_country"]
        of_new = [name for name in new.columns if name.startswith("feature") and name != "feature_country"]
        assert len(of_old) == len(of_new)
        assert not set(of_old) & set(of_new)
        assert (old[of_old].to_numpy() == new[of_new].to_numpy()).all()
        predictions = f"{version}/live_example_preds.parquet"
        assert read(shelf, predictions).equals(read(shelf, f"{before}/live_example_preds.parquet"))

    def test_a_version_comes_file_by_file(self, shelf: Catalog) -> None:
        shelf.publish("v6.0", ["train.parquet"])
        assert [name for name in shelf.names(8) if name.startswith("v6.0")] == ["v6.0/train.parquet"]
        with pytest.raises(HttpRefusal):
            shelf.file("v6.0/live.parquet", ROUND)
        shelf.publish("v6.0", ["live.parquet"])
        assert len([name for name in shelf.names(8) if name.startswith("v6.0")]) == 2
        shelf.publish("v6.0")
        assert len([name for name in shelf.names(8) if name.startswith("v6.0")]) == 12

    def test_a_version_goes(self, shelf: Catalog, catalog: Catalog) -> None:
        shelf.remove("v5.3")
        assert shelf.names(8) == []
        assert shelf.tournament_of("v5.3/live.parquet") is None
        with pytest.raises(HttpRefusal):
            shelf.file("v5.3/live.parquet", ROUND)
        assert len(shelf.source(8).live(ROUND)) == SPEC.rows_per_era, "submissions are still checked"
        assert len(catalog.names(8)) == 12, "each sandbox has a listing of its own"

    @pytest.mark.parametrize("version", ["v5", "newest", "../v5.3", "signals/v2.1/x", "v5.3.1"])
    def test_names_that_are_none(self, shelf: Catalog, version: str) -> None:
        if version != "v5":
            with pytest.raises(UsageError):
                shelf.publish(version)
        with pytest.raises(UsageError):
            shelf.remove(version)
        with pytest.raises(UsageError, match="no file 'x'"):
            shelf.publish("v6.0", ["x"])

    def test_what_was_published_is_remembered_with_the_state(self, tmp_path: Path) -> None:
        first = Catalog(tmp_path, SPEC, versions=["v5.2"])
        first.publish("v6.0", ["train.parquet"], renames=True)
        first.remove("v5.2")
        again = Catalog(tmp_path, SPEC, versions=["v5.2"])
        assert again.versions() == first.versions()
        assert again.names(8) == first.names(8)

    def test_a_folder_under_another_version(self, catalog: Catalog, tmp_path: Path) -> None:
        folder = tmp_path / "files"
        folder.mkdir()
        for name in ("train", "live"):
            content = catalog.file(f"v5.3/{name}.parquet", ROUND).path.read_bytes()
            (folder / f"{name}.parquet").write_bytes(content)
        served = Catalog(tmp_path / "made", SPEC, folder)
        served.publish("v6.0")
        assert read(served, "v6.0/live.parquet").equals(read(served, "v5.3/live.parquet"))
        with pytest.raises(UsageError, match="cannot be renamed"):
            served.publish("v7.0", renames=True)

    def test_dataset_of_a_version_that_is_gone_is_not_found(self, sandbox_factory: Factory) -> None:
        served = sandbox_factory(data_versions=("v5.2",))
        query = '{dataset(filename: "v5.2/live.parquet", tournament: 8)}'
        assert "/v5.2/live.parquet?" in served.graphql(query)["data"]["dataset"]
        served.running.sandbox.catalog.remove("v5.2")
        assert "not found" in served.graphql(query)["errors"][0]["message"]
        listed = served.graphql("{listDatasets(tournament: 8)}")["data"]["listDatasets"]
        assert {name.partition("/")[0] for name in listed} == {"v5.3"}

    @pytest.mark.slow
    def test_the_live_rows_of_an_old_round(self, sandbox_factory: Factory) -> None:
        """`dataset(round:)` gives the files of a round that is over."""
        served = sandbox_factory()
        first = max(found["number"] for found in served.state()["rounds"] if found["tournament"] == 8)
        served.open_round("classic")
        query = 'query($r: Int) {dataset(filename: "v5.3/live.parquet", round: $r)}'

        def ids(number: int | None) -> list[str]:
            url = served.graphql(query, r=number)["data"]["dataset"]
            return list(pd.read_parquet(url).index)

        assert ids(first) != ids(None)
        assert ids(first + 1) == ids(None)


class TestDeterminism:
    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_bytes(self, catalog: Catalog, tmp_path: Path) -> None:
        other = Catalog(tmp_path, SPEC)
        for name in ("v5.3/train.parquet", "v5.3/live.parquet", "signals/v2.1/live.parquet", "v5.3/meta_model.parquet"):
            one, two = catalog.file(name, ROUND), other.file(name, ROUND)
            assert one.path.read_bytes() == two.path.read_bytes()
            assert one.etag == two.etag

    def test_another_seed_gives_others(self, catalog: Catalog, tmp_path: Path) -> None:
        other = Catalog(tmp_path, DataSpec(seed=3, eras=16, rows_per_era=150, features=24))
        assert catalog.file("v5.3/live.parquet", ROUND).etag != other.file("v5.3/live.parquet", ROUND).etag
        assert not set(read(catalog, "v5.3/live.parquet").index) & set(read(other, "v5.3/live.parquet").index)

    def test_every_round_has_new_ids(self, catalog: Catalog) -> None:
        one, two = read(catalog, "v5.3/live.parquet"), read(catalog, "v5.3/live.parquet", NEXT)
        assert not set(one.index) & set(two.index)
        assert catalog.file("v5.3/live.parquet", ROUND).etag != catalog.file("v5.3/live.parquet", NEXT).etag
        assert catalog.file("v5.3/train.parquet", ROUND) == catalog.file("v5.3/train.parquet", NEXT)

    def test_many_at_once_make_a_file_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fresh = Catalog(tmp_path, DataSpec(eras=4, rows_per_era=100, features=8))
        source = fresh.source(8)
        made: list[str] = []
        write = source.write
        monkeypatch.setattr(source, "write", lambda name, *rest: (made.append(name), write(name, *rest)))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: fresh.file("v5.3/train.parquet", ROUND), range(16)))
        assert made == ["v5.3/train.parquet"]
        assert len({each.path.read_bytes() for each in found}) == 1

    def test_unknown_files(self, catalog: Catalog) -> None:
        with pytest.raises(HttpRefusal):
            catalog.file("v5.3/../secret", ROUND)


class TestSignal:
    @pytest.mark.slow
    def test_a_fitted_model_scores_as_at_numerai(self, tmp_path: Path) -> None:
        """CORR of 0.02 to 0.06 out of sample: weak, but there."""
        lightgbm = pytest.importorskip("lightgbm")
        usual = Catalog(tmp_path, DataSpec())
        train, validation = read(usual, "v5.3/train.parquet"), read(usual, "v5.3/validation.parquet")
        features = [name for name in train.columns if name.startswith("feature")]
        model = lightgbm.LGBMRegressor(
            n_estimators=200, learning_rate=0.03, num_leaves=15, colsample_bytree=0.3, n_jobs=1, verbose=-1
        )
        model.fit(train[features], train["target"])
        validation["prediction"] = model.predict(validation[features])
        scores = [
            numerai_corr(rows[["prediction"]].sort_index(), rows["target"]).iloc[0]
            for _, rows in validation.groupby("era")
        ]
        assert 0.02 < np.mean(scores) < 0.06

    @pytest.mark.slow
    def test_scores_by_day_are_those_of_numerai_tools(self, catalog: Catalog) -> None:
        truth = catalog.source(8).truth(ROUND)
        entries = truth.rivals.sort_index()
        found = scores_by_day(truth.rivals, truth)
        for day in (1, 7, 20):
            corr = numerai_corr(entries, truth.by_day[day])
            mmc = correlation_contribution(entries, truth.meta_model, truth.by_day[day])
            pd.testing.assert_series_equal(found["canon_corr"].T[day], corr, check_names=False, atol=1e-10)
            pd.testing.assert_series_equal(found["canon_mmc"].T[day], mmc, check_names=False, atol=1e-10)

    def test_a_blur_of_nothing_changes_nothing(self, catalog: Catalog) -> None:
        signal = catalog.source(8).signal
        assert signal.blurred([1], 0.0).weights == signal.weights
        assert signal.blurred([1], 1.0).weights != signal.weights


class TestSize:
    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
    def test_memory_does_not_grow_with_the_eras(self, tmp_path: Path) -> None:
        def peak_mib(eras: int) -> float:
            program = (
                "import resource, sys; from pathlib import Path\n"
                "from numerai_compute.sandbox.data.catalog import Catalog\n"
                "from numerai_compute.sandbox.data.source import Edition\n"
                "from numerai_compute.sandbox.settings import DataSpec\n"
                f"spec = DataSpec(eras={eras}, rows_per_era=1000, features=1000)\n"
                f"Catalog(Path(sys.argv[1]) / '{eras}', spec).file('v5.3/train.parquet', Edition(1, 20260101))\n"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
            )
            done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True)
            return int(done.stdout) / (1024 * 1024 if sys.platform == "darwin" else 1024)

        small, large = peak_mib(60), peak_mib(180)
        assert large - small < 60, "three times the rows, 120 MB more data"

    @pytest.mark.slow
    def test_a_file_that_cannot_be_finished_leaves_nothing(self, tmp_path: Path) -> None:
        def rows() -> object:
            yield pd.DataFrame({"a": np.zeros(10_000_000)})
            raise OSError("disk full")

        with pytest.raises(OSError):
            write_parquet(tmp_path / "x.parquet", rows())  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            write_parquet(tmp_path / "x.parquet", [])
        assert list(tmp_path.iterdir()) == []

    def test_numerais_own_feature_sets(self) -> None:
        spec = DataSpec(eras=574, rows_per_era=4700, features=3555)
        sets = MadeClassic(spec).feature_sets()
        assert [len(sets[name]) for name in ("small", "medium", "all", "quantum")] == [42, 780, 3555, 807]
        assert not set(sets["quantum"]) & set(sets["medium"])
        older = MadeClassic(spec, "v5.2").feature_sets()
        assert [len(older[name]) for name in ("small", "medium", "all")] == [42, 780, 2748]
        assert "quantum" not in older


class TestFolder:
    @pytest.fixture
    def folder(self, catalog: Catalog, tmp_path: Path) -> Path:
        folder = tmp_path / "files"
        folder.mkdir()
        for name in ("train", "validation", "live"):
            content = catalog.file(f"v5.3/{name}.parquet", ROUND).path.read_bytes()
            (folder / f"{name}.parquet").write_bytes(content)
        return folder

    @pytest.mark.slow
    def test_its_files_are_served_and_the_rest_is_derived(
        self, folder: Path, sandbox_factory: Factory, tmp_path: Path
    ) -> None:
        found = sandbox_factory(data=folder)
        names = found.graphql("{listDatasets(tournament: 8)}")["data"]["listDatasets"]
        assert {"v5.3/features.json", "v5.3/meta_model.parquet", "v5.3/live_benchmark_models.parquet"} < set(names)
        for name in names:
            assert found.download(name, tmp_path).stat().st_size > 0
        assert (tmp_path / "train.parquet").read_bytes() == (folder / "train.parquet").read_bytes()
        sets = json.loads((tmp_path / "features.json").read_text())
        assert len(sets["feature_sets"]["all"]) == 24
        assert "target" in sets["targets"]
        csv = found.live_predictions(tmp_path).to_csv(index=False)
        found.submit(csv)
        found.open_round("classic")
        found.submit(csv)
        assert [found.entry("alice", number)["status"] for number in (1000, 1001)] == ["on-time", "on-time"]
        found.clock(advance=40 * 86400)
        query = "query($m: ID!) {submissionScores(modelId: $m, day: 20) {value}}"
        assert len(found.graphql(query, m=found.models["alice"])["data"]["submissionScores"]) == 4

    def test_a_changed_file_has_a_new_tag(self, folder: Path, tmp_path: Path) -> None:
        served = Catalog(tmp_path / "made", SPEC, folder)
        before = served.file("v5.3/live.parquet", ROUND).etag
        live = pd.read_parquet(folder / "live.parquet")
        live.iloc[::-1].to_parquet(folder / "live.parquet")
        assert served.file("v5.3/live.parquet", ROUND).etag != before

    def test_an_index_of_another_name(self, folder: Path, tmp_path: Path) -> None:
        live = pd.read_parquet(folder / "live.parquet").reset_index()
        live.to_parquet(folder / "live.parquet", index=False)
        ids = Catalog(tmp_path / "made", SPEC, folder).source(8).live(ROUND)["id"]
        assert list(ids) == list(live["id"])

    def test_a_folder_without_rows(self, folder: Path) -> None:
        (folder / "live.parquet").unlink()
        with pytest.raises(UsageError, match=r"has no live\.parquet"):
            Settings(data=folder)

    @pytest.mark.skipif("NUMERAI_REAL_DATA" not in os.environ, reason="NUMERAI_REAL_DATA names no folder")
    def test_real_rows(self, sandbox_factory: Factory, tmp_path: Path) -> None:
        found = sandbox_factory(data=Path(os.environ["NUMERAI_REAL_DATA"]), history=1)
        frame = found.live_predictions(tmp_path)
        assert found.submit(frame.to_csv(index=False)) == found.entry()["id"]
        validation = pd.read_parquet(found.download("v5.3/validation.parquet", tmp_path))
        example = pd.read_parquet(found.download("v5.3/validation_example_preds.parquet", tmp_path))
        assert list(example.index) == list(validation.index)
        assert len(pd.read_parquet(found.download("v5.3/train_benchmark_models.parquet", tmp_path))) == 4970
