"""What runs printed and how the webhook was called, from CloudWatch Logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from ...errors import NumeraiError
from ...models import LogLine, WebhookCall
from ...ports import Clock
from ...redaction import Redactor
from ..reasons import reason_in
from .clients import AwsClients, present
from .cluster_outputs import ClusterOutputs
from .outcomes import log_streams, moment, stopped_at

FOLLOW_SECONDS = 1.0
CUT_BYTES = 16 * 1024 - 3
"""The least that a piece of a line which was cut has. Docker cuts at 16 KiB (moby, daemon/logger/copier.go), the log
drivers of Docker and Fargate for CloudWatch at 262,118 bytes (maximumBytesPerEvent in moby, daemon/logger/awslogs, and
in aws/amazon-ecs-shim-loggers-for-containerd); three bytes are the most of a character that is cut itself."""
LAST_EVENTS = 100
"""So many events of a failed run are looked through for its reason."""


class CutLines:
    """Masks secrets in the events of one stream, also one that stands across the place where a long line was cut: such
    pieces are one line again. A piece that may go on waits for the next event."""

    def __init__(self, redact: Redactor):
        self._redact = redact
        self._held: LogLine | None = None

    def feed(self, event: Mapping[str, Any]) -> Iterator[LogLine]:
        """The lines that are complete with this event."""
        line = LogLine(event["message"].rstrip("\r\n"), moment(event["timestamp"]))
        if self._held is not None and self._redact.is_cut(self._held.text, line.text):
            line, self._held = replace(self._held, text=self._held.text + line.text), None
        yield from self.end()
        self._held = line
        if len(line.text.encode()) < CUT_BYTES:
            yield from self.end()

    def end(self) -> Iterator[LogLine]:
        """The line that waits, when nothing more comes."""
        if self._held is not None:
            line, self._held = self._held, None
            yield replace(line, text=self._redact(line.text))


class RunLogs:
    """The logs of runs, in order: attempt after attempt, each line in the order it was printed, without secrets."""

    def __init__(self, clients: AwsClients, outputs: ClusterOutputs, clock: Clock, lag_seconds: int, redact: Redactor):
        self._clients = clients
        self._group = outputs.text("run_log_group")
        self._clock = clock
        self._lag = lag_seconds
        self._redact = redact

    def lines(self, look: Callable[[], Mapping[str, Any]], *, follow: bool) -> Iterator[LogLine]:
        """What the job printed that `look` gives; with `follow` until it has ended and nothing more can come."""
        positions: dict[str, str] = {}
        cut: dict[str, CutLines] = {}
        while True:
            job = look()
            streams, ended = log_streams(job), stopped_at(job)
            over = not follow or (ended and (self._clock.now() - ended).total_seconds() >= self._lag)
            for stream in streams:
                lines = cut.setdefault(stream, CutLines(self._redact))
                for event in self._new_events(stream, positions):
                    yield from lines.feed(event)
                if over or stream != streams[-1]:
                    yield from lines.end()
            if over:
                return
            self._clock.sleep(FOLLOW_SECONDS)

    def reason(self, job: Mapping[str, Any]) -> str | None:
        """What a job's last attempt printed as the reason of its end; None where nothing has arrived, or is told."""
        streams, cut, lines = log_streams(job), CutLines(self._redact), list[LogLine]()
        place = {"logGroupName": self._group, "limit": LAST_EVENTS}
        with suppress(NumeraiError):  # a log that cannot be read changes nothing of how the run ended
            page = streams and self._page(**place, logStreamName=streams[-1])
            for event in page["events"] if page else ():
                lines += cut.feed(event)
        return reason_in([line.text for line in (*lines, *cut.end())])

    def _new_events(self, stream: str, positions: dict[str, str]) -> Iterator[Mapping[str, Any]]:
        """The events behind the position, which is moved. An empty page is no end: only a token that stays is one."""
        while True:
            position = {"nextToken": positions[stream]} if stream in positions else {}
            place = {"logGroupName": self._group, "logStreamName": stream, "startFromHead": True, **position}
            page = self._page(**place)
            if page is None:  # there is no such stream yet
                return
            token = page["nextForwardToken"]
            yield from page["events"]
            if token == positions.get(stream):
                return
            positions[stream] = token

    def _page(self, **place: Any) -> Any:
        return present(lambda: self._clients.client("logs").get_log_events(**place))


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
