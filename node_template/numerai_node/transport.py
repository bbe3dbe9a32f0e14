"""HTTP with time limits, and retries for what may pass: network errors, 429 and 5xx."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from .errors import TemporaryFailure
from .log import log

ATTEMPTS = 6
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 120.0
QUERY_TIMEOUT = (10.0, 30.0)
DOWNLOAD_TIMEOUT = (10.0, 60.0)
UPLOAD_TIMEOUT = (10.0, 300.0)
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500


class Transport:
    """Sends requests. Waits between tries grow from half a second to 30 s, each varied by half of it either way.

    `sleep` takes seconds; `attempts` is how often a request is sent at most.
    """

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep, attempts: int = ATTEMPTS):
        self._session = requests.Session()
        self._sleep = sleep
        self.attempts = attempts

    def send(
        self,
        method: str,
        url: str,
        *,
        what: str,
        timeout: tuple[float, float],
        retry_lost: bool = True,
        **options: Any,
    ) -> requests.Response:
        """Send a request until it is answered with neither 429 nor 5xx.

        `what` names the request in messages, which never hold the address's query (it may be signed). With
        `retry_lost` false, a request that may have been carried out although its answer was lost is not sent again:
        `AnswerLost`. Raises `TemporaryFailure` when all tries failed.
        """
        for attempt in range(1, self.attempts + 1):
            retry_after = None
            try:
                answer = self._session.request(method, url, timeout=timeout, **options)
            except requests.RequestException as error:
                why = describe(error, url)
                if not retry_lost and not isinstance(error, requests.ConnectTimeout) and not _refused(error):
                    raise AnswerLost(f"{what} failed: {why}.") from error
            else:
                if answer.status_code != TOO_MANY_REQUESTS and answer.status_code < SERVER_ERROR:
                    return answer
                why = f"{host(url)} answered {answer.status_code}"
                retry_after = _retry_after(answer.headers)
                answer.close()
                if not retry_lost and answer.status_code >= SERVER_ERROR:
                    raise AnswerLost(f"{what} failed: {why}.")
            if attempt < self.attempts:
                self.wait(attempt, what, why, retry_after)
        raise TemporaryFailure(f"{what} failed {self.attempts} times, last because {why}.")

    def wait(self, attempt: int, what: str, why: str, at_least: float | None = None) -> None:
        """Say why `what` is tried again and sleep before it; `attempt` counts from 1, `at_least` is in seconds."""
        seconds = min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.5, 1.5)  # noqa: S311
        if at_least is not None:
            seconds = max(seconds, min(at_least, LONGEST_RETRY_AFTER))
        log("retrying", what=what, why=why, attempt=attempt + 1, wait=round(seconds, 1))
        self._sleep(seconds)


class AnswerLost(TemporaryFailure):
    """A request was sent, but whether it was carried out is not known."""


def host(url: str) -> str:
    """The host of an address, which is all of it that messages may show."""
    return urlsplit(url).hostname or "the server"


def describe(error: Exception, url: str) -> str:
    """Why a request got no answer, in a few words and without its address."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"the TLS certificate of {host(url)} is not trusted here"
    if isinstance(error, requests.ConnectTimeout):
        return f"{host(url)} could not be reached in time"
    if isinstance(error, requests.Timeout):
        return f"{host(url)} did not answer in time"
    if _refused(error):
        return f"{host(url)} could not be reached"
    return f"the connection to {host(url)} broke"


def _refused(error: Exception) -> bool:
    return isinstance(error, requests.ConnectionError) and "NewConnectionError" in repr(error)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
