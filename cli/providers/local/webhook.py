"""The webhook: turns one request of Numerai into one queued run, and answers in JSON whatever comes."""

from __future__ import annotations

import hmac
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ...errors import NumeraiError
from ...models import Run, WebhookCall
from ...ports import Clock
from .store import RunStore, StoredNode

MAX_BODY = 64 * 1024
BURST = 60
PER_SECOND = 1.0
TRIGGER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
NOBODY = "-" * 43
"""Compared with where there is no such node, so that the answer takes as long."""

log = logging.getLogger(__name__)


class TokenBucket:
    """Allows `burst` requests at once and `per_second` in the long run, for each name."""

    def __init__(self, clock: Clock, burst: int = BURST, per_second: float = PER_SECOND):
        self._clock = clock
        self._burst = burst
        self._per_second = per_second
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, name: str) -> bool:
        """Whether one more request is allowed now."""
        with self._lock:
            now = self._clock.monotonic()
            level, since = self._levels.get(name, (float(self._burst), now))
            level = min(self._burst, level + (now - since) * self._per_second)
            allowed = level >= 1
            self._levels[name] = (level - 1 if allowed else level, now)
            return allowed


def trigger_id_of(body: bytes) -> str | None:
    """The trigger id in a request's body; None when there is none that could be one."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    trigger_id = content.get("triggerId") if isinstance(content, dict) else None
    return trigger_id if isinstance(trigger_id, str) and TRIGGER_ID.fullmatch(trigger_id) else None


class Webhook:
    """Decides what a request to a node's webhook is answered."""

    def __init__(self, store: RunStore, clock: Clock, on_run: Callable[[], None], draining: Callable[[], bool]):
        self._store = store
        self._clock = clock
        self._on_run = on_run
        self._draining = draining
        self._bucket = TokenBucket(clock)

    def post(self, node_name: str, token: str, body: bytes) -> tuple[int, Mapping[str, str]]:
        """The status and the JSON object of the answer. A 200 is only given once the run is on the disk."""
        try:
            node = self._node(node_name, token)
            if node is None:
                return 404, {"error": "There is no such webhook."}
            status, answer, trigger_id = self._accept(node.node.name, body)
            text = answer.get("error") or f"run {answer['runId']}"
            self._store.add_call(WebhookCall(self._clock.now(), node.node.name, status, text, trigger_id))
        except NumeraiError as error:
            log.error("a webhook call could not be kept: %s", error.message)
            return 503, {"error": "Nothing can be scheduled now. Try again later."}
        log.info("%s: webhook answered %d (%s)", node.node.name, status, text)
        return status, answer

    def _node(self, name: str, token: str) -> StoredNode | None:
        node = self._store.node(name)
        expected = node.token if node else NOBODY
        matches = hmac.compare_digest(expected.encode(), token.encode("utf-8", errors="replace"))
        return node if node and matches else None

    def _accept(self, node: str, body: bytes) -> tuple[int, Mapping[str, str], str | None]:
        if not self._bucket.take(node):
            return 429, {"error": "Too many requests. Try again later."}, None
        trigger_id = trigger_id_of(body)
        if trigger_id is None:
            return 400, {"error": "The body must be a JSON object with a triggerId."}, None
        if self._draining():
            return 503, {"error": "The daemon is stopping. Try again later."}, trigger_id
        try:
            run: Run = self._store.add_run(node, trigger_id, self._clock.now())
        except NumeraiError as error:
            return 503, {"error": error.message}, trigger_id
        self._on_run()
        return 200, {"runId": run.id, "triggerId": trigger_id, "status": run.state.value}, trigger_id


def create_app(webhook: Webhook, health: Callable[[], Mapping[str, Any]], stop: Callable[[str], bool]) -> Flask:
    """The web application: `/health`, `/-/daemon/stop` for this machine's own commands, and the webhooks."""
    app = Flask(__name__, static_folder=None)

    @app.route("/health", methods=["GET"])
    def get_health() -> Response:
        return _json(200, health())

    @app.route("/-/daemon/stop", methods=["POST"])
    def post_stop() -> Response:
        if not stop(request.headers.get("X-Control-Token", "")):
            return _json(404, {"error": "There is no such address."})
        return _json(200, {"status": "stopping"})

    @app.route("/<node>/<token>", methods=["POST"], provide_automatic_options=False)
    def post_trigger(node: str, token: str) -> Response:
        if (request.content_length or 0) > MAX_BODY:
            return _json(413, {"error": "The body is larger than 64 KiB."})
        body = request.stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            return _json(413, {"error": "The body is larger than 64 KiB."})
        return _json(*webhook.post(node, token, body))

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 404
        reasons = {405: "Only POST is allowed here."}
        response = _json(status, {"error": reasons.get(status, "There is no such address.")})
        allow = dict(error.get_headers()).get("Allow")
        if allow:
            response.headers["Allow"] = allow
        return response

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        # Flask's own handler would write the address, which holds the token, into the log.
        log.error("a webhook call failed: %s", type(error).__name__, exc_info=error)
        return _json(500, {"error": "The call could not be handled."})

    return app


def _json(status: int, content: Mapping[str, Any]) -> Response:
    return Response(json.dumps(content), status=status, mimetype="application/json")
