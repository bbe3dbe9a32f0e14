"""Containers in a hostile world: jobs that wait for Spot or fail as on Fargate, and functions that are measured."""

from __future__ import annotations

import time
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.batch.models import Job

from .delivery import Delivery
from .hostile import World
from .moto_batch import NOT_STARTED, POLL_SECONDS, Jobs, Outcome
from .moto_lambda import Containers, Throttled

SPOT = ("FARGATE_SPOT", "SPOT")
SECRETS_ON_EC2 = "unable to pull secrets:"
SECRETS_ON_FARGATE = (
    "unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve secret from asm:"
)
"""As in aws-samples/dataops-platform-airflow-dbt#12."""


class HostileJobs(Jobs):
    """Runs jobs as the world says."""

    def __init__(self, label: str, registry: str, world: World):
        super().__init__(label, registry)
        self._world = world

    def _attempt(self, job: Job, number: int) -> Outcome:
        while self._waits(job) and not job.stop:
            time.sleep(POLL_SECONDS)
        outcome = super()._attempt(job, number)
        fargate = "FARGATE" in (job.job_definition.platform_capabilities or [])
        if not (self._world.fargate_reasons and fargate and outcome.status_reason == NOT_STARTED):
            return outcome
        self._world.seen["fargate_reasons"] += 1
        seen = Outcome(None, None, (outcome.reason or "").replace(SECRETS_ON_EC2, SECRETS_ON_FARGATE))
        job.attempts[-1] |= {"statusReason": seen.status_reason}
        job.attempts[-1]["container"].pop("reason", None)
        return seen

    def _waits(self, job: Job) -> bool:
        """Whether the job stays RUNNABLE, as each of its attempts does while Spot has no capacity."""
        waits = not self._world.spot and job.job_queue.environments[0].compute_resources["type"] in SPOT
        self._world.seen["spot"] += waits
        return waits


class MeasuredContainers(Containers):
    """Runs functions, and counts their calls and failures as Lambda does.
    docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html"""

    def __init__(self, image: str, label: str, delivery: Delivery):
        super().__init__(image, label)
        self._delivery = delivery

    def invoke(self, function: LambdaFunction, event: Any) -> tuple[Any, bool]:
        name = {"FunctionName": function.function_name}
        try:
            result, failed = super().invoke(function, event)
        except Throttled:
            self._delivery.measured("AWS/Lambda", "Throttles", 1, name)
            raise
        self._delivery.measured("AWS/Lambda", "Invocations", 1, name)
        self._delivery.measured("AWS/Lambda", "Errors", float(failed), name)
        return result, failed
