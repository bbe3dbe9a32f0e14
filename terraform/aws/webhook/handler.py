"""The webhook: turns one call of Numerai into exactly one Batch job, and answers in JSON whatever comes.

The table holds three kinds of items: `nodes` (written by Terraform: who may call, and what that starts),
`trigger#<node>#<trigger id>` (which run a trigger started) and `rate#<node>#<hour>` (how many runs were started and,
for the watcher, when the last one was).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import sys
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

MAX_BODY = 64 * 1024
TRIGGER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
OWN_TRIGGERS = ("watch-", "cron-")
"""Begin the trigger ids of a watcher or a schedule: Numerai did not make those, so no submission may carry them."""
NOBODY = {"token_sha256": "0" * 64}
"""Compared with where there is no such node, so that the answer takes as long."""

NODES_MAX_AGE = 60.0
"""Seconds for which the nodes are believed; a removed node or a changed token is refused after that."""
NODES_MIN_AGE = 5.0
"""Seconds between two looks at the table because of an unknown node or token."""
CLAIM_SECONDS = 10.0
"""After this a call that claimed a trigger and gave it no run is taken for dead. SubmitJob gives up earlier."""
WAIT_SECONDS = 12.0
"""How long a call waits for another one that claimed the same trigger."""
REMEMBER_SECONDS = 90 * 24 * 3600

TOO_MANY = "Too many runs in this hour. Try again later."
NOTHING = "Nothing can be scheduled now. Try again later."

# Submitting is not idempotent at Batch, so it is never repeated blindly: see _take_over.
_dynamodb: Any = boto3.client(
    "dynamodb", config=Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 3})
)
_batch: Any = boto3.client("batch", config=Config(connect_timeout=2, read_timeout=6, retries={"total_max_attempts": 1}))


class Refused(Exception):
    """The call ends with this status and this explanation."""

    def __init__(self, status: int, error: str):
        super().__init__(error)
        self.status = status
        self.error = error


class Unavailable(Exception):
    """A trigger could not be given a run now; the same call again may."""


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Entry point of the Lambda: `event` is a function URL's request (payload format 2.0)."""
    call: dict[str, Any] = {"requestId": getattr(context, "aws_request_id", None)}
    try:
        answer = _accept(event if isinstance(event, dict) else {}, call)
        status = 200
    except Refused as refusal:
        status, answer = refusal.status, {"error": refusal.error}
    except (ClientError, BotoCoreError, Unavailable) as error:
        status, answer = 503, {"error": NOTHING}
        call["cause"] = _cause(error)
    line = {"webhook": status, **call, "answer": answer.get("error") or f"run {answer['runId']}"}
    sys.stdout.write(json.dumps(line) + "\n")
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if status == 405:
        headers["allow"] = "POST"
    if status in (429, 503):
        headers["retry-after"] = "60"
    return {"statusCode": status, "headers": headers, "body": json.dumps(answer)}


def _accept(event: dict[str, Any], call: dict[str, Any]) -> dict[str, str]:
    name, token = _address(event)
    if _method(event) != "POST":
        raise Refused(405, "Only POST is allowed here.")
    body = _body(event)
    node = _authorised(name, token)
    call["node"] = name
    trigger_id = _trigger_id(body)
    call["triggerId"] = trigger_id
    return {"runId": _run_of(name, node, trigger_id), "triggerId": trigger_id, "status": "queued"}


# the request


def _address(event: dict[str, Any]) -> tuple[str, str]:
    path = event.get("rawPath")
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2]:
        raise Refused(404, "There is no such webhook.")
    return parts[1], parts[2]


def _method(event: dict[str, Any]) -> Any:
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, dict) else None
    return http.get("method") if isinstance(http, dict) else None


def _body(event: dict[str, Any]) -> bytes:
    raw = event.get("body")
    body = raw.encode("utf-8", errors="replace") if isinstance(raw, str) else b""
    if event.get("isBase64Encoded") is True:
        if len(body) > MAX_BODY * 4 / 3 + 4:
            raise Refused(413, "The body is larger than 64 KiB.")
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            body = b""
    if len(body) > MAX_BODY:
        raise Refused(413, "The body is larger than 64 KiB.")
    return body


def _trigger_id(body: bytes) -> str:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    trigger_id = content.get("triggerId") if isinstance(content, dict) else None
    if not isinstance(trigger_id, str) or not TRIGGER_ID.fullmatch(trigger_id):
        raise Refused(400, "The body must be a JSON object with a triggerId.")
    return trigger_id


# who may call


class _Nodes:
    """The nodes as Terraform wrote them, looked up again when they may have changed."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, str]] = {}
        self._read_at = float("-inf")

    def get(self, max_age: float) -> dict[str, dict[str, str]]:
        if time.monotonic() - self._read_at > max_age:
            item = _get("nodes")
            self._nodes = json.loads(item["nodes"]["S"]) if item else {}
            self._read_at = time.monotonic()
        return self._nodes


_nodes = _Nodes()


def _authorised(name: str, token: str) -> dict[str, str]:
    digest = hashlib.sha256(token.encode("utf-8", errors="replace")).hexdigest()
    for max_age in (NODES_MAX_AGE, NODES_MIN_AGE):
        nodes = _nodes.get(max_age)
        node = nodes.get(name, NOBODY)
        if hmac.compare_digest(node["token_sha256"], digest) and node is not NOBODY:
            return node
    raise Refused(404, "There is no such webhook.")


# one run for a trigger


def _run_of(name: str, node: dict[str, str], trigger_id: str) -> str:
    """The run of this trigger: found, waited for, or started by this call."""
    key = f"trigger#{name}#{trigger_id}"
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        item = _get(key)
        if item is None:
            if _claim(key, name):
                return _start(key, name, node, trigger_id)
        elif "run_id" in item:
            return str(item["run_id"]["S"])
        elif time.time() - float(item["claimed_at"]["N"]) > CLAIM_SECONDS:
            if _reclaim(key, item["claimed_at"]["N"]):
                return _take_over(key, name, node, trigger_id)
        else:
            time.sleep(0.1)
    raise Unavailable("another call for this trigger id has not ended")


def _claim(key: str, name: str) -> bool:
    """Make this call the one that starts the run and count it, both or neither; False when another call was faster."""
    hour = int(time.time() // 3600)
    try:
        _dynamodb.transact_write_items(
            TransactItems=[
                {
                    "Put": {
                        "TableName": _table(),
                        "Item": {"pk": {"S": key}, "claimed_at": {"N": f"{time.time():.3f}"}, "expires_at": _expiry()},
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                },
                {
                    "Update": {
                        "TableName": _table(),
                        "Key": {"pk": {"S": f"rate#{name}#{hour}"}},
                        "UpdateExpression": "SET runs = if_not_exists(runs, :none) + :one, called_at = :now, "
                        "expires_at = :expiry",
                        "ConditionExpression": "attribute_not_exists(runs) OR runs < :most",
                        "ExpressionAttributeValues": {
                            ":none": {"N": "0"},
                            ":one": {"N": "1"},
                            ":most": {"N": os.environ["RUNS_PER_HOUR"]},
                            ":now": {"N": f"{time.time():.3f}"},
                            ":expiry": {"N": str((hour + 2) * 3600)},
                        },
                    }
                },
            ]
        )
    except _dynamodb.exceptions.TransactionCanceledException as error:
        claimed, counted = (reason.get("Code") for reason in error.response["CancellationReasons"])
        if counted == "ConditionalCheckFailed" and claimed != "ConditionalCheckFailed":
            raise Refused(429, TOO_MANY) from None
        if {claimed, counted} & {"ConditionalCheckFailed", "TransactionConflict"}:
            return False
        raise
    return True


def _reclaim(key: str, seen: str) -> bool:
    """Take the claim of a call that died; False when another call was faster."""
    try:
        _dynamodb.update_item(
            TableName=_table(),
            Key={"pk": {"S": key}},
            UpdateExpression="SET claimed_at = :now",
            ConditionExpression="claimed_at = :seen AND attribute_not_exists(run_id)",
            ExpressionAttributeValues={":now": {"N": f"{time.time():.3f}"}, ":seen": {"N": seen}},
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _take_over(key: str, name: str, node: dict[str, str], trigger_id: str) -> str:
    """Finish what a dead call began: it may have submitted the job without having been able to write that down."""
    jobs = _batch.list_jobs(
        jobQueue=node["job_queue"], filters=[{"name": "JOB_NAME", "values": [_job_name(name, trigger_id)]}]
    )["jobSummaryList"]
    if jobs:
        return _remember(key, jobs[0]["jobId"])
    return _start(key, name, node, trigger_id)


def _start(key: str, name: str, node: dict[str, str], trigger_id: str) -> str:
    try:
        job = _batch.submit_job(
            jobName=_job_name(name, trigger_id),
            jobQueue=node["job_queue"],
            jobDefinition=node["job_definition"],
            containerOverrides={"environment": [{"name": _variable(trigger_id), "value": trigger_id}]},
        )
    except (ClientError, BotoCoreError):
        _release(key)
        raise
    return _remember(key, job["jobId"])


def _release(key: str) -> None:
    """Let the next call for this trigger take over at once. It looks for the job first: an error does not prove that
    none was submitted."""
    _dynamodb.update_item(
        TableName=_table(),
        Key={"pk": {"S": key}},
        UpdateExpression="SET claimed_at = :never",
        ExpressionAttributeValues={":never": {"N": "0"}},
    )


def _remember(key: str, run_id: str) -> str:
    _dynamodb.update_item(
        TableName=_table(),
        Key={"pk": {"S": key}},
        UpdateExpression="SET run_id = :run, expires_at = :expiry",
        ExpressionAttributeValues={":run": {"S": run_id}, ":expiry": _expiry()},
    )
    return run_id


def _variable(trigger_id: str) -> str:
    """In which variable the run gets a trigger id."""
    return "NUMERAI_OWN_TRIGGER" if trigger_id.startswith(OWN_TRIGGERS) else "TRIGGER_ID"


def _job_name(name: str, trigger_id: str) -> str:
    """At most 128 characters, and the same for the same trigger."""
    return f"{name}-{hashlib.sha256(trigger_id.encode()).hexdigest()[:32]}"


def _get(key: str) -> dict[str, Any] | None:
    answer = _dynamodb.get_item(TableName=_table(), Key={"pk": {"S": key}}, ConsistentRead=True)
    item: dict[str, Any] | None = answer.get("Item")
    return item


def _table() -> str:
    return os.environ["TABLE"]


def _expiry() -> dict[str, str]:
    return {"N": str(int(time.time()) + REMEMBER_SECONDS)}


def _cause(error: Exception) -> str:
    if isinstance(error, ClientError):
        return f"{error.operation_name}: {error.response.get('Error', {}).get('Code')}"
    return type(error).__name__ if isinstance(error, BotoCoreError) else str(error)
