"""HTTP with time limits on urllib3, and retries for what may pass, for as long as a plain value allows."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from .clock import NumeraiClock, http_date
from .connections import Connections, Deadline, proxy_name
from .errors import NodeError, TemporaryFailure
from .kinds import SERVER_ERROR, TOO_MANY_REQUESTS, Kind
from .log import log

ATTEMPTS = 6
REFUSALS = 3
"""How often at most what was answered with a refusal (4xx) is tried; more would change nothing."""
PROXY_WANTS_USER = 407
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 120.0
LONGEST_TROUBLE = 45 * 60.0
"""For how many seconds one thing is tried while a round is open: a provider's own limit is an hour."""
BEFORE_DEADLINE = timedelta(seconds=5)
QUERY_TIMEOUT = (10.0, 30.0)
DOWNLOAD_TIMEOUT = (10.0, 60.0)
UPLOAD_TIMEOUT = (10.0, 120.0)
SLOWEST_UPLOAD = 10_000
"""Bytes a second below which an upload counts as stalled."""
QUERY_SECONDS = 90.0
"""How long a query may take in all, from the name's resolution to the last byte of its answer."""
SHORTEST_REQUEST = 10.0
"""How long a request may take, in seconds, where so much is left."""
LOOK_SECONDS = 120.0
"""How long is tried what is worth a few tries and never the round."""
LARGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer that is read into memory; a longer one is not used. Downloads have no limit."""
MOST_VALUES = 200_000
"""Values in an answer's JSON: each takes up to 300 bytes of memory, so that a longer answer of 8 MiB could fill it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long one thing is worth trying, however many requests it takes.

    It is tried `tries` times, and on until `until`. Nothing starts after `ends`: requests and waits leave time for
    another try before it. Both are seconds of the transport's `monotonic`.
    """

    tries: int = ATTEMPTS
    until: float = -math.inf
    ends: float = math.inf


class NoAnswer(TemporaryFailure):
    """There was no answer that can be used. `kind` says what came instead, the last time."""

    def __init__(self, message: str, kind: Kind):
        super().__init__(message)
        self.kind = kind


@dataclass(eq=False)
class Passing(Exception):
    """A try failed in a way that may pass. `at_least` is how many seconds the server asks to wait; `lost` says that
    the request may have been carried out all the same; `at_most` limits how often such a refusal is tried, and `then`
    is what it means when it stays."""

    why: str
    _: KW_ONLY
    kind: Kind = Kind.UNUSABLE
    at_least: float | None = None
    lost: bool = False
    at_most: int | None = None
    then: NodeError | None = None


class Answer:
    """An answer whose body is still to be read. `headers` ignore case. Nothing is decompressed: nothing compressed was
    asked for, and a few bytes could become gigabytes."""

    def __init__(self, raw: Any, deadline: Deadline, said_by: str):
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self._raw = raw
        self._deadline = deadline
        self._said_by = said_by

    @property
    def ok(self) -> bool:
        """Whether the request was done. A redirect is no such answer: none is followed."""
        return 200 <= self.status < 300

    def content(self) -> bytes:
        """The whole body; `Passing` when it is larger than 8 MiB."""
        body: bytes = self._raw.read(LARGEST_ANSWER + 1, decode_content=False)
        if len(body) > LARGEST_ANSWER:
            raise Passing(f"{self._said_by} answered more than {LARGEST_ANSWER >> 20} MiB", lost=True)
        return body

    def json(self) -> object:
        """The body's JSON value; None when it is none. `Passing` when it holds too many values."""
        content = self.content()
        if sum(map(content.count, (b"[", b"{", b","))) > MOST_VALUES:
            raise Passing(f"{self._said_by} answered more than {MOST_VALUES} values", lost=True)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return None

    def blocks(self, size: int, seconds: float) -> Iterator[bytes]:
        """The body in blocks of at most `size` bytes, each of which may take so many seconds more."""
        while block := self._raw.read(size, decode_content=False):
            yield block
            self._deadline.allow(seconds)


class Transport:
    """Sends requests and decides how long it is worth trying. For any thread.

    Waits between tries grow from half a second to 30 s, each varied by half of it either way. `patience()` tries
    whatever fails `attempts` times; while a round is open, until shortly before its deadline, but never longer than 45
    minutes. `sleep` and `monotonic` are in seconds; `report` is told, as `log` is, of each try that is made again;
    `agent` names this program to servers. With `hurried` somebody sits there: a wait that a server asks
    for, and that there is no time for, is not begun.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        attempts: int = ATTEMPTS,
        report: Callable[..., None] = log,
        agent: str = "numerai-node",
        hurried: bool = False,
    ):
        self._connections = Connections()
        self.sleep = sleep
        self.monotonic = monotonic
        self.attempts = attempts
        self.clock = NumeraiClock(monotonic)
        self._report = report
        self._agent = agent
        self._hurried = hurried
        self._deadline: datetime | None = None

    def submit_by(self, deadline: datetime | None) -> None:
        """The deadline of the round that is open, by Numerai's clock; None when none is open, or nobody knows."""
        self._deadline = deadline

    def seconds_left(self) -> float | None:
        """The seconds for which trying is still worth it in this round; None when no round is known to be open."""
        if self._deadline is None:
            return None
        return max(0.0, (self._deadline - BEFORE_DEADLINE - self.clock.now()).total_seconds())

    def patience(self) -> Patience:
        """A few tries; while a round is open, as long as there is time before its deadline."""
        left, now = self.seconds_left(), self.monotonic()
        if not left:
            return Patience(self.attempts)
        return Patience(self.attempts, until=now + min(left, LONGEST_TROUBLE), ends=now + left)

    def patience_for_a_round(self) -> Patience:
        """As if a round were open, as long as Numerai has not said which: a run exists to submit."""
        return Patience(self.attempts, until=self.monotonic() + LONGEST_TROUBLE)

    def within(self, seconds: float, tries: int = REFUSALS) -> Patience:
        """A few tries that together take no longer than so many seconds."""
        return Patience(min(tries, self.attempts), ends=self.monotonic() + seconds)

    def briefly(self) -> Patience:
        """A few tries in two minutes, for what is never worth the round."""
        return self.within(LOOK_SECONDS)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: tuple[float, float],
        seconds: float = QUERY_SECONDS,
        patience: Patience | None = None,
        tells_time: bool = False,
        headers: Mapping[str, str] | None = None,
        data: bytes | BinaryIO | None = None,
    ) -> Iterator[Answer]:
        """Send one request, once, and give its answer, which is neither 429 nor 5xx, while it is being read.

        `timeout` limits the connecting and each wait for bytes, `seconds` the whole, however slowly bytes drip; what
        makes progress may go on, where `patience` has an end for half of what is left. A file as `data` needs the
        header Content-Length. `tells_time` says that the server's clock is Numerai's. Raises `Passing` for everything
        else, also when reading the answer in the block fails.
        """
        longest = self._longest_request(patience or self.patience())
        deadline = Deadline(min(seconds, longest), longest, *timeout)
        named = {"User-Agent": self._agent, "Accept-Encoding": "identity", **(headers or {})}
        try:
            with deadline.active():
                raw: Any = self._connections.manager(url).urlopen(
                    method,
                    url,
                    body=data,
                    headers=named,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    enforce_content_length=True,
                    timeout=urllib3.Timeout(*timeout),
                )
                try:
                    if tells_time:
                        self.clock.learn(raw.headers.get("Date"))
                    if raw.status == PROXY_WANTS_USER:
                        why = f"{_proxy(url)} asks for a user and a password"
                        raise Passing(why, kind=Kind.UNREACHABLE, lost=False, at_most=REFUSALS)
                    if raw.status == TOO_MANY_REQUESTS or raw.status >= SERVER_ERROR:
                        raise Passing(
                            f"{host(url)} answered {raw.status}",
                            kind=Kind.BUSY,
                            at_least=self._retry_after(raw.headers),
                            lost=raw.status != TOO_MANY_REQUESTS,
                        )
                    yield Answer(raw, deadline, host(url))
                finally:
                    raw.close()
        except (HTTPError, TimeoutError) as error:
            kind, why = describe(error, url, late=deadline.expired)
            untrusted = kind is Kind.UNTRUSTED
            raise Passing(
                why, kind=kind, lost=not (deadline.connecting or untrusted), at_most=REFUSALS if untrusted else None
            ) from error

    def retry(self, what: str, work: Callable[[], T], patience: Patience | None = None) -> T:
        """Do `work` until it raises no `Passing`; `NoAnswer` when trying on is no longer worth it.

        `what` names it in messages, which never hold an address's query (it may be signed).
        """
        patience = patience or self.patience()
        failures = refusals = 0
        while True:
            try:
                return work()
            except Passing as passing:
                failures += 1
                refusals += passing.at_most is not None
                self.pause(failures, what, passing, patience, refusals)

    def pause(self, failures: int, what: str, passing: Passing, patience: Patience, refusals: int = 0) -> None:
        """Say why `what` is tried again and sleep before it. `failures` counts from 1, `refusals` are those of them
        that had an `at_most`. `NoAnswer`, or what the refusal means, when there is no use in trying again."""
        now = self.monotonic()
        left = max(0.0, patience.until - now)
        over = failures >= patience.tries and left <= 0
        if passing.at_most is not None:
            over = refusals >= passing.at_most
        asked, why = passing.at_least or 0.0, str(passing)
        if self._hurried and asked > patience.ends - now:
            over, why = True, f"{passing} and asks for a wait of {min(asked, 1e9):.0f} s"
        if over or now >= patience.ends:
            times = "once" if failures == 1 else f"{failures} times, last"
            raise passing.then or NoAnswer(f"{what} failed {times} because {why}.", passing.kind) from passing
        seconds = min(FIRST_WAIT * 2 ** min(failures - 1, 16), LONGEST_WAIT) * random.uniform(0.5, 1.5)  # noqa: S311
        seconds = min(seconds, LONGEST_WAIT)
        if passing.at_least is not None:
            seconds = max(seconds, _honoured(passing.at_least, patience.ends - now))
        if failures >= patience.tries:
            seconds = min(seconds, left)
        seconds = min(seconds, patience.ends - now)
        self._report("retrying", what=what, why=passing, attempt=failures + 1, wait=round(seconds, 1))
        self.sleep(seconds)

    def _longest_request(self, patience: Patience) -> float:
        """How many seconds one request may take: half of what is left, so that there is time for another."""
        left = max(0.0, patience.ends - self.monotonic())
        return max(min(SHORTEST_REQUEST, left), left / 2)

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
    """How long to wait for a server that asks for so many seconds: as long as that leaves time before the end, else for
    half of what is left, and never long where there is no end."""
    if math.isinf(left):
        return min(at_least, LONGEST_RETRY_AFTER)
    return at_least if at_least < left else left / 2


def host(url: str) -> str:
    """The host of an address, which is all of it that messages may show."""
    try:
        return urlsplit(url).hostname or "the server"
    except ValueError:  # it is no address
        return "the server"


def describe(error: Exception, url: str, *, late: bool = False) -> tuple[Kind, str]:
    """Why a request got no answer, in a few words and without its address. `late` says that its time was up."""
    causes: list[BaseException] = [error]
    while (cause := getattr(causes[-1], "original_error", None) or causes[-1].__cause__) and len(causes) < 5:
        causes.append(cause)

    def is_a(*kinds: type[Exception]) -> bool:
        return any(isinstance(each, kinds) for each in causes)

    if is_a(ProxyError):
        return Kind.UNREACHABLE, f"{_proxy(url)} {_refusal_of_proxy(causes)}"
    if is_a(NewConnectionError):
        return Kind.UNREACHABLE, f"{host(url)} could not be reached"
    if is_a(ConnectTimeoutError):
        return Kind.TOO_SLOW, f"{host(url)} could not be reached in time"
    if late or is_a(ReadTimeoutError, TimeoutError):
        return Kind.TOO_SLOW, f"{host(url)} did not answer in time"
    if is_a(SSLError):
        return Kind.UNTRUSTED, f"the TLS certificate of {host(url)} is not trusted here"
    return Kind.UNREACHABLE, f"the connection to {host(url)} broke"


def _proxy(url: str) -> str:
    return f"the proxy {proxy_name(url) or ''}".rstrip()


def _refusal_of_proxy(causes: list[BaseException]) -> str:
    """What a proxy answered in place of a connection; urllib3 has it as a text only."""
    refused = next(
        (found for each in causes if (found := re.search(r"Tunnel connection failed: (\d{3})", str(each)))), None
    )
    if refused is None:
        return "could not be reached"
    return (
        "asks for a user and a password"
        if int(refused[1]) == PROXY_WANTS_USER
        else f"refuses: it answered {refused[1]}"
    )
