"""Finds what a Terraform plan would make and what exists in AWS already, and under which id Terraform imports it.

What exists bears the stack's tag. The tagging API lists it, all but roles
(docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html). It goes on listing what is gone
(github.com/aws/aws-sdk/issues/676), so that is looked at. EC2 and Batch list their own: what has no fixed name must not
be missed because a list lags behind, or it would be made a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, TypeVar

from ...ports import Clock
from .clients import AwsClients, aws_errors, present

STACK_TAG = "numerai:stack"
"""Put on everything by terraform/aws (versions.tf): which record of a cluster a thing was made from."""
SETTLE_SECONDS = 600
"""How long to wait for a thing that is being made or removed."""
_LOOK_SECONDS = 2
_MOVING = {"CREATING", "DELETING", "UPDATING", "Pending"}
_GONE = {"DELETED", "INACTIVE"}
_NO_BUCKET = ("403", "AccessDenied", "NoSuchTagSet")
"""What AWS says of another account's bucket, and of one without tags."""

Values = Mapping[str, Any]
Answer = TypeVar("Answer")

TABLE: Mapping[str, str] = {
    "aws_batch_compute_environment": "batch:compute-environment/({compute_environment_name_prefix}.*)",
    "aws_batch_job_definition": "batch:job-definition/{name}:.*",
    "aws_batch_job_queue": "batch:job-queue/{name}",
    "aws_cloudwatch_event_rule": "events:rule/({name})",
    "aws_cloudwatch_log_group": "logs:log-group:({name})",
    "aws_cloudwatch_metric_alarm": "cloudwatch:alarm:({alarm_name})",
    "aws_dynamodb_table": "dynamodb:table/({name})",
    "aws_ecr_repository": "ecr:repository/({name})",
    "aws_flow_log": "ec2:(fl-.*)",
    "aws_internet_gateway": "ec2:(igw-.*)",
    "aws_lambda_function": "lambda:function:({function_name})",
    "aws_launch_template": "ec2:(lt-.*)",
    "aws_route_table": "ec2:(rtb-.*)",
    "aws_security_group": "ec2:(sg-.*)",
    "aws_sns_topic": "sns:{name}",
    "aws_subnet": "ec2:(subnet-.*)",
    "aws_vpc": "ec2:(vpc-.*)",
    "aws_vpc_security_group_egress_rule": "ec2:(sgr-.*)",
}
"""Terraform's kind: service and resource of its ARN, with planned values in braces. Terraform imports it under what
stands in parentheses, else under the ARN. A planned tag `Name` is compared as well."""

_LOOKS: Mapping[str, Callable[[Any, str, str], Any]] = {
    "cloudwatch": lambda client, arn, name: client.list_tags_for_resource(ResourceARN=arn),
    "dynamodb": lambda client, arn, name: client.describe_table(TableName=name)["Table"],
    "ecr": lambda client, arn, name: client.describe_repositories(repositoryNames=[name]),
    "events": lambda client, arn, name: client.describe_rule(Name=name),
    "lambda": lambda client, arn, name: client.get_function(FunctionName=name)["Configuration"],
    "logs": lambda client, arn, name: client.describe_log_streams(logGroupName=name, limit=1),
    "sns": lambda client, arn, name: client.get_topic_attributes(TopicArn=arn),
}
"""How to see whether something that the tagging API lists is there."""


class Unknown(Exception):
    """What tells one thing from another is not known before something else is made."""


class _Thing(NamedTuple):
    """What bears this stack's tag: its ARN, service and resource of that, and its tag `Name`."""

    arn: str
    path: str
    name: str | None = None


class Existing:
    """What exists of the stack with this id. Everything else is a stranger's, whatever its name."""

    def __init__(self, clients: AwsClients, stack_id: str, clock: Clock):
        self._client = clients.client
        self._clients = clients
        self._id = stack_id
        self._clock = clock
        self._not_listed: Mapping[str, tuple[Callable[..., str | None], tuple[str, ...]]] = {
            "aws_budgets_budget": (self._budget, ("name",)),
            "aws_cloudwatch_event_target": (self._target, ("rule", "target_id")),
            "aws_iam_instance_profile": (self._instance_profile, ("name",)),
            "aws_iam_role": (self._role, ("name",)),
            "aws_iam_role_policy": (self._role_policy, ("role", "name")),
            "aws_iam_role_policy_attachment": (self._role_policy_attachment, ("role", "policy_arn")),
            "aws_lambda_function_url": (self._function_url, ("function_name",)),
            "aws_lambda_permission": (self._permission, ("function_name", "statement_id")),
            "aws_route_table_association": (self._association, ("subnet_id", "route_table_id")),
            "aws_s3_bucket": (self._bucket, ("bucket",)),
            "aws_scheduler_schedule": (self._schedule, ("name",)),
        }

    def find(self, kind: str, values: Values) -> str | None:
        """The id under which Terraform imports the thing that these planned values describe; None when there is none of
        this stack, or when making it once more does no harm and something else takes it away.

        Waits until it is neither being made nor being removed. Raises `Unknown`.
        """
        if kind not in self._not_listed:
            return self._listed(kind, values)
        find, named = self._not_listed[kind]
        return find(*_known(values, *named))

    def clear(self, kind: str, values: Values) -> None:
        """Remove what keeps Terraform from making the thing that these planned values describe. Raises `Unknown`."""
        if kind == "aws_vpc_security_group_egress_rule":
            self._clear_rule(values)
        elif kind == "aws_dynamodb_table_item":
            self._clear_item(values)
        elif kind == "aws_batch_compute_environment":
            for thing, _ in self._matching(f"invalid:{TABLE[kind]}", values):
                self._clear_environment(thing.arn)

    # what is listed

    def _listed(self, kind: str, values: Values) -> str | None:
        matching = self._matching(TABLE[kind], values) if kind in TABLE else ()
        ids = [name for thing, name in matching if self._is_there(thing)]
        return max(ids, key=lambda name: (len(name), name), default=None)  # the latest revision or suffix

    def _matching(self, pattern: str, values: Values) -> Iterator[tuple[_Thing, str]]:
        """The things that these planned values may describe, with their ids for an import."""
        pattern = re.sub(r"{(\w+)}", lambda field: re.escape(_known(values, field[1])[0]), pattern)
        name = (values.get("tags") or {}).get("Name")
        for thing in self._things:
            if (found := re.fullmatch(pattern, thing.path)) and name in (None, thing.name):
                yield thing, found[1] if found.groups() else thing.arn

    @cached_property
    def _things(self) -> Sequence[_Thing]:
        asked = {"TagFilters": [{"Key": STACK_TAG, "Values": [self._id]}]}
        others = self._clients.pages("resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", **asked)
        things = [_Thing(other["ResourceARN"], _path(other["ResourceARN"])) for other in others]
        return [*(thing for thing in things if _service(thing) in _LOOKS), *self._of_ec2(), *self._of_batch()]

    def _of_ec2(self) -> Iterator[_Thing]:
        tags: dict[str, dict[str, str]] = {}
        asked = [{"Name": "key", "Values": [STACK_TAG, "Name"]}]
        for tag in self._clients.pages("ec2", "describe_tags", "Tags", Filters=asked):
            tags.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
        return (_Thing(id_, f"ec2:{id_}", own.get("Name")) for id_, own in tags.items() if self._owns(own))

    def _of_batch(self) -> Iterator[_Thing]:
        """An environment that AWS could not make is only there to be cleared."""
        for operation, kind in (
            ("describe_compute_environments", "computeEnvironment"),
            ("describe_job_queues", "jobQueue"),
            ("describe_job_definitions", "jobDefinition"),
        ):
            for found in self._settled(partial(self._own_of_batch, operation, f"{kind}s")):
                invalid = found["status"] == "INVALID" and kind == "computeEnvironment"
                arn = found[f"{kind}Arn"]
                yield _Thing(arn, f"invalid:{_path(arn)}" if invalid else _path(arn))

    def _own_of_batch(self, operation: str, key: str) -> list[Any]:
        every = self._clients.pages("batch", operation, key)
        return [found for found in every if self._owns(found.get("tags")) and found["status"] not in _GONE]

    def _is_there(self, thing: _Thing) -> bool:
        if (service := _service(thing)) not in _LOOKS:
            return True
        name = re.sub("^(function:|log-group:|repository/|rule/|table/)", "", thing.path.partition(":")[2])
        (found,) = self._settled(lambda: [present(lambda: _LOOKS[service](self._client(service), thing.arn, name))])
        return bool(found)

    # what is not

    def _role(self, name: str) -> str | None:
        found = self._clients.shows("iam", "get_role", RoleName=name)
        return name if found and self._owns(found["Role"].get("Tags")) else None

    def _role_policy(self, role: str, name: str) -> str | None:
        shown = self._role(role) and self._clients.shows("iam", "get_role_policy", RoleName=role, PolicyName=name)
        return f"{role}:{name}" if shown else None

    def _role_policy_attachment(self, role: str, arn: str) -> str | None:
        attached = self._clients.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=role)
        own = self._role(role) and arn in [policy["PolicyArn"] for policy in attached]
        return f"{role}/{arn}" if own else None

    def _instance_profile(self, name: str) -> str | None:
        found = self._clients.shows("iam", "get_instance_profile", InstanceProfileName=name)
        return name if found and self._owns(found["InstanceProfile"].get("Tags")) else None

    def _schedule(self, name: str) -> str | None:
        """A schedule bears no tags; it is this stack's when it acts as this stack's role."""
        found = self._clients.shows("scheduler", "get_schedule", Name=name)
        own = found and self._role(found["Target"]["RoleArn"].rpartition("/")[2])
        return f"default/{name}" if own else None

    def _budget(self, name: str) -> str | None:
        account, region = self._clients.account, self._clients.region
        arn = f"arn:{self._clients.session.get_partition_for_region(region)}:budgets::{account}:budget/{name}"
        found = self._clients.shows("budgets", "list_tags_for_resource", ResourceARN=arn)
        return f"{account}:{name}" if found and self._owns(found.get("ResourceTags")) else None

    def _bucket(self, name: str) -> str | None:
        """A bucket is tagged only after it was made, so an untagged one counts as well as long as nothing is in it."""
        s3 = self._client("s3")
        if tagged := present(lambda: s3.get_bucket_tagging(Bucket=name), *_NO_BUCKET):
            return name if self._owns(tagged["TagSet"]) else None
        found = present(lambda: s3.list_object_versions(Bucket=name, MaxKeys=1), *_NO_BUCKET)
        return name if found and not (found.get("Versions") or found.get("DeleteMarkers")) else None

    def _target(self, rule: str, target: str) -> str | None:
        targets = self._clients.pages("events", "list_targets_by_rule", "Targets", Rule=rule)
        own = self._listed("aws_cloudwatch_event_rule", {"name": rule}) and target in [one["Id"] for one in targets]
        return f"{rule}/{target}" if own else None

    def _function_url(self, name: str) -> str | None:
        own = self._listed("aws_lambda_function", {"function_name": name})
        return own if own and self._clients.shows("lambda", "get_function_url_config", FunctionName=name) else None

    def _permission(self, name: str, statement: str) -> str | None:
        own = self._listed("aws_lambda_function", {"function_name": name})
        policy = own and self._clients.shows("lambda", "get_policy", FunctionName=name)
        statements = json.loads(policy["Policy"])["Statement"] if policy else []
        return f"{name}/{statement}" if statement in [one.get("Sid") for one in statements] else None

    def _association(self, subnet: str, table: str) -> str | None:
        found = self._clients.pages("ec2", "describe_route_tables", "RouteTables", RouteTableIds=[table])
        subnets = [entry.get("SubnetId") for one in found for entry in one.get("Associations", [])]
        return f"{subnet}/{table}" if subnet in subnets else None

    # what is in the way

    def _clear_rule(self, values: Values) -> None:
        """AWS itself puts a rule like it in a new group, which Terraform takes out at once unless it is interrupted."""
        group, cidr, protocol = _known(values, "security_group_id", "cidr_ipv4", "ip_protocol")
        ec2, of_group = self._client("ec2"), [{"Name": "group-id", "Values": [group]}]
        with aws_errors():
            for rule in ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"]:
                if rule["IsEgress"] and (rule.get("CidrIpv4"), rule.get("IpProtocol")) == (cidr, protocol):
                    ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])

    def _clear_item(self, values: Values) -> None:
        """Terraform neither imports nor overwrites an item; the next apply writes it again."""
        table, key = _known(values, "table_name", "hash_key")
        if self._listed("aws_dynamodb_table", {"name": table}):
            (item,) = _known(values, "item")
            with aws_errors():
                self._client("dynamodb").delete_item(TableName=table, Key={key: json.loads(item)[key]})

    def _clear_environment(self, arn: str) -> None:
        batch = self._client("batch")
        look = batch.describe_compute_environments
        with aws_errors():
            batch.update_compute_environment(computeEnvironment=arn, state="DISABLED")
            self._settled(lambda: look(computeEnvironments=[arn])["computeEnvironments"])
            batch.delete_compute_environment(computeEnvironment=arn)
            self._settled(lambda: look(computeEnvironments=[arn])["computeEnvironments"])

    # ownership and state

    def _owns(self, tags: Mapping[str, str] | Sequence[Mapping[str, str]] | None) -> bool:
        """Whether these tags, in any of the forms that AWS gives them, name this stack."""
        if isinstance(tags, Mapping):
            return tags.get(STACK_TAG) == self._id
        return any(tag["Key"] == STACK_TAG and tag["Value"] == self._id for tag in tags or [])

    def _settled(self, look: Callable[[], list[Any]]) -> list[Any]:
        """What AWS shows once it neither makes nor removes any of it."""
        deadline = self._clock.monotonic() + SETTLE_SECONDS
        answer = look()
        while _MOVING & set(map(_state, answer)) and self._clock.monotonic() < deadline:
            self._clock.sleep(_LOOK_SECONDS)
            answer = look()
        return answer


def _state(found: Mapping[str, Any] | None) -> str | None:
    """The state of what AWS shows, for the services where making something takes its time."""
    return next((found[name] for name in ("status", "State", "TableStatus") if name in found), None) if found else None


def _known(values: Values, *names: str) -> tuple[str, ...]:
    """These planned values; raises `Unknown` when one of them is not known yet."""
    if any(values.get(name) is None for name in names):
        raise Unknown(", ".join(names))
    return tuple(str(values[name]) for name in names)


def _path(arn: str) -> str:
    """Service and resource of an ARN: `lambda:function:n-webhook`."""
    _, _, service, _, _, resource = arn.split(":", 5)
    return f"{service}:{resource.removesuffix(':*')}"


def _service(thing: _Thing) -> str:
    return thing.path.partition(":")[0]
