"""What a Batch job means: the run that it is, how it ended and why, in the words of every other provider."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from ...models import Run, RunFailure, RunState
from ...triggers import submits
from ..outcomes import RETRY_EXIT_CODE, Outcome, cancelled, ended, explained, lost, of_test, timed_out
from ..webhooks.calls import OWN_TRIGGER
from .stack_file import StackNode
from .trigger_table import image_is_missing, state_of

CANCEL_REASON = "Cancelled with numerai"
"""What TerminateJob is told, and by which a cancelled run is known afterwards."""
_TIMED_OUT = re.compile(r"attempt duration exceeded timeout", re.IGNORECASE)
_NO_MEMORY = re.compile(r"OutOfMemory", re.IGNORECASE)
_NO_SECRET = re.compile(r"\b(asm|ssm)\b|json key", re.IGNORECASE)
"""What ECS says beside "unable to pull secrets or registry auth" when it was a secret (asm: Secrets Manager, ssm: its
parameters) that it did not get; without that it was the registry (github.com/aws/aws-app-mesh-examples/issues/413)."""
_NO_NETWORK = re.compile(r"send request failed|request context canceled|context deadline|i/o timeout|connection issue")
"""What it says when neither could be reached (github.com/Releem/releem-agent/issues/195, .../hashicorp/
terraform-provider-aws/issues/33044): the secret may be as it should."""
_TAKEN_AWAY = re.compile(r"Spot Task was interrupted|Host EC2", re.IGNORECASE)

_WAITS = {
    "SUBMITTED": "AWS Batch has taken it and looks where to run it",
    "PENDING": "AWS Batch has taken it and looks where to run it",
    "RUNNABLE": "it waits for capacity",
    "STARTING": "it has capacity, and its container is fetched and started",
}
"""What a job that has not started waits for (docs.aws.amazon.com/batch/latest/userguide/job_states.html)."""


def waits_for(job: Mapping[str, Any]) -> str | None:
    """What a job waits for, in words and with Batch's own; None once it has started."""
    return f"{_WAITS[job['status']]} ({job['status']})" if job["status"] in _WAITS else None


def run_of(job: Mapping[str, Any], name: str, node: StackNode, reason: Callable[[], str | None] = lambda: None) -> Run:
    """The run that a job (as DescribeJobs gives it) is; `node` is the record of the node that it belongs to. `reason`
    is asked for what the run printed as the reason of its end, where that is what explains it."""
    attempts, given = job.get("attempts") or [], environment(job)
    state = RunState(state_of(job))
    outcome = _outcome(job, node) if state.final else Outcome(state, message=job.get("statusReason"))
    trigger_id = given.get("TRIGGER_ID") or given.get(OWN_TRIGGER)
    if not submits(trigger_id):
        outcome = of_test(outcome)
    outcome = explained(outcome, reason, f"numerai node -m {name} logs --run {job['jobId']}")
    started = None if outcome.failure in (RunFailure.NOT_DEPLOYED, RunFailure.COULD_NOT_START) else _started(job)
    return Run(
        id=job["jobId"],
        node=name,
        state=outcome.state,
        created_at=moment(job.get("createdAt") or 0),
        trigger_id=trigger_id,
        started_at=started if state is not RunState.QUEUED or attempts else None,
        ended_at=stopped_at(job),
        exit_code=outcome.exit_code,
        failure=outcome.failure,
        message=outcome.message,
        attempt=max(1, len(attempts) + (0 if outcome.state.final else 1)),
    )


def environment(job: Mapping[str, Any]) -> dict[str, str]:
    """The environment that a job was given, without the secrets, which are references."""
    entries = (job.get("container") or {}).get("environment") or []
    return {entry["name"]: entry["value"] for entry in entries}


def log_streams(job: Mapping[str, Any]) -> list[str]:
    """The log streams of a job's attempts, in order."""
    containers = [attempt.get("container") or {} for attempt in job.get("attempts") or []]
    names = [container.get("logStreamName") for container in [*containers, job.get("container") or {}]]
    return list(dict.fromkeys(name for name in names if name))


def stopped_at(job: Mapping[str, Any]) -> datetime | None:
    """When a job ended, None when it has not."""
    return moment(job["stoppedAt"]) if job["status"] in ("SUCCEEDED", "FAILED") and job.get("stoppedAt") else None


def _outcome(job: Mapping[str, Any], node: StackNode) -> Outcome:
    attempts = job.get("attempts") or []
    last = (attempts[-1].get("container") or {}) if attempts else {}
    container = {**last, **{name: value for name, value in (job.get("container") or {}).items() if value is not None}}
    exit_code = container.get("exitCode")
    status_reason = str(job.get("statusReason") or (attempts[-1].get("statusReason") if attempts else "") or "")
    reason = f"{container.get('reason') or ''} {status_reason}".strip()
    if job["status"] == "SUCCEEDED":
        return Outcome(RunState.SUCCEEDED, exit_code=0)
    if status_reason.startswith(CANCEL_REASON):
        return cancelled(exit_code)
    if _TIMED_OUT.search(reason):
        return timed_out(node.timeout_minutes, exit_code)
    if job.get("isTerminated") or job.get("isCancelled"):
        return Outcome(
            RunState.CANCELLED, exit_code, None, f"Stopped in AWS: {status_reason or 'no reason was given'}."
        )
    if _NO_MEMORY.search(reason):
        return ended(exit_code or 137, limit=f"{node.memory_mib} MiB", out_of_memory=True)
    if _TAKEN_AWAY.search(reason):
        return lost(f"AWS took its capacity away {len(attempts)} times.")
    if exit_code is None:
        return _never_started(reason, node)
    return _exited(exit_code, len(attempts), node)


def _exited(exit_code: int, attempts: int, node: StackNode) -> Outcome:
    outcome = ended(exit_code, limit=f"{node.memory_mib} MiB")
    if exit_code == RETRY_EXIT_CODE and attempts > 1:
        message = f"It was tried {attempts} times. {outcome.message}"
        return Outcome(outcome.state, exit_code, outcome.failure, message)
    return outcome


def _never_started(reason: str, node: StackNode) -> Outcome:
    if image_is_missing(reason):
        if node.deployment is None:
            return _failed(RunFailure.NOT_DEPLOYED, "It was never deployed. Run `numerai node deploy`.")
        return _failed(
            RunFailure.NOT_DEPLOYED,
            f"The image {node.deployment.image} is not in the repository any more. "
            "Build it again with `numerai node deploy`.",
        )
    no_secret = _NO_SECRET.search(reason) and not _NO_NETWORK.search(reason)
    if "ResourceInitializationError" in reason and no_secret:
        return _failed(
            RunFailure.NO_KEYS,
            f"The Numerai keys could not be given to it: {_short(reason)} "
            "`numerai node config` gives them to AWS again.",
        )
    return _failed(RunFailure.COULD_NOT_START, f"AWS could not start its container: {_short(reason)}")


def _failed(failure: RunFailure, message: str) -> Outcome:
    return Outcome(RunState.FAILED, None, failure, message)


def _short(reason: str) -> str:
    text = " ".join(reason.split()).rstrip(".") or "no reason was given"
    return f"{text[:300]}."


def _started(job: Mapping[str, Any]) -> datetime | None:
    """When the first attempt began: Batch gives the last one's time once there are several."""
    times = [attempt.get("startedAt") for attempt in job.get("attempts") or []] + [job.get("startedAt")]
    known = [time for time in times if time]
    return moment(min(known)) if known else None


def moment(milliseconds: int) -> datetime:
    """A time as AWS gives it."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
