"""A run ends well only when Numerai holds this run's submission for this round and accepts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_node.errors import BadPredictions, ConfigurationError, TemporaryFailure
from numerai_node.node import Node

from .conftest import TRIGGER_ID, Handler, Stub, drop, refusal, status

MakeNode = Callable[..., Node]


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numerai_node.submitting.FIRST_LOOK", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numerai's verdict is waited for hardly at all."""
    monkeypatch.setattr("numerai_node.submitting.CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr("numerai_node.submitting.QUEUED_SECONDS", 0.05)


def predictions(node: Node) -> pd.Series[Any]:
    ids = node.live().index
    return pd.Series(np.linspace(0.1, 0.9, len(ids)), index=ids)


def test_the_whole_way(node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    submission = node.submit(predictions(node))
    assert submission.status == "success"
    assert stub.created[0]["triggerId"] == TRIGGER_ID
    assert stub.created[0]["dataDatestamp"] is None
    uploaded = stub.uploads[stub.created[0]["filename"]].decode().splitlines()
    assert uploaded[0] == "id,prediction"
    assert uploaded[1] == "n0000,0.1"
    assert len(uploaded) == 201
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("submitted submission_id=submission-1 round=900 trigger_id=trigger-1 status=success")


def test_by_hand_there_is_no_trigger_id(make_node: MakeNode, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    node = make_node(TRIGGER_ID="")
    node.submit(predictions(node))
    assert stub.created[0]["triggerId"] is None
    assert capsys.readouterr().out.splitlines()[-1].endswith("round=900 status=success")


@pytest.mark.parametrize(
    ("tournament", "name", "fields"),
    [
        (8, "v5.10", ("submissionUploadAuth", "createSubmission")),
        (11, "signals/v2.1", ("submissionUploadSignalsAuth", "createSignalsSubmission")),
        (12, "crypto/v1.0", ("submissionUploadAuth", "createSubmission")),
    ],
)
def test_each_tournament_has_its_own_door(
    make_node: MakeNode, stub: Stub, tournament: int, name: str, fields: tuple[str, str]
) -> None:
    node = make_node(NUMERAI_TOURNAMENT=str(tournament))
    checked = pd.DataFrame({"id": ["a", "b"], "prediction": [0.1, 0.2]})
    from numerai_node.submitting import Submitter

    Submitter(node.settings, node.api, node.api.transport).submit(checked)
    for field in fields:
        assert stub.asked(field) == 1
    assert stub.created[0]["tournament"] == tournament


@pytest.mark.parametrize("code", [400, 404, 413])
def test_a_refused_upload_never_becomes_a_submission(node: Node, stub: Stub, code: int) -> None:
    stub.script["upload"] = [status(code)]
    with pytest.raises(TemporaryFailure, match=f"answered {code}. Nothing was submitted"):
        node.submit(predictions(node))
    assert stub.created == []


def test_an_expired_address_is_renewed_once(node: Node, stub: Stub) -> None:
    stub.script["upload"] = [status(403)]
    node.submit(predictions(node))
    assert stub.asked("submissionUploadAuth") == 2
    assert stub.created[0]["filename"] == "2-predictions.csv"


def test_an_address_that_is_refused_twice_is_given_up(node: Node, stub: Stub) -> None:
    stub.script["upload"] = [status(403), status(403)]
    with pytest.raises(TemporaryFailure, match="answered 403"):
        node.submit(predictions(node))
    assert stub.created == []


def test_a_store_that_recovers(node: Node, stub: Stub) -> None:
    stub.script["upload"] = [status(503), drop]
    node.submit(predictions(node))
    assert len(stub.created) == 1


def test_a_store_that_stays_down(node: Node, stub: Stub) -> None:
    stub.script["upload"] = [status(500)] * 3
    with pytest.raises(TemporaryFailure, match="the upload failed 3 times"):
        node.submit(predictions(node))
    assert stub.created == []


def test_a_lost_answer_does_not_make_a_second_submission(node: Node, stub: Stub) -> None:
    def create_and_drop(handler: Handler) -> None:
        handler.create({"filename": "1-predictions.csv", "triggerId": TRIGGER_ID})
        handler.hang_up()

    stub.script["createSubmission"] = [create_and_drop]
    assert node.submit(predictions(node)).id == "submission-1"
    assert len(stub.created) == 1


def test_a_failure_after_the_submission_was_made_does_not_make_a_second_one(node: Node, stub: Stub) -> None:
    def create_and_fail(handler: Handler) -> None:
        handler.create({"filename": "1-predictions.csv", "triggerId": TRIGGER_ID})
        handler.send_error(502)

    stub.script["createSubmission"] = [create_and_fail]
    assert node.submit(predictions(node)).id == "submission-1"
    assert len(stub.created) == 1


def test_a_lost_question_is_asked_again(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [drop, drop]
    assert node.submit(predictions(node)).status == "success"
    assert len(stub.created) == 1


def test_answers_lost_for_good_are_temporary(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [drop] * 3
    with pytest.raises(TemporaryFailure, match="creating the submission failed"):
        node.submit(predictions(node))


def test_numerais_reason_is_shown(node: Node, stub: Stub) -> None:
    stub.verdicts, stub.error_info = ["error"], "invalid_submission_ids: duplicates"
    with pytest.raises(BadPredictions, match="invalid_submission_ids: duplicates"):
        node.submit(predictions(node))


def test_a_refusal_without_a_reason(node: Node, stub: Stub) -> None:
    stub.verdicts = ["error"]
    with pytest.raises(BadPredictions, match="gave no reason"):
        node.submit(predictions(node))


def test_a_refusal_at_once(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [refusal("invalid_submission_headers: no")]
    with pytest.raises(BadPredictions, match="invalid_submission_headers"):
        node.submit(predictions(node))


@pytest.mark.usefixtures("impatient")
def test_no_verdict_in_time_is_temporary(node: Node, stub: Stub) -> None:
    stub.verdicts = ["pending"]
    with pytest.raises(TemporaryFailure, match=r"not judged the submission submission-1 .*\(its status: pending\)\.$"):
        node.submit(predictions(node))


@pytest.mark.usefixtures("impatient")
def test_a_submission_that_is_not_shown(node: Node, stub: Stub) -> None:
    live = predictions(node)
    stub.script["submissions"] = [lambda handler: handler.data({"submissions": []})] * 1000
    with pytest.raises(TemporaryFailure, match="not shown"):
        node.submit(live)


def test_another_round_is_not_ours(node: Node, stub: Stub) -> None:
    def move_on(handler: Handler) -> None:
        handler.data({"createSubmission": {"id": handler.create({"filename": "f", "triggerId": TRIGGER_ID})}})
        stub.round = {"number": 901, "dataDatestamp": 20251122}

    stub.script["createSubmission"] = [move_on]
    with pytest.raises(TemporaryFailure, match="counts for round 900, but the current round is 901"):
        node.submit(predictions(node))


def test_another_trigger_is_not_ours(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [
        lambda handler: handler.data(
            {"createSubmission": {"id": handler.create({"filename": "f", "triggerId": "other"})}}
        )
    ]
    with pytest.raises(TemporaryFailure, match="under the trigger other, not trigger-1"):
        node.submit(predictions(node))


@pytest.mark.parametrize("says_so", [True, False])
def test_between_rounds_an_accepted_submission_is_good(
    node: Node, stub: Stub, says_so: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.round = None
    if says_so:
        stub.script["rounds"] = [refusal("Current round not open for submissions")] * 2
    node.submit(predictions(node))
    assert "no round is open" in capsys.readouterr().out


@pytest.mark.usefixtures("impatient")
def test_between_rounds_a_queued_submission_is_temporary(node: Node, stub: Stub) -> None:
    stub.round, stub.verdicts = None, ["pending"]
    with pytest.raises(TemporaryFailure, match="No round is open"):
        node.submit(predictions(node))


def test_data_of_an_earlier_round_say_so(node: Node, stub: Stub) -> None:
    live = predictions(node)
    stub.round = {"number": 901, "dataDatestamp": 20251122}
    node.submit(live)
    assert stub.created[0]["dataDatestamp"] == 20251121


def test_the_day_can_be_named(node: Node, stub: Stub) -> None:
    node.submit(predictions(node), data_datestamp=20251120)
    assert stub.created[0]["dataDatestamp"] == 20251120


def test_a_round_that_closed_meanwhile_is_not_another_day(node: Node, stub: Stub) -> None:
    live = predictions(node)
    stub.round = None
    node.submit(live)
    assert stub.created[0]["dataDatestamp"] is None


@pytest.mark.parametrize(
    ("field", "answer", "error", "words"),
    [
        ("apiTokenInfo", refusal("Your session is invalid or has expired."), ConfigurationError, "refused the keys"),
        ("apiTokenInfo", status(401), ConfigurationError, "refused the keys"),
        ("apiTokenInfo", status(403), ConfigurationError, "refused the keys"),
        ("apiTokenInfo", status(404), TemporaryFailure, "answered 404"),
        ("apiTokenInfo", lambda h: h.answer(200, b"<html>"), TemporaryFailure, "without usable data"),
        ("apiTokenInfo", lambda h: h.answer(200, b"[]"), TemporaryFailure, "without usable data"),
        ("apiTokenInfo", refusal("Something went wrong"), TemporaryFailure, "Something went wrong"),
        ("model", refusal("Model not found"), ConfigurationError, "refused the model"),
        ("model", lambda h: h.data({"model": None}), ConfigurationError, "knows no model"),
        ("model", lambda h: h.data({"model": {"name": "alice", "tournament": 11}}), ConfigurationError, "tournament"),
    ],
)
def test_access_is_checked_before_any_work(
    node: Node, stub: Stub, field: str, answer: Any, error: type[Exception], words: str
) -> None:
    stub.script[field] = [answer]
    with pytest.raises(error, match=words) as caught:
        node.check_access()
    assert "stack trace" not in str(caught.value)
    assert "SECRETSECRET" not in str(caught.value)


@pytest.mark.parametrize("scope", ["upload_submission", "read_submission_info"])
def test_a_missing_scope_is_named(node: Node, stub: Stub, scope: str) -> None:
    stub.scopes.remove(scope)
    with pytest.raises(ConfigurationError, match=f"lacks the scope {scope}"):
        node.check_access()


def test_a_key_that_may_not_read_models_is_enough(node: Node, stub: Stub) -> None:
    stub.script["model"] = [refusal("Your API token lacks the scope read_user_info.")]
    node.check_access()


def test_a_scope_that_is_missing_later(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [refusal("Your API token lacks the scope upload_submission.")]
    with pytest.raises(ConfigurationError, match="may not do this"):
        node.submit(predictions(node))


def test_a_round_question_that_fails(node: Node, stub: Stub) -> None:
    stub.script["rounds"] = [refusal("Something went wrong")]
    with pytest.raises(TemporaryFailure, match="asking for the round"):
        node.live()
