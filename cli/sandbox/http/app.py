"""The sandbox as a WSGI application: finds what answers a request, and writes down that it was answered."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from ... import __version__
from ..api.caller import Caller
from ..core import Sandbox
from ..faults import ERROR_KINDS, graphql_error
from ..records import FaultRecord, RequestRecord
from ..refusal import HttpRefusal
from . import control, objects
from .delivery import delivered, fault_response
from .hosts import is_own_name
from .messages import json_body, json_response, pieces

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ERROR_CHARACTERS = 300
_LOG = logging.getLogger(__name__)


@dataclass
class Exchange:
    """What becomes known of a request while it is answered, for its record."""

    fault: FaultRecord | None = None
    operation: str | None = None
    error: str | None = None
    deprecated: tuple[str, ...] = ()


class SandboxApp:
    """Answers requests to one sandbox. `ConnectionAbortedError` instead of an answer means: reset the connection."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = Request(environ)
        try:
            response = self._answer(request)
        except ConnectionAbortedError:
            raise
        except HttpRefusal as refusal:
            response = json_response(refusal.status, {"error": refusal.message})
        except Exception:  # noqa: BLE001 a fault of the sandbox itself is answered as any server would
            _LOG.exception("answering %s %s failed", request.method, request.path)
            response = json_response(500, {"error": "the sandbox failed; its log says why"})
        # The store is like S3, whose entity tags are checksums to clients that know it by this header.
        is_object = request.path.startswith(objects.PREFIX)
        response.headers["Server"] = "AmazonS3" if is_object else f"numerai-sandbox/{__version__}"
        response.date = self._sandbox.clock.now()
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        started = time.monotonic()
        if not is_own_name(request.headers.get("Host", "")):
            raise HttpRefusal(403, "this is no name of the sandbox: ask localhost or its address")
        if request.path.startswith(control.PREFIX):
            return control.answer_control(self._sandbox, request)
        exchange = Exchange()
        answer = self._object if request.path.startswith(objects.PREFIX) else self._graphql
        response = answer(request, exchange)
        self._sandbox.requests.put(
            RequestRecord(
                id=uuid.uuid4().hex,
                time=self._sandbox.clock.now(),
                method=request.method,
                path=request.path,
                status=None if response is None else response.status_code,
                milliseconds=round(1000 * (time.monotonic() - started), 1),
                operation=exchange.operation,
                fault=None if exchange.fault is None else exchange.fault.kind,
                client=request.headers.get("User-Agent", "").partition(" ")[0] or None,
                error=exchange.error,
                deprecated=exchange.deprecated,
            )
        )
        return delivered(response, exchange.fault, self._sandbox.stopping)

    def _object(self, request: Request, exchange: Exchange) -> Response | None:
        if request.method not in ("GET", "HEAD", "PUT"):
            return json_response(405, {"error": "method not allowed"})
        target = "upload" if request.method == "PUT" else "download"
        exchange.fault = fault = self._sandbox.faults.take(target, request.path)
        if _comes_first(fault, request):
            return fault_response(fault)
        return objects.answer_object(self._sandbox, request, fault)

    def _graphql(self, request: Request, exchange: Exchange) -> Response | None:
        # graphql-core is imported with the first query, so that a sandbox starts fast.
        from ..api.executor import deprecated_fields, execute, operation_label, parsed

        if request.path != "/":
            return json_response(404, {"errors": {"detail": "Not Found"}})
        if request.method != "POST":
            return json_response(405, {"errors": {"detail": "GraphQL is asked with POST"}})
        try:
            body = json_body(request)
            document = parsed(body)
            exchange.operation, exchange.deprecated = operation_label(document), deprecated_fields(document)
            exchange.fault = fault = self._sandbox.faults.take("graphql", exchange.operation)
            if _comes_first(fault, request):
                return fault_response(fault)
            if fault is None or fault.kind not in ERROR_KINDS or fault.when == "after":
                result = execute(self._caller(request), body)
            if fault is not None and fault.kind in ERROR_KINDS:
                result = graphql_error(fault, exchange.operation)
        except RecursionError:
            return json_response(400, {"errors": {"detail": "the query is nested too deep"}})
        except HttpRefusal as refusal:
            response = json_response(refusal.status, {"errors": {"detail": refusal.message}})
            if refusal.status == 429:
                response.headers["Retry-After"] = "60"
            return response
        exchange.error = _first_error(result)
        return json_response(200, result)

    def _caller(self, request: Request) -> Caller:
        public_id, secret_key = request.headers.get("x-public-id"), request.headers.get("x-secret-key")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "token":
            public_id, _, secret_key = token.partition("$")
        base_url = f"http://{request.headers['Host']}"
        return Caller(self._sandbox, base_url, request.remote_addr or "", public_id, secret_key)


def _comes_first(fault: FaultRecord | None, request: Request) -> bool:
    """Whether a fault strikes before the request is looked at. What the client sends is read all the same."""
    if fault is None or fault.when != "before" or fault.kind not in ("status", "drop", "hang"):
        return False
    if fault.kind == "status":
        for _ in pieces(request):
            pass
    return True


def _first_error(result: Mapping[str, Any]) -> str | None:
    errors = result.get("errors") or [{}]
    message = errors[0].get("message", errors[0].get("error"))
    return None if message is None else str(message)[:_ERROR_CHARACTERS]
