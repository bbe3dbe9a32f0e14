"""Finds what a Terraform plan would make and what exists in AWS already, and under which id Terraform imports it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ...errors import ProviderError
from ...ports import Clock
from .clients import AwsClients, aws_errors, is_absent
from .remains import present

STACK_TAG = "numerai:stack"
"""Put on everything by terraform/aws (versions.tf): which record of a cluster a thing was made from."""
SETTLE_SECONDS = 600
"""How long a thing that is being made or removed is waited for."""
_LOOK_SECONDS = 2
_MOVING = {"CREATING", "DELETING", "UPDATING", "Pending"}
_GONE = {"DELETED", "INACTIVE"}
_NO_BUCKET = ("404", "403", "NoSuchBucket", "AccessDenied")
"""What AWS says of a bucket that is not there, or another account's."""

Values = Mapping[str, Any]


class Unknown(Exception):
    """What tells one thing from another is not known before something else is made."""


class Existing:
    """What exists of the stack with this id. Everything else is a stranger's, whatever its name."""

    def __init__(self, clients: AwsClients, stack_id: str, clock: Clock):
        self._client = clients.client
        self._clients = clients
        self._id = stack_id
        self._clock = clock
        self._finders: Mapping[str, Callable[[Values], str | None]] = {
            "aws_batch_compute_environment": self._compute_environment,
            "aws_batch_job_definition": self._job_definition,
            "aws_batch_job_queue": self._job_queue,
            "aws_budgets_budget": self._budget,
            "aws_cloudwatch_event_rule": self._rule,
            "aws_cloudwatch_event_target": self._target,
            "aws_cloudwatch_log_group": self._log_group,
            "aws_cloudwatch_metric_alarm": self._alarm,
            "aws_dynamodb_table": self._table,
            "aws_dynamodb_table_item": self._item,
            "aws_ecr_repository": self._repository,
            "aws_flow_log": self._flow_log,
            "aws_iam_instance_profile": self._instance_profile,
            "aws_iam_role": self._role,
            "aws_iam_role_policy": self._role_policy,
            "aws_iam_role_policy_attachment": self._role_policy_attachment,
            "aws_internet_gateway": self._of_network("describe_internet_gateways", "InternetGateway"),
            "aws_lambda_function": self._function,
            "aws_lambda_function_url": self._function_url,
            "aws_lambda_permission": self._permission,
            "aws_launch_template": self._launch_template,
            "aws_route_table": self._of_network("describe_route_tables", "RouteTable"),
            "aws_route_table_association": self._association,
            "aws_s3_bucket": self._bucket,
            "aws_scheduler_schedule": self._schedule,
            "aws_secretsmanager_secret": self._secret,
            "aws_security_group": self._of_network("describe_security_groups", "SecurityGroup", "Group"),
            "aws_sns_topic": self._topic,
            "aws_subnet": self._of_network("describe_subnets", "Subnet"),
            "aws_vpc": self._of_network("describe_vpcs", "Vpc"),
            "aws_vpc_security_group_egress_rule": self._egress_rule,
        }

    def find(self, kind: str, values: Values) -> str | None:
        """The id under which Terraform imports the thing that these planned values describe; None when there is none of
        this stack, or when making it once more does no harm and something else takes it away.

        Waits until it is neither being made nor being removed. Raises `Unknown`.
        """
        finder = self._finders.get(kind)
        return finder(values) if finder else None

    # networks: found by tags, because they have no names

    def _of_network(self, operation: str, kind: str, short: str | None = None) -> Callable[[Values], str | None]:
        def find(values: Values) -> str | None:
            name = (values.get("tags") or {}).get("Name", "")
            filters = [*self._mine(), {"Name": "tag:Name", "Values": [name]}]
            with aws_errors():
                found = getattr(self._client("ec2"), operation)(Filters=filters)[f"{kind}s"]
            return str(found[0][f"{short or kind}Id"]) if found else None

        return find

    def _association(self, values: Values) -> str | None:
        subnet, table = _known(values, "subnet_id", "route_table_id")
        with aws_errors():
            found = self._client("ec2").describe_route_tables(RouteTableIds=[table])["RouteTables"]
        subnets = [entry.get("SubnetId") for one in found for entry in one.get("Associations", [])]
        return f"{subnet}/{table}" if subnet in subnets else None

    def _egress_rule(self, values: Values) -> str | None:
        """Its group is this stack's. AWS itself puts a rule like it in a new group, which Terraform takes out at once
        unless it is interrupted: that one is removed, so that this stack's own can be made."""
        group, cidr, protocol = _known(values, "security_group_id", "cidr_ipv4", "ip_protocol")
        ec2, of_group = self._client("ec2"), [{"Name": "group-id", "Values": [group]}]
        with aws_errors():
            rules = ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"]
        for rule in rules:
            if not rule["IsEgress"] or (rule.get("CidrIpv4"), rule.get("IpProtocol")) != (cidr, protocol):
                continue
            if self._owns(rule.get("Tags")):
                return str(rule["SecurityGroupRuleId"])
            with aws_errors():
                ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
        return None

    def _launch_template(self, values: Values) -> str | None:
        (prefix,) = _known(values, "name_prefix")
        with aws_errors():
            found = self._client("ec2").describe_launch_templates(Filters=self._mine())["LaunchTemplates"]
        return _last_id(one["LaunchTemplateId"] for one in found if one["LaunchTemplateName"].startswith(prefix))

    def _flow_log(self, values: Values) -> str | None:
        with aws_errors():
            found = self._client("ec2").describe_flow_logs(Filters=self._mine())["FlowLogs"]
        return _last_id(one["FlowLogId"] for one in found)

    # roles

    def _role(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        return name if self._owns_role(name) else None

    def _owns_role(self, name: str) -> bool:
        found = present(lambda: self._client("iam").get_role(RoleName=name))
        return bool(found) and self._owns(found["Role"].get("Tags"))

    def _role_policy(self, values: Values) -> str | None:
        role, name = _known(values, "role", "name")
        if not self._owns_role(role):
            return None
        return f"{role}:{name}" if self._there("iam", "get_role_policy", RoleName=role, PolicyName=name) else None

    def _role_policy_attachment(self, values: Values) -> str | None:
        role, arn = _known(values, "role", "policy_arn")
        if not self._owns_role(role):
            return None
        with aws_errors():
            attached = self._client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        return f"{role}/{arn}" if arn in [policy["PolicyArn"] for policy in attached] else None

    def _instance_profile(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        found = present(lambda: self._client("iam").get_instance_profile(InstanceProfileName=name))
        return name if found and self._owns(found["InstanceProfile"].get("Tags")) else None

    # what keeps something

    def _bucket(self, values: Values) -> str | None:
        """A bucket is tagged only after it was made, so an untagged one counts as well as long as nothing is in it."""
        (name,) = _known(values, "bucket")
        s3 = self._client("s3")
        try:
            with aws_errors(absent=(*_NO_BUCKET, "NoSuchTagSet")):
                return name if self._owns(s3.get_bucket_tagging(Bucket=name)["TagSet"]) else None
        except ProviderError as error:
            if not is_absent(error):
                raise
        try:
            with aws_errors(absent=_NO_BUCKET):
                held = s3.list_object_versions(Bucket=name, MaxKeys=1)
        except ProviderError as error:
            if not is_absent(error):
                raise
            return None
        return None if held.get("Versions") or held.get("DeleteMarkers") else name

    def _repository(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        found = present(lambda: self._client("ecr").describe_repositories(repositoryNames=[name]))
        if not found:
            return None
        arn = found["repositories"][0]["repositoryArn"]
        tags = present(lambda: self._client("ecr").list_tags_for_resource(resourceArn=arn))
        return name if tags and self._owns(tags["tags"]) else None

    def _secret(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        found = present(lambda: self._client("secretsmanager").describe_secret(SecretId=name))
        if not found or found.get("DeletedDate"):
            return None
        return str(found["ARN"]) if self._owns(found.get("Tags")) else None

    def _table(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        table = self._settled(lambda: self._describe_table(name), "TableStatus")
        if not table:
            return None
        tags = present(lambda: self._client("dynamodb").list_tags_of_resource(ResourceArn=table["TableArn"]))
        return name if tags and self._owns(tags["Tags"]) else None

    def _describe_table(self, name: str) -> Any:
        found = present(lambda: self._client("dynamodb").describe_table(TableName=name))
        return found and found["Table"]

    def _item(self, values: Values) -> None:
        """Terraform neither imports nor overwrites an item: it is removed here, and written again by the next apply."""
        table, key = _known(values, "table_name", "hash_key")
        if self._table({"name": table}) is None:
            return
        (item,) = _known(values, "item")
        with aws_errors():
            self._client("dynamodb").delete_item(TableName=table, Key={key: json.loads(item)[key]})

    # the webhook

    def _function(self, values: Values) -> str | None:
        (name,) = _known(values, "function_name")
        found = self._settled(lambda: self._get_function(name), "State")
        return name if found and self._owns(found["Tags"]) else None

    def _get_function(self, name: str) -> Any:
        found = present(lambda: self._client("lambda").get_function(FunctionName=name))
        return found and {**found["Configuration"], "Tags": found.get("Tags")}

    def _function_url(self, values: Values) -> str | None:
        name = self._function(values)
        return name if name and self._there("lambda", "get_function_url_config", FunctionName=name) else None

    def _permission(self, values: Values) -> str | None:
        (statement,) = _known(values, "statement_id")
        name = self._function(values)
        policy = name and present(lambda: self._client("lambda").get_policy(FunctionName=name))
        statements = json.loads(policy["Policy"])["Statement"] if policy else []
        return f"{name}/{statement}" if statement in [one.get("Sid") for one in statements] else None

    # Batch

    def _compute_environment(self, values: Values) -> str | None:
        """One that AWS could not make is removed, so that it can be made again."""
        (prefix,) = _known(values, "compute_environment_name_prefix")
        batch = self._client("batch")
        with aws_errors():
            pages = batch.get_paginator("describe_compute_environments").paginate()
            found = [one for page in pages for one in page["computeEnvironments"]]
        names = [one["computeEnvironmentName"] for one in found if self._owns(one.get("tags"))]
        valid = []
        for name in sorted(name for name in names if name.startswith(prefix)):
            environment = self._settled(lambda name=name: self._environment(name), "status")  # type: ignore[misc]
            if environment and environment["status"] == "INVALID":
                self._remove_environment(name)
            elif environment:
                valid.append(name)
        return _last_id(valid)

    def _environment(self, name: str) -> Any:
        with aws_errors():
            found = self._client("batch").describe_compute_environments(computeEnvironments=[name])
        return next(iter(found["computeEnvironments"]), None)

    def _remove_environment(self, name: str) -> None:
        with aws_errors():
            self._client("batch").update_compute_environment(computeEnvironment=name, state="DISABLED")
        self._settled(lambda: self._environment(name), "status")
        with aws_errors():
            self._client("batch").delete_compute_environment(computeEnvironment=name)
        self._settled(lambda: self._environment(name), "status")

    def _job_queue(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        found = self._settled(lambda: self._queue(name), "status")
        return str(found["jobQueueArn"]) if found and self._owns(found.get("tags")) else None

    def _queue(self, name: str) -> Any:
        with aws_errors():
            found = self._client("batch").describe_job_queues(jobQueues=[name])
        return next(iter(found["jobQueues"]), None)

    def _job_definition(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        with aws_errors():
            found = self._client("batch").describe_job_definitions(jobDefinitionName=name, status="ACTIVE")
        mine = [one for one in found["jobDefinitions"] if self._owns(one.get("tags"))]
        return _last_id(one["jobDefinitionArn"] for one in sorted(mine, key=lambda one: int(one["revision"])))

    # what starts and watches

    def _schedule(self, values: Values) -> str | None:
        """A schedule bears no tags; it is this stack's when it acts as this stack's role."""
        (name,) = _known(values, "name")
        group = values.get("group_name") or "default"
        found = present(lambda: self._client("scheduler").get_schedule(Name=name, GroupName=group))
        if not found or not self._owns_role(found["Target"]["RoleArn"].rpartition("/")[2]):
            return None
        return f"{group}/{name}"

    def _rule(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        found = present(lambda: self._client("events").describe_rule(Name=name))
        return name if found and self._owns(self._tags("events", "ResourceARN", found["Arn"])) else None

    def _target(self, values: Values) -> str | None:
        rule, target = _known(values, "rule", "target_id")
        if self._rule({"name": rule}) is None:
            return None
        with aws_errors():
            found = self._client("events").list_targets_by_rule(Rule=rule)["Targets"]
        return f"{rule}/{target}" if target in [one["Id"] for one in found] else None

    def _log_group(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        with aws_errors():
            found = self._client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        arn = _last_id(one["arn"].removesuffix(":*") for one in found if one["logGroupName"] == name)
        if arn is None:
            return None
        tags = present(lambda: self._client("logs").list_tags_for_resource(resourceArn=arn))
        return name if tags and self._owns(tags["tags"]) else None

    def _alarm(self, values: Values) -> str | None:
        (name,) = _known(values, "alarm_name")
        with aws_errors():
            found = self._client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        arn = _last_id(one["AlarmArn"] for one in found)
        return name if arn and self._owns(self._tags("cloudwatch", "ResourceARN", arn)) else None

    def _topic(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        partition = self._clients.session.get_partition_for_region(self._clients.region)
        arn = f"arn:{partition}:sns:{self._clients.region}:{self._clients.account}:{name}"
        return arn if self._owns(self._tags("sns", "ResourceArn", arn)) else None

    def _budget(self, values: Values) -> str | None:
        (name,) = _known(values, "name")
        account = self._clients.account
        partition = self._clients.session.get_partition_for_region(self._clients.region)
        if not self._there("budgets", "describe_budget", AccountId=account, BudgetName=name):
            return None
        arn = f"arn:{partition}:budgets::{account}:budget/{name}"
        found = present(lambda: self._client("budgets").list_tags_for_resource(ResourceARN=arn))
        return f"{account}:{name}" if found and self._owns(found.get("ResourceTags")) else None

    # ownership and state

    def _mine(self) -> list[dict[str, Any]]:
        """The filter of EC2 for what bears this stack's id."""
        return [{"Name": f"tag:{STACK_TAG}", "Values": [self._id]}]

    def _owns(self, tags: Mapping[str, str] | Sequence[Mapping[str, str]] | None) -> bool:
        """Whether these tags, in any of the forms that AWS gives them, name this stack."""
        if isinstance(tags, Mapping):
            return tags.get(STACK_TAG) == self._id
        pairs = {one.get("Key", one.get("key")): one.get("Value", one.get("value")) for one in tags or []}
        return pairs.get(STACK_TAG) == self._id

    def _tags(self, service: str, parameter: str, arn: str) -> Any:
        found = present(lambda: self._client(service).list_tags_for_resource(**{parameter: arn}))
        return found and found.get("Tags")

    def _there(self, service: str, operation: str, **arguments: str) -> bool:
        return bool(present(lambda: getattr(self._client(service), operation)(**arguments)))

    def _settled(self, look: Callable[[], Any], field: str) -> Any:
        """What is there once AWS neither makes nor removes it any more; None when there is nothing."""
        deadline = self._clock.monotonic() + SETTLE_SECONDS
        while (found := look()) and found.get(field) in _MOVING and self._clock.monotonic() < deadline:
            self._clock.sleep(_LOOK_SECONDS)
        return None if found and found.get(field) in _GONE else found


def _known(values: Values, *names: str) -> tuple[str, ...]:
    """These planned values; raises `Unknown` when one of them is not known yet."""
    if any(values.get(name) is None for name in names):
        raise Unknown(", ".join(names))
    return tuple(str(values[name]) for name in names)


def _last_id(found: Iterable[object]) -> str | None:
    """The last of these ids; None when there is none."""
    every = list(found)
    return str(every[-1]) if every else None
