"""Containers in a hostile world: jobs that wait for Spot, and functions that are measured."""

from __future__ import annotations

import time
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.batch.models import Job

from .delivery import Delivery
from .hostile import World
from .moto_batch import POLL_SECONDS, Jobs, Outcome
from .moto_lambda import Containers, Throttled

SPOT = ("FARGATE_SPOT", "SPOT")


class HostileJobs(Jobs):
    """Runs jobs as the world says."""

    def __init__(self, label: str, registry: str, world: World):
        super().__init__(label, registry)
        self._world = world

    def _attempt(self, job: Job, number: int) -> Outcome:
        while self._waits(job) and not job.stop:
            time.sleep(POLL_SECONDS)
        return super()._attempt(job, number)

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
