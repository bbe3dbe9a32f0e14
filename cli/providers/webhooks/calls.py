"""One call of a webhook: who may make it, which trigger it carries, and what it is answered.

Numerai posts `{"roundNumber": ..., "dataVersion": 1, "triggerId": "<uuid>"}` and counts only the status 200 as success
(source: numerai-cli, whose Azure function turns its 202 into a 200 for that reason). Only `triggerId` is read.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ...triggers import CRON, NO_SUBMIT, WATCH, submits

MAX_BODY = 64 * 1024
"""The largest body in bytes."""
TRIGGER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
OWN_TRIGGER = "NUMERAI_OWN_TRIGGER"
"""The environment variable in which a run has the id of a trigger that Numerai did not make."""
BURST = 60
PER_SECOND = 1.0
NOTHING_SCHEDULED = "Nothing can be scheduled now. Try again later."
_NO_NODE = "0" * 64
"""Compared when there is no such node, so that the answer takes as long as for a wrong token."""
_RETRY_AFTER_SECONDS = "60"


class Refused(Exception):
    """The call ends with this HTTP status and this explanation."""

    def __init__(self, status: int, error: str):
        super().__init__(error)
        self.status = status
        self.error = error


def unknown_webhook() -> Refused:
    """Unknown node and wrong token get the same answer."""
    return Refused(404, "There is no such webhook.")


def post_only() -> Refused:
    """Any other method than POST."""
    return Refused(405, "Only POST is allowed here.")


@dataclass(frozen=True)
class Answer:
    """What a call is answered. `node` is set once the caller has shown its token, `trigger_id` once there is one."""

    status: int
    content: Mapping[str, str]
    node: str | None = None
    trigger_id: str | None = None

    @property
    def summary(self) -> str:
        """The answer in a few words, for a log."""
        return self.content.get("error") or f"run {self.content['runId']}"

    @property
    def body(self) -> str:
        """The JSON of the answer."""
        return json.dumps(self.content)

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers."""
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        if self.status == 405:
            headers["allow"] = "POST"
        if self.status in (429, 503):
            headers["retry-after"] = _RETRY_AFTER_SECONDS
        return headers


class Nodes(Protocol):
    """What a webhook needs from its place: the daemon's database, or a cloud's table and queue."""

    def authorised(self, node: str, token: str) -> bool:
        """Whether the token is this node's (see `same_token`)."""

    def admit(self, node: str) -> None:
        """Raise `Refused` (429) when the node was called too often."""

    def start(self, node: str, trigger_id: str) -> tuple[str, str]:
        """The run of this trigger, started unless it exists: its id and its state. May raise `Refused`."""


def answer_call(nodes: Nodes, node: str, token: str, body: bytes) -> Answer:
    """The answer to a POST for a node. Errors of the place itself are not caught."""
    caller = trigger_id = None
    try:
        check_size(len(body))
        if not nodes.authorised(node, token):
            raise unknown_webhook()
        caller = node
        nodes.admit(node)
        trigger_id = trigger_id_of(body)
        if trigger_id is None:
            raise Refused(400, "The body must be a JSON object with a triggerId.")
        run_id, state = nodes.start(node, trigger_id)
    except Refused as refused:
        return Answer(refused.status, {"error": refused.error}, caller, trigger_id)
    return Answer(200, {"runId": run_id, "triggerId": trigger_id, "status": state}, caller, trigger_id)


def node_and_token(path: object) -> tuple[str, str]:
    """The two parts of a webhook's path, `/<node>/<token>`; `Refused` (404) for any other."""
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        raise unknown_webhook()
    return parts[1], parts[2]


def check_size(size: int) -> None:
    """Raise `Refused` (413) for a body of more than `MAX_BODY` bytes."""
    if size > MAX_BODY:
        raise Refused(413, "The body is larger than 64 KiB.")


def trigger_id_of(body: bytes) -> str | None:
    """The trigger id in a request's body; None when there is none that could be one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    trigger_id = content.get("triggerId") if isinstance(content, dict) else None
    if not isinstance(trigger_id, str) or not TRIGGER_ID.fullmatch(trigger_id) or not submits(trigger_id):
        return None
    return trigger_id


def token_digest(token: str) -> str:
    """The SHA-256 of a token in hexadecimal: what a cloud keeps instead of the token."""
    return hashlib.sha256(token.encode("utf-8", errors="replace")).hexdigest()


def same_token(expected: str | None, token: str) -> bool:
    """Whether a token has the digest `expected`, in constant time; None stands for a node that does not exist."""
    return hmac.compare_digest(expected or _NO_NODE, token_digest(token)) and expected is not None


def is_own(trigger_id: str) -> bool:
    """Whether a watcher, a schedule or a test made this trigger id."""
    return trigger_id.startswith((WATCH, CRON, NO_SUBMIT))


def trigger_variable(trigger_id: str) -> str:
    """The environment variable that carries a trigger id into a run: `TRIGGER_ID` only for Numerai's own."""
    return OWN_TRIGGER if is_own(trigger_id) else "TRIGGER_ID"


def job_name(node: str, trigger_id: str) -> str:
    """The name of a trigger's job: the same for the same trigger, at most 128 characters of [A-Za-z0-9_-]."""
    return f"{node}-{hashlib.sha256(trigger_id.encode()).hexdigest()[:32]}"


class TokenBucket:
    """Allows `burst` requests at once and `per_second` in the long run, for each name. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float], burst: int = BURST, per_second: float = PER_SECOND):
        self._monotonic = monotonic
        self._burst = burst
        self._per_second = per_second
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> bool:
        """Whether one more request is allowed now."""
        with self._lock:
            now = self._monotonic()
            level, since = self._levels.get(name, (float(self._burst), now))
            level = min(self._burst, level + (now - since) * self._per_second)
            allowed = level >= 1
            self._levels[name] = (level - 1 if allowed else level, now)
            return allowed
