"""What moto keeps and never does: EventBridge delivers events, Scheduler and rules fire, alarms look at their metrics.

Policies of topics and functions are asked first, as AWS does: what EventBridge may not deliver is dropped, and only the
metric FailedInvocations shows it.
"""

from __future__ import annotations

import fnmatch
import json
import operator
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore import xform_name
from moto.awslambda.models import lambda_backends
from moto.batch.models import Job
from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import iso_8601_datetime_without_milliseconds
from moto.events.models import Rule, events_backends
from moto.moto_api._internal.managed_state_model import ManagedState
from moto.scheduler.models import scheduler_backends
from moto.sns.models import sns_backends
from numerai_compute.providers.aws.occurrences import first_occurrence

from .hostile import World, replaced

UNITS = {"minute": 60, "hour": 3600, "day": 86400}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanOrEqualToThreshold": operator.le,
    "LessThanThreshold": operator.lt,
}
STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Sum": sum,
}
CONDITIONS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": fnmatch.fnmatchcase,
    "ArnLike": fnmatch.fnmatchcase,
    "StringEquals": operator.eq,
    "StringLike": fnmatch.fnmatchcase,
}
Client = Callable[[str, str], Any]
"""Makes a client of the SDK for a service, with the keys of a role (its ARN)."""


class Dropped(Exception):
    """A target that could not be reached, or may not be."""


class Delivery:
    """Delivers in one region of the emulated AWS."""

    def __init__(self, world: World, region: str, client: Client):
        self._world = world
        self._region = region
        self._client = client
        self._account = DEFAULT_ACCOUNT_ID

    def event(self, source: str, kind: str, detail: Any, resources: list[str]) -> None:
        """Hand an event to the targets of every rule of the default bus whose pattern it matches."""
        if not self._world.delivers:
            return
        event: Any = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": kind,
            "source": source,
            "account": self._account,
            "time": iso_8601_datetime_without_milliseconds(datetime.now(timezone.utc)),
            "region": self._region,
            "resources": resources,
            "detail": detail,
        }
        for rule in self._rules():
            if rule.event_pattern.get_pattern() and rule.event_pattern.matches_event(event):
                self._run(rule, event)

    def job_changed(self, job: Job) -> None:
        """Tell of a job's new status. docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html"""
        if self._world.delivers:
            self.event("aws.batch", "Batch Job State Change", json.loads(json.dumps(job.describe())), [job.arn])

    def measured(self, namespace: str, metric: str, value: float, dimensions: Mapping[str, str]) -> None:
        """Put a value of a metric that AWS itself measures, and let the alarms look."""
        if not self._world.delivers:
            return
        entry = {
            "MetricName": metric,
            "Value": value,
            "Timestamp": datetime.fromtimestamp(self._world.now(), timezone.utc),
            "Dimensions": [{"Name": name, "Value": content} for name, content in dimensions.items()],
        }
        cloudwatch_backends[self._account][self._region].put_metric_data(namespace, [entry])
        self.look_at_alarms()

    def alarm_changed(self, alarm: Alarm, before: str) -> None:
        """Do an alarm's actions for its new state. The message is as in
        docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html"""
        if not (self._world.delivers and alarm.actions_enabled and alarm.state_value != before):
            return
        actions = {"ALARM": alarm.alarm_actions, "OK": alarm.ok_actions}
        message = {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": self._account,
            "NewStateValue": alarm.state_value,
            "NewStateReason": alarm.state_reason,
            "OldStateValue": before,
            "Region": self._region,
            "AlarmArn": alarm.alarm_arn,
        }
        subject = f'{alarm.state_value}: "{alarm.name}" in {self._region}'
        for arn in actions.get(alarm.state_value, alarm.insufficient_data_actions):
            with suppress(Dropped):  # only the alarm's history says so
                self._publish(arn, json.dumps(message), "cloudwatch.amazonaws.com", alarm.alarm_arn, subject)

    def advanced(self, before: float, after: float) -> None:
        """Fire what was due between two times of the emulator's clock, and let the alarms look."""
        if not self._world.delivers:
            return
        begin, end = (datetime.fromtimestamp(moment, timezone.utc) for moment in (before, after))
        for schedule in self._schedules():
            if schedule.state == "ENABLED":
                for _ in due(schedule.schedule_expression, begin, end):
                    self._fire(schedule.target)
        for rule in self._rules():
            if rule.scheduled_expression:
                for _ in due(rule.scheduled_expression, begin, end):
                    self._run(rule, {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}})
        self.look_at_alarms()

    def look_at_alarms(self) -> None:
        """Bring every alarm on one metric to the state that its metric calls for."""
        backend = cloudwatch_backends[self._account][self._region]
        for alarm in list(backend.alarms.values()):
            state = alarm_state(alarm, backend.metric_data, self._world.now()) if alarm.metric_name else None
            if state not in (None, alarm.state_value):
                backend.set_alarm_state(alarm.name, "The metric crossed the threshold", "{}", str(state))

    def _rules(self) -> list[Rule]:
        bus = events_backends[self._account][self._region].event_buses["default"]
        return [rule for rule in list(bus.rules.values()) if rule.state == "ENABLED"]

    def _schedules(self) -> Iterator[Any]:
        for group in scheduler_backends[self._account][self._region].schedule_groups.values():
            yield from list(group.schedules.values())

    def _run(self, rule: Rule, event: Any) -> None:
        for target in list(rule.targets):
            failed = 0
            try:
                self._deliver(rule, target, event)
            except Dropped:
                failed = 1
            name = {"RuleName": rule.name}
            self._world.seen["delivers"] += not failed
            self.measured("AWS/Events", "Invocations", 1, name)
            if failed:
                self.measured("AWS/Events", "FailedInvocations", 1, name)

    def _deliver(self, rule: Rule, target: dict[str, Any], event: Any) -> None:
        arn = target["Arn"]
        content = target.get("Input") or transformed(target.get("InputTransformer"), event)
        if arn.startswith("arn:aws:sns:"):
            self._publish(arn, content, "events.amazonaws.com", rule.arn)
        elif arn.startswith("arn:aws:lambda:"):
            self._invoke(arn, content, rule.arn)
        else:
            raise Dropped(arn)

    def _publish(self, arn: str, message: str, service: str, source: str, subject: str | None = None) -> None:
        topic = sns_backends[self._account][self._region].topics.get(arn)
        if topic is None or not may_publish(json.loads(topic.policy), service, arn, source, self._account):
            raise Dropped(arn)
        topic.publish(message, subject=subject)

    def _invoke(self, arn: str, content: str, source: str) -> None:
        function = lambda_backends[self._account][self._region].get_function(arn)
        policy = {"Statement": function.policy.statements if function.policy else []}
        if not allows(policy, "events.amazonaws.com", "lambda:InvokeFunction", arn, self._context(source)):
            raise Dropped(arn)
        self._client("lambda", "").invoke(FunctionName=arn, InvocationType="Event", Payload=content)

    def _context(self, source: str) -> Mapping[str, str]:
        return {"aws:SourceArn": source, "aws:SourceAccount": self._account}

    def _fire(self, target: dict[str, Any]) -> None:
        """Call the operation that a schedule names, `arn:aws:scheduler:::aws-sdk:batch:submitJob`, as its role.
        docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-universal.html"""
        service, name = target["Arn"].split(":")[-2:]
        client = self._client(service, target["RoleArn"])
        operation = name[0].upper() + name[1:]
        members = client.meta.service_model.operation_model(operation).input_shape.members
        given = {key.lower(): value for key, value in json.loads(target.get("Input") or "{}").items()}
        getattr(client, xform_name(operation))(**{key: given[key.lower()] for key in members if key.lower() in given})
        self._world.seen["delivers"] += 1


def install(delivery: Delivery, stack: ExitStack) -> None:
    """Let jobs and alarms tell of their changes, until the stack is closed."""
    stock: Any = ManagedState.status

    def changed(job: Job, value: str) -> None:
        before = job._status
        stock.fset(job, value)
        if value != before:
            delivery.job_changed(job)

    def update(stock_update: Any) -> Any:
        def update_state(self: Alarm, reason: str, reason_data: str, state_value: str) -> None:
            before = self.state_value
            stock_update(self, reason, reason_data, state_value)
            delivery.alarm_changed(self, before)

        return update_state

    Job.status = property(stock.fget, changed)  # type: ignore[assignment]
    stack.callback(delattr, Job, "status")
    replaced(stack, Alarm, "update_state", update)


def transformed(transformer: Mapping[str, Any] | None, event: Any) -> str:
    """What a target gets of an event: all of it, or the template with what its paths find; a path that finds nothing
    leaves nothing. docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html"""
    if not transformer:
        return json.dumps(event)
    values = {}
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        value = event
        for key in path.removeprefix("$.").split("."):
            value = value.get(key) if isinstance(value, dict) else None
        values[name] = value
    text = transformer["InputTemplate"]
    for name, value in values.items():
        written = "" if value is None else value if isinstance(value, str) else json.dumps(value)
        text = text.replace(f"<{name}>", json.dumps(written)[1:-1])
    return str(text)


def may_publish(policy: Any, service: str, arn: str, source: str, account: str) -> bool:
    """Whether a topic's policy lets a service publish. "You can't use Condition blocks in Amazon SNS topic policies for
    EventBridge": docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html, SNS permissions."""
    statements = policy["Statement"]
    if service == "events.amazonaws.com":
        statements = [entry for entry in statements if not entry.get("Condition")]
    context = {"aws:SourceArn": source, "aws:SourceAccount": account}
    return allows({"Statement": statements}, service, "sns:Publish", arn, context)


def allows(policy: Any, service: str, action: str, resource: str, context: Mapping[str, str]) -> bool:
    """Whether some statement of a resource's policy lets a service do this, and none denies it."""
    effects = {
        entry["Effect"]
        for entry in policy["Statement"]
        if service in _service_principals(entry)
        and any(fnmatch.fnmatchcase(action.lower(), each.lower()) for each in _list(entry["Action"]))
        and any(fnmatch.fnmatchcase(resource, each) for each in _list(entry.get("Resource", "*")))
        and all(
            any(CONDITIONS[test](context.get(_key(key), ""), value) for value in _list(values))
            for test, keys in (entry.get("Condition") or {}).items()
            for key, values in keys.items()
        )
    }
    return effects == {"Allow"}


def _service_principals(statement: Any) -> list[str]:
    principal = statement.get("Principal")
    return _list(principal.get("Service", [])) if isinstance(principal, dict) else []


def _key(name: str) -> str:
    return "aws:" + name[4:] if name.lower().startswith("aws:") else name


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def due(expression: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """When a schedule fires between two times. A rate fires once at most, however far a test advances the clock."""
    kind, _, rest = expression.partition("(")
    text = rest.rstrip(")")
    if kind == "cron":
        moment = first_occurrence(text, begin, end + timedelta(minutes=1))
        while moment and moment <= end:
            yield moment
            moment = first_occurrence(text, moment + timedelta(minutes=1), end + timedelta(minutes=1))
    elif kind == "rate":
        number, unit = text.split()
        period = int(number) * UNITS[unit.rstrip("s")]
        if begin.timestamp() // period != end.timestamp() // period:
            yield end


def alarm_state(alarm: Alarm, data: list[Any], now: float) -> str | None:
    """The state that the last periods of its metric call for; None where they call for none.
    docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html, "how alarms treat missing data"."""
    wanted = {(entry.name, entry.value) for entry in alarm.dimensions}
    values: dict[int, list[float]] = {number: [] for number in range(int(alarm.evaluation_periods))}
    for datum in data:
        of_it = (datum.namespace, datum.name) == (alarm.namespace, alarm.metric_name)
        if of_it and {(entry.name, entry.value) for entry in datum.dimensions} == wanted:
            moment = datum.timestamp if datum.timestamp.tzinfo else datum.timestamp.replace(tzinfo=timezone.utc)
            number = int((now - moment.timestamp()) // int(alarm.period))
            values.get(number, []).append(float(datum.value))
    missing = {"breaching": True, "notBreaching": False}.get(alarm.treat_missing_data or "")
    crosses = COMPARISONS[alarm.comparison_operator]
    points = [
        crosses(STATISTICS[alarm.statistic](found), float(alarm.threshold)) if found else missing
        for found in values.values()
    ]
    known = [point for point in points if point is not None]
    if not known:
        return None
    return "ALARM" if sum(known) >= int(alarm.datapoints_to_alarm or len(points)) else "OK"
