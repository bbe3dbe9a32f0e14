"""What runs printed and how the webhook was called, from CloudWatch Logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ...models import LogLine, WebhookCall
from ...ports import Clock
from ...redaction import Redactor
from .clients import AwsClients, present
from .cluster_outputs import ClusterOutputs
from .outcomes import log_streams, moment, stopped_at
from .runs import BatchRuns

FOLLOW_SECONDS = 1.0


class RunLogs:
    """The logs of runs, in order: attempt after attempt, each line in the order it was printed."""

    def __init__(self, clients: AwsClients, outputs: ClusterOutputs, runs: BatchRuns, clock: Clock, lag_seconds: int):
        self._clients = clients
        self._group = outputs.text("run_log_group")
        self._runs = runs
        self._clock = clock
        self._lag = lag_seconds

    def lines(self, run_id: str, redact: Redactor, *, follow: bool) -> Iterator[LogLine]:
        """What a run printed; with `follow` until it has ended and nothing more can come."""
        positions: dict[str, str] = {}
        while True:
            job = self._runs.job(run_id)
            for stream in log_streams(job):
                for event in self._new_events(stream, positions):
                    yield LogLine(redact(event["message"].rstrip("\r\n")), moment(event["timestamp"]))
            ended = stopped_at(job)
            if not follow or (ended and (self._clock.now() - ended).total_seconds() >= self._lag):
                return
            self._clock.sleep(FOLLOW_SECONDS)

    def _new_events(self, stream: str, positions: dict[str, str]) -> Iterator[Mapping[str, Any]]:
        """The events behind the position, which is moved. An empty page is no end: only a token that stays is one."""
        while True:
            position = {"nextToken": positions[stream]} if stream in positions else {}
            place = {"logGroupName": self._group, "logStreamName": stream, "startFromHead": True, **position}
            page = present(lambda: self._clients.client("logs").get_log_events(**place))  # noqa: B023 it is called here
            if page is None:  # there is no such stream yet
                return
            token = page["nextForwardToken"]
            yield from page["events"]
            if token == positions.get(stream):
                return
            positions[stream] = token


def webhook_calls(clients: AwsClients, group: str, node: str, since: datetime, limit: int) -> list[WebhookCall]:
    """The latest calls of a node's webhook since a moment, newest first. Those with a wrong token are nobody's."""
    asked = {
        "logGroupName": group,
        "startTime": int(since.timestamp() * 1000),
        "filterPattern": f'{{ $.node = "{node}" }}',
    }
    events = clients.pages("logs", "filter_log_events", "events", **asked)
    calls = [call for event in events if (call := _call(event)) and call.node == node]
    return sorted(calls, key=lambda call: call.time, reverse=True)[:limit]


def _call(event: Mapping[str, Any]) -> WebhookCall | None:
    """The call that a line of the webhook's log tells of; None for Lambda's own lines."""
    try:
        content = json.loads(event["message"])
        return WebhookCall(
            moment(event["timestamp"]),
            content["node"],
            int(content["webhook"]),
            content["answer"],
            content.get("triggerId"),
        )
    except (ValueError, KeyError, TypeError):
        return None
