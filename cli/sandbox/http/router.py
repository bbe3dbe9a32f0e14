"""Finds what answers a request, and writes down that it was answered."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from ..api.caller import Caller
from ..core import Sandbox
from ..faults import corrupted
from ..records import FaultRecord, RequestRecord
from ..refusal import HttpRefusal
from . import control_routes, object_routes
from .messages import Answer, Request, json_answer


@dataclass(frozen=True)
class Reply:
    """An answer and the fault that its delivery must suffer. Without an answer the connection is dropped."""

    answer: Answer | None
    fault: FaultRecord | None = None


class Router:
    """Answers requests to one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def reply(self, request: Request) -> Reply:
        """The reply to one request."""
        started = time.monotonic()
        operation: str | None = None
        fault: FaultRecord | None = None
        if request.path.startswith(control_routes.PREFIX):
            return Reply(control_routes.answer_control(self._sandbox, request))
        if request.path.startswith(object_routes.PREFIX):
            answer, fault = self._object(request)
        else:
            answer, operation, fault = self._graphql(request)
        self._sandbox.requests.put(
            RequestRecord(
                id=uuid.uuid4().hex,
                time=self._sandbox.clock.now(),
                method=request.method,
                path=request.path,
                status=None if answer is None else answer.status,
                milliseconds=round(1000 * (time.monotonic() - started), 1),
                operation=operation,
                fault=None if fault is None else fault.kind,
            )
        )
        return Reply(answer, fault)

    def _object(self, request: Request) -> tuple[Answer | None, FaultRecord | None]:
        target = "upload" if request.method == "PUT" else "download"
        if request.method not in ("GET", "HEAD", "PUT"):
            return json_answer(405, {"error": "method not allowed"}), None
        fault = self._sandbox.faults.take(target, request.path)
        if fault is not None and fault.when == "before":
            early, stop = self._before(fault, request)
            if stop:
                return early, fault
        return object_routes.answer_object(self._sandbox, request, fault), fault

    def _graphql(self, request: Request) -> tuple[Answer | None, str | None, FaultRecord | None]:
        # graphql-core is imported with the first query, so that a sandbox starts fast.
        from ..api.executor import execute, operation_label, parsed

        if request.path != "/":
            return json_answer(404, {"errors": {"detail": "Not Found"}}), None, None
        if request.method != "POST":
            return json_answer(405, {"errors": {"detail": "GraphQL is asked with POST"}}), None, None
        operation: str | None = None
        fault: FaultRecord | None = None
        try:
            body = request.json()
            operation = operation_label(parsed(body))
            fault = self._sandbox.faults.take("graphql", operation)
            if fault is not None and fault.when == "before":
                early, stop = self._before(fault, request)
                if stop:
                    return early, operation, fault
            answer = json_answer(200, execute(self._caller(request), body))
        except HttpRefusal as refusal:
            headers = {"Retry-After": "60"} if refusal.status == 429 else {}
            told = json_answer(refusal.status, {"errors": {"detail": refusal.message}})
            answer = Answer(told.status, told.body, {**told.headers, **headers})
        if fault is not None and fault.kind == "corrupt" and isinstance(answer.body, bytes):
            answer = Answer(answer.status, corrupted(answer.body), answer.headers)
        return answer, operation, fault

    def _before(self, fault: FaultRecord, request: Request) -> tuple[Answer | None, bool]:
        """What a fault does before the request is looked at: the early answer, and whether that is all."""
        if fault.kind == "status":
            for _ in request.chunks():
                pass
            return fault_answer(fault), True
        return None, fault.kind in ("drop", "hang")

    def _caller(self, request: Request) -> Caller:
        public_id, secret_key = request.headers.get("x-public-id"), request.headers.get("x-secret-key")
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() == "token":
            public_id, _, secret_key = token.partition("$")
        return Caller(self._sandbox, request.base_url, request.client, public_id, secret_key)


def fault_answer(fault: FaultRecord) -> Answer:
    """The answer of a `status` fault."""
    return json_answer(fault.status, {"errors": {"detail": "a fault ordered from the sandbox"}})
