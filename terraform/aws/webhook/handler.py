"""The webhook: turns one call of Numerai into exactly one Batch job, and answers in JSON whatever comes.

What a webhook does is `providers/webhooks`, and how AWS remembers it `providers/aws/trigger_table.py`: both are in this
function's zip. Who may call, and what that starts, is the table's item `nodes`, which Terraform writes.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from numerai_compute.providers.aws.trigger_table import CountingTable, Table, reason, run_of_trigger
from numerai_compute.providers.webhooks import calls
from numerai_compute.providers.webhooks.claims import Busy

NODES_MAX_AGE = 60.0
"""Seconds for which the nodes are believed; a removed node or a changed token is refused after that."""
NODES_MIN_AGE = 5.0
"""Seconds between two looks at the table because of an unknown node or token."""

# Submitting is not idempotent at Batch, so it is never repeated blindly: see trigger_table.run_of_trigger.
_dynamodb: Any = boto3.client(
    "dynamodb", config=Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3})
)
_batch: Any = boto3.client("batch", config=Config(connect_timeout=2, read_timeout=6, retries={"total_max_attempts": 1}))


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Entry point of the Lambda: `event` is a function URL's request (payload format 2.0)."""
    line: dict[str, Any] = {"requestId": getattr(context, "aws_request_id", None)}
    account = _Account()
    try:
        answer = _answer(event if isinstance(event, dict) else {}, account)
    except calls.Refused as refused:
        answer = calls.Answer(refused.status, {"error": refused.error})
    known = {"node": answer.node, "triggerId": answer.trigger_id, "cause": account.cause}
    line |= {name: value for name, value in known.items() if value is not None}
    sys.stdout.write(json.dumps({"webhook": answer.status, **line, "answer": answer.summary}) + "\n")
    return {"statusCode": answer.status, "headers": answer.headers, "body": answer.body}


def _answer(event: dict[str, Any], account: _Account) -> calls.Answer:
    node, token = calls.node_and_token(event.get("rawPath"))
    if _method(event) != "POST":
        raise calls.post_only()
    return calls.answer_call(account, node, token, _body(event))


def _method(event: dict[str, Any]) -> Any:
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, dict) else None
    return http.get("method") if isinstance(http, dict) else None


def _body(event: dict[str, Any]) -> bytes:
    raw = event.get("body")
    body = raw.encode("utf-8", errors="replace") if isinstance(raw, str) else b""
    if event.get("isBase64Encoded") is not True:
        return body
    calls.check_size(len(body) * 3 // 4 - 4)  # what it has at least when it is decoded
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        return b""


class _Account:
    """The nodes of this AWS account (`calls.Nodes`). `cause` is why AWS could not do what it was asked."""

    def __init__(self) -> None:
        self.cause: str | None = None
        self._node: dict[str, str] = {}

    def authorised(self, node: str, token: str) -> bool:
        """Whether the token is this node's; looks the nodes up again when it is not."""
        for max_age in (NODES_MAX_AGE, NODES_MIN_AGE):
            try:
                self._node = _nodes.get(max_age).get(node, {})
            except (ClientError, BotoCoreError) as error:
                raise self._unavailable(error) from error
            if calls.same_token(self._node.get("token_sha256"), token):
                return True
        return False

    def admit(self, node: str) -> None:
        """Every call is admitted: what is limited is the number of runs."""

    def start(self, node: str, trigger_id: str) -> tuple[str, str]:
        """The run of this trigger."""
        table = CountingTable(_dynamodb, os.environ["TABLE"], time, node, int(os.environ["RUNS_PER_HOUR"]))
        try:
            return run_of_trigger(table, _batch, node, self._node, trigger_id, time)[0], "queued"
        except (ClientError, BotoCoreError, Busy) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> calls.Refused:
        self.cause = reason(error)
        return calls.Refused(503, calls.NOTHING_SCHEDULED)


class _Nodes:
    """The nodes as Terraform wrote them, looked up again when they may have changed."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, str]] = {}
        self._read_at = float("-inf")

    def get(self, max_age: float) -> dict[str, dict[str, str]]:
        if time.monotonic() - self._read_at > max_age:
            item = Table(_dynamodb, os.environ["TABLE"], time).get("nodes")
            self._nodes = json.loads(item["nodes"]["S"]) if item else {}
            self._read_at = time.monotonic()
        return self._nodes


_nodes = _Nodes()
