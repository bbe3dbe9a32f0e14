"""Requests are tried again when that can help, and messages never show a signed address."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import requests
from numerai_node.errors import TemporaryFailure
from numerai_node.transport import AnswerLost, Transport, describe

from .conftest import Stub, drop, status

TIMEOUT = (2.0, 2.0)


def get(transport: Transport, stub: Stub, **options: object) -> requests.Response:
    address = f"{stub.url}/data/v5.3/live.parquet?signature=SIGNATURE"
    return transport.send("GET", address, what="the test", timeout=TIMEOUT, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [status(503), status(500), status(429), drop])
def test_what_may_pass_is_tried_again(stub: Stub, transport: Transport, waits: list[float], fault: object) -> None:
    stub.script["download"] = [fault, fault]  # type: ignore[list-item]
    assert get(transport, stub).content == b"old"
    assert len(waits) == 2
    assert 0.25 <= waits[0] <= 0.75
    assert 0.5 <= waits[1] <= 1.5


def test_a_4xx_is_an_answer(stub: Stub, transport: Transport) -> None:
    stub.script["download"] = [status(403)]
    assert get(transport, stub).status_code == 403
    assert stub.asked("download") == 1


def test_giving_up_is_temporary_and_shows_no_signature(
    stub: Stub, transport: Transport, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.script["download"] = [status(503), drop, drop]
    with pytest.raises(TemporaryFailure, match=r"the test failed 3 times, last because the connection to .* broke"):
        get(transport, stub)
    shown = capsys.readouterr().out
    assert "answered 503" in shown
    assert "SIGNATURE" not in shown


def test_retry_after_in_seconds_and_as_a_date(stub: Stub, transport: Transport, waits: list[float]) -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=50)
    stub.script["download"] = [status(429, Retry_After="7"), status(503, Retry_After=format_datetime(later))]
    get(transport, stub)
    assert waits[0] == 7.0
    assert 40 < waits[1] <= 50


@pytest.mark.parametrize(("value", "most"), [("soon", 0.75), ("86400", 120.0), ("Sun, 22 Nov 2026 01:00:00", 0.75)])
def test_a_strange_retry_after_does_no_harm(
    stub: Stub, transport: Transport, waits: list[float], value: str, most: float
) -> None:
    stub.script["download"] = [status(429, Retry_After=value)]
    get(transport, stub)
    assert waits[0] <= most


def test_a_lost_answer_is_not_sent_again_when_told_so(stub: Stub, transport: Transport) -> None:
    stub.script["download"] = [drop]
    with pytest.raises(AnswerLost):
        get(transport, stub, retry_lost=False)
    assert stub.asked("download") == 1


def test_a_refused_connection_was_certainly_not_carried_out(transport: Transport, waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(TemporaryFailure, match=r"127\.0\.0\.1 could not be reached") as caught:
        transport.send("GET", address, what="the test", timeout=TIMEOUT, retry_lost=False)
    assert not isinstance(caught.value, AnswerLost)
    assert len(waits) == 2


def test_a_server_that_hangs_is_given_up(stub: Stub, transport: Transport) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TemporaryFailure, match="did not answer in time"):
            transport.send("GET", address, what="the test", timeout=(1.0, 0.05))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.exceptions.SSLError("x"), "TLS certificate of numer.ai is not trusted"),
        (requests.ConnectTimeout("x"), "numer.ai could not be reached in time"),
        (requests.ReadTimeout("x"), "numer.ai did not answer in time"),
        (requests.exceptions.ChunkedEncodingError("x"), "connection to numer.ai broke"),
    ],
)
def test_causes_in_plain_words(error: Exception, words: str) -> None:
    assert words in describe(error, "https://numer.ai/?signature=SIGNATURE")
