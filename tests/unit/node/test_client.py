"""The one client of Numerai: what it makes of answers, and when it asks again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from numerai_node.client import (
    AccessRefused,
    AccountModel,
    Entry,
    FileRefused,
    NotThere,
    NumeraiClient,
    Refusal,
    RefusedForNow,
    TokenInfo,
)
from numerai_node.errors import ConfigurationError, NodeError, TemporaryFailure
from numerai_node.kinds import Kind, classify
from numerai_node.transport import NoAnswer, Transport

from .conftest import PUBLIC_ID, SECRET_KEY, Answer, Stub, a_round, drop, refusal, status

NODE_TEMPLATE = Path(__file__).parents[3] / "node_template"


@pytest.fixture
def client(stub: Stub, transport: Transport) -> NumeraiClient:
    return NumeraiClient(stub.url, lambda: (PUBLIC_ID, SECRET_KEY), transport)


def gives(**data: Any) -> Answer:
    return lambda handler: handler.data(data)


def body(content: object) -> Answer:
    return lambda handler: handler.answer(200, json.dumps(content).encode())


CALLS: dict[str, Callable[[NumeraiClient], object]] = {
    "rounds": lambda client: client.rounds(8, 3),
    "apiTokenInfo": lambda client: client.token_info(),
    "latestSubmissions": lambda client: client.entries("model-1"),
    "submissions": lambda client: client.submissions("model-1"),
    "listDatasets": lambda client: client.datasets(8),
    "submissionUploadAuth": lambda client: client.upload_address(8, "model-1", "x.csv"),
}


class TestClassification:
    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            ("invalid_submission_ids", Kind.PREDICTIONS),
            ("Your session is invalid or expired.", Kind.KEYS),
            ("You must be authenticated to perform this action.", Kind.KEYS),
            ("Token does not have the required scope", Kind.SCOPE),
            ("Model not found", Kind.MODEL),
            ("The model alice was not found", Kind.MODEL),
            ("Model with id 5d3f does not exist", Kind.MODEL),
            ("no such model", Kind.MODEL),
            ("model_not_found", Kind.MODEL),
            ("This model is not yours", Kind.MODEL),
            ("Model does not belong to the user", Kind.MODEL),
            ("This model has an assigned pickle", Kind.MODEL),
            ("Model service is not available", Kind.NOT_THERE),
            ("The model alice is locked by another process", Kind.REFUSED),
            ("Could not update the model, try again", Kind.REFUSED),
            ("Timeout while the model's file was read", Kind.REFUSED),
            ("The file of model alice was not found", Kind.NOT_THERE),
            ("An error occurred (403) when calling the HeadObject operation: Forbidden", Kind.NOT_THERE),
            ("An error occurred (AccessDenied) when calling the GetObject operation: Access Denied", Kind.NOT_THERE),
            ("Current round not open for submissions", Kind.NO_ROUND),
            ("Dataset not found", Kind.NOT_THERE),
            ('Cannot query field "closeStakingTime" on type "Round".', Kind.UNKNOWN_FIELD),
            ("Internal server error", Kind.REFUSED),
            ("Error received from your webhook server: 403 Forbidden, unauthorized", Kind.REFUSED),
        ],
    )
    def test_refusals_by_their_words(self, message: str, kind: Kind) -> None:
        assert classify([message]) is kind

    @pytest.mark.parametrize(
        ("code", "kind"), [(401, Kind.KEYS), (403, Kind.KEYS), (429, Kind.BUSY), (503, Kind.BUSY), (404, Kind.UNUSABLE)]
    )
    def test_answers_without_words_by_their_status(self, code: int, kind: Kind) -> None:
        assert classify(status=code) is kind

    @pytest.mark.parametrize(
        ("message", "kind", "error"),
        [
            ("invalid_submission_ids", Kind.PREDICTIONS, FileRefused),
            ("invalid token", Kind.KEYS, AccessRefused),
            ("missing scope", Kind.SCOPE, AccessRefused),
            ("unknown model", Kind.MODEL, AccessRefused),
            ("not found", Kind.NOT_THERE, NotThere),
            ("oh", Kind.REFUSED, RefusedForNow),
        ],
    )
    def test_the_error_tells_its_kind(
        self, stub: Stub, client: NumeraiClient, message: str, kind: Kind, error: type[Refusal]
    ) -> None:
        stub.script["listDatasets"] = [refusal(message)] * 3
        with pytest.raises(error) as caught:
            client.datasets(8)
        assert (caught.value.kind, caught.value.messages) == (kind, (message,))
        assert stub.asked("listDatasets") == (3 if kind is Kind.REFUSED else 1)

    @pytest.mark.parametrize("code", [401, 403])
    def test_what_was_asked_without_keys_says_nothing_of_them(
        self, stub: Stub, client: NumeraiClient, code: int
    ) -> None:
        """A proxy or a firewall on the way answers so too."""
        stub.script["rounds"] = [status(code)] * 3
        with pytest.raises(NoAnswer, match=f"answered {code}") as caught:
            client.current_round(8)
        assert caught.value.kind is Kind.UNUSABLE
        assert stub.asked("rounds") == 3

    def test_without_an_answer_too(self, stub: Stub, client: NumeraiClient) -> None:
        stub.script["listDatasets"] = [drop, drop, status(503)]
        with pytest.raises(NoAnswer, match=r"listing the data failed 3 times, last because .* answered 503") as caught:
            client.datasets(8)
        assert caught.value.kind is Kind.BUSY


WRONG: list[object] = ["text", 5, [5], {"a": 1}, [[]]]


class TestAnswers:
    @pytest.mark.parametrize("field", sorted(CALLS))
    @pytest.mark.parametrize(
        "content",
        [
            [],
            "text",
            {"data": None},
            {"data": []},
            {"data": {}},
            *({"data": dict.fromkeys((*CALLS, "model"), wrong)} for wrong in WRONG),
            {"data": {"rounds": [{"number": "x", "openTime": 5, "closeStakingTime": "garbage"}]}},
            {"data": {"rounds": [{"number": 5, "openTime": None, "closeStakingTime": None}]}},
        ],
    )
    def test_wrong_types_and_nulls_are_one_clear_error_or_nothing(
        self, stub: Stub, client: NumeraiClient, field: str, content: object
    ) -> None:
        stub.script[field] = [body(content)] * 3
        try:
            answer = CALLS[field](client)
        except NodeError as error:
            assert isinstance(error, NoAnswer)
            assert error.kind is Kind.UNUSABLE
        else:
            assert answer in ([], TokenInfo("", "", None))

    @pytest.mark.parametrize("number", [2**31, -(2**31), 10**400, 1.5, float("nan"), float("inf"), True, [], "x"])
    def test_a_number_that_no_round_has(self, stub: Stub, client: NumeraiClient, number: object) -> None:
        stub.script["rounds"] = [body({"data": {"rounds": [{**a_round(), "number": number}]}})] * 3
        with pytest.raises(NoAnswer, match="without rounds"):
            client.rounds(8, 1)

    @pytest.mark.slow
    def test_long_words_are_cut_after_the_keys_are_hidden(self, stub: Stub, client: NumeraiClient) -> None:
        said = "x" * 1_995 + SECRET_KEY + "y" * 3_000_000
        stub.script["submissions"] = [refusal(said, *["more"] * 100)] * 3
        with pytest.raises(Refusal) as caught:
            client.submissions("model-1")
        assert len(str(caught.value)) < 3_000 and SECRET_KEY[:5] not in str(caught.value)

    def test_an_answer_nested_too_deep(self, stub: Stub, client: NumeraiClient) -> None:
        stub.script["listDatasets"] = [lambda handler: handler.answer(200, b"[" * 100_000)] * 3
        with pytest.raises(NoAnswer, match="without usable data"):
            client.datasets(8)

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            ({"error": "model_not_found", "code": "x"}, "model_not_found"),
            ({"code": "x"}, "{'code': 'x'}"),
            ("oh", "oh"),
        ],
    )
    def test_an_error_may_lack_its_message(self, stub: Stub, client: NumeraiClient, error: object, words: str) -> None:
        stub.script["listDatasets"] = [body({"errors": [error]})] * 3
        with pytest.raises(Refusal) as caught:
            client.datasets(8)
        assert caught.value.messages == (words,)

    def test_the_secret_key_is_in_no_message(self, stub: Stub, client: NumeraiClient) -> None:
        stub.script["apiTokenInfo"] = [refusal(f"invalid token {PUBLIC_ID}${SECRET_KEY}")]
        with pytest.raises(AccessRefused) as caught:
            client.token_info()
        assert SECRET_KEY not in str(caught.value) + str(caught.value.messages)

    def test_whose_the_keys_are(self, stub: Stub, client: NumeraiClient) -> None:
        stub.script["apiTokenInfo"] = [gives(apiTokenInfo={"accountUsername": "a", "name": "k", "scopes": None})]
        assert client.token_info() == TokenInfo("a", "k", None)
        stub.script["apiTokenInfo"] = [gives(apiTokenInfo=None)]
        assert client.token_info() is None

    def test_models(self, stub: Stub, client: NumeraiClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.unit.node.conftest.GRAPHQL_FIELD", re.compile(r"\b(account)\b"))
        row = {"id": "m", "name": "alice", "tournament": 8, "submissionWebhook": "https://x", "computeEnabled": True}
        rows = [{**row, "computePickleUpload": {"id": "p"}}, {**row, "computePickleUpload": None}]
        stub.script["account"] = [gives(account={"models": rows}), gives(account=None)]
        expected = AccountModel("m", "alice", 8, "https://x", compute_enabled=True)
        assert client.models() == [replace(expected, pickle_id="p"), expected]
        assert client.models() is None

    def test_entries(self, stub: Stub, client: NumeraiClient) -> None:
        rows = [
            {"roundNumber": 9, "status": "none", "id": None, "filename": None, "timestamp": None},
            {"roundNumber": 10, "status": "late", "id": "s", "filename": "f", "timestamp": "2026-01-30T12:00:00Z"},
        ]
        stub.script["latestSubmissions"] = [gives(model={"latestSubmissions": rows})]
        noon = datetime(2026, 1, 30, 12, tzinfo=timezone.utc)
        assert client.entries("model-1") == [Entry(10, "late", "s", "f", noon), Entry(9, "none")]


class TestRounds:
    def test_the_times_decide_which_is_open(self, stub: Stub, client: NumeraiClient) -> None:
        for opened, closes, is_open in [(-10, 50, True), (-70, -10, False), (10, 70, False)]:
            stub.round = a_round(opened=opened, closes=closes)
            assert (client.current_round(8) is not None) is is_open

    def test_between_rounds_it_may_fail(self, stub: Stub, client: NumeraiClient) -> None:
        stub.script["rounds"] = [refusal("Current round not open for submissions")]
        assert client.current_round(8) is None
        assert stub.asked("rounds") == 1

    def test_the_latest_that_have_opened(self, stub: Stub, client: NumeraiClient) -> None:
        rounds = [a_round(900, -1500, -1440), a_round(902, 1400, 1460), a_round(901, -60, 0)]
        stub.script["rounds"] = [gives(rounds=rounds)] * 2
        assert [each.number for each in client.rounds(8, 5)] == [901, 900]
        assert [each.number for each in client.rounds(8, 1)] == [901]

    def test_the_late_period_never_ends_before_the_deadline(self, stub: Stub, client: NumeraiClient) -> None:
        assert stub.round is not None
        stub.round["closeTime"] = None
        current = client.current_round(8)
        assert current is not None
        assert current.close_time == current.deadline


class TestTriggering:
    """A webhook is called once: a call that may have been made is not made again."""

    @pytest.fixture
    def mutation(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr("tests.unit.node.conftest.GRAPHQL_FIELD", re.compile(r"\b(triggerModelWebhook)\b"))
        return "triggerModelWebhook"

    def test_the_trigger_id_is_returned(self, stub: Stub, client: NumeraiClient, mutation: str) -> None:
        stub.script[mutation] = [gives(triggerModelWebhook="t-1")]
        assert client.trigger("model-1") == "t-1"

    @pytest.mark.parametrize("fault", [drop, status(502), body({"data": {}})])
    def test_what_may_have_been_carried_out(
        self, stub: Stub, client: NumeraiClient, mutation: str, fault: Answer
    ) -> None:
        stub.script[mutation] = [fault]
        with pytest.raises(NoAnswer, match="triggering the webhook failed"):
            client.trigger("model-1")
        assert stub.asked(mutation) == 1

    def test_what_certainly_was_not(self, stub: Stub, client: NumeraiClient, mutation: str) -> None:
        stub.script[mutation] = [status(429), gives(triggerModelWebhook="t-1")]
        assert client.trigger("model-1") == "t-1"

    def test_what_the_webhook_says(self, stub: Stub, client: NumeraiClient, mutation: str) -> None:
        stub.script[mutation] = [refusal("Error received from your webhook server: no")]
        with pytest.raises(RefusedForNow, match="webhook server: no") as caught:
            client.trigger("model-1")
        assert (caught.value.kind, stub.asked(mutation)) == (Kind.REFUSED, 1)


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            *("http://api.numer.ai", "http://10.0.0.1", "ftp://localhost", "http://169.254.169.254", "https://", "x"),
            *("https://[::1", "https://numer.ai:port", "https://numer.ai:99999"),
        ],
    )
    def test_keys_go_nowhere_in_the_clear(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="https"):
            NumeraiClient(url, lambda: ("a", "b"))

    @pytest.mark.parametrize(
        "url",
        [
            "https://api.numer.ai",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost",
            "http://host.docker.internal:1",
        ],
    )
    def test_this_machine_may_be_asked_without_encryption(self, url: str) -> None:
        assert NumeraiClient(url, lambda: ("a", "b")).url == url

    @pytest.mark.parametrize("url", ["http://169.254.169.254/", "file:///etc/passwd", "http://example.com/", "", 5])
    def test_an_address_for_a_file_is_not_taken_blindly(self, stub: Stub, client: NumeraiClient, url: object) -> None:
        stub.script["submissionUploadAuth"] = [gives(submissionUploadAuth={"filename": "f", "url": url})] * 3
        with pytest.raises(NoAnswer):
            client.upload_address(8, "model-1", "x.csv")

    def test_from_an_encrypted_api_it_must_be_encrypted(self) -> None:
        client = NumeraiClient("https://api.numer.ai", lambda: ("a", "b"))
        with pytest.raises(ValueError, match="not encrypted"):
            client._presigned("http://127.0.0.1:8080/admin")
        assert client._presigned("https://bucket/x") == "https://bucket/x"


def test_keys_are_sent_only_where_they_are_needed(stub: Stub, client: NumeraiClient) -> None:
    client.datasets(8)
    client.current_round(8)
    client.token_info()
    signed = ["Authorization" in headers for headers in stub.headers_of("graphql")]
    assert signed == [False, False, True]


def test_an_answer_as_it_is(stub: Stub, client: NumeraiClient) -> None:
    stub.script["listDatasets"] = [refusal("no")]
    assert client.answer("{ listDatasets }", {}) == {"errors": [{"message": "no"}]}


def test_patience_is_a_value(stub: Stub, client: NumeraiClient, transport: Transport) -> None:
    stub.script["listDatasets"] = [drop] * 2
    with pytest.raises(TemporaryFailure, match="failed once"):
        client.datasets(8, transport.within(10.0, tries=1))


@pytest.mark.slow
def test_it_needs_urllib3_and_the_standard_library_only() -> None:
    """AWS Lambda has no more."""
    code = (
        "import sys; before = set(sys.modules); import numerai_node.client;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names;"
        "optional = {'brotli', '_brotli', 'brotlicffi', 'zstandard', 'h2', 'socks'};"
        "print(sorted(new - optional - {'numerai_node', 'urllib3'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(NODE_TEMPLATE)}
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("times", [9, 10])
def test_a_file_that_numerais_storage_lacks_is_waited_for(stub: Stub, client: NumeraiClient, times: int) -> None:
    missing = refusal("An error occurred (404) when calling the HeadObject operation: Not Found")
    stub.script["createSubmission"] = [missing] * times
    if times < 10:
        assert client.create_submission(8, "model-1", "other.csv")
        return
    with pytest.raises(NotThere):
        client.create_submission(8, "model-1", "other.csv")
    assert stub.asked("createSubmission") == 10


class TestWordsThatNobodyKnows:
    """Numerai's own faults are told in `errors` as well, and pass within minutes."""

    @pytest.mark.parametrize("words", ["Something went wrong", "The specified key does not exist."])
    @pytest.mark.parametrize("field", ["createSubmission", "submissionUploadAuth", "listDatasets"])
    def test_are_asked_again_as_long_as_the_round_allows(
        self, stub: Stub, client: NumeraiClient, transport: Transport, field: str, words: str
    ) -> None:
        transport.submit_by(datetime.now(timezone.utc) + timedelta(minutes=50))
        stub.script[field] = [refusal(words)] * 15
        asked: Callable[[], object] = {
            "createSubmission": lambda: client.create_submission(8, "model-1", "other.csv"),
            "submissionUploadAuth": lambda: client.upload_address(8, "model-1", "other.csv"),
            "listDatasets": lambda: client.datasets(8),
        }[field]
        if field == "listDatasets" and "key" in words:  # what is not published is waited for elsewhere
            with pytest.raises(NotThere):
                asked()
            return
        assert asked()
        assert stub.asked(field) == 16

    @pytest.mark.slow
    def test_end_with_the_round(self, stub: Stub, client: NumeraiClient) -> None:
        clock = [0.0]
        client.transport = transport = Transport(
            sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds), monotonic=lambda: clock[0]
        )
        transport.submit_by(datetime.now(timezone.utc) + timedelta(minutes=10))
        stub.script["createSubmission"] = [refusal("Something went wrong")] * 1000
        with pytest.raises(TemporaryFailure):
            client.create_submission(8, "model-1", "other.csv", patience=transport.patience())
        assert 9 * 60 < clock[0] <= 10 * 60
        assert 10 < stub.asked("createSubmission") < 40

    def test_a_look_that_fails_for_good_is_worth_half_of_what_is_left(self, stub: Stub, client: NumeraiClient) -> None:
        """Making a submission twice does no harm, missing a round does."""
        clock = [0.0]
        client.transport = transport = Transport(
            sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds), monotonic=lambda: clock[0]
        )
        transport.submit_by(datetime.now(timezone.utc) + timedelta(minutes=30))
        stub.script["submissions"] = [refusal("Something went wrong")] * 1000
        stub.script["createSubmission"] = [refusal("Something went wrong")]
        assert client.create_submission(8, "model-1", "other.csv", patience=transport.patience())
        assert 14 * 60 < clock[0] < 17 * 60

    def test_that_the_api_has_changed_passes_in_no_minutes(
        self, stub: Stub, client: NumeraiClient, transport: Transport
    ) -> None:
        transport.submit_by(datetime.now(timezone.utc) + timedelta(minutes=50))
        stub.script["createSubmission"] = [refusal('Cannot query field "id" on type "Submission".')] * 9
        with pytest.raises(RefusedForNow):
            client.create_submission(8, "model-1", "other.csv")
        assert stub.asked("createSubmission") == 3
