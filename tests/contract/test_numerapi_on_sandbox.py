"""numerapi, which nobody here wrote, against the sandbox with only its API_TOURNAMENT_URL replaced."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytest
from numerai_compute.sandbox.switches import Switches
from numerapi import CryptoAPI, NumerAPI, SignalsAPI, base_api

from tests.fixtures.sandbox import ServedSandbox, wait_for
from tests.present import present

HISTORY = 3
Api = base_api.Api
AnyApi = TypeVar("AnyApi", bound=Api)

COVERED = {
    "check_new_round",
    "check_round_open",
    "daily_model_performances",
    "diagnostics",
    "download_dataset",
    "download_submission",
    "get_account",
    "get_account_leaderboard",
    "get_competitions",
    "get_current_round",
    "get_leaderboard",
    "get_models",
    "get_submission_filenames",
    "intra_round_scores",
    "list_datasets",
    "list_rounds",
    "model_upload",
    "model_upload_data_versions",
    "model_upload_docker_images",
    "modelid_to_modelname",
    "models_of_account",
    "pending_model_payouts",
    "pipeline_status",
    "public_user_profile",
    "raw_query",
    "round_model_performances",
    "round_model_performances_v2",
    "set_bio",
    "set_global_data_dir",
    "set_link",
    "set_submission_webhook",
    "submission_ids",
    "submission_scores",
    "ticker_universe",
    "upload_diagnostics",
    "upload_predictions",
}
EXCLUDED = {
    "stake_change": "moves stake",
    "stake_decrease": "moves stake",
    "stake_drain": "moves stake",
    "stake_get": "reads stake",
    "stake_increase": "moves stake",
    "stake_set": "moves stake",
    "v3_stake_auth": "moves stake",
    "v3_stake_claim": "reads stake",
    "v3_stake_config": "reads stake",
    "v3_stake_round": "reads stake",
    "wallet_transactions": "reads the wallet",
}


@pytest.fixture
def served(
    sandbox_factory: Callable[..., ServedSandbox], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ServedSandbox:
    """A sandbox with a past, and numerapi pointed at it in an empty folder."""
    found = sandbox_factory(history=HISTORY)
    monkeypatch.setattr(base_api, "API_TOURNAMENT_URL", found.url)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return found


def login(served: ServedSandbox, kind: type[AnyApi]) -> AnyApi:
    return kind(served.public_id, served.secret_key, verbosity="critical", show_progress_bars=False)


@pytest.fixture
def classic(served: ServedSandbox) -> NumerAPI:
    return login(served, NumerAPI)


@pytest.fixture
def signals(served: ServedSandbox) -> SignalsAPI:
    return login(served, SignalsAPI)


@pytest.fixture
def crypto(served: ServedSandbox) -> CryptoAPI:
    return login(served, CryptoAPI)


ALL = [(NumerAPI, "alice", 8), (SignalsAPI, "bob", 11), (CryptoAPI, "carol", 12)]
EVERY_API = pytest.mark.parametrize(("kind", "name", "tournament"), ALL, ids=["classic", "signals", "crypto"])


def predictions(api: Any, name: str, column: str = "prediction") -> pd.DataFrame:
    table = pd.read_parquet(api.download_dataset(name))
    frame = table.reset_index() if table.index.name == "id" else table
    return frame.rename(columns={"prediction": column})


def public_methods() -> set[str]:
    return {
        name
        for kind in (NumerAPI, SignalsAPI, CryptoAPI)
        for name, _ in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_public_method_is_covered_here_or_excluded_for_a_reason() -> None:
    methods = public_methods()
    assert methods - COVERED - set(EXCLUDED) == set()
    assert set(EXCLUDED) <= methods
    source = Path(__file__).read_text(encoding="utf-8")
    for name in COVERED & methods:
        assert f".{name}(" in source, f"{name} is said to be covered but never called"


class TestDatasets:
    @EVERY_API
    def test_lists_the_files_of_the_tournament(
        self, served: ServedSandbox, kind: type[Api], name: str, tournament: int
    ) -> None:
        prefix = {8: "v5.3/", 11: "signals/", 12: "crypto/"}[tournament]
        names = login(served, kind).list_datasets()
        assert (
            f"{'v5.3' if tournament == 8 else prefix + ('v3.1' if tournament == 11 else 'v2.0')}/live.parquet" in names
        )
        assert all(each.startswith(prefix) for each in names)

    def test_downloads_every_listed_file(self, classic: NumerAPI) -> None:
        for name in classic.list_datasets():
            path = Path(classic.download_dataset(name))
            if name.endswith(".parquet"):
                assert len(pd.read_parquet(path)) > 0
            else:
                assert path.stat().st_size > 100

    def test_downloads_only_the_rows_that_a_filter_names(self, classic: NumerAPI) -> None:
        path = classic.download_dataset("v5.3/train.parquet", "some.parquet", filters=[("era", "in", ["0002", "0003"])])
        assert sorted(pd.read_parquet(path)["era"].unique()) == ["0002", "0003"]

    def test_resumes_a_broken_download(self, classic: NumerAPI, tmp_path: Path) -> None:
        whole = Path(classic.download_dataset("v5.3/train.parquet", "whole.parquet")).read_bytes()
        Path("part.parquet.temp").write_bytes(whole[:1000])
        assert Path(classic.download_dataset("v5.3/train.parquet", "part.parquet")).read_bytes() == whole

    def test_a_round_keeps_its_live_data(self, served: ServedSandbox, classic: NumerAPI) -> None:
        before = classic.get_current_round()
        now = pd.read_parquet(classic.download_dataset("v5.3/live.parquet", "now.parquet"))
        served.open_round("classic")
        then = pd.read_parquet(classic.download_dataset("v5.3/live.parquet", "then.parquet"))
        again = pd.read_parquet(classic.download_dataset("v5.3/live.parquet", "again.parquet", round_num=before))
        assert not set(now.index) & set(then.index)
        assert list(again.index) == list(now.index)

    def test_downloads_below_the_global_folder(self, classic: NumerAPI, tmp_path: Path) -> None:
        classic.set_global_data_dir(str(tmp_path / "store"))
        assert Path(classic.download_dataset("v5.3/features.json")) == tmp_path / "store" / "v5.3" / "features.json"

    def test_an_unknown_file_is_an_error(self, classic: NumerAPI) -> None:
        with pytest.raises(ValueError, match="not found"):
            classic.download_dataset("v5.3/nothing.parquet")

    def test_the_ticker_universe(self, signals: SignalsAPI) -> None:
        universe = signals.ticker_universe()
        assert len(set(universe)) == len(universe) >= 100


class TestAccount:
    @EVERY_API
    def test_models(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        api = login(served, kind)
        assert api.get_models() == {name: served.models[name]}
        assert api.models_of_account("sandbox") == {name: served.models[name]}
        assert api.modelid_to_modelname(served.models[name]) == name

    def test_account(self, served: ServedSandbox, classic: NumerAPI) -> None:
        account = classic.get_account()
        assert account["username"] == "sandbox"
        assert isinstance(account["insertedAt"], datetime)
        assert {model["name"] for model in account["models"]} == {"alice", "bob", "carol"}
        assert account["apiTokens"][0]["public_id"] == served.public_id
        assert "stake" not in account["apiTokens"][0]["scopes"]

    @EVERY_API
    def test_public_profile_with_bio_and_link(
        self, served: ServedSandbox, kind: type[Api], name: str, tournament: int
    ) -> None:
        api = login(served, kind)
        assert api.set_bio(served.models[name], "a patient model") is True
        assert api.set_link(served.models[name], "read more", "https://example.com") is True
        profile = api.public_user_profile(name)
        assert profile["id"] == served.models[name]
        assert profile["bio"] == "a patient model"
        assert isinstance(profile["startDate"], datetime)

    def test_webhook(self, served: ServedSandbox, classic: NumerAPI) -> None:
        model = served.models["alice"]
        assert classic.set_submission_webhook(model, "https://example.com/node/token") is True
        shown = next(each for each in served.state()["models"] if each["name"] == "alice")
        assert shown["webhook"] == "https://example.com/node/***"
        assert classic.set_submission_webhook(model) is True
        assert next(each for each in served.state()["models"] if each["name"] == "alice")["webhook"] is None

    def test_wrong_keys(self, served: ServedSandbox) -> None:
        api = NumerAPI("WRONG", "KEYS", verbosity="critical")
        with pytest.raises(ValueError, match="session is invalid"):
            api.get_account()
        assert present(api.get_current_round()) > 0, "what is public needs no keys"

    def test_raw_query_in_snake_case(self, classic: NumerAPI) -> None:
        found = classic.raw_query("{api_token_info {public_id account_username}}", authorization=True)
        assert found["data"]["api_token_info"]["account_username"] == "sandbox"


class TestRounds:
    @EVERY_API
    def test_the_open_round(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        api = login(served, kind)
        assert api.get_current_round() == 1000 + HISTORY
        assert api.check_round_open() is True
        assert api.check_new_round() is True

    @EVERY_API
    def test_rounds_are_listed_newest_first(
        self, served: ServedSandbox, kind: type[Api], name: str, tournament: int
    ) -> None:
        api = login(served, kind)
        rounds = api.list_rounds()
        assert [each["number"] for each in rounds] == [1003, 1002, 1001, 1000]
        assert {each["tournament"] for each in rounds} == {tournament}
        assert all(each["openTime"] < each["closeTime"] < each["scoreTime"] < each["resolveTime"] for each in rounds)
        assert {config["displayName"] for config in rounds[0]["roundScoreConfigs"]} == {"canon_corr", "canon_mmc"}
        assert [each["number"] for each in api.list_rounds(status="open")] == [1003]
        assert [each["number"] for each in api.list_rounds(status="upcoming")] == [1004]
        assert len(api.list_rounds(limit=2)) == 2
        assert [each["number"] for each in api.list_rounds(number=1001)] == [1001]

    @pytest.mark.parametrize("named", [True, False])
    def test_open_ends_with_the_staking_close(
        self,
        sandbox_factory: Callable[..., ServedSandbox],
        monkeypatch: pytest.MonkeyPatch,
        named: bool,
    ) -> None:
        """numerapi goes by the machine's clock, so the sandbox's is set back for the opening and forward again."""
        found = sandbox_factory(switches=Switches(round_zero_after_deadline=named))
        monkeypatch.setattr(base_api, "API_TOURNAMENT_URL", found.url)
        api = login(found, NumerAPI)
        for hours, is_open in ((2, True), (3, False), (23, False)):
            found.clock(advance=-3600 * hours)
            found.open_round("classic", minutes=150)
            found.clock(advance=3600 * hours)
            assert api.check_round_open() is is_open
        round_ = api.list_rounds(limit=1)[0]
        assert round_["closeTime"] > datetime.now(timezone.utc), "the late period goes on"

    def test_no_round_is_open(self, served: ServedSandbox, classic: NumerAPI) -> None:
        served.clock(advance=2 * 86400)
        assert classic.check_round_open() is False
        assert classic.check_new_round() is False
        with pytest.raises(ValueError, match="Current round not open for submissions"):
            classic.get_current_round()

    def test_competitions(self, classic: NumerAPI) -> None:
        rounds = classic.get_competitions()
        assert [each["number"] for each in rounds] == [1003, 1002, 1001, 1000]
        assert all(isinstance(each["resolveTime"], datetime) for each in rounds)

    @EVERY_API
    def test_pipeline_status(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        status = login(served, kind).pipeline_status("2026-01-06")
        assert status["isScoringDay"] is True
        assert status["scoredAt"] == datetime(2026, 1, 6, 21, tzinfo=timezone.utc)
        assert login(served, kind).pipeline_status("2026-01-05")["isScoringDay"] is False
        assert "resolvedAt" in login(served, kind).pipeline_status()


class TestSubmissions:
    def test_from_a_file(self, served: ServedSandbox, classic: NumerAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRIGGER_ID", "0a6e9a5e-3c53-4c8e-9d0e-6f7a0a1b2c3d")
        monkeypatch.setenv("NUMERAI_COMPUTE_ID", "compute")
        model = served.models["alice"]
        predictions(classic, "v5.3/live_example_preds.parquet").to_csv("mine.csv", index=False)
        submission = classic.upload_predictions("mine.csv", model_id=model)
        found = served.submission(submission)
        assert (found["round_number"], found["source"]) == (1003, "numerapi")
        assert (served.entry()["status"], served.entry()["id"]) == ("on-time", submission)
        assert found["trigger_id"] == "0a6e9a5e-3c53-4c8e-9d0e-6f7a0a1b2c3d"
        assert classic.submission_ids(model)[0]["id"] == submission
        names = classic.get_submission_filenames(tournament=8, round_num=1003, model_id=model)
        assert [each["filename"] for each in names] == [found["filename"]]
        assert found["filename"].startswith("mine-")
        path = classic.download_submission(submission_id=submission)
        assert Path(path).read_bytes() == Path("mine.csv").read_bytes()

    @pytest.mark.parametrize(
        ("kind", "name", "file", "column"),
        [
            (NumerAPI, "alice", "v5.3/live_example_preds.parquet", "prediction"),
            (SignalsAPI, "bob", "signals/v2.1/live_example_preds.parquet", "signal"),
            (CryptoAPI, "carol", "crypto/v2.0/live_example_preds.parquet", "prediction"),
        ],
        ids=["classic", "signals", "crypto"],
    )
    def test_from_a_frame(self, served: ServedSandbox, kind: type[Api], name: str, file: str, column: str) -> None:
        api = login(served, kind)
        frame = predictions(api, file, column)
        submission = api.upload_predictions(df=frame, model_id=served.models[name])
        found = served.submission(submission)
        assert served.entry(name)["status"] == "on-time"
        assert found["accepted_count"] == len(frame)
        assert served.state()["submissions"][0]["selected"] is True

    def test_a_bad_file_is_refused_in_numerais_words(self, served: ServedSandbox, classic: NumerAPI) -> None:
        frame = predictions(classic, "v5.3/live_example_preds.parquet").iloc[:-1]
        with pytest.raises(ValueError, match="invalid_submission_ids: Not enough stocks submitted"):
            classic.upload_predictions(df=frame, model_id=served.models["alice"])

    def test_the_newest_submission_of_a_model(self, served: ServedSandbox, classic: NumerAPI) -> None:
        path = classic.download_submission(model_id=served.models["alice"], dest_path="latest.csv")
        found = pd.read_csv(path)
        assert list(found.columns) == ["id", "prediction"]
        assert found["prediction"].between(0, 1, inclusive="neither").all()

    def test_yesterdays_ids_with_a_datestamp(self, served: ServedSandbox, classic: NumerAPI) -> None:
        frame = predictions(classic, "v5.3/live_example_preds.parquet")
        stamp = classic.list_rounds(limit=1)[0]["dataDatestamp"]
        served.open_round("classic")
        model = served.models["alice"]
        delayed = classic.upload_predictions(df=frame, model_id=model, data_datestamp=stamp)
        assert served.submission(delayed)["round_number"] == 1004
        assert (served.entry()["status"], served.entry()["id"]) == ("on-time", delayed)


class TestScores:
    @EVERY_API
    def test_scores_of_past_rounds(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        api, model = login(served, kind), served.models[name]
        served.clock(advance=60 * 86400)
        scores = api.submission_scores(model)
        assert len(scores) == HISTORY * 20 * 2
        assert all(abs(score["value"]) < 0.6 and 0 < score["percentile"] <= 1 for score in scores)
        last = api.submission_scores(model, display_name="canon_corr", day=20, resolved=True, last_n_rounds=2)
        assert [score["roundNumber"] for score in last] == [1002, 1001]
        assert len(api.submission_scores(model, version="v1", distinct_on_round=True)) == HISTORY * 2

    @EVERY_API
    def test_performances(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        api, model = login(served, kind), served.models[name]
        served.clock(advance=60 * 86400)
        with pytest.deprecated_call():
            rounds = api.round_model_performances_v2(model)
        assert [each["roundNumber"] for each in rounds] == [1003, 1002, 1001, 1000]
        assert all(each["roundResolved"] for each in rounds)
        assert {score["displayName"] for score in rounds[1]["submissionScores"]} == {"canon_corr", "canon_mmc"}
        assert len(api.intra_round_scores(model)[1]["intraRoundSubmissionScores"]) == 19 * 2
        with pytest.deprecated_call():
            assert api.round_model_performances(model) == rounds

    @EVERY_API
    def test_leaderboards(
        self, served: ServedSandbox, kind: type[NumerAPI | SignalsAPI | CryptoAPI], name: str, tournament: int
    ) -> None:
        api = login(served, kind)
        served.clock(advance=10 * 86400)
        board = api.get_leaderboard()
        assert [entry["rank"] for entry in board] == list(range(1, len(board) + 1))
        own = next(entry for entry in board if entry["username"] == name)
        assert isinstance(own["corr20V2Rep" if tournament == 8 else "icRep" if tournament == 11 else "corrRep"], float)
        assert api.get_leaderboard(limit=1, offset=1) == board[1:2]
        accounts = api.get_account_leaderboard()
        assert "sandbox" in [entry["username"] for entry in accounts]

    @pytest.mark.parametrize(("kind", "name"), [(NumerAPI, "alice"), (SignalsAPI, "bob")])
    def test_daily_performances(self, served: ServedSandbox, kind: type[NumerAPI | SignalsAPI], name: str) -> None:
        served.clock(advance=10 * 86400)
        rows = login(served, kind).daily_model_performances(name)
        assert len(rows) == HISTORY
        assert all(isinstance(row["corrRep"], float) and isinstance(row["mmcRank"], int) for row in rows)

    @EVERY_API
    def test_nothing_is_paid(self, served: ServedSandbox, kind: type[Api], name: str, tournament: int) -> None:
        assert login(served, kind).pending_model_payouts() == {"actual": [], "pending": []}

    def test_a_submission_is_scored_later(self, served: ServedSandbox, classic: NumerAPI) -> None:
        model = served.models["alice"]
        classic.upload_predictions(df=predictions(classic, "v5.3/live_example_preds.parquet"), model_id=model)
        assert 1003 not in {score["roundNumber"] for score in classic.submission_scores(model)}
        served.clock(advance=timedelta(days=3).total_seconds())
        scores = [score for score in classic.submission_scores(model) if score["roundNumber"] == 1003]
        assert {score["displayName"] for score in scores} == {"canon_corr", "canon_mmc"}


class TestDiagnostics:
    @pytest.mark.parametrize("way", ["file", "frame"])
    def test_measures_validation_predictions(self, served: ServedSandbox, classic: NumerAPI, way: str) -> None:
        model = served.models["alice"]
        frame = predictions(classic, "v5.3/validation_example_preds.parquet")
        frame.to_csv("validation.csv", index=False)
        if way == "file":
            run = classic.upload_diagnostics("validation.csv", model_id=model)
        else:
            run = classic.upload_diagnostics(df=frame, model_id=model)
        found = wait_for(
            lambda: (done := classic.diagnostics(model, run)[0])["status"] != "pending" and done, seconds=60
        )
        assert (found["status"], found["message"]) == ("done", None)
        assert found["erasAcceptedCount"] == len(found["perEraDiagnostics"]) == 4
        mean = sum(era["validationCorr"] for era in found["perEraDiagnostics"]) / 4
        assert found["validationCorrMean"] == pytest.approx(mean)
        assert found["examplePredsCorrMean"] == pytest.approx(mean), "these are the example predictions"
        assert found["validationBmcMean"] == pytest.approx(0, abs=1e-9), "they add nothing to themselves"


class TestModelUpload:
    def test_a_pickle(self, served: ServedSandbox, classic: NumerAPI, tmp_path: Path) -> None:
        path = tmp_path / "model.pkl"
        path.write_bytes(b"a model")
        versions, images = classic.model_upload_data_versions(), classic.model_upload_docker_images()
        assert "v5.3" in versions
        assert "Python 3.13" in images
        model = served.models["alice"]
        upload = classic.model_upload(str(path), model_id=model, data_version="v5.3", docker_image="Python 3.13")
        listed = served.graphql("{compute_pickles {id data_version_id assigned_model_slots}}")["data"][
            "compute_pickles"
        ]
        assert listed == [{"id": upload, "data_version_id": versions["v5.3"], "assigned_model_slots": []}]


STAKING: list[Callable[[Any, str], object]] = [
    lambda api, model: api.stake_increase(1, model),
    lambda api, model: api.stake_decrease(1, model),
    lambda api, model: api.stake_change(1, "increase", model),
    lambda api, model: api.stake_drain(model),
    lambda api, model: api.stake_set(1, model),
    lambda api, model: api.v3_stake_config(),
    lambda api, model: api.v3_stake_round(1),
    lambda api, model: api.v3_stake_claim(1, model, "0x0"),
    lambda api, model: api.v3_stake_auth("id", "0x0", 1),
    lambda api, model: api.wallet_transactions(),
]


@pytest.mark.parametrize("call", STAKING)
def test_stakes_and_wallets_are_refused(
    served: ServedSandbox, classic: NumerAPI, call: Callable[[Any, str], object]
) -> None:
    with pytest.raises(ValueError, match=r"no stakes and no wallet: \w+ is refused"):
        call(classic, served.models["alice"])


def test_nothing_is_staked(served: ServedSandbox, classic: NumerAPI) -> None:
    assert classic.stake_get("alice") is None
