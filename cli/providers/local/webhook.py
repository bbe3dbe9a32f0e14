"""The daemon's webhook: turns one request of Numerai into one queued run, and answers in JSON whatever comes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from ...errors import NumeraiError
from ...models import WebhookCall
from ...ports import Clock
from ...redaction import Redactor
from ..webhooks import calls
from .ground import CONTROL_TOKEN, NO_ADDRESS
from .store import RunStore

log = logging.getLogger(__name__)


class Webhook:
    """Answers requests to the nodes' webhooks from the daemon's database (`calls.Nodes`)."""

    def __init__(self, store: RunStore, clock: Clock, on_run: Callable[[], None], draining: Callable[[], bool]):
        self._store = store
        self._clock = clock
        self._on_run = on_run
        self._draining = draining
        self._bucket = calls.TokenBucket(clock.monotonic)
        self._redact = Redactor()

    def post(self, node: str, token: str, body: bytes) -> calls.Answer:
        """The answer to a POST. A 200 is only given once the run is on the disk."""
        try:
            answer = calls.answer_call(self, node, token, body)
            if answer.node is not None:
                trigger_id = answer.trigger_id and self._redact(answer.trigger_id)
                call = WebhookCall(self._clock.now(), answer.node, answer.status, answer.summary, trigger_id)
                self._store.add_call(call)
        except NumeraiError as error:
            log.error("a webhook call could not be recorded: %s", error.message)
            return calls.Answer(503, {"error": calls.NOTHING_SCHEDULED})
        if answer.node is not None:
            log.info("%s: webhook answered %d (%s)", answer.node, answer.status, answer.summary)
        return answer

    def authorised(self, node: str, token: str) -> bool:
        """Whether the token is this node's."""
        stored = self._store.node(node)
        expected = calls.token_digest(stored.token if stored else "")
        return calls.same_token(expected, token) and stored is not None

    def admit(self, node: str) -> None:
        """Raise `calls.Refused` when the node was called too often."""
        if not self._bucket.take(node):
            raise calls.Refused(429, "Too many requests. Try again later.")

    def start(self, node: str, trigger_id: str) -> tuple[str, str]:
        """Queue the run of a trigger, or find it. The database does both in one transaction."""
        if self._redact(trigger_id) != trigger_id:
            raise calls.Refused(400, "The triggerId holds a secret of this machine.")
        if self._draining():
            raise calls.Refused(503, "The daemon is stopping. Try again later.")
        try:
            run = self._store.add_run(node, trigger_id, self._clock.now())
        except NumeraiError as error:
            raise calls.Refused(503, error.message) from error
        self._on_run()
        return run.id, run.state.value


def create_app(webhook: Webhook, instance: str) -> Flask:
    """The web application of the webhooks, which may be reached from the internet, and `/health`, which says only which
    daemon answers."""
    app = _app()

    @app.route("/health", methods=["GET"])
    def get_health() -> Response:
        return _json(200, {"service": "numerai", "instance": instance})

    @app.route("/<node>/<token>", methods=["POST"], provide_automatic_options=False)
    def post_trigger(node: str, token: str) -> Response:
        try:
            calls.check_size(request.content_length or 0)
        except calls.Refused as refused:
            return _json(refused.status, {"error": refused.error})
        answer = webhook.post(node, token, request.stream.read(calls.MAX_BODY + 1))
        return _json(answer.status, answer.content)

    return app


def create_control_app(
    health: Callable[[], Mapping[str, Any]],
    stop: Callable[[str], bool],
    ground: Callable[[str], Mapping[str, Any] | None],
) -> Flask:
    """What this machine's own commands ask of the daemon, on a port that no webhook's caller can fill. `stop` and
    `ground` are given the token that the caller has shown."""
    app = _app()

    @app.route("/health", methods=["GET"])
    def get_health() -> Response:
        return _json(200, health())

    @app.route("/stop", methods=["POST"])
    def post_stop() -> Response:
        if not stop(request.headers.get(CONTROL_TOKEN, "")):
            return _json(404, {"error": NO_ADDRESS})
        return _json(200, {"status": "stopping"})

    @app.route("/ground", methods=["GET"])
    def get_ground() -> Response:
        found = ground(request.headers.get(CONTROL_TOKEN, ""))
        return _json(404, {"error": NO_ADDRESS}) if found is None else _json(200, {"ground": found})

    return app


def _app() -> Flask:
    """An application that answers in JSON whatever comes."""
    app = Flask(__name__, static_folder=None)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 404
        reasons = {405: calls.post_only().error}
        response = _json(status, {"error": reasons.get(status, NO_ADDRESS)})
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
