"""Calls the models' webhooks, as Numerai does, and remembers what was answered."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec
import requests
from msgspec import structs

from .faults import Faults, corrupted, seconds_of
from .journal import Journal, Table
from .records import FaultRecord, ModelRecord, RoundRecord, WebhookCallRecord
from .refusal import Refusal

_ANSWER_CHARACTERS = 2000


class Webhooks:
    """Makes the calls. `seconds` is how long a webhook may take to answer."""

    def __init__(
        self, journal: Journal, faults: Faults, now: Callable[[], datetime], seconds: float, stopping: threading.Event
    ) -> None:
        self._table = Table(journal, "webhook_calls", WebhookCallRecord, keep=2000)
        self._faults = faults
        self._now = now
        self._seconds = seconds
        self._stopping = stopping
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox-webhook")
        self._announced: list[tuple[datetime, Future[WebhookCallRecord]]] = []

    def all(self) -> list[WebhookCallRecord]:
        """Every call so far, oldest first."""
        return self._table.all()

    def get(self, trigger_id: str) -> WebhookCallRecord | None:
        """The call with that trigger id."""
        return self._table.get(trigger_id)

    def close(self) -> None:
        """Stop making calls; those under way are left to their end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def announce(self, opened: RoundRecord, models: list[ModelRecord]) -> None:
        """Call the webhook of each model that has one, in the background, because a round has opened."""
        for model in models:
            if model.webhook:
                call = self._begin(model, "round", opened.number)
                self._announced.append((opened.open_time, self._pool.submit(self._deliver, call, model)))

    def settle(self, before: datetime) -> None:
        """Return once the calls for rounds that opened before that moment have ended."""
        earlier = [call for moment, call in self._announced if moment < before]
        wait(earlier)
        self._announced = [(moment, call) for moment, call in self._announced if not call.done()]

    def trigger(self, model: ModelRecord, round_number: int | None) -> str:
        """Call the model's webhook now and return the trigger id.

        `Refusal` with the webhook's answer when it is not 2xx, or with the reason when it cannot be reached.
        """
        if not model.webhook:
            raise Refusal("This model has no submission webhook")
        call = self._deliver(self._begin(model, "trigger", round_number), model)
        if call.error is not None:
            raise Refusal(f"Error received from your webhook server: {call.error}")
        if call.status is None or not 200 <= call.status < 300:
            raise Refusal(f"Error received from your webhook server: {call.answer}")
        return call.id

    def _begin(self, model: ModelRecord, reason: str, round_number: int | None) -> WebhookCallRecord:
        return self._table.put(
            WebhookCallRecord(
                id=str(uuid.uuid4()),
                model_id=model.id,
                reason=reason,
                url=redacted(model.webhook or ""),
                started_at=self._now(),
                round_number=round_number,
            )
        )

    def _deliver(self, call: WebhookCallRecord, model: ModelRecord) -> WebhookCallRecord:
        fault = self._faults.take("webhook", model.name, model.id)
        body = msgspec.json.encode({"triggerId": call.id, "modelId": model.id, "roundNumber": call.round_number})
        url = model.webhook or ""
        started = time.monotonic()
        status, answer, error = None, None, None
        try:
            status, answer = self._send(url, body, fault)
        except requests.RequestException as failure:
            error = without_token(str(failure), url)
        return self._table.put(
            structs.replace(
                call,
                seconds=round(time.monotonic() - started, 3),
                status=status,
                answer=None if answer is None else without_token(answer, url)[:_ANSWER_CHARACTERS],
                error=error,
            )
        )

    def _send(self, url: str, body: bytes, fault: FaultRecord | None) -> tuple[int, str]:
        if fault is not None:
            if fault.kind == "status":
                return fault.status, "a fault ordered from the sandbox"
            if fault.kind == "drop":
                raise requests.ConnectionError("connection reset (a fault ordered from the sandbox)")
            if fault.kind == "hang":
                self._stopping.wait(min(seconds_of(fault), self._seconds))
                raise requests.ReadTimeout("timed out (a fault ordered from the sandbox)")
            if fault.kind == "slow":
                self._stopping.wait(seconds_of(fault))
            elif fault.kind == "truncate":
                body = body[: len(body) // 2]
            else:
                body = corrupted(body)
        headers = {"Content-Type": "application/json", "User-Agent": "numerai-sandbox"}
        response = requests.post(url, data=body, headers=headers, timeout=self._seconds, allow_redirects=False)
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
