"""What stock moto lacks for Batch: jobs that run as AWS runs them, with secrets, retries, limits and live logs."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from moto import settings
from moto.batch.models import Job, JobQueue
from moto.core.utils import unix_time_millis
from moto.moto_api import state_manager
from moto.ssm.models import ssm_backends

from tests.present import present

from .access_keys import role_key
from .enforcement import refused
from .moto_lambda import LABEL

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
NOT_STARTED = "Task failed to start"
GRACE_SECONDS = 5
"""How long a container has between SIGTERM and SIGKILL; AWS gives 30."""
POLL_SECONDS = 0.2
WAITING_FOR = "emulator:waiting-for"
"""The tag of a compute environment that never has capacity: its jobs stay RUNNABLE until they are cancelled. The value
is for how many seconds already, which their times of creation show."""
no_spot = threading.Event()
"""While it is set, no Spot environment has capacity either."""


class NotStarted(Exception):
    """A container could not be started; the text is the reason that AWS would give."""


class Jobs:
    """Runs the jobs of one emulator in its Docker engine."""

    def __init__(self, label: str, registry: str):
        self._client = docker.from_env()
        self._label = label
        self._registry = registry

    def run(self, job: Job) -> None:
        """Run a job to its end, repeating it as its retry strategy says."""
        strategy: dict[str, Any] = dict(job.job_definition.retry_strategy or {})
        most = int(strategy.get("attempts") or 1)
        outcome = Outcome(None, None, job.job_stopped_reason)
        for number in range(1, most + 1):
            job.status = "RUNNABLE"
            _wait_for_capacity(job)
            outcome = self._attempt(job, number)
            if outcome.exit_code == 0 or outcome.final or not outcome.retried(strategy.get("evaluateOnExit")):
                break
        job.exit_code = outcome.exit_code
        job.exit_reason = outcome.reason  # type: ignore[attr-defined]
        job.job_stopped_reason = outcome.status_reason
        job.job_stopped_at = datetime.now()
        job.job_stopped = True
        job.status = "SUCCEEDED" if outcome.exit_code == 0 and not outcome.final else "FAILED"

    def _attempt(self, job: Job, number: int) -> Outcome:
        if job.stop:
            return Outcome(None, None, job.job_stopped_reason, final=True)
        job.status = "STARTING"
        started = datetime.now()
        if number == 1:
            job.job_started_at = started
        container = None
        try:
            container = self._start(job, number)
            job.log_stream_name = f"{_log_options(job)['awslogs-stream-prefix']}/default/{container.id[:32]}"
            job.status = "RUNNING"
            outcome = self._watch(job, container)
        except NotStarted as error:
            outcome = never_started(str(error), fargate=_on_fargate(job))
        except DockerException as error:
            outcome = never_started(f"CannotStartContainerError: {error}", fargate=_on_fargate(job))
        finally:
            if container:
                _remove(container)
        job.attempts.append(_record(job, started, outcome))
        return outcome

    def _start(self, job: Job, number: int) -> Container:
        properties = present(job.job_definition.container_properties)
        image = properties["image"]
        region = job.job_definition._region
        environment = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region} if _on_fargate(job) else {}
        environment |= {entry["name"]: entry["value"] for entry in properties.get("environment") or []}
        environment |= {entry["name"]: entry["value"] for entry in job.container_overrides.get("environment") or []}
        environment |= _secrets(job)
        environment |= {
            "AWS_BATCH_JOB_ID": job.job_id,
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_JQ_NAME": job.job_queue.name,
            "AWS_ENDPOINT_URL": f"{settings.moto_server_host()}:{settings.moto_server_port()}",
            "AWS_ACCESS_KEY_ID": role_key(properties.get("jobRoleArn")),
            "AWS_SECRET_ACCESS_KEY": "role",
        }
        self._pull(image)
        requirements = {entry["type"]: entry["value"] for entry in properties.get("resourceRequirements") or []}
        container = self._client.containers.create(
            image,
            command=job.container_overrides.get("command") or properties.get("command") or None,
            environment=environment,
            mem_limit=f"{requirements['MEMORY']}m",
            init=bool((properties.get("linuxParameters") or {}).get("initProcessEnabled")),
            extra_hosts={"host.docker.internal": "host-gateway"},
            labels={LABEL: self._label, f"{LABEL}.job": job.job_id},
        )
        container.start()
        return container

    def _pull(self, image: str) -> None:
        """Get the image as the registry has it now; one from elsewhere must be here already."""
        try:
            if image.startswith(f"{self._registry}/"):
                self._client.images.pull(*image.rsplit(":", 1))
            else:
                self._client.images.get(image)
        except (ImageNotFound, NotFound) as error:
            raise NotStarted(f"CannotPullContainerError: {image}: not found") from error
        except APIError as error:
            raise NotStarted(f"CannotPullContainerError: {error.explanation}") from error

    def _watch(self, job: Job, container: Container) -> Outcome:
        logs = threading.Thread(target=_copy_logs, args=(job, container), daemon=True)
        logs.start()
        limit = job._get_attempt_duration()
        deadline = time.monotonic() + limit if limit else None
        stopped = None
        while container.status != "exited":
            if stopped is None and job.stop:
                stopped = job.job_stopped_reason
            elif stopped is None and deadline and time.monotonic() > deadline:
                stopped = TIMED_OUT
            if stopped is not None:
                container.stop(timeout=GRACE_SECONDS)
            time.sleep(POLL_SECONDS)
            container.reload()
        logs.join()
        state = container.attrs["State"]
        reason = "OutOfMemoryError: Container killed due to memory usage" if state["OOMKilled"] else None
        return Outcome(state["ExitCode"], reason, stopped or EXITED, final=stopped is not None)


class Outcome:
    """How an attempt ended. A `final` one was stopped from outside and is never repeated."""

    def __init__(self, exit_code: int | None, reason: str | None, status_reason: str | None, final: bool = False):
        self.exit_code = exit_code
        self.reason = reason
        self.status_reason = status_reason
        self.final = final

    def retried(self, rules: list[dict[str, str]] | None) -> bool:
        """Whether the first rule that matches says so; without a match AWS repeats the job.

        `*` also matches what is not there: in AWS's example a last rule with onReason `*` ends jobs whose containers
        exit by themselves, and those have no reason.
        Source: docs.aws.amazon.com/batch/latest/userguide/job_retries.html.
        """
        for rule in rules or []:
            seen = {
                "onExitCode": "" if self.exit_code is None else str(self.exit_code),
                "onReason": self.reason or "",
                "onStatusReason": self.status_reason or "",
            }
            if all(fnmatch.fnmatchcase(seen[key], rule[key]) for key in seen if rule.get(key)):
                return rule["action"].upper() == "RETRY"
        return True


def never_started(why: str, *, fargate: bool) -> Outcome:
    """A start that failed, as the service that runs the job says it: Fargate gives the cause as the task's own, with no
    reason and no exit code of a container, EC2 as the container's reason.

    Sources: answers of DescribeTasks in public; AWS's example of `Task failed to start` in
    docs.aws.amazon.com/batch/latest/userguide/job_retries.html.
    """
    return Outcome(None, None, why) if fargate else Outcome(None, why, NOT_STARTED)


def _on_fargate(job: Job) -> bool:
    return "FARGATE" in (job.job_definition.platform_capabilities or [])


def waiting_for(queue: JobQueue) -> float | None:
    """For how many seconds the first environment of a queue has had no capacity, None when it has some.

    AWS documents no time after which a job goes on to the next environment, and users report jobs that stay RUNNABLE
    for ever (github.com/apache/airflow/issues/38298): here it never goes on.
    """
    first = queue.environments[0]
    tag = queue.backend.list_tags_for_resource(first.arn).get(WAITING_FOR)
    spot = str((first.compute_resources or {}).get("type")).endswith("SPOT")
    return float(tag) if tag is not None else 0.0 if spot and no_spot.is_set() else None


def _wait_for_capacity(job: Job) -> None:
    waiting = waiting_for(job.job_queue)
    if waiting:
        job.job_created_at -= timedelta(seconds=waiting)
    while waiting is not None and not job.stop:
        time.sleep(POLL_SECONDS)
        waiting = waiting_for(job.job_queue)


def install(jobs: Jobs) -> None:
    """Let moto's jobs run that way."""
    state_manager.register_default_transition("batch::job", {"progression": "manual", "times": 2**31})
    stock_describe, stock_short, stock_property = Job.describe, Job.describe_short, Job._get_container_property

    def describe(self: Job) -> dict[str, Any]:
        described: dict[str, Any] = stock_describe(self)
        container = described["container"]
        container["image"] = present(self.job_definition.container_properties)["image"]
        _add_end(self, container)
        return described

    def describe_short(self: Job) -> dict[str, Any]:
        described: dict[str, Any] = stock_short(self)
        if self.job_stopped:
            described["container"] = _add_end(self, {})
        return described

    def get_container_property(self: Job, name: str, default: Any) -> Any:
        if name != "environment":  # stock moto adds to the caller's own list, again with each description
            return stock_property(self, name, default)
        given = [
            *(present(self.job_definition.container_properties).get(name) or []),
            *(self.container_overrides.get(name) or []),
        ]
        merged = {entry["name"]: entry["value"] for entry in given}
        return [{"name": key, "value": value} for key, value in merged.items()]

    def run(self: Job) -> None:
        jobs.run(self)

    Job._get_container_property = get_container_property  # type: ignore[assignment]
    Job.run = run
    Job.describe = describe
    Job.describe_short = describe_short


def _add_end(job: Job, container: dict[str, Any]) -> dict[str, Any]:
    if job.exit_code is not None:
        container["exitCode"] = job.exit_code
    if reason := getattr(job, "exit_reason", None):
        container["reason"] = reason
    return container


def _record(job: Job, started: datetime, outcome: Outcome) -> dict[str, Any]:
    container: dict[str, Any] = {"taskArn": f"{job.arn}/{len(job.attempts)}", "logStreamName": job.log_stream_name}
    if outcome.exit_code is not None:
        container["exitCode"] = outcome.exit_code
    if outcome.reason:
        container["reason"] = outcome.reason
    return {
        "container": container,
        "startedAt": unix_time_millis(started),
        "stoppedAt": unix_time_millis(datetime.now()),
        "statusReason": outcome.status_reason,
    }


def _secrets(job: Job) -> dict[str, str]:
    store = ssm_backends[job.backend.account_id][job.backend.region_name]
    found = {}
    for entry in present(job.job_definition.container_properties).get("secrets") or []:
        name = entry["valueFrom"].partition(":parameter")[2]
        if why := refused(execution_role(job), "ssm:GetParameters", entry["valueFrom"]):
            raise NotStarted(f"AccessDeniedException: {why}")
        parameter = store.get_parameter(name)
        if parameter is None:
            raise NotStarted(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval "
                f"failed: unable to retrieve secrets from ssm: invalid parameters: {name}"
            )
        found[entry["name"]] = parameter.response_object(decrypt=True, region=store.region_name)["Value"]
    return found


def execution_role(job: Job) -> str:
    """The role that starts a job's container."""
    return str(present(job.job_definition.container_properties).get("executionRoleArn"))


def _log_options(job: Job) -> dict[str, str]:
    configuration = present(job.job_definition.container_properties).get("logConfiguration") or {}
    return {
        "awslogs-group": "/aws/batch/job",
        "awslogs-stream-prefix": job.job_definition.name,
        **(configuration.get("options") or {}),
    }


def _copy_logs(job: Job, container: Container) -> None:
    group, stream = _log_options(job)["awslogs-group"], present(job.log_stream_name)
    job._log_backend.ensure_log_group(group)
    job._log_backend.ensure_log_stream(group, stream)

    def put(line: str) -> None:
        job._log_backend.put_log_events(group, stream, [{"timestamp": unix_time_millis(), "message": line}])

    copied = 0
    for line in _lines(container.logs(stream=True, follow=True)):
        put(line)
        copied += 1
    container.wait()  # whoever follows may miss the last line of a container that ends
    for line in list(_lines(iter([container.logs()])))[copied:]:
        put(line)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", errors="replace").rstrip("\r") or " "
    if rest:
        yield rest.decode("utf-8", errors="replace")


def _remove(container: Container) -> None:
    try:
        container.remove(force=True)
    except NotFound:
        return
