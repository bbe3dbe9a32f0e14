"""Requests are tried again while that can help, and messages never show a signed address."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from numerai_node.clock import NumeraiClock, moment
from numerai_node.connections import Deadline
from numerai_node.errors import ConfigurationError, TemporaryFailure
from numerai_node.kinds import Kind
from numerai_node.transport import LONGEST_TROUBLE, Passing, Transport, describe
from urllib3 import exceptions as errors

from .conftest import Stub, drop, status

TIMEOUT = (2.0, 2.0)
NOON = datetime(2026, 1, 30, 12, tzinfo=timezone.utc)


class Waiting:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def patient(waiting: Waiting) -> Transport:
    """A transport that knows Numerai's time, noon."""
    transport = Transport(sleep=waiting.sleep, monotonic=waiting.monotonic)
    transport.clock.learn(format_datetime(NOON, usegmt=True))
    return transport


def once(transport: Transport, address: str, timeout: tuple[float, float] = TIMEOUT, seconds: float = 10.0) -> bytes:
    with transport.request("GET", address, timeout=timeout, seconds=seconds) as answer:
        return answer.content()


def get(transport: Transport, stub: Stub) -> bytes:
    address = f"{stub.url}/data/v5.3/live.parquet?signature=SIGNATURE"
    return transport.retry("the test", lambda: once(transport, address))


def always(why: str = "it is down", **options: Any) -> Callable[[], None]:
    def work() -> None:
        raise Passing(why, **options)

    return work


@pytest.mark.parametrize("fault", [status(503), status(500), status(429), drop])
def test_what_may_pass_is_tried_again(stub: Stub, transport: Transport, waits: list[float], fault: object) -> None:
    stub.script["download"] = [fault, fault]  # type: ignore[list-item]
    assert get(transport, stub) == b"old"
    assert len(waits) == 2
    assert 0.25 <= waits[0] <= 0.75
    assert 0.5 <= waits[1] <= 1.5


def test_a_4xx_is_an_answer(stub: Stub, transport: Transport) -> None:
    stub.script["download"] = [status(403)]
    assert b"stack trace" in get(transport, stub)
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


class TestTheRound:
    """While a round is open, trying goes on until shortly before its close."""

    def test_an_outage_of_half_the_window_is_survived(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON + timedelta(hours=1))
        end = waiting.seconds + 30 * 60

        def work() -> str:
            if waiting.seconds < end:
                raise Passing("it is down")
            return "up"

        assert patient.retry("the test", work) == "up"
        assert max(waiting.waits) <= 30.0

    def test_it_ends_before_the_close(self, patient: Transport, waiting: Waiting) -> None:
        started = waiting.seconds
        patient.submit_by(NOON + timedelta(minutes=20))
        with pytest.raises(TemporaryFailure):
            patient.retry("the test", always())
        assert 20 * 60 - 6 <= waiting.seconds - started <= 20 * 60

    def test_it_never_goes_on_for_longer_than_a_providers_time(self, patient: Transport, waiting: Waiting) -> None:
        started = waiting.seconds
        patient.submit_by(NOON + timedelta(hours=26))
        with pytest.raises(TemporaryFailure):
            patience = patient.patience()
            patient.retry("the test", lambda: patient.retry("a part of it", always(), patience), patience)
        assert LONGEST_TROUBLE - 60 <= waiting.seconds - started <= LONGEST_TROUBLE + 1

    def test_many_requests_for_one_thing_share_its_time(self, patient: Transport, waiting: Waiting) -> None:
        """An address that is always given and a store that is always down must not start the time anew."""
        started = waiting.seconds
        patient.submit_by(NOON + timedelta(hours=26))

        def work() -> None:
            patient.retry("the address", lambda: "given")
            raise Passing("the store is down")

        with pytest.raises(TemporaryFailure):
            patient.retry("the upload", work)
        assert waiting.seconds - started <= LONGEST_TROUBLE + 1

    def test_a_success_ends_the_trouble(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON + timedelta(hours=26))
        for _ in range(3):
            end = waiting.seconds + LONGEST_TROUBLE / 2
            patient.retry("the test", lambda end=end: None if waiting.seconds >= end else always()())  # type: ignore[misc]

    def test_after_the_close_there_are_a_few_tries(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON - timedelta(minutes=1))
        with pytest.raises(TemporaryFailure, match="6 times"):
            patient.retry("the test", always())
        assert len(waiting.waits) == 5

    def test_before_anybody_knows_a_round_is_supposed_to_be_open(self, patient: Transport, waiting: Waiting) -> None:
        started = waiting.seconds
        with pytest.raises(TemporaryFailure):
            patient.retry("the test", always(), patient.patience_for_a_round())
        assert waiting.seconds - started > 40 * 60
        patient.submit_by(None)
        with pytest.raises(TemporaryFailure, match="6 times"):
            patient.retry("the test", always())

    def test_a_refusal_is_not_repeated_for_ever(self, patient: Transport) -> None:
        patient.submit_by(NOON + timedelta(hours=1))
        with pytest.raises(TemporaryFailure, match="3 times"):
            patient.retry("the test", always(at_most=3))

    def test_what_is_worth_a_look_is_never_worth_the_round(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON + timedelta(hours=1))
        with pytest.raises(TemporaryFailure, match="3 times"):
            patient.retry("the test", always(at_least=600.0), patient.briefly())
        assert sum(waiting.waits) <= 120
        with pytest.raises(TemporaryFailure, match=r"\d\d times"):
            patient.retry("the test", always())

    @pytest.mark.parametrize(("left", "seconds"), [(3600, 1800), (60, 30), (12, 10), (0, math.inf)])
    def test_a_request_leaves_time_for_another(self, patient: Transport, left: float, seconds: float) -> None:
        patient.submit_by(NOON + timedelta(seconds=left + 5))
        assert patient._longest_request(patient.patience()) == seconds

    def test_refusals_are_counted_apart_from_other_failures(self, patient: Transport) -> None:
        patient.submit_by(NOON + timedelta(hours=1))
        limits = iter([None, None, None, 3, 3])
        done = object()

        def work() -> None:
            limit = next(limits, done)
            if limit is not done:
                raise Passing("it is down", at_most=limit)  # type: ignore[arg-type]

        patient.retry("the test", work)

    def test_a_refusal_that_stays_is_what_it_means(self, patient: Transport) -> None:
        with pytest.raises(ConfigurationError, match="the keys"):
            patient.retry("the test", always(at_most=3, then=ConfigurationError("the keys")))

    def test_retry_after_is_capped_before_the_round_is_known(self, patient: Transport, waiting: Waiting) -> None:
        asked = iter([True])
        patience = patient.patience_for_a_round()
        patient.retry("the test", lambda: always(at_least=2400.0)() if next(asked, False) else None, patience)
        assert waiting.waits == [120.0]

    def test_retry_after_is_honoured_in_full(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON + timedelta(hours=1))
        asked = iter([True])
        patient.retry("the test", lambda: always(at_least=600.0)() if next(asked, False) else None)
        assert waiting.waits == [600.0]

    def test_retry_after_never_leads_beyond_the_close(self, patient: Transport, waiting: Waiting) -> None:
        patient.submit_by(NOON + timedelta(minutes=10))
        asked = iter([True])
        patient.retry("the test", lambda: always(at_least=3600.0)() if next(asked, False) else None)
        assert waiting.waits == [pytest.approx((600 - 5) / 2)]

    def test_nobody_sits_through_a_wait_that_there_is_no_time_for(self, waiting: Waiting) -> None:
        hurried = Transport(sleep=waiting.sleep, monotonic=waiting.monotonic, hurried=True)
        with pytest.raises(TemporaryFailure, match=r"once because .* asks for a wait of 86400 s"):
            hurried.retry("the test", always(at_least=86400.0), hurried.within(90, 4))
        assert waiting.waits == []
        with pytest.raises(TemporaryFailure, match="4 times"):
            hurried.retry("the test", always(at_least=5.0), hurried.within(90, 4))
        assert waiting.waits == [5.0, 5.0, 5.0]

    def test_numerais_clock_counts_and_not_this_machines(self, patient: Transport, waiting: Waiting) -> None:
        """Noon of January is long past, or to come, for the machine that runs this."""
        patient.submit_by(NOON + timedelta(hours=1))
        assert patient.seconds_left() == 3595.0
        waiting.sleep(600)
        assert patient.seconds_left() == 2995.0

    def test_it_is_learnt_from_answers_that_tell(self, stub: Stub, patient: Transport) -> None:
        with patient.request("GET", f"{stub.url}/data/v5.3/live.parquet", timeout=TIMEOUT, tells_time=True):
            pass
        assert abs((patient.clock.now() - datetime.now(timezone.utc)).total_seconds()) < 5


@pytest.mark.parametrize(
    "nonsense",
    [None, "", "soon", "Sun, 22 Nov 2026 01:00:00", "Fri, 31 Dec 9999 23:59:59 GMT", f"1 Nov {'9' * 30} 01:00:00"],
)
def test_a_date_that_is_none_is_not_learnt(nonsense: str | None) -> None:
    clock = NumeraiClock(lambda: 0.0)
    clock.learn(format_datetime(NOON, usegmt=True))
    clock.learn(nonsense)
    assert clock.now() == NOON


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-01-30T12:00:00Z", NOON),
        ("2026-01-30T12:00:00.250000Z", NOON + timedelta(seconds=0.25)),
        ("2026-01-30T13:00:00.5+01:00", NOON + timedelta(seconds=0.5)),
        ("2026-01-30T12:00:00", NOON),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59.999999Z", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_of_the_api(text: str | None, found: datetime | None) -> None:
    assert moment(text) == found


def test_what_was_certainly_not_carried_out_is_told_from_what_may_have_been(stub: Stub, transport: Transport) -> None:
    stub.script["download"] = [drop, status(502), status(429)]
    lost = []
    for _ in range(3):
        with pytest.raises(Passing) as caught:
            once(transport, f"{stub.url}/data/v5.3/live.parquet")
        lost.append(caught.value.lost)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(Passing, match=r"127\.0\.0\.1 could not be reached") as caught:
        once(transport, address)
    assert [*lost, caught.value.lost] == [True, True, False, False]


def test_a_name_that_is_not_known(transport: Transport) -> None:
    with pytest.raises(Passing, match=r"numerai\.invalid could not be reached"):
        once(transport, "http://numerai.invalid/")


def test_a_server_that_hangs_is_given_up(transport: Transport) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(Passing, match="did not answer in time"):
            once(transport, address, timeout=(1.0, 0.05))


@pytest.fixture
def dripping() -> Iterator[Callable[[bytes], str]]:
    """Serves the beginning of an answer and then a byte every 20 ms, without end, until the client has enough."""
    stopping = threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        threads = []

        def serve(beginning: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(beginning)
                while not stopping.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        def start(beginning: bytes) -> str:
            threads.append(threading.Thread(target=serve, args=(beginning,)))
            threads[-1].start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/"

        yield start
        stopping.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_server_that_drips_is_given_up(
    transport: Transport, dripping: Callable[[bytes], str], beginning: bytes
) -> None:
    started = time.monotonic()
    with pytest.raises(Passing, match="did not answer in time"):
        once(transport, dripping(beginning), seconds=0.3)
    assert time.monotonic() - started < 25


def test_what_makes_progress_may_go_on() -> None:
    deadline = Deadline(0.0)
    assert deadline.expired
    deadline.allow(60.0)
    assert 59 < deadline.wait() <= 60


@pytest.mark.slow
def test_a_server_that_drips_faster_than_that_is_given_up_in_the_round(
    transport: Transport, dripping: Callable[[bytes], str]
) -> None:
    address = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with (
        pytest.raises(Passing, match="did not answer in time"),
        transport.request("GET", address, timeout=TIMEOUT, seconds=10.0, patience=transport.within(0.3)) as answer,
    ):
        for _ in answer.blocks(1, 10.0):
            pass


POOL: Any = None


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.SSLError("x"), Kind.UNTRUSTED, "TLS certificate of numer.ai is not trusted"),
        (errors.ConnectTimeoutError(POOL, "x"), Kind.TOO_SLOW, "numer.ai could not be reached in time"),
        (errors.NewConnectionError(POOL, "x"), Kind.UNREACHABLE, "numer.ai could not be reached"),
        (errors.ReadTimeoutError(POOL, "", "x"), Kind.TOO_SLOW, "numer.ai did not answer in time"),
        (errors.ProtocolError("x"), Kind.UNREACHABLE, "connection to numer.ai broke"),
        (errors.ProxyError("x", OSError()), Kind.UNREACHABLE, "the proxy could not be reached"),
    ],
)
def test_causes_in_plain_words(error: Exception, kind: Kind, words: str) -> None:
    found, why = describe(error, "https://numer.ai/?signature=SIGNATURE")
    assert found is kind
    assert words in why
