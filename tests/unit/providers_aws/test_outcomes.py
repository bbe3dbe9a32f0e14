"""What a Batch job means, in the words of every other provider."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from numerai_compute.models import Deployment, RunFailure, RunState
from numerai_compute.providers.aws.outcomes import CANCEL_REASON, log_streams, run_of, stopped_at
from numerai_compute.providers.aws.stack_file import StackNode

T0 = 1_790_000_000_000
NOW = datetime.fromtimestamp(T0 / 1000, timezone.utc)
DEPLOYED = Deployment("numerai-alice", "registry/numerai/numerai-alice:abc", "abc", NOW)


def node(deployment: Deployment | None = DEPLOYED) -> StackNode:
    return StackNode("id", "alice", 8, 2.0, 16384, 60, "token", NOW, deployment=deployment)


def attempt(
    exit_code: int | None = None, reason: str | None = None, number: int = 1, status: str = ""
) -> dict[str, Any]:
    container: dict[str, Any] = {"logStreamName": f"numerai-alice/default/{number}"}
    if exit_code is not None:
        container["exitCode"] = exit_code
    if reason:
        container["reason"] = reason
    return {
        "container": container,
        "startedAt": T0 + number * 1000,
        "stoppedAt": T0 + number * 2000,
        "statusReason": status,
    }


def job(status: str, *attempts: dict[str, Any], **more: Any) -> dict[str, Any]:
    container = dict(attempts[-1]["container"]) if attempts else {}
    container["environment"] = [
        {"name": "TRIGGER_ID", "value": "t-1"},
        {"name": "NUMERAI_NODE", "value": "numerai-alice"},
    ]
    ended = {"stoppedAt": T0 + 60_000} if status in ("FAILED", "SUCCEEDED") else {}
    started = {"startedAt": T0 + 5000} if attempts or status == "RUNNING" else {}
    return {
        "jobId": "j-1",
        "status": status,
        "createdAt": T0,
        "attempts": list(attempts),
        "container": container,
        **started,
        **ended,
        **more,
    }


@pytest.mark.parametrize("status", ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING"])
def test_what_has_not_started_is_queued(status: str) -> None:
    run = run_of(job(status, statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"), "numerai-alice", node())
    assert (run.state, run.attempt, run.started_at, run.ended_at) == (RunState.QUEUED, 1, None, None)
    assert run.message == "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
    assert (run.id, run.node, run.trigger_id, run.created_at) == ("j-1", "numerai-alice", "t-1", NOW)


def test_a_second_attempt_that_goes_on() -> None:
    run = run_of(job("RUNNING", attempt(75)), "numerai-alice", node())
    assert (run.state, run.attempt, run.exit_code) == (RunState.RUNNING, 2, None)
    assert run.started_at is not None and run.started_at.timestamp() * 1000 == T0 + 1000


def test_success() -> None:
    run = run_of(job("SUCCEEDED", attempt(75), attempt(0, number=2)), "numerai-alice", node())
    assert (run.state, run.exit_code, run.attempt, run.failure) == (RunState.SUCCEEDED, 0, 2, None)
    assert run.ended_at is not None and run.started_at is not None and run.started_at < run.ended_at


EXITED = "Essential container in task exited"
NO_START = "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed"


@pytest.mark.parametrize(
    ("attempts", "status", "failure", "code", "says"),
    [
        ([attempt(3)], EXITED, RunFailure.EXIT_CODE, 3, "exit code 3"),
        ([attempt(65)], EXITED, RunFailure.EXIT_CODE, 65, "predictions"),
        ([attempt(75), attempt(75), attempt(75)], EXITED, RunFailure.EXIT_CODE, 75, "3 times"),
        (
            [attempt(137, "OutOfMemoryError: Container killed due to memory usage")],
            EXITED,
            RunFailure.OUT_OF_MEMORY,
            137,
            "16384 MiB",
        ),
        ([attempt(143)], "Job attempt duration exceeded timeout", RunFailure.TIMED_OUT, 143, "60 minutes"),
        (
            [attempt(None, "CannotPullContainerError: pull image manifest: registry/x:live: not found")],
            "Task failed to start",
            RunFailure.NOT_DEPLOYED,
            None,
            "numerai node deploy",
        ),
        (
            [attempt(None, "CannotPullContainerError: dial tcp 1.2.3.4:443: i/o timeout")],
            "Task failed to start",
            RunFailure.COULD_NOT_START,
            None,
            "i/o timeout",
        ),
        (
            [
                attempt(
                    None, f"{NO_START}: unable to retrieve secret from asm: did not contain json key NUMERAI_SECRET_KEY"
                )
            ],
            "Task failed to start",
            RunFailure.NO_KEYS,
            None,
            "numerai node config",
        ),
        (
            [attempt(None)],
            f"{NO_START}: unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm "
            "parameters: /numerai/keys",
            RunFailure.NO_KEYS,
            None,
            "numerai node config",
        ),
        (
            [attempt(None)],
            f"{NO_START}: unable to retrieve secret from asm: failed to fetch secret x from secrets manager: "
            "RequestCanceled: request context canceled caused by: context deadline exceeded.",
            RunFailure.COULD_NOT_START,
            None,
            "context deadline exceeded",
        ),
        (
            [attempt(None)],
            f"{NO_START}: unable to retrieve ecr registry auth: RequestError: send request failed caused by: Post",
            RunFailure.COULD_NOT_START,
            None,
            "registry auth",
        ),
        ([attempt(None)], "Host EC2 (instance i-1) terminated.", RunFailure.LOST, None, "1 times"),
        ([], "", RunFailure.COULD_NOT_START, None, "no reason was given"),
    ],
)
def test_a_failed_run_says_why(
    attempts: list[dict[str, Any]], status: str, failure: RunFailure, code: int | None, says: str
) -> None:
    run = run_of(job("FAILED", *attempts, statusReason=status), "numerai-alice", node())
    assert (run.state, run.failure, run.exit_code) == (RunState.FAILED, failure, code)
    assert says in (run.message or "")
    assert run.attempt == max(1, len(attempts))
    never_began = (RunFailure.NOT_DEPLOYED, RunFailure.COULD_NOT_START)
    assert (run.started_at is None) == (failure in never_began)


def test_a_node_that_was_never_deployed() -> None:
    failed = attempt(None, "CannotPullECRContainerError: manifest unknown")
    run = run_of(job("FAILED", failed, statusReason="Task failed to start"), "numerai-alice", node(None))
    assert (run.failure, run.message) == (
        RunFailure.NOT_DEPLOYED,
        "It was never deployed. Run `numerai node deploy`.",
    )


def test_cancelled_here() -> None:
    run = run_of(job("FAILED", attempt(3), statusReason=CANCEL_REASON), "numerai-alice", node())
    assert (run.state, run.exit_code, run.failure, run.message) == (RunState.CANCELLED, 3, None, "Cancelled.")


def test_stopped_in_the_console() -> None:
    run = run_of(job("FAILED", statusReason="by Bob", isTerminated=True), "numerai-alice", node())
    assert (run.state, run.message) == (RunState.CANCELLED, "Stopped in AWS: by Bob.")


def test_a_run_that_batch_stopped_for_its_time_limit_was_not_stopped_by_a_person() -> None:
    ended = job("FAILED", attempt(143), statusReason="Job attempt duration exceeded timeout", isTerminated=True)
    run = run_of(ended, "numerai-alice", node())
    assert (run.state, run.failure) == (RunState.FAILED, RunFailure.TIMED_OUT)


def test_the_log_streams_are_those_of_the_attempts_in_order() -> None:
    running = job("RUNNING", attempt(75), attempt(75, number=2))
    running["container"]["logStreamName"] = "numerai-alice/default/3"
    assert log_streams(running) == [f"numerai-alice/default/{number}" for number in (1, 2, 3)]
    assert log_streams(job("RUNNABLE")) == []
    assert stopped_at(running) is None
    assert stopped_at(job("FAILED", attempt(1))) is not None
