"""HTTP with time limits, and retries for what may pass, for as long as the round that is open leaves time."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from .clock import NumeraiClock, http_date
from .errors import NodeError, TemporaryFailure
from .log import log
from .watchdog import ConnectionAdapter, Watchdog

ATTEMPTS = 6
REFUSALS = 3
"""How often at most what was answered with a refusal (4xx) is tried; more would change nothing."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 120.0
LONGEST_TROUBLE = 45 * 60.0
"""For how many seconds one thing is tried while a round is open: a provider's own limit is an hour."""
BEFORE_CLOSE = timedelta(seconds=5)
QUERY_TIMEOUT = (10.0, 30.0)
DOWNLOAD_TIMEOUT = (10.0, 60.0)
UPLOAD_TIMEOUT = (10.0, 120.0)
SLOWEST_UPLOAD = 10_000
"""Bytes a second below which an upload counts as stalled."""
QUERY_SECONDS = 90.0
"""How long a query may take in all, from the connection to the last byte of its answer."""
SHORTEST_REQUEST = 10.0
"""How long a request may take, in seconds, however little is left."""
LOOK_SECONDS = 120.0
"""How long is tried what is worth a few tries and never the round."""
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
T = TypeVar("T")


class Passing(Exception):
    """A try failed in a way that may pass. `at_least` is how many seconds the server asks to wait; `lost` says that
    the request may have been carried out all the same; `at_most` limits how often such a refusal is tried, and `then`
    is what it means when it stays."""

    def __init__(
        self,
        why: str,
        *,
        at_least: float | None = None,
        lost: bool = False,
        at_most: int | None = None,
        then: NodeError | None = None,
    ):
        super().__init__(why)
        self.at_least = at_least
        self.lost = lost
        self.at_most = at_most
        self.then = then


class Transport:
    """Sends requests and decides how long it is worth trying. For one thread.

    Waits between tries grow from half a second to 30 s, each varied by half of it either way. Whatever fails is tried
    `attempts` times; while a round is open, until shortly before its close, but never longer than 45 minutes in a row.
    `sleep` and `monotonic` are in seconds.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        attempts: int = ATTEMPTS,
    ):
        self._session = requests.Session()
        self._connections = ConnectionAdapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._connections)
        self.sleep = sleep
        self.monotonic = monotonic
        self.attempts = attempts
        self.clock = NumeraiClock(monotonic)
        self._close: datetime | None = None
        self._round_expected = False
        self._depth = 0
        self._trouble_since: float | None = None
        self._brief_until: float | None = None

    def expect_round(self) -> None:
        """Suppose that a round is open until Numerai says which is, or that none is: a run exists to submit."""
        self._round_expected = True

    def round_closes(self, close: datetime | None) -> None:
        """When the round that is open closes by Numerai's clock; None when none is open, or nobody knows."""
        self._round_expected = False
        self._close = close

    def seconds_left(self) -> float | None:
        """The seconds for which trying is still worth it in this round; None when no round is known to be open."""
        if self._close is None:
            return None
        return max(0.0, (self._close - BEFORE_CLOSE - self.clock.now()).total_seconds())

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float],
        seconds: float = QUERY_SECONDS,
        tells_time: bool = False,
        **options: Any,
    ) -> Iterator[tuple[requests.Response, Watchdog]]:
        """Send one request, once, and give its answer, which is neither 429 nor 5xx, while it is being read.

        `timeout` limits the connecting and each wait for bytes, `seconds` the whole, however slowly bytes drip; the
        watchdog lets what makes progress go on, while a round is open for half of what is left of it. `tells_time`
        says that the server's clock is Numerai's. Raises `Passing` for everything else, also when reading the answer
        in the block fails.
        """
        longest = self._longest_request()
        with self._connections.watched(min(seconds, longest), longest) as watchdog:
            try:
                with self._session.request(method, url, timeout=timeout, **options) as answer:
                    if tells_time:
                        self.clock.learn(answer.headers.get("Date"))
                    if answer.status_code == TOO_MANY_REQUESTS or answer.status_code >= SERVER_ERROR:
                        raise Passing(
                            f"{host(url)} answered {answer.status_code}",
                            at_least=self._retry_after(answer.headers),
                            lost=answer.status_code != TOO_MANY_REQUESTS,
                        )
                    yield answer, watchdog
                if watchdog.expired:
                    raise Passing(f"{host(url)} did not answer in time", lost=True)
            except requests.RequestException as error:
                why = f"{host(url)} did not answer in time" if watchdog.expired else describe(error, url)
                lost = not (isinstance(error, requests.ConnectTimeout) or _refused(error))
                raise Passing(why, lost=lost) from error

    def retry(self, what: str, work: Callable[[], T]) -> T:
        """Do `work` until it raises no `Passing`; `TemporaryFailure` when trying on is no longer worth it.

        `what` names it in messages, which never hold an address's query (it may be signed).
        """
        refusals = 0
        with self.one_thing():
            for failures in itertools.count(1):
                started = self.monotonic()
                try:
                    return work()
                except Passing as passing:
                    refusals += passing.at_most is not None
                    self.pause(failures, what, passing, started, refusals)
        raise AssertionError("unreachable: the loop ends with a result or an error")

    @contextmanager
    def one_thing(self) -> Iterator[None]:
        """What is tried within is one thing to the limit of 45 minutes, however many requests it takes."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._trouble_since = None

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """What is tried within is worth a few tries in two minutes, and never the round."""
        self._brief_until = self.monotonic() + LOOK_SECONDS
        try:
            yield
        finally:
            self._brief_until = None

    def pause(self, failures: int, what: str, passing: Passing, started: float, refusals: int = 0) -> None:
        """Say why `what` is tried again and sleep before it. `failures` counts from 1, `refusals` are those of them
        that had an `at_most`; `started` is when the last try began. `TemporaryFailure`, or what the refusal means, when
        there is no use in trying again."""
        now = self.monotonic()
        if self._trouble_since is None:
            self._trouble_since = started
        left = self._worth_trying(now)
        most, in_vain = self.attempts, left <= 0
        if self._brief_until is not None:
            most, left, in_vain = min(most, REFUSALS), max(0.0, self._brief_until - now), True
        if refusals >= passing.at_most if passing.at_most is not None else failures >= most and in_vain:
            raise passing.then or TemporaryFailure(f"{what} failed {failures} times, last because {passing}.")
        seconds = min(FIRST_WAIT * 2 ** min(failures - 1, 16), LONGEST_WAIT) * random.uniform(0.5, 1.5)  # noqa: S311
        seconds = min(seconds, LONGEST_WAIT)
        if passing.at_least is not None:
            # nobody knows yet whether a round is open, and for how long
            seconds = max(seconds, _honoured(passing.at_least, 0.0 if self._round_expected else left))
        if failures >= most:
            seconds = min(seconds, left)
        log("retrying", what=what, why=passing, attempt=failures + 1, wait=round(seconds, 1))
        self.sleep(seconds)

    def _worth_trying(self, now: float) -> float:
        """For how many more seconds the present trouble may go on after the first few tries."""
        left = 0.0 if self._trouble_since is None else self._trouble_since + LONGEST_TROUBLE - now
        if self._round_expected:
            return max(0.0, left)
        return max(0.0, min(left, self.seconds_left() or 0.0))

    def _longest_request(self) -> float:
        """How many seconds one request may take: half of what is left, so that there is time for another."""
        if self._brief_until is not None:
            left = self._brief_until - self.monotonic()
        else:
            left = self.seconds_left() or math.inf
        return max(SHORTEST_REQUEST, left / 2)

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        """The seconds that the server asks to wait; a date is read against its own clock."""
        value = headers.get("Retry-After", "").strip()
        if not value:
            return None
        if value.isascii() and value.isdigit():
            return float(value)
        moment, now = http_date(value), http_date(headers.get("Date", ""))
        if moment is None:
            return None
        return max(0.0, (moment - (now or self.clock.now())).total_seconds())


def _honoured(at_least: float, left: float) -> float:
    """How long to wait for a server that asks for so many seconds: as long as that leaves time before the deadline,
    else for half of what is left, and outside a round never long."""
    if left <= 0:
        return min(at_least, LONGEST_RETRY_AFTER)
    return at_least if at_least < left else left / 2


def host(url: str) -> str:
    """The host of an address, which is all of it that messages may show."""
    return urlsplit(url).hostname or "the server"


def describe(error: Exception, url: str) -> str:
    """Why a request got no answer, in a few words and without its address."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"the TLS certificate of {host(url)} is not trusted here"
    if isinstance(error, requests.ConnectTimeout):
        return f"{host(url)} could not be reached in time"
    if isinstance(error, requests.Timeout) or "ReadTimeoutError" in repr(error):
        return f"{host(url)} did not answer in time"
    if _refused(error):
        return f"{host(url)} could not be reached"
    return f"the connection to {host(url)} broke"


def _refused(error: Exception) -> bool:
    names = ("NewConnectionError", "NameResolutionError")
    return isinstance(error, requests.ConnectionError) and any(name in repr(error) for name in names)
