"""The triggers of AWS: claims in the functions' DynamoDB table, and the Batch job that each one starts.

Both functions carry this file in their zips, so it needs the standard library only; boto3's clients are handed in. A
trigger is the item `trigger#<node>#<trigger id>`. `rate#<node>#<hour>` counts the runs that the webhook started in that
hour and says when it was last called.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ...triggers import NO_SUBMIT, WATCH, is_another, watch_trigger
from ..webhooks.calls import Refused, job_name, trigger_variable
from ..webhooks.claims import WAIT_SECONDS, Claim, Time, once

REMEMBER_SECONDS = 90 * 24 * 3600
"""After this DynamoDB may delete an item."""
_PULL = re.compile(r"CannotPull\w*Error", re.IGNORECASE)
_NOT_THERE = re.compile(r"not ?found|manifest unknown|does not exist|no such", re.IGNORECASE)
_STATES = {"RUNNING": "running", "SUCCEEDED": "succeeded", "FAILED": "failed"}
TOO_MANY = "Too many runs in this hour. Try again later."
NOTICE_PREFIX = "notice-"
"""Begins the names of the watcher's jobs that run a node's image to notify people."""


class Table:
    """Items by their key `pk`, and claims in them (`webhooks.claims.Claims`). `result` is the attribute that holds what
    came of a claim."""

    def __init__(self, client: Any, name: str, time: Time, result: str = "run_id"):
        self._client = client
        self._name = name
        self._time = time
        self._result = result

    def get(self, key: str) -> dict[str, Any] | None:
        """An item, or None."""
        answer = self._client.get_item(TableName=self._name, Key={"pk": {"S": key}}, ConsistentRead=True)
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def put(self, key: str, **values: dict[str, str]) -> None:
        """Write an item, whatever was there."""
        item = {"pk": {"S": key}, **values, "expires_at": self._expiry()}
        self._client.put_item(TableName=self._name, Item=item)

    def read(self, key: str) -> Claim | None:
        """The claim as it stands now."""
        item = self.get(key)
        if item is None:
            return None
        result = next(iter(item[self._result].values())) if self._result in item else None
        return Claim(float(item.get("claimed_at", {"N": "0"})["N"]), result)

    def take(self, key: str) -> bool:
        """Claim an absent key; False when another call was faster."""
        try:
            self._client.put_item(**self._claim(key))
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def retake(self, key: str, dead: Claim) -> bool:
        """Claim a key whose owner died; False when it is not as `dead` any more."""
        try:
            self._client.put_item(
                **self._claim(key)
                | {
                    "ConditionExpression": "claimed_at = :seen AND attribute_not_exists(#result)",
                    "ExpressionAttributeNames": {"#result": self._result},
                    "ExpressionAttributeValues": {":seen": {"N": repr(dead.claimed_at)}},
                }
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def release(self, key: str) -> None:
        """Let the next call take over at once."""
        self._set(key, claimed_at={"N": "0"})

    def finish(self, key: str, result: str) -> None:
        """Record the result."""
        self._set(key, **{self._result: {"S": result}, "expires_at": self._expiry()})

    def _claim(self, key: str) -> dict[str, Any]:
        return {
            "TableName": self._name,
            "Item": {"pk": {"S": key}, "claimed_at": self._now(), "expires_at": self._expiry()},
            "ConditionExpression": "attribute_not_exists(pk)",
        }

    def _set(self, key: str, **values: dict[str, str]) -> None:
        self._client.update_item(
            TableName=self._name,
            Key={"pk": {"S": key}},
            UpdateExpression="SET " + ", ".join(f"{name} = :{name}" for name in values),
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
        )

    def _now(self) -> dict[str, str]:
        return {"N": f"{self._time.time():.3f}"}

    def _expiry(self) -> dict[str, str]:
        return {"N": str(int(self._time.time()) + REMEMBER_SECONDS)}


class CountingTable(Table):
    """A table whose claims count as runs of a node: at most `limit` in an hour."""

    def __init__(self, client: Any, name: str, time: Time, node: str, limit: int):
        super().__init__(client, name, time)
        self._node = node
        self._limit = limit

    def take(self, key: str) -> bool:
        """Claim an absent key and count it, both or neither; `Refused` (429) beyond the limit."""
        hour = int(self._time.time() // 3600)
        count = {
            "TableName": self._name,
            "Key": {"pk": {"S": f"rate#{self._node}#{hour}"}},
            "UpdateExpression": "SET runs = if_not_exists(runs, :none) + :one, called_at = :now, expires_at = :expiry",
            "ConditionExpression": "attribute_not_exists(runs) OR runs < :most",
            "ExpressionAttributeValues": {
                ":none": {"N": "0"},
                ":one": {"N": "1"},
                ":most": {"N": str(self._limit)},
                ":now": self._now(),
                ":expiry": {"N": str((hour + 2) * 3600)},
            },
        }
        try:
            self._client.transact_write_items(TransactItems=[{"Put": self._claim(key)}, {"Update": count}])
        except self._client.exceptions.TransactionCanceledException as error:
            claimed, counted = (reason.get("Code") for reason in error.response["CancellationReasons"])
            if counted == "ConditionalCheckFailed" and claimed != "ConditionalCheckFailed":
                raise Refused(429, TOO_MANY) from None
            if {claimed, counted} & {"ConditionalCheckFailed", "TransactionConflict"}:
                return False
            raise
        return True


def trigger_key(node: str, trigger_id: str) -> str:
    """The key of a trigger's item."""
    return f"trigger#{node}#{trigger_id}"


def attempts(table: Table, node: str, tournament: int, number: int, opened: float) -> tuple[int, list[Claim]]:
    """How many runs watchers started for an earlier round that had this number, and those that they started for this
    one, or began to, oldest first. The round `opened` then, in seconds since 1970."""
    claims: list[Claim] = []
    while claim := table.read(trigger_key(node, watch_trigger(tournament, number, len(claims) + 1))):
        claims.append(claim)
    done = [claim for claim in claims if claim.result is not None and claim.claimed_at < opened]
    before = sum(is_another(claim.claimed_at, opened) for claim in done)
    return before, claims[before:]


def deployment_key(node: str) -> str:
    """The key of the item that says when the node was last deployed."""
    return f"deployed#{node}#"


def called_at(table: Table, node: str, now: float, within: float) -> float | None:
    """When the webhook last started a run of the node, in seconds since 1970, if that was in the last `within` seconds
    (at most an hour)."""
    items = [table.get(f"rate#{node}#{hour}") for hour in {int(now // 3600), int((now - within) // 3600)}]
    moments = [float(item["called_at"]["N"]) for item in items if item and "called_at" in item]
    return max((moment for moment in moments if now - moment < within), default=None)


def run_of_trigger(
    table: Table,
    batch: Any,
    name: str,
    node: Mapping[str, str],
    trigger_id: str,
    time: Time,
    wait_seconds: float = WAIT_SECONDS,
) -> tuple[str, bool]:
    """The Batch job of a node's trigger, and whether this call started it. `node` is the node's record in the table.

    Batch has no idempotent SubmitJob, so a job whose submission was not answered is looked for by its name. Raises
    `claims.Busy`, `Refused`, and the SDK's errors.
    """
    job = job_name(name, trigger_id)

    def find() -> str | None:
        found = next(jobs(batch, node, "JOB_NAME", job), None)
        return None if found is None else str(found["jobId"])

    def submit() -> str:
        variable = {"name": trigger_variable(trigger_id), "value": trigger_id}
        return submit_job(batch, node, job, now=trigger_id.startswith(WATCH), environment=[variable])

    return once(table, trigger_key(name, trigger_id), submit, time, find=find, wait_seconds=wait_seconds)


def submit_job(
    batch: Any, node: Mapping[str, str], job: str, seconds: int | None = None, *, now: bool, **overrides: Any
) -> str:
    """Start a container of the node's image; returns the job's id. `seconds` limits how long it may take. With `now` it
    does not wait for Spot capacity."""
    limit = {} if seconds is None else {"timeout": {"attemptDurationSeconds": seconds}}
    return str(
        batch.submit_job(
            jobName=job,
            jobQueue=_queues(node)[-1 if now else 0],
            jobDefinition=node["job_definition"],
            containerOverrides=overrides,
            **limit,
        )["jobId"]
    )


def jobs(batch: Any, node: Mapping[str, str], by: str, value: str) -> Iterator[dict[str, Any]]:
    """The jobs of the node's queues with this `JOB_NAME` or `JOB_DEFINITION`."""
    pages, filters = batch.get_paginator("list_jobs"), [{"name": by, "values": [value]}]
    for queue in _queues(node):
        for page in pages.paginate(jobQueue=queue, filters=filters):
            yield from page["jobSummaryList"]


def _queues(node: Mapping[str, str]) -> list[str]:
    """The node's queue, and the one over On-Demand capacity only, which clusters of earlier versions lack."""
    return [node[name] for name in ("job_queue", "job_queue_now") if name in node]


def is_run(job: Mapping[str, Any], name: str, definition: str) -> bool:
    """Whether a listed job is a run of the node, and not of another one or one that only notifies people."""
    used = str(job.get("jobDefinition", "")).rpartition("job-definition/")[2].partition(":")[0]
    return used == definition and not str(job["jobName"]).startswith(f"{NOTICE_PREFIX}{name}-")


def state_of(job: Mapping[str, Any]) -> str:
    """The state of a job in the words of `models.RunState`; what is not running, done or failed is queued."""
    return _STATES.get(job["status"], "queued")


def is_test(job: Mapping[str, Any]) -> bool:
    """Whether a listed job was told not to submit, and so is no run of a round."""
    return str(job["jobName"]).startswith(NO_SUBMIT)  # what is listed of a job does not hold its environment


def image_is_missing(reason: str) -> bool:
    """Whether a job did not start because its node has no image: it was never deployed, or the image is gone."""
    return bool(_PULL.search(reason) and _NOT_THERE.search(reason))


def run_of_job(job: Mapping[str, Any], ahead: timedelta) -> dict[str, Any]:
    """A listed job as the fields of `policy.Run`; `ahead` is by how much the clock of its times is ahead of AWS's."""
    moments = {
        field: datetime.fromtimestamp(job[name] / 1000, timezone.utc) + ahead if job.get(name) else None
        for field, name in (("created_at", "createdAt"), ("started_at", "startedAt"), ("ended_at", "stoppedAt"))
    }
    state = state_of(job)
    if state == "queued":
        moments["started_at"] = None  # of an attempt before this one, which waits like any other
    container = job.get("container") or {}
    said = f"{container.get('reason') or ''} {job.get('statusReason') or ''}".strip()
    return {
        "id": job["jobId"],
        "state": state,
        **moments,
        "exit_code": container.get("exitCode"),
        "failure": "not-deployed" if image_is_missing(said) else None,
        "message": f"Batch says: {said}" if said and moments["ended_at"] else None,
    }


def reason(error: Exception) -> str:
    """Why something failed, in a few words: what AWS was asked, and the code of its refusal."""
    operation = getattr(error, "operation_name", None)
    if operation is None:
        return f"{type(error).__name__}: {error}"
    return f"{operation}: {getattr(error, 'response', {}).get('Error', {}).get('Code')}"
