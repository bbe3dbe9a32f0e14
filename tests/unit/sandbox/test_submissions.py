"""Uploads and submissions: Numerai's rules in numerai-tools' words, and everything that does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from numerai_compute.sandbox.api.executor import schema
from numerai_compute.sandbox.refusal import MISSING_OBJECT
from numerai_compute.sandbox.switches import Switches

from tests.fixtures.sandbox import ServedSandbox

Change = Callable[[pd.DataFrame], pd.DataFrame]


def constant(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(prediction=0.5)


def with_hole(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(prediction=frame["prediction"].mask(frame.index == 3))


RULES: list[tuple[str, Change, str]] = [
    ("headers", lambda f: f.rename(columns={"id": "ids"}), "invalid_submission_headers: headers must be one of ['id']"),
    ("more columns", lambda f: f.assign(era="X"), "invalid_submission_headers"),
    ("hole", with_hole, "invalid_submission_values: submission must not contain NaNs"),
    (
        "range",
        lambda f: f.assign(prediction=f["prediction"] * 3),
        "invalid_submission_values: values must be between 0 and",
    ),
    ("constant", constant, "invalid_submission_values: submission must have non-zero standard deviation"),
    ("missing id", lambda f: f.iloc[1:], "invalid_submission_ids: Not enough stocks submitted."),
    ("same id twice", lambda f: pd.concat([f, f.iloc[:1]]), "invalid_submission_ids: Duplicates detected in id"),
    ("text", lambda f: f.assign(prediction="high"), ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "error"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_numerais_rules(sandbox: ServedSandbox, tmp_path: Path, change: Change, error: str) -> None:
    refusal = sandbox.refusal(change(sandbox.live_predictions(tmp_path)).to_csv(index=False))
    assert refusal.startswith(error)
    assert refusal, "there is always a reason"
    assert sandbox.state()["submissions"] == []
    assert sandbox.entry()["status"] == "none"
    assert sandbox.state()["requests"][-1]["error"] == refusal


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00binary", b"id,prediction\n"])
def test_what_is_no_csv(sandbox: ServedSandbox, body: bytes) -> None:
    assert sandbox.refusal(body.decode("latin-1"))


def test_more_ids_than_live_are_counted_apart(sandbox: ServedSandbox, tmp_path: Path) -> None:
    frame = sandbox.live_predictions(tmp_path)
    more = pd.concat([frame, pd.DataFrame({"id": ["unknown"], "prediction": [0.4]})])
    found = sandbox.submission(sandbox.submit(more.to_csv(index=False)))
    assert (found["submitted_count"], found["accepted_count"]) == (len(more), len(frame))
    assert found["invalid_tickers"] == ["unknown"]


@pytest.mark.slow
@pytest.mark.parametrize("column", ["ticker", "sedol", "bloomberg_ticker", "composite_figi", "numerai_ticker"])
def test_signals_takes_every_kind_of_ticker(sandbox: ServedSandbox, tmp_path: Path, column: str) -> None:
    live = pd.read_parquet(sandbox.download("signals/v2.1/live.parquet", tmp_path))
    frame = pd.DataFrame({column: live[column], "signal": np.linspace(0.01, 0.99, len(live))})
    found = sandbox.submission(sandbox.submit(frame.iloc[:150].to_csv(index=False), "bob", 11))
    assert found["accepted_count"] == 150
    assert sandbox.entry("bob")["status"] == "on-time"
    sandbox.clock(advance=3 * 86400)
    scores = sandbox.graphql("query($m: ID!) {submissionScores(modelId: $m) {value}}", m=sandbox.models["bob"])
    assert len(scores["data"]["submissionScores"]) == 2


def test_crypto(sandbox: ServedSandbox, tmp_path: Path) -> None:
    live = pd.read_parquet(sandbox.download("crypto/v2.0/live.parquet", tmp_path)).reset_index()
    frame = pd.DataFrame({"symbol": live["symbol"], "signal": np.linspace(0.01, 0.99, len(live))})
    sandbox.submit(frame.to_csv(index=False), "carol", 12)
    assert sandbox.entry("carol")["status"] == "on-time"
    few = sandbox.refusal(frame.iloc[:99].to_csv(index=False), "carol", 12)
    assert few.startswith("invalid_submission_ids: Not enough stocks")


@pytest.mark.parametrize(("model", "tournament", "taken"), [("alice", 8, False), ("carol", 12, True)])
def test_parquet_for_signals_and_crypto_only(
    sandbox: ServedSandbox, tmp_path: Path, model: str, tournament: int, taken: bool
) -> None:
    name = {8: "v5.3/live_example_preds.parquet", 12: "crypto/v2.0/live_example_preds.parquet"}[tournament]
    table = pd.read_parquet(sandbox.download(name, tmp_path))
    frame = table.reset_index() if table.index.name else table
    query = 'query($t: Int!, $m: ID) {submissionUploadAuth(filename: "p.parquet", tournament: $t, modelId: $m) '
    auth = sandbox.graphql(query + "{filename url}}", t=tournament, m=sandbox.models[model])["data"]
    body = frame.to_parquet(index=False)
    requests.put(auth["submissionUploadAuth"]["url"], data=body, timeout=10).raise_for_status()
    filename = auth["submissionUploadAuth"]["filename"]
    answer = sandbox.graphql(CREATE, f=filename, t=tournament, m=sandbox.models[model])
    assert ("errors" not in answer) is taken
    assert (sandbox.entry(model)["status"] == "on-time") is taken


CREATE = "mutation($f: String!, $t: Int!, $m: ID) {createSubmission(filename: $f, tournament: $t, modelId: $m) {id}}"
AUTH = (
    'query($t: Int!, $m: ID) {submissionUploadAuth(filename: "a b?.csv", tournament: $t, modelId: $m) {filename url}}'
)


def test_a_file_that_never_came_is_missing_in_numerais_storage(sandbox: ServedSandbox) -> None:
    model = sandbox.models["alice"]
    auth = sandbox.graphql(AUTH, t=8, m=model)["data"]["submissionUploadAuth"]
    assert auth["filename"].startswith("a_b_-")
    answer = sandbox.graphql(CREATE, f=auth["filename"], t=8, m=model)
    assert answer["data"] == {"createSubmission": None}
    assert answer["errors"][0]["message"] == MISSING_OBJECT


def test_a_valid_file_stays_when_an_invalid_one_follows(sandbox: ServedSandbox, tmp_path: Path) -> None:
    made = sandbox.submit(sandbox.live_predictions(tmp_path).to_csv(index=False))
    assert sandbox.refusal("id,prediction\nx,0.5\n").startswith("invalid_submission_ids")
    assert (sandbox.entry()["status"], sandbox.entry()["id"]) == ("on-time", made)
    assert sandbox.submission(made)["selected"] is True


def test_the_dead_fields_are_null(sandbox: ServedSandbox, tmp_path: Path) -> None:
    made = sandbox.submit(sandbox.live_predictions(tmp_path).to_csv(index=False), trigger_id="t")
    fields = schema().get_type("V2Submission").fields  # type: ignore[union-attr]
    dead = [name for name, field in fields.items() if field.deprecation_reason]
    query = f"query($i: ID) {{submissions(id: $i) {{id triggerId filename selected {' '.join(dead)}}}}}"
    shown = sandbox.graphql(query, i=made)["data"]["submissions"][0]
    assert {"status", "errorInfo", "submittedCount", "filteredCount"} <= set(dead)
    assert {name for name in dead if shown[name] is not None} == set()
    assert (shown["id"], shown["triggerId"], shown["selected"]) == (made, "t", True)


@pytest.mark.parametrize("keep", [True, False])
def test_whether_a_submission_is_given_back_with_the_ids_that_were_sent(
    sandbox_factory: Callable[..., ServedSandbox], tmp_path: Path, keep: bool
) -> None:
    sandbox = sandbox_factory(switches=Switches(downloads_keep_ids=keep))
    sent = sandbox.live_predictions(tmp_path)
    query = "query($id: ID!) {submissionDownloadAuth(id: $id) {url}}"
    auth = sandbox.graphql(query, id=sandbox.submit(sent.to_csv(index=False)))["data"]["submissionDownloadAuth"]
    held = pd.read_csv(BytesIO(requests.get(auth["url"], timeout=30).content))
    assert list(held["prediction"]) == pytest.approx(list(sent["prediction"]))
    assert (set(held["id"]) == set(sent["id"])) is keep and (keep or not set(held["id"]) & set(sent["id"]))


def test_what_does_not_fit_together_is_refused(sandbox: ServedSandbox) -> None:
    alice, bob = sandbox.models["alice"], sandbox.models["bob"]
    auth = sandbox.graphql(AUTH, t=8, m=alice)["data"]["submissionUploadAuth"]
    sandbox.graphql('mutation {addModel(name: "dora", tournament: 8) {id}}')
    dora = next(each["id"] for each in sandbox.state()["models"] if each["name"] == "dora")
    for filename, tournament, model, message in (
        ("never-given-out.csv", 8, alice, "is not a known upload"),
        (auth["filename"], 8, dora, "was uploaded for another model"),
        (auth["filename"], 8, bob, "Model not found"),
        (auth["filename"], 11, alice, "Model not found"),
    ):
        answer = sandbox.graphql(CREATE, f=filename, t=tournament, m=model)
        assert message in answer["errors"][0]["message"]
    assert sandbox.state()["submissions"] == []
    assert "not found" in sandbox.graphql('{submissionDownloadAuth(id: "x") {url}}')["errors"][0]["message"]


def test_pickles(sandbox: ServedSandbox) -> None:
    auth = sandbox.graphql('{computePickleUploadAuth(filename: "m.pkl") {filename url}}')["data"]
    name = auth["computePickleUploadAuth"]["filename"]
    create = "mutation($f: String!, $v: ID, $d: ID) {createComputePickleUpload(filename: $f, tournament: 8, "
    create += "dataVersionId: $v, dockerImageId: $d) {id}}"
    assert "was not uploaded" in sandbox.graphql(create, f=name)["errors"][0]["message"]
    requests.put(auth["computePickleUploadAuth"]["url"], data=b"x", timeout=10).raise_for_status()
    assert "Data version" in sandbox.graphql(create, f=name, v="x")["errors"][0]["message"]
    assert "Docker image" in sandbox.graphql(create, f=name, d="x")["errors"][0]["message"]
    made = sandbox.graphql(create, f=name)["data"]["createComputePickleUpload"]["id"]
    listed = sandbox.graphql("{computePickles(unassigned: true) {id filename}}")["data"]["computePickles"]
    assert listed == [{"id": made, "filename": name}]


class TestDiagnostics:
    def run(self, sandbox: ServedSandbox, csv: bytes | None, tournament: int = 8) -> dict[str, object]:
        from tests.fixtures.sandbox import wait_for

        query = 'query($t: Int!) {diagnosticsUploadAuth(filename: "v.csv", tournament: $t) {filename url}}'
        auth = sandbox.graphql(query, t=tournament)["data"]["diagnosticsUploadAuth"]
        if csv is not None:
            requests.put(auth["url"], data=csv, timeout=10).raise_for_status()
        create = "mutation($f: String!, $t: Int!) {createDiagnostics(filename: $f, tournament: $t) {id}}"
        made = sandbox.graphql(create, f=auth["filename"], t=tournament)["data"]["createDiagnostics"]["id"]
        query = "query($i: ID) {diagnostics(id: $i) {status message erasAcceptedCount}}"
        found: dict[str, object] = wait_for(
            lambda: (done := sandbox.graphql(query, i=made)["data"]["diagnostics"][0])["status"] != "pending" and done
        )
        return found

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("csv", "message"),
        [
            (None, "No such file"),
            (b"a,b\n1,2\n", "invalid_submission_headers"),
            (b"id,prediction\nx,0.5\nx,0.6\n", "ids must be unique"),
            (b"id,prediction\nx,0.5\n", "no era of the validation data is covered"),
        ],
    )
    def test_what_cannot_be_measured(self, sandbox: ServedSandbox, csv: bytes | None, message: str) -> None:
        found = self.run(sandbox, csv)
        assert found["status"] == "error"
        assert message in str(found["message"])

    def test_other_tournaments(self, sandbox: ServedSandbox) -> None:
        assert "Classic only" in str(self.run(sandbox, b"id,prediction\nx,1\n", 11)["message"])

    @pytest.mark.slow
    def test_a_part_of_the_eras(self, sandbox: ServedSandbox, tmp_path: Path) -> None:
        validation = pd.read_parquet(sandbox.download("v5.3/validation.parquet", tmp_path))
        two = validation[validation["era"] <= "0014"]
        frame = pd.DataFrame({"id": two.index, "prediction": two["target"] * 0.8 + 0.1})
        assert self.run(sandbox, frame.to_csv(index=False).encode())["erasAcceptedCount"] == 2

    def test_a_failure_of_the_measurement_itself_is_a_result(
        self, sandbox: ServedSandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sandbox.running.sandbox.diagnostics, "_measured", lambda found: 1 / 0)
        assert "could not compute" in str(self.run(sandbox, b"")["message"])
        sandbox.running.sandbox.diagnostics.compute("unknown")
        assert sandbox.state()["diagnostics"][0]["status"] == "error"
