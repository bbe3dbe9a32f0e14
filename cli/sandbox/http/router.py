"""Finds what answers a request, and writes down that it was answered."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..api.caller import Caller
from ..core import Sandbox
from ..faults import ERROR_KINDS, corrupted, graphql_error
from ..records import FaultRecord, RequestRecord
from ..refusal import HttpRefusal
from . import control_routes, object_routes
from .messages import Answer, Request, json_answer

_ERROR_CHARACTERS = 300


@dataclass(frozen=True)
class Reply:
    """An answer and the fault that its delivery must suffer. Without an answer the connection is dropped."""

    answer: Answer | None
    fault: FaultRecord | None = None


@dataclass(frozen=True)
class Answered:
    """What came of one request, for its record."""

    answer: Answer | None
    fault: FaultRecord | None = None
    operation: str | None = None
    error: str | None = None
    deprecated: tuple[str, ...] = ()


class Router:
    """Answers requests to one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def reply(self, request: Request) -> Reply:
        """The reply to one request."""
        started = time.monotonic()
        if request.path.startswith(control_routes.PREFIX):
            return Reply(control_routes.answer_control(self._sandbox, request))
        is_object = request.path.startswith(object_routes.PREFIX)
        done = self._object(request) if is_object else self._graphql(request)
        self._sandbox.requests.put(
            RequestRecord(
                id=uuid.uuid4().hex,
                time=self._sandbox.clock.now(),
                method=request.method,
                path=request.path,
                status=None if done.answer is None else done.answer.status,
                milliseconds=round(1000 * (time.monotonic() - started), 1),
                operation=done.operation,
                fault=None if done.fault is None else done.fault.kind,
                client=(request.headers.get("User-Agent") or "").partition(" ")[0] or None,
                error=done.error,
                deprecated=done.deprecated,
            )
        )
        return Reply(done.answer, done.fault)

    def _object(self, request: Request) -> Answered:
        target = "upload" if request.method == "PUT" else "download"
        if request.method not in ("GET", "HEAD", "PUT"):
            return Answered(json_answer(405, {"error": "method not allowed"}))
        fault = self._sandbox.faults.take(target, request.path)
        if fault is not None and fault.when == "before":
            early, stop = self._before(fault, request)
            if stop:
                return Answered(early, fault)
        return Answered(object_routes.answer_object(self._sandbox, request, fault), fault)

    def _graphql(self, request: Request) -> Answered:
        # graphql-core is imported with the first query, so that a sandbox starts fast.
        from ..api.executor import deprecated_fields, execute, operation_label, parsed

        if request.path != "/":
            return Answered(json_answer(404, {"errors": {"detail": "Not Found"}}))
        if request.method != "POST":
            return Answered(json_answer(405, {"errors": {"detail": "GraphQL is asked with POST"}}))
        done = Answered(None)
        try:
            body = request.json()
            document = parsed(body)
            done = replace(done, operation=operation_label(document), deprecated=deprecated_fields(document))
            fault = self._sandbox.faults.take("graphql", done.operation)
            done = replace(done, fault=fault)
            if fault is not None and fault.when == "before":
                early, stop = self._before(fault, request)
                if stop:
                    return replace(done, answer=early)
            if fault is None or fault.kind not in ERROR_KINDS or fault.when == "after":
                result = execute(self._caller(request), body)
            if fault is not None and fault.kind in ERROR_KINDS:
                result = graphql_error(fault, done.operation)
            done = replace(done, error=_first_error(result), answer=json_answer(200, result))
        except HttpRefusal as refusal:
            headers = {"Retry-After": "60"} if refusal.status == 429 else {}
            told = json_answer(refusal.status, {"errors": {"detail": refusal.message}})
            done = replace(done, answer=Answer(told.status, told.body, {**told.headers, **headers}))
        answer = done.answer
        if done.fault is not None and done.fault.kind == "corrupt" and answer and isinstance(answer.body, bytes):
            done = replace(done, answer=Answer(answer.status, corrupted(answer.body), answer.headers))
        return done

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


def _first_error(result: Mapping[str, Any]) -> str | None:
    errors = result.get("errors") or [{}]
    message = errors[0].get("message", errors[0].get("error"))
    return None if message is None else str(message)[:_ERROR_CHARACTERS]


def fault_answer(fault: FaultRecord) -> Answer:
    """The answer of a `status` fault."""
    return json_answer(fault.status, {"errors": {"detail": "a fault ordered from the sandbox"}})
