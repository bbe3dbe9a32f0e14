"""A run ends well only when Numerai holds this run's submission for this round and accepts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_node.errors import BadPredictions, ConfigurationError, Covered, Late, TemporaryFailure, Unconfirmed
from numerai_node.node import Node

from .conftest import TRIGGER_ID, Handler, Stub, a_round, at, drop, refusal, status

MakeNode = Callable[..., Node]


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numerai_node.submitting.FIRST_LOOK", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numerai's verdict is waited for hardly at all."""
    monkeypatch.setattr("numerai_node.submitting.CONFIRM_SECONDS", 0.05)


def predictions(node: Node) -> pd.Series[Any]:
    ids = node.live().index
    return pd.Series(np.linspace(0.1, 0.9, len(ids)), index=ids)


def past_the_deadline(node: Node, stub: Stub) -> pd.Series[Any]:
    """Predictions for a round past its deadline: what fails then is tried three times, and not until a deadline."""
    live = predictions(node)
    stub.round = a_round(closes=-1)
    return live


def test_the_whole_way(node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    submission = node.submit(predictions(node))
    assert (submission.id, submission.round_number) == ("submission-1", 900)
    assert stub.created[0]["triggerId"] == TRIGGER_ID
    assert stub.created[0]["dataDatestamp"] is None
    uploaded = stub.uploads[stub.created[0]["filename"]].decode().splitlines()
    assert uploaded[0] == "id,prediction"
    assert uploaded[1] == "n0000,0.1"
    assert len(uploaded) == 201
    last = capsys.readouterr().out.splitlines()[-1]
    line = "submitted submission_id=submission-1 round=900 trigger_id=trigger-1 status=on-time read_back=no"
    assert last.endswith(line)


def test_by_hand_there_is_no_trigger_id(make_node: MakeNode, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    node = make_node(TRIGGER_ID="")
    node.submit(predictions(node))
    assert stub.created[0]["triggerId"] is None
    assert "round=900 status=on-time" in capsys.readouterr().out.splitlines()[-1]


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

    Submitter(node.settings, node.api, node.api.transport).submit(checked, data_round=node.api.current_round())
    for field in fields:
        assert stub.asked(field) == 1
    assert stub.created[0]["tournament"] == tournament


@pytest.mark.parametrize("code", [400, 403, 404, 413])
def test_a_refused_upload_never_becomes_a_submission(node: Node, stub: Stub, code: int) -> None:
    stub.script["upload"] = [status(code)] * 3
    with pytest.raises(TemporaryFailure, match=rf"was refused: 127.0.0.1 answered {code}\. Nothing was submitted"):
        node.submit(predictions(node))
    assert stub.created == []


@pytest.mark.parametrize("fault", [status(403), status(503), drop])
def test_every_try_has_a_fresh_address(node: Node, stub: Stub, fault: Any) -> None:
    stub.script["upload"] = [fault, fault]
    node.submit(predictions(node))
    assert stub.asked("submissionUploadAuth") == 3
    assert stub.created[0]["filename"].startswith("3-predictions-")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def stores(spoilt: Callable[[bytes], bytes], **headers: str) -> Any:
    """A store that keeps something else than it was sent, and says so in its ETag."""

    def answer(handler: Handler) -> None:
        name = handler.path.removeprefix("/upload/").partition("?")[0]
        content = spoilt(b"what was sent")
        handler.stub.uploads[name] = content
        handler.answer(200, b"", {"ETag": f'"{md5(content)}"'} | {k.replace("_", "-"): v for k, v in headers.items()})

    return answer


def test_a_store_that_keeps_something_else_is_noticed(
    node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.script["upload"] = [stores(lambda content: content[:5])]
    stub.store_headers = lambda content: {"ETag": f'"{md5(content)}"'}
    node.submit(predictions(node))
    assert "stored something else than was sent" in capsys.readouterr().out
    assert len(stub.created) == 1
    assert len(stub.uploads[stub.created[0]["filename"]].splitlines()) == 201


def test_s3_that_keeps_something_else_for_good_is_a_failure(node: Node, stub: Stub) -> None:
    live = past_the_deadline(node, stub)
    stub.store_headers = lambda content: {"ETag": f'"{"0" * 32}"', "Server": "AmazonS3"}
    with pytest.raises(TemporaryFailure, match=r"stored something else than was sent\. Nothing was submitted"):
        node.submit(live)
    assert stub.created == []


def test_a_tag_that_is_no_checksum_is_none(node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.store_headers = lambda content: {"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}
    node.submit(predictions(node))
    assert stub.asked("upload") == 1
    stub.store_headers = lambda content: {"ETag": f'"{"0" * 32}"'}
    node.submit(predictions(node) * 0.5)
    assert stub.asked("upload") == 4
    assert "checksum is not the file's" in capsys.readouterr().out


def test_a_store_that_recovers(node: Node, stub: Stub) -> None:
    stub.script["upload"] = [status(503), drop]
    node.submit(predictions(node))
    assert len(stub.created) == 1


def test_a_store_that_stays_down(node: Node, stub: Stub) -> None:
    live = past_the_deadline(node, stub)
    stub.script["upload"] = [status(500)] * 3
    with pytest.raises(TemporaryFailure, match=r"the upload failed 3 times.*Nothing was submitted"):
        node.submit(live)
    assert stub.created == []


def created_but(answer: Callable[[Handler], None]) -> Any:
    """createSubmission takes effect, and something else than its result is answered."""

    def create(handler: Handler) -> None:
        (filename,) = handler.stub.uploads
        handler.create({"filename": filename, "triggerId": TRIGGER_ID})
        answer(handler)

    return create


@pytest.mark.parametrize("answer", [drop, status(500), status(502), lambda h: h.answer(200, b"<html>"), refusal("Oh")])
def test_a_lost_answer_does_not_make_a_second_submission(node: Node, stub: Stub, answer: Any) -> None:
    stub.script["createSubmission"] = [created_but(answer)]
    assert node.submit(predictions(node)).id == "submission-1"
    assert len(stub.created) == 1
    assert stub.asked("createSubmission") == 1


def test_a_submission_that_is_listed_late_is_not_made_twice(node: Node, stub: Stub, waits: list[float]) -> None:
    live = predictions(node)
    nothing = [lambda handler: handler.data({"submissions": []})] * 3

    def create(handler: Handler) -> None:
        created_but(drop)(handler)
        stub.script["submissions"] = list(nothing)

    stub.script["createSubmission"] = [create]
    assert node.submit(live).id == "submission-1"
    assert len(stub.created) == 1
    assert waits == [1.0, 2.0, 4.0]


def test_a_failure_after_the_submission_was_made_does_not_make_a_second_one(node: Node, stub: Stub) -> None:
    def create_and_fail(handler: Handler) -> None:
        (filename,) = stub.uploads
        handler.create({"filename": filename, "triggerId": TRIGGER_ID})
        handler.answer(502, b"")

    stub.script["createSubmission"] = [create_and_fail]
    assert node.submit(predictions(node)).id == "submission-1"
    assert len(stub.created) == 1


def test_a_lost_question_is_asked_again(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [drop, drop]
    node.submit(predictions(node))
    assert len(stub.created) == 1


def test_answers_lost_for_good_are_temporary(node: Node, stub: Stub) -> None:
    live = past_the_deadline(node, stub)
    stub.script["createSubmission"] = [drop] * 3
    with pytest.raises(TemporaryFailure, match="creating the submission failed"):
        node.submit(live)


def test_numerais_reason_is_shown(node: Node, stub: Stub) -> None:
    """They are sent twice: predictions that keep every rule here may have been damaged on their way."""
    stub.script["createSubmission"] = [refusal("invalid_submission_ids: duplicates")] * 3
    with pytest.raises(BadPredictions, match="invalid_submission_ids: duplicates") as caught:
        node.submit(predictions(node))
    assert caught.value.exit_code == 65
    assert stub.asked("upload") == stub.asked("createSubmission") == 2


def test_what_was_damaged_on_its_way_is_sent_again(node: Node, stub: Stub) -> None:
    stub.script["createSubmission"] = [refusal("invalid_submission_ids: duplicates")]
    node.submit(predictions(node))
    assert stub.asked("upload") == 2


def test_numerais_own_fault_passes(node: Node, stub: Stub) -> None:
    """createSubmission answers it in `errors` as well, with words or, without a message, with a code."""
    nameless = {"error": "NoSuchKey", "code": 404}
    stub.script["createSubmission"] = [
        refusal("The specified key does not exist."),
        lambda handler: handler.answer(200, json.dumps({"errors": [nameless]}).encode()),
    ]
    node.submit(predictions(node))
    assert len(stub.created) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "silence",
    [
        None,
        lambda handler: handler.data({"model": {"latestSubmissions": None}}),
        lambda handler: handler.data({"model": None}),
        status(503),
        refusal('Cannot query field "latestSubmissions" on type "Model".'),
        refusal("Your API token lacks the scope read_submission_info."),
    ],
    ids=["none", "null", "no model", "503", "field gone", "no scope"],
)
def test_no_verdict_is_unconfirmed(node: Node, stub: Stub, silence: Any) -> None:
    """Nothing is submitted again for that, and null is never a verdict."""
    stub.standings = ["none"]
    stub.script["latestSubmissions"] = [silence] * 1000 if silence else []
    with pytest.raises(Unconfirmed, match=r"submission-1 .* was made .* not sent again .* https://numer\.ai") as caught:
        node.submit(predictions(node))
    assert caught.value.exit_code == 76
    assert len(stub.created) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("standing", ["none", "on-time"])
def test_a_round_covered_by_an_earlier_file(node: Node, stub: Stub, standing: str) -> None:
    """An on-time entry of another file says nothing of this run; this run's own entry does."""
    clone = {"roundNumber": 900, "status": "on-time", "id": "clone", "filename": "yesterdays.csv", "timestamp": at(-9)}
    stub.standings, stub.entries = [standing], [clone]
    if standing == "on-time":
        assert node.submit(predictions(node)).id == "submission-1"
        return
    with pytest.raises(Covered, match=r"covered by an earlier file: Numerai counts yesterdays\.csv") as caught:
        node.submit(predictions(node))
    assert caught.value.exit_code == 73 and len(stub.created) == 1


def test_the_file_name_is_the_second_key(node: Node, stub: Stub) -> None:
    """That latestSubmissions has the ids of createSubmission is likely and unproven."""

    def other_id(handler: Handler) -> None:
        entries = [{**entry, "id": "another"} for entry in handler.entries()]
        handler.data({"model": {"latestSubmissions": entries}})

    stub.script["latestSubmissions"] = [other_id] * 9
    assert node.submit(predictions(node)).id == "submission-1"


def says(**data: Any) -> Any:
    """A GraphQL answer with these fields."""
    return lambda handler: handler.data(data)


@pytest.mark.parametrize(
    "nothing",
    [
        {"rounds": [None]},
        {"submissionUploadAuth": None},
        {"submissionUploadAuth": {"filename": "f", "url": None}},
        {"createSubmission": None},
        {"createSubmission": {"id": None}},
        {"submissionDownloadAuth": None},
        {"submissions": [None]},
        {"latestSubmissions": [None]},
    ],
    ids=str,
)
def test_an_answer_that_holds_nothing_is_no_crash(node: Node, stub: Stub, nothing: dict[str, Any]) -> None:
    stub.scopes.append("download_submission")
    node.check_access()
    live = predictions(node)
    (field,) = nothing
    answer = {"model": nothing} if field == "latestSubmissions" else nothing
    stub.script[field] = [says(**answer)]
    node.submit(live)
    assert len(stub.created) == 1


@pytest.mark.parametrize("field", ["submissionUploadAuth", "createSubmission"])
def test_answers_without_what_was_asked_for_are_temporary(node: Node, stub: Stub, field: str) -> None:
    live = past_the_deadline(node, stub)
    stub.script[field] = [says()] * 3
    with pytest.raises(TemporaryFailure, match=f"answered without {field}"):
        node.submit(live)


def test_what_cannot_be_looked_at_stays_accepted(node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.scopes.append("download_submission")
    stub.script["submissionDownloadAuth"] = [says(submissionDownloadAuth=None)] * 9
    node.submit(predictions(node))
    assert "could not be read back" in capsys.readouterr().out


class TestLate:
    """The submission is made in any case; whether it was on time is said by exit code and log."""

    @pytest.mark.parametrize("says_so", [True, False])
    def test_between_rounds_it_is_queued(
        self, node: Node, stub: Stub, says_so: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whether Numerai then answers with the round before or with an error is not known."""
        stub.round = None
        if says_so:
            stub.script["rounds"] = [refusal("Current round not open for submissions")] * 4
        with pytest.raises(Late, match="queued for round 901; running again would only queue another") as caught:
            node.submit(predictions(node))
        assert caught.value.exit_code == 69 and caught.value.submission_id == "submission-1"
        assert len(stub.created) == 1
        shown = capsys.readouterr().out
        assert "round=901 trigger_id=trigger-1 status=queued read_back=no" in shown
        assert "warning" in shown

    def test_a_round_past_its_deadline_is_not_open_whatever_is_answered(self, node: Node, stub: Stub) -> None:
        stub.round = a_round(closes=-1)
        assert node.api.current_round() is None
        stub.round = a_round(opened=0.0)  # by a clock of whole seconds it may seem to open only just now
        assert node.api.current_round() is not None

    def test_the_deadline_passed_before_it_was_made(self, node: Node, stub: Stub) -> None:
        """Numerai lists it twice under one id: late for this round, queued for the next."""
        live = predictions(node)
        stub.standings = ["late"]

        def listed_twice(handler: Handler) -> None:
            (late,) = handler.entries()
            queued = {**late, "roundNumber": 901, "status": "queued"}
            handler.data({"model": {"latestSubmissions": [queued, late]}})

        stub.script["latestSubmissions"] = [listed_twice]
        with pytest.raises(Late, match="made after the deadline of round 900, so it is not staked") as caught:
            node.submit(live)
        assert caught.value.round_number == 900
        assert len(stub.created) == 1

    def test_listed_after_the_deadline_but_on_time_is_on_time(
        self, node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        live = predictions(node)

        def close(handler: Handler) -> None:
            handler.resolve("createSubmission", {"filename": "f", "triggerId": TRIGGER_ID})
            stub.round = a_round(closes=-0.1)

        stub.script["createSubmission"] = [close]
        assert node.submit(live).round_number == 900
        assert "status=on-time" in capsys.readouterr().out

    def test_data_of_an_earlier_round_say_so(self, node: Node, stub: Stub) -> None:
        live = predictions(node)
        stub.round = a_round(901, day=20251122)
        with pytest.raises(Late, match="round 900 was over before it was made, and it counts for round 901"):
            node.submit(live)
        assert stub.created[0]["dataDatestamp"] == 20251121

    def test_a_round_that_opens_during_the_upload(self, node: Node, stub: Stub) -> None:
        live = predictions(node)

        def open_next(handler: Handler) -> None:
            stub.round = a_round(901, day=20251122)
            handler.answer(503, b"")

        stub.script["upload"] = [open_next]
        with pytest.raises(Late, match="counts for round 901"):
            node.submit(live)
        assert [each["dataDatestamp"] for each in stub.created] == [20251121]

    def test_ids_refused_because_a_round_opened_are_sent_with_their_day(self, node: Node, stub: Stub) -> None:
        live = predictions(node)

        def open_and_refuse(handler: Handler) -> None:
            stub.round = a_round(901, day=20251122)
            handler.errors("invalid_submission_ids: not today's")

        stub.script["createSubmission"] = [open_and_refuse]
        with pytest.raises(Late, match="submission-1 is late: round 900 was over"):
            node.submit(live)
        assert [each["dataDatestamp"] for each in stub.created] == [20251121]

    def test_data_read_before_the_opening_are_not_the_rounds(self, node: Node, stub: Stub) -> None:
        """They may be the round before's, whatever Numerai makes of them."""
        stub.round = None
        live = predictions(node)
        stub.round = a_round(901, opened=-0.1)
        with pytest.raises(TemporaryFailure, match=r"Round 901 opened since the live data were read\. Run again"):
            node.submit(live)
        assert stub.created == []

    @pytest.mark.parametrize("refused", [True, False])
    def test_a_round_that_opens_while_it_is_made(self, node: Node, stub: Stub, refused: bool) -> None:
        stub.round = None
        live = predictions(node)

        def create(handler: Handler) -> None:
            stub.round = a_round(901, opened=-0.1)
            if refused:
                handler.errors("invalid_submission_ids: not this round's")
            else:
                handler.resolve("createSubmission", {"filename": "f", "triggerId": TRIGGER_ID})

        stub.script["createSubmission"] = [create]
        with pytest.raises(TemporaryFailure, match="Round 901 opened"):
            node.submit(live)

    def test_the_days_ids_may_be_named_all_the_same(self, node: Node, stub: Stub) -> None:
        stub.round = None
        live = predictions(node)
        stub.round = a_round(901, opened=-0.1)
        assert node.submit(live, data_datestamp=20251121).round_number == 901

    def test_a_round_that_closed_meanwhile_is_not_another_day(self, node: Node, stub: Stub) -> None:
        live = predictions(node)
        stub.round = None
        with pytest.raises(Late):
            node.submit(live)
        assert stub.created[0]["dataDatestamp"] is None


@pytest.mark.slow
def test_an_entry_that_comes_late_is_waited_for(node: Node, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another submission would not be listed sooner, so a slow answer must not make one."""
    monkeypatch.setattr("numerai_node.submitting.LONGEST_LOOK", 0.0)
    stub.round, stub.standings = a_round(), ["none"] * 150 + ["on-time"]
    node.submit(predictions(node))
    assert len(stub.created) == 1


class TestConfirmation:
    """Numerai must hold what was sent."""

    @pytest.fixture(autouse=True)
    def _may_read_back(self, stub: Stub) -> None:
        stub.scopes.append("download_submission")

    def test_it_is_read_back(self, node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
        node.submit(predictions(node))
        assert stub.asked("submitted") == 1
        assert "status=on-time read_back=yes" in capsys.readouterr().out

    def test_what_numerai_wrote_anew_is_the_same(self, node: Node, stub: Stub) -> None:
        def rewritten(handler: Handler) -> None:
            header, *rows = handler.stub.uploads[stub.created[0]["filename"]].decode().splitlines()
            rows = [f"{row.split(',')[0]},{float(row.split(',')[1]):.9f}" for row in reversed(rows)]
            handler.answer(200, "\r\n".join([header, *rows]).encode())

        stub.script["submitted"] = [rewritten]
        node.submit(predictions(node))
        assert len(stub.created) == 1

    def test_what_numerai_holds_wrong_is_sent_again(
        self, node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def shuffled(handler: Handler) -> None:
            content = handler.stub.uploads[stub.created[0]["filename"]]
            handler.answer(200, content.replace(b"n0000,0.1", b"n0000,0.9"))

        stub.script["submitted"] = [shuffled]
        assert node.submit(predictions(node)).id == "submission-2"
        assert "1 of the 200 values that Numerai holds differ" in capsys.readouterr().out

    @pytest.mark.parametrize("times", [1, 3])
    def test_rows_that_numerai_does_not_have(self, node: Node, stub: Stub, times: int) -> None:
        def cut(handler: Handler) -> None:
            lines = stub.uploads[stub.created[-1]["filename"]].splitlines(keepends=True)
            handler.answer(200, b"".join(lines[:-3]))

        stub.script["submitted"] = [cut] * times
        if times == 1:
            node.submit(predictions(node))
        else:
            with pytest.raises(TemporaryFailure, match="holds 197 rows with other ids than the 200 that were sent"):
                node.submit(predictions(node))
        assert len(stub.created) == min(times + 1, 3)

    @pytest.mark.parametrize("known", [0, 100], ids=["none of ours", "half of them ours"])
    @pytest.mark.parametrize("same", [True, False], ids=["our values", "other values"])
    def test_ids_that_numerai_has_mapped_are_no_difference(
        self, node: Node, stub: Stub, known: int, same: bool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whether it gives a file back with other ids than were sent is not known."""

        def mapped(handler: Handler) -> None:
            header, *rows = stub.uploads[stub.created[-1]["filename"]].decode().splitlines()
            rows = [row if at < known else f"m{row}" for at, row in enumerate(rows)]
            rows = [*reversed(rows[:-1]), rows[-1] if same else "mn0199,0.95"]
            handler.answer(200, "\n".join([header, *rows]).encode())

        stub.script["submitted"] = [mapped]
        node.submit(predictions(node))
        shown = capsys.readouterr().out
        assert len(stub.created) == (1 if same or not known else 2)
        assert f"read_back={'yes' if same or known else 'no'}" in shown
        assert same or ("differ" if known else "none of its 200 ids is ours, and it has other values") in shown

    def test_ids_that_are_none_of_ours_are_never_sent_again(
        self, node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stub.script["submitted"] = [lambda handler: handler.answer(200, b"id,prediction\nx,0.5\ny,0.6\n")]
        node.submit(predictions(node))
        assert len(stub.created) == 1
        assert "none of its 2 ids is ours, and it has other values" in capsys.readouterr().out

    @pytest.mark.parametrize("fault", [status(404), status(503), drop])
    def test_not_being_able_to_look_is_no_failure(
        self, node: Node, stub: Stub, fault: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stub.script["submitted"] = [fault] * 10
        node.submit(predictions(node))
        assert stub.asked("submitted") == 3
        shown = capsys.readouterr().out
        assert "could not be read back" in shown
        assert "read_back=no" in shown

    def test_what_is_no_csv_file_of_these_columns_says_nothing(
        self, node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stub.script["submitted"] = [lambda handler: handler.answer(200, b'{"message": "busy", "code": 5}')]
        node.submit(predictions(node))
        assert len(stub.created) == 1
        assert "read_back=no" in capsys.readouterr().out

    @pytest.mark.parametrize("field", ["submissionDownloadAuth", "apiTokenInfo"])
    def test_a_look_is_never_worth_the_round(self, node: Node, stub: Stub, field: str) -> None:
        stub.round, stub.script[field] = a_round(), [status(503)] * 10
        node.submit(predictions(node))
        assert stub.asked(field) == 3


def in_round(opened: Any) -> Any:
    """createSubmission takes effect in a round that `rounds` does not name."""

    def create(handler: Handler) -> None:
        handler.stub.round = opened
        (filename,) = handler.stub.uploads
        handler.resolve("createSubmission", {"filename": filename, "triggerId": None})
        handler.stub.round = None

    return create


class TestAnEarlierAttempt:
    """A run that was ended after it had submitted, and started again by its provider, does not submit again."""

    @pytest.fixture(autouse=True)
    def _in_a_round(self, stub: Stub) -> None:
        stub.round, stub.inserted_at = a_round(), at(0)

    def test_the_same_predictions_for_the_same_trigger(
        self, make_node: MakeNode, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first, second = make_node(), make_node()
        assert first.submit(predictions(first)).id == second.submit(predictions(second)).id
        assert len(stub.created) == 1
        assert "found submission_id=submission-1" in capsys.readouterr().out

    @pytest.mark.slow
    @pytest.mark.parametrize("closes", ["before the live data are read", "after"])
    def test_after_the_close_too(self, make_node: MakeNode, stub: Stub, closes: str) -> None:
        """The first attempt was in time, and a second submission would be late."""
        first, second = make_node(), make_node()
        made = first.submit(predictions(first))
        if closes == "after":
            second.live()
        stub.round = None
        assert second.submit(predictions(second)).id == made.id
        assert len(stub.created) == 1

    @pytest.mark.slow
    @pytest.mark.usefixtures("impatient")
    def test_after_the_deadline_one_that_is_not_listed_is_not_sent_again(self, make_node: MakeNode, stub: Stub) -> None:
        first, second = make_node(), make_node()
        stub.round, stub.inserted_at = a_round(closes=0.1), at(-1)
        first.submit(predictions(first))
        stub.round, stub.standings = None, ["none"]
        with pytest.raises(Unconfirmed, match="submission-1"):
            second.submit(predictions(second))
        assert len(stub.created) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("standing", ["on-time", "queued"])
    def test_without_a_trigger_and_while_numerai_names_no_round(
        self, make_node: MakeNode, stub: Stub, standing: str
    ) -> None:
        """`rounds` may be null while a round is open, and a watcher's run has no trigger of Numerai's."""
        opened, stub.standings = stub.round, [standing]
        for _ in range(3):
            node, stub.round = make_node(TRIGGER_ID=""), None
            live = predictions(node)
            if not stub.created:
                stub.script["createSubmission"] = [in_round(opened)]
            if standing == "on-time" and stub.created:
                assert node.submit(live).id == "submission-1"
            elif standing == "on-time":
                with pytest.raises(TemporaryFailure, match="Round 900 opened since"):
                    node.submit(live)
            else:
                with pytest.raises(Late):
                    node.submit(live)
        assert len(stub.created) == 1

    @pytest.mark.parametrize("older", ["of yesterday", "other content", "a trigger's"])
    def test_without_either_another_files_is_another(self, make_node: MakeNode, stub: Stub, older: str) -> None:
        first = make_node(TRIGGER_ID="trigger-2" if older == "a trigger's" else "")
        stub.round, stub.inserted_at = None, at(-24 * 60 if older == "of yesterday" else -5)
        with pytest.raises(Late):
            first.submit(predictions(first) * (0.5 if older == "other content" else 1))
        second = make_node(TRIGGER_ID="")
        with pytest.raises(Late):
            second.submit(predictions(second))
        assert len(stub.created) == 2

    def test_its_clone_at_the_next_opening_is_not_this_runs(self, make_node: MakeNode, stub: Stub) -> None:
        """The data were read while no round was open, so they are not those of the round that has opened since."""
        first, second = make_node(), make_node()
        stub.round = None
        with pytest.raises(Late):
            first.submit(predictions(first))
        live = predictions(second)
        stub.round = a_round(901, opened=-0.1)
        stub.submissions.append(dict(stub.submissions[0], id="clone", round=dict(stub.round), insertedAt=at(0)))
        with pytest.raises(TemporaryFailure, match="Round 901 opened since the live data were read"):
            second.submit(live)
        assert len(stub.created) == 1

    @pytest.mark.slow
    def test_after_the_close_another_triggers_is_another(self, make_node: MakeNode, stub: Stub) -> None:
        first, second, by_hand = make_node(), make_node(TRIGGER_ID="trigger-2"), make_node(TRIGGER_ID="")
        first.submit(predictions(first))
        stub.round = None
        for node in (second, by_hand):
            with pytest.raises(Late):
                node.submit(predictions(node))
        assert len(stub.created) == 3

    def test_the_same_predictions_for_a_later_round_are_submitted(
        self, make_node: MakeNode, stub: Stub, tmp_path: Path
    ) -> None:
        first, second = make_node(), make_node(NUMERAI_CACHE=str(tmp_path / "another"))
        first.submit(predictions(first))
        stub.round = a_round(901)
        assert second.submit(predictions(second)).round_number == 901

    def test_not_knowing_is_no_failure(
        self, make_node: MakeNode, stub: Stub, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A second submission of the same predictions does no harm, a missed round does."""
        node = make_node()
        live = predictions(node)
        stub.script["submissions"] = [status(503)] * 3
        node.submit(live)
        assert "submitted already is not known" in capsys.readouterr().out

    def test_other_predictions_are_submitted(self, make_node: MakeNode, stub: Stub) -> None:
        first, second = make_node(), make_node()
        first.submit(predictions(first))
        second.submit(predictions(second) * 0.5)
        assert len(stub.created) == 2

    def test_another_trigger_wants_its_own(self, make_node: MakeNode, stub: Stub) -> None:
        first, second = make_node(), make_node(TRIGGER_ID="trigger-2")
        first.submit(predictions(first))
        second.submit(predictions(second))
        assert [each["triggerId"] for each in stub.created] == ["trigger-1", "trigger-2"]

    @pytest.mark.slow
    def test_what_came_in_between_counts_now_and_is_replaced(self, make_node: MakeNode, stub: Stub) -> None:
        first, second, third = make_node(), make_node(), make_node()
        first.submit(predictions(first))
        stub.inserted_at = at(1)
        second.submit(predictions(second) * 0.5)
        stub.inserted_at = at(2)
        third.submit(predictions(third))
        assert len(stub.created) == 3

    def test_what_numerai_refused_is_sent_again(self, make_node: MakeNode, stub: Stub) -> None:
        first, second = make_node(), make_node()
        stub.script["createSubmission"] = [refusal("invalid_submission_ids: no")] * 2
        with pytest.raises(BadPredictions):
            first.submit(predictions(first))
        second.submit(predictions(second))
        assert len(stub.created) == 1


def test_the_day_can_be_named(node: Node, stub: Stub) -> None:
    node.submit(predictions(node), data_datestamp=20251120)
    assert stub.created[0]["dataDatestamp"] == 20251120


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
        ("model", lambda h: h.data({"model": None}), ConfigurationError, "knows no model with the id model-1"),
        ("model", lambda h: h.data({"model": {"name": "alice", "tournament": 11}}), ConfigurationError, "tournament"),
    ],
)
def test_access_is_checked_before_any_work(
    node: Node, stub: Stub, field: str, answer: Any, error: type[Exception], words: str
) -> None:
    stub.round, stub.script[field] = None, [answer] * 3
    with pytest.raises(error, match=words) as caught:
        node.check_access()
    assert "stack trace" not in str(caught.value)
    assert "SECRETSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        lambda h: h.answer(200, b"<html>"),
        lambda h: h.data({"model": None}),
        refusal("Something went wrong"),
        *(status(code) for code in (401, 403, 404, 408, 502)),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again(node: Node, stub: Stub, fault: Any) -> None:
    for field in ("rounds", "apiTokenInfo", "model"):
        stub.script[field] = [fault, fault]
    node.check_access()


def test_access_is_waited_for_before_numerai_says_which_round_is_open(
    node: Node, stub: Stub, waits: list[float]
) -> None:
    """Three tries are all that this transport has outside a round, but a run exists to submit in one."""
    stub.script["graphql"] = [status(503)] * 20
    node.check_access()
    assert len(waits) == 20


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
    stub.script["rounds"] = [refusal("Something went wrong")] * 3
    with pytest.raises(TemporaryFailure, match="asking for the round"):
        node.live()
