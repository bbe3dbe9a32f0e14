"""Calls the models' webhooks, as Numerai does, and remembers what was answered.

The body is `{"roundNumber": 368, "dataVersion": 1, "triggerId": "<uuid>"}`. Source: calls that were received in 2022
and 2023; the official code reads triggerId only. Only the answer 200 counts. Source: numerai-cli's Azure example, which
changes 202 to 200 "to tell Numerai that the request was successful".
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec
import requests
from msgspec import structs

from .faults import Faults, corrupted, seconds_of
from .journal import Journal, Table
from .records import FaultRecord, ModelRecord, RoundRecord, WebhookCallRecord
from .refusal import Refusal
from .switches import Switches

_ANSWER_CHARACTERS = 2000
_SUCCESS = 200


@dataclass
class Webhooks:
    """Makes the calls. How long a webhook may take, and whether a call is made again, are switches."""

    journal: Journal
    faults: Faults
    now: Callable[[], datetime]
    switches: Switches
    stopping: threading.Event

    def __post_init__(self) -> None:
        self.calls = Table(self.journal, "webhook_calls", WebhookCallRecord, keep=2000)
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox-webhook")
        self._announced: list[tuple[datetime, Future[WebhookCallRecord]]] = []

    def close(self) -> None:
        """Stop making calls; those under way are left to their end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def announce(self, opened: RoundRecord, models: list[ModelRecord]) -> None:
        """Call the webhook of each model that has one, in the background, because a round has opened."""
        for model in models:
            if model.webhook and model.pickle_id is None:
                call = self._begin(model, "round", opened.number)
                self._announced.append((opened.open_time, self._pool.submit(self._deliver_repeatedly, call, model)))

    def settle(self, before: datetime) -> None:
        """Return once the calls for rounds that opened before that moment have ended."""
        earlier = [call for moment, call in self._announced if moment < before]
        wait(earlier)
        self._announced = [(moment, call) for moment, call in self._announced if not call.done()]

    def trigger(self, model: ModelRecord, round_number: int | None) -> str:
        """Call the model's webhook now and return the trigger id.

        `Refusal` with the webhook's answer when it is not 200, or with the reason when it cannot be reached.
        """
        if not model.webhook:
            raise Refusal("This model has no submission webhook")
        call = self._deliver(self._begin(model, "trigger", round_number), model)
        if call.error is not None:
            raise Refusal(f"Error received from your webhook server: {call.error}")
        if call.status != _SUCCESS:
            raise Refusal(f"Error received from your webhook server: {call.answer}")
        return call.id

    def _begin(self, model: ModelRecord, reason: str, round_number: int | None) -> WebhookCallRecord:
        return self.calls.put(
            WebhookCallRecord(
                id=str(uuid.uuid4()),
                model_id=model.id,
                reason=reason,
                url=redacted(model.webhook or ""),
                started_at=self.now(),
                round_number=round_number,
            )
        )

    def _deliver_repeatedly(self, call: WebhookCallRecord, model: ModelRecord) -> WebhookCallRecord:
        done = self._deliver(call, model)
        for _ in range(self.switches.webhook_repeats):
            if done.status == _SUCCESS or self.stopping.is_set():
                break
            done = self._deliver(done, model)
        return done

    def _deliver(self, call: WebhookCallRecord, model: ModelRecord) -> WebhookCallRecord:
        fault = self.faults.take("webhook", model.name, model.id)
        as_test = call.reason == "trigger" and self.switches.trigger_round_is_test
        number = "test" if as_test else call.round_number
        body = msgspec.json.encode({"roundNumber": number, "dataVersion": 1, "triggerId": call.id})
        url = model.webhook or ""
        started = time.monotonic()
        status, answer, error = None, None, None
        try:
            status, answer = self._send(url, body, fault)
        except requests.RequestException as failure:
            error = without_token(str(failure), url)
        return self.calls.put(
            structs.replace(
                call,
                seconds=round(time.monotonic() - started, 3),
                status=status,
                answer=None if answer is None else without_token(answer, url)[:_ANSWER_CHARACTERS],
                error=error,
                attempts=call.attempts + 1,
            )
        )

    def _send(self, url: str, body: bytes, fault: FaultRecord | None) -> tuple[int, str]:
        if fault is not None:
            if fault.kind == "status":
                return fault.status, "a fault ordered from the sandbox"
            if fault.kind == "drop":
                raise requests.ConnectionError("connection reset (a fault ordered from the sandbox)")
            if fault.kind == "hang":
                self.stopping.wait(min(seconds_of(fault), self.switches.webhook_seconds))
                raise requests.ReadTimeout("timed out (a fault ordered from the sandbox)")
            if fault.kind == "slow":
                self.stopping.wait(seconds_of(fault))
            elif fault.kind == "truncate":
                body = body[: len(body) // 2]
            else:
                body = corrupted(body)
        headers = {"Content-Type": "application/json", "User-Agent": "numerai-sandbox"}
        response = requests.post(
            url, data=body, headers=headers, timeout=self.switches.webhook_seconds, allow_redirects=False
        )
        return response.status_code, response.text


def redacted(url: str) -> str:
    """A webhook's address without its token (the last part of the path) and without its query."""
    parts = urlsplit(url)
    head, _, token = parts.path.rpartition("/")
    path = f"{head}/***" if token else parts.path
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, path, "***" if parts.query else "", ""))


def without_token(text: str, url: str) -> str:
    """The text with every mention of the webhook's token replaced."""
    parts = urlsplit(url)
    for secret in (parts.path.rpartition("/")[2], parts.query, *(value for _, value in parse_qsl(parts.query))):
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text
