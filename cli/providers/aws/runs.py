"""Runs as Batch jobs: submitted, found, described, stopped."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import ProviderError, UsageError
from ...models import Deployment, Run
from ...ports import Clock
from ...triggers import NO_SUBMIT, TRAIN
from ..environment import NO_SUBMIT_VARIABLE, TRAIN_VARIABLE
from ..webhooks.calls import OWN_TRIGGER
from .clients import AwsClients, aws_errors
from .cluster_outputs import ClusterOutputs
from .outcomes import CANCEL_REASON, environment, run_of
from .stack_file import Stack
from .trigger_table import Table, deployment_key, is_run, jobs, trigger_key

STOP_SECONDS = 180.0
"""Fargate gives a container 30 s between SIGTERM and SIGKILL, and Batch some more to notice."""
LOOK_SECONDS = 1.0
_DESCRIBED = 100  # the most that DescribeJobs takes


class BatchRuns:
    """The jobs of one cluster. `stack` is read anew by the caller for every command. `reason` tells what a job printed
    as the reason of its end, as far as that is known."""

    def __init__(
        self,
        clients: AwsClients,
        stack: Stack,
        clock: Clock,
        reason: Callable[[Mapping[str, Any]], str | None] = lambda job: None,
    ):
        self._clients = clients
        self._stack = stack
        self._outputs = ClusterOutputs(stack.outputs)
        self._clock = clock
        self._reason = reason

    def submit(self, name: str, *, submits: bool = True, trains: bool = False) -> Run:
        """Start one run by hand, without a trigger of Numerai's; without `submits` it ends where it would submit, and
        one that `trains` does only that."""
        node, prefix = self._outputs.node(name), TRAIN if trains else NO_SUBMIT
        given = {} if submits else {NO_SUBMIT_VARIABLE: "1", OWN_TRIGGER: f"{prefix}{secrets.token_hex(8)}"}
        given |= {TRAIN_VARIABLE: "1"} if trains else {}
        overrides = {"environment": [{"name": variable, "value": value} for variable, value in given.items()]}
        with aws_errors():
            job = self._batch.submit_job(
                jobName=f"{name}-by-hand" if submits else f"{prefix}{name}",
                jobQueue=node["job_queue"],
                jobDefinition=node["job_definition"],
                **({"containerOverrides": overrides} if given else {}),
            )
        return self.run(job["jobId"])

    def call_webhook(self, name: str, trigger_id: str) -> Run:
        """Start the run of a trigger id through the webhook's own function: it is one run whoever asks first."""
        event = {
            "rawPath": f"/{name}/{self._stack.nodes[name].token}",
            "requestContext": {"http": {"method": "POST"}},
            "body": json.dumps({"triggerId": trigger_id}),
        }
        with aws_errors():
            answer = self._clients.client("lambda").invoke(
                FunctionName=self._outputs.text("webhook_function"), Payload=json.dumps(event).encode()
            )
            content = json.loads(answer["Payload"].read() or b"{}")
        body = json.loads(content.get("body") or "{}")
        if content.get("statusCode") == 400:
            raise UsageError(
                f"'{trigger_id}' is not a trigger id.",
                "It has up to 128 letters, digits, and any of . _ : -",
                code="bad-trigger-id",
            )
        if content.get("statusCode") != 200:
            why = body.get("error") or content.get("errorMessage") or "it crashed"
            raise ProviderError(
                f"The webhook refused: {why}", "`numerai node logs --log-type webhook` shows its calls.", code="webhook"
            )
        return self.run(body["runId"])

    def job(self, run_id: str) -> Mapping[str, Any]:
        """A job of this cluster as Batch describes it; `ProviderError` with code `no-such-run`."""
        with aws_errors():
            found = self._batch.describe_jobs(jobs=[run_id])["jobs"]
        if not found or self.node_of(found[0]) is None:
            raise ProviderError(
                f"There is no run {run_id}.", "`numerai node status` lists the runs of a node.", code="no-such-run"
            )
        job: Mapping[str, Any] = found[0]
        return job

    def run(self, run_id: str) -> Run:
        """One run."""
        return self._as_run(self.job(run_id))

    def runs(self, name: str, limit: int) -> list[Run]:
        """The latest runs of a node since it was configured, newest first. Batch forgets a run some days after it."""
        if name not in self._stack.nodes or name not in self._outputs.nodes:
            return []
        node, since = self._outputs.node(name), self._stack.nodes[name].since.timestamp() * 1000
        found: dict[str, Mapping[str, Any]] = {}
        with aws_errors():
            for job in jobs(self._batch, node, "JOB_DEFINITION", node["job_definition"]):
                if is_run(job, name, node["job_definition"]) and job["createdAt"] >= since:
                    found[job["jobId"]] = job
        newest = sorted(found.values(), key=lambda job: job["createdAt"], reverse=True)[:limit]
        return [self._as_run(job) for job in self._described([job["jobId"] for job in newest])]

    def find(self, name: str, trigger_id: str) -> Run | None:
        """The run that a trigger started."""
        with aws_errors():
            claim = self._table.read(trigger_key(name, trigger_id))
        return self.run(claim.result) if claim and claim.result else None

    def record_deployment(self, deployment: Deployment) -> None:
        """Let the watcher know since when the node has this code: a run that failed before says nothing about it."""
        with aws_errors():
            self._table.put(
                deployment_key(deployment.node), deployed_at={"N": f"{deployment.deployed_at.timestamp():.3f}"}
            )

    def cancel(self, run_id: str) -> Run:
        """Stop a run and return it once it has stopped; `ProviderError` with code `not-stopped`."""
        run = self.run(run_id)
        if run.state.final:
            return run
        with aws_errors():
            self._batch.terminate_job(jobId=run_id, reason=CANCEL_REASON)
        give_up = self._clock.monotonic() + STOP_SECONDS
        while not (run := self.run(run_id)).state.final:
            if self._clock.monotonic() > give_up:
                raise ProviderError(
                    f"Run {run_id} was asked to stop, but has not yet.", "Look again in a minute.", code="not-stopped"
                )
            self._clock.sleep(LOOK_SECONDS)
        return run

    def node_of(self, job: Mapping[str, Any]) -> str | None:
        """The node that a job belongs to; None when it is not one of this cluster."""
        name = environment(job).get("NUMERAI_NODE")
        return name if name in self._stack.nodes else None

    def _described(self, ids: list[str]) -> list[Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _DESCRIBED):
            with aws_errors():
                jobs = self._batch.describe_jobs(jobs=ids[start : start + _DESCRIBED])["jobs"]
            found.update((job["jobId"], job) for job in jobs)
        return [found[job_id] for job_id in ids if job_id in found]

    def _as_run(self, job: Mapping[str, Any]) -> Run:
        name = self.node_of(job) or ""
        return run_of(job, name, self._stack.nodes[name], lambda: self._reason(job))

    @property
    def _table(self) -> Table:
        return Table(self._clients.client("dynamodb"), self._outputs.text("webhook_table"), time)

    @property
    def _batch(self) -> Any:
        return self._clients.client("batch")
