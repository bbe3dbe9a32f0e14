"""What a call asks IAM for: its actions, the resources that each is used on, and the condition keys of the request.

The actions and what they are used on are those of AWS's Service Authorization Reference
(docs.aws.amazon.com/service-authorization/latest/reference/, a page for each service). A call that is not here raises
`NotImplementedError`: it has to be looked up there first.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from .calls import Call
from .iam import Ask


class Things(Protocol):
    """What there is in the account: what IAM looks up beside the request."""

    account: str

    def role_arn(self, name: str) -> str:
        """A role's ARN, with its path."""

    def boundary(self, role: str) -> str | None:
        """The ARN of a role's permissions boundary."""

    def profile_role(self, profile: str) -> str:
        """The name of the role in an instance profile."""

    def associated(self, association: str) -> Sequence[str]:
        """The ids of the route table and the subnet of an association."""

    def tags(self, arn: str) -> Mapping[str, str]:
        """The tags of a resource."""


Found = Iterator[tuple[str, Sequence[str]] | tuple[str, Sequence[str], Mapping[str, Any]]]


def asks(call: Call, things: Things) -> list[Ask]:
    """All that has to be allowed for a call to succeed."""
    service = call.service
    if service not in _SERVICES:
        raise NotImplementedError(f"what {service}:{call.operation} asks IAM for")
    common = {"aws:RequestedRegion": "us-east-1" if service in _GLOBAL else call.region, "aws:SecureTransport": "true"}
    found = []
    for use in _SERVICES[service](call, things):
        action, resources, context = (*use, {})[:3]
        if not resources:
            raise NotImplementedError(f"what {action} is used on in {service}:{call.operation}({dict(call.params)})")
        for resource in resources:
            tags = {f"aws:ResourceTag/{key}": value for key, value in things.tags(resource).items()}
            found.append(Ask(action, resource, {**common, **tags, **context}))
    return found


_GLOBAL = ("iam", "budgets", "sts")
"""Services whose requests are those of us-east-1, wherever they come from."""


def _arn(call: Call, things: Things, kind: str, name: Any, service: str | None = None) -> str:
    """The ARN of a thing by its name; an ARN stays what it is."""
    if str(name).startswith("arn:"):
        return str(name)
    service = service or {"monitoring": "cloudwatch"}.get(call.service, call.service)
    region = "" if service in _GLOBAL else call.region
    return f"arn:aws:{service}:{region}:{things.account}:{kind}{name}"


def _pass(role: Any, things: Things, *services: str) -> Found:
    """Handing a role to a service (IAM user guide, id_roles_use_passrole.html)."""
    if role:
        arn = str(role) if str(role).startswith("arn:") else things.role_arn(str(role))
        for service in services:
            yield "iam:PassRole", [arn], {"iam:PassedToService": service}


def _tagging(action: str, resources: Sequence[str], tags: Any) -> Found:
    """Tags that are given with what makes a thing take the permission to tag, too."""
    given = _pairs(tags)
    if given:
        yield action, resources, {f"aws:RequestTag/{key}": value for key, value in given.items()}


def _pairs(tags: Any) -> dict[str, str]:
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    return {
        str(tag.get("Key", tag.get("key", tag.get("TagKey")))): str(tag.get("Value", tag.get("value", "")))
        for tag in tags or ()
    }


def _named(
    kinds: Mapping[str, str], everywhere: Sequence[str], tag: str | None = None
) -> Callable[[Call, Things], Found]:
    """A service whose actions are called like its operations. `kinds` says by which parameter a thing is named and what
    stands before that name in its ARN; the operations `everywhere` know no resource; `tag` is the action of tagging."""

    def uses(call: Call, things: Things) -> Found:
        prefix = {"monitoring": "cloudwatch", "tagging": "tag"}.get(call.service, call.service)
        action = f"{prefix}:{call.operation}"
        if any(fnmatch.fnmatchcase(call.operation, pattern) for pattern in everywhere):
            yield action, ["*"]
            return
        resources = [
            _arn(call, things, kind, name)
            for parameter, kind in kinds.items()
            for name in _names(call.params.get(parameter))
        ]
        yield action, resources
        if tag and not call.operation.startswith(("Tag", "AddTags")):
            yield from _tagging(f"{prefix}:{tag}", resources[:1], call.params.get("Tags") or call.params.get("tags"))

    return uses


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


# one function a service, where the rule above does not do


def _iam(call: Call, things: Things) -> Found:
    params, action = call.params, f"iam:{call.operation}"
    if call.operation == "SimulatePrincipalPolicy":
        yield action, [params["PolicySourceArn"]]
    elif call.operation == "CreateServiceLinkedRole":
        service = params["AWSServiceName"]
        own = f"arn:aws:iam::{things.account}:role/aws-service-role/{service}/AWSServiceRole"
        yield action, [own], {"iam:AWSServiceName": service}
    elif "InstanceProfileName" in params:
        profile = f"arn:aws:iam::{things.account}:instance-profile/{params['InstanceProfileName']}"
        yield action, [profile]
        yield from _tagging("iam:TagInstanceProfile", [profile], params.get("Tags"))
        if call.operation == "AddRoleToInstanceProfile":
            yield from _pass(params["RoleName"], things, "ec2.amazonaws.com")
    elif "RoleName" in params:
        yield from _role(call, things)
    elif "PolicyArn" in params:
        yield action, [params["PolicyArn"]]
    elif call.operation in ("ListRoles", "ListPolicies", "GetAccountSummary"):
        yield action, ["*"]
    else:
        yield action, []


BOUNDED = frozenset(
    f"iam:{name}"
    for name in (
        *("AttachRolePolicy", "CreateRole", "DeleteRolePermissionsBoundary", "DeleteRolePolicy"),
        *("DetachRolePolicy", "PutRolePermissionsBoundary", "PutRolePolicy"),
    )
)
"""The actions on roles that know the key `iam:PermissionsBoundary` (the page "Actions, resources, and condition keys
for AWS Identity and Access Management")."""


def _role(call: Call, things: Things) -> Found:
    """Roles; the keys `iam:PermissionsBoundary` and `iam:PolicyARN` where AWS's page names them. The boundary is the
    one that is given, or else the one that the role has."""
    params, name = call.params, call.params["RoleName"]
    creates = call.operation == "CreateRole"
    path = str(params.get("Path", "/"))
    arn = f"arn:aws:iam::{things.account}:role{path}{name}" if creates else things.role_arn(name)
    boundary = params.get("PermissionsBoundary") or (None if creates else things.boundary(name))
    limited = boundary is not None and f"iam:{call.operation}" in BOUNDED
    context: dict[str, Any] = {"iam:PermissionsBoundary": boundary} if limited else {}
    if "PolicyArn" in params:
        context["iam:PolicyARN"] = params["PolicyArn"]
    if creates or call.operation == "TagRole":
        context |= {f"aws:RequestTag/{key}": value for key, value in _pairs(params.get("Tags")).items()}
    yield f"iam:{call.operation}", [arn], context
    if creates:
        yield from _tagging("iam:TagRole", [arn], params.get("Tags"))


_EC2_IDS = {
    "vpc": "vpc",
    "subnet": "subnet",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "lt": "launch-template",
    "fl": "vpc-flow-log",
    "acl": "network-acl",
    "eni": "network-interface",
}
_EC2_NEW = {
    "CreateFlowLogs": "vpc-flow-log",
    "CreateInternetGateway": "internet-gateway",
    "CreateLaunchTemplate": "launch-template",
    "CreateRouteTable": "route-table",
    "CreateSecurityGroup": "security-group",
    "CreateSubnet": "subnet",
    "CreateVpc": "vpc",
}


def _ec2(call: Call, things: Things) -> Found:
    """EC2 asks for what is made and for what it is made in; every id in the request is of a thing that it asks for,
    apart from the gateway of a route and the rules that a security group loses."""
    if call.operation.startswith("Describe"):
        yield f"ec2:{call.operation}", ["*"]
        return
    routes, rules = ("CreateRoute", "ReplaceRoute"), ("RevokeSecurityGroupEgress", "RevokeSecurityGroupIngress")
    leave = ("GatewayId",) * (call.operation in routes) + ("SecurityGroupRuleIds",) * (call.operation in rules)
    ids = [
        found
        for parameter, value in call.params.items()
        if parameter not in leave
        for one in _names(value)
        for found in (things.associated(one) if one.startswith("rtbassoc-") else [one])
    ]
    resources = [
        _arn(call, things, f"{_EC2_IDS[kind]}/", found)
        for found in ids
        if (kind := found.partition("-")[0]) in _EC2_IDS and "-" in found
    ]
    for rule in call.params.get("SecurityGroupRules") or ():
        resources.append(_arn(call, things, "security-group-rule/", rule["SecurityGroupRuleId"]))
    new = _EC2_NEW.get(call.operation)
    if new:
        resources.append(_arn(call, things, f"{new}/", "*"))
    tags = {f"aws:RequestTag/{key}": value for key, value in _pairs(call.params.get("Tags")).items()}
    yield f"ec2:{call.operation}", resources, tags
    for given in call.params.get("TagSpecifications") or ():
        made = _arn(call, things, f"{given['ResourceType']}/", "*")
        named = {f"aws:RequestTag/{key}": value for key, value in _pairs(given.get("Tags")).items()}
        yield "ec2:CreateTags", [made], {"ec2:CreateAction": call.operation, **named}
    yield from _pass(call.params.get("DeliverLogsPermissionArn"), things, "vpc-flow-logs.amazonaws.com")


def _batch(call: Call, things: Things) -> Found:
    """Lists and descriptions know no resource. To submit takes the queue and the definition (Batch user guide,
    iam-example-restrict-job-def.html); the page of actions also names `job`, which a new job has no ARN for."""
    if call.operation.startswith(("Describe", "List")) and call.operation != "ListTagsForResource":
        yield f"batch:{call.operation}", ["*"]
        return
    kinds = {
        "computeEnvironment": "compute-environment/",
        "computeEnvironmentName": "compute-environment/",
        "jobQueue": "job-queue/",
        "jobQueueName": "job-queue/",
        "jobDefinition": "job-definition/",
        "jobDefinitionName": "job-definition/",
        "jobId": "job/",
        "resourceArn": "",
    }
    params = call.params
    resources = [
        _arn(call, things, kind, params[parameter]) for parameter, kind in kinds.items() if params.get(parameter)
    ]
    for entry in params.get("computeEnvironmentOrder") or ():
        resources.append(_arn(call, things, "compute-environment/", entry["computeEnvironment"]))
    yield f"batch:{call.operation}", resources
    if call.operation != "TagResource":
        yield from _tagging("batch:TagResource", resources[:1], params.get("tags"))
    container = params.get("containerProperties") or {}
    for role in ("jobRoleArn", "executionRoleArn"):
        yield from _pass(container.get(role), things, "ecs-tasks.amazonaws.com")
    if profile := (params.get("computeResources") or {}).get("instanceRole"):
        yield from _pass(things.profile_role(str(profile).rpartition("/")[2]), things, "ec2.amazonaws.com")


_LAMBDA = _named({"FunctionName": "function:", "Resource": ""}, ("ListFunctions", "GetAccountSettings"), "TagResource")


def _lambda(call: Call, things: Things) -> Found:
    renamed = {"Invoke": "lambda:InvokeFunction", "ListTags": "lambda:ListTags"}
    for use in _LAMBDA(call, things):
        yield (renamed.get(call.operation, use[0]) if use[0] == f"lambda:{call.operation}" else use[0], *use[1:])
    yield from _pass(call.params.get("Role"), things, "lambda.amazonaws.com")


_S3 = {
    "AbortMultipartUpload": "AbortMultipartUpload",
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "UploadPart": "PutObject",
}
"""Actions that are not called like their operations: "Required permissions for Amazon S3 API operations",
docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""


def _s3(call: Call, things: Things) -> Found:
    params, action = call.params, _S3.get(call.operation, call.operation)
    if call.operation == "ListBuckets":
        yield "s3:ListAllMyBuckets", ["*"]
        return
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    if call.operation == "DeleteObjects":
        for one in params["Delete"]["Objects"]:
            version = "Version" if one.get("VersionId") else ""
            yield f"s3:DeleteObject{version}", [f"{bucket}/{one['Key']}"]
    elif "Key" in params:
        version = "Version" if params.get("VersionId") and action in ("GetObject", "DeleteObject") else ""
        yield f"s3:{action}{version}", [f"{bucket}/{params['Key']}"]
        if params.get("Tagging") and action == "PutObject":
            yield "s3:PutObjectTagging", [f"{bucket}/{params['Key']}"]
    elif action in ("ListBucket", "ListBucketVersions"):
        keys = {"s3:prefix": params.get("Prefix"), "s3:delimiter": params.get("Delimiter")}
        yield f"s3:{action}", [bucket], {key: str(value) for key, value in keys.items() if value is not None}
    else:
        yield f"s3:{action}", [bucket]


def _dynamodb(call: Call, things: Things) -> Found:
    if call.operation == "ListTables":
        yield "dynamodb:ListTables", ["*"]
    elif call.operation in ("TransactWriteItems", "TransactGetItems"):  # as the single operations that they hold
        operations = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "Get": "GetItem"}
        for item in call.params["TransactItems"]:
            for kind, one in item.items():
                action = operations.get(kind, "ConditionCheckItem")
                yield f"dynamodb:{action}", [_arn(call, things, "table/", one["TableName"])]
    elif call.operation in ("BatchWriteItem", "BatchGetItem"):
        yield f"dynamodb:{call.operation}", [_arn(call, things, "table/", name) for name in call.params["RequestItems"]]
    else:
        yield from _named({"TableName": "table/", "ResourceArn": ""}, (), "TagResource")(call, things)


def _secretsmanager(call: Call, things: Things) -> Found:
    """A secret's ARN ends in six random letters, which the request may leave out."""
    name = str(call.params.get("SecretId") or call.params["Name"])
    arn = name if name.startswith("arn:") else _arn(call, things, "secret:", f"{name}-AbCdEf")
    yield f"secretsmanager:{call.operation}", [arn]
    if call.operation != "TagResource":
        yield from _tagging("secretsmanager:TagResource", [arn], call.params.get("Tags"))


def _ssm(call: Call, things: Things) -> Found:
    """A parameter's ARN has one slash between `parameter` and its name."""
    if call.operation == "DescribeParameters":
        yield "ssm:DescribeParameters", ["*"]
        return
    names = [*_names(call.params.get("Name")), *_names(call.params.get("Names")), *_names(call.params.get("Path"))]
    names += _names(call.params.get("ResourceId"))
    resources = [_arn(call, things, "parameter/", name.removeprefix("/")) for name in names]
    yield f"ssm:{call.operation}", resources
    if call.operation == "PutParameter":
        yield from _tagging("ssm:AddTagsToResource", resources, call.params.get("Tags"))


def _sns(call: Call, things: Things) -> Found:
    """What is done to a subscription is asked of its topic. AWS's page of actions names no resource for it; what it
    says when it refuses is the topic's ARN."""
    if subscription := call.params.get("SubscriptionArn"):
        yield f"sns:{call.operation}", [str(subscription).rpartition(":")[0]]
        return
    kinds = {"TopicArn": "", "TargetArn": "", "Name": "", "ResourceArn": ""}
    yield from _named(kinds, ("ListTopics", "ListSubscriptions"), "TagResource")(call, things)


def _logs(call: Call, things: Things) -> Found:
    if call.operation in ("DescribeLogGroups", "StartQuery"):
        yield f"logs:{call.operation}", ["*"]
        return
    streams = ("CreateLogStream", "PutLogEvents", "GetLogEvents", "DeleteLogStream")
    group = call.params.get("logGroupName") or call.params.get("logGroupIdentifier")
    arn = str(call.params.get("resourceArn") or _arn(call, things, "log-group:", group)).removesuffix(":*")
    stream = f":log-stream:{call.params['logStreamName']}" if call.operation in streams else ""
    yield f"logs:{call.operation}", [arn + stream]
    if call.operation == "CreateLogGroup":
        yield from _tagging("logs:TagResource", [arn], call.params.get("tags"))


def _scheduler(call: Call, things: Things) -> Found:
    if call.operation.startswith("ListSchedules"):
        yield "scheduler:ListSchedules", ["*"]
        return
    name = f"{call.params.get('GroupName') or 'default'}/{call.params['Name']}"
    yield f"scheduler:{call.operation}", [_arn(call, things, "schedule/", name)]
    yield from _pass((call.params.get("Target") or {}).get("RoleArn"), things, "scheduler.amazonaws.com")


def _budgets(call: Call, things: Things) -> Found:
    """Two actions for all (the page "Actions, resources, and condition keys for AWS Budget Service")."""
    if "ResourceARN" in call.params:
        yield f"budgets:{call.operation}", [call.params["ResourceARN"]]
        return
    budget = call.params.get("BudgetName") or call.params.get("Budget", call.params.get("NewBudget", {})).get(
        "BudgetName", "*"
    )
    arn = _arn(call, things, "budget/", budget)
    yield f"budgets:{'ViewBudget' if call.operation.startswith('Describe') else 'ModifyBudget'}", [arn]
    yield from _tagging("budgets:TagResource", [arn], call.params.get("ResourceTags"))


def _ecr(call: Call, things: Things) -> Found:
    every = {} if call.params.get("repositoryNames") or call.operation != "DescribeRepositories" else {"all": ["*"]}
    named = replace(call, params={**call.params, **every})
    kinds = {"repositoryName": "repository/", "repositoryNames": "repository/", "all": "repository/", "resourceArn": ""}
    yield from _named(kinds, ("GetAuthorizationToken",), "TagResource")(named, things)


def _cloudwatch(call: Call, things: Things) -> Found:
    every = {} if call.operation != "DescribeAlarms" or call.params.get("AlarmNames") else {"AlarmNames": ["*"]}
    named = replace(call, params={**call.params, **every})
    kinds = {"AlarmName": "alarm:", "AlarmNames": "alarm:", "ResourceARN": ""}
    yield from _named(kinds, ("GetMetric*", "ListMetrics"), "TagResource")(named, things)


_SERVICES: Mapping[str, Callable[[Call, Things], Found]] = {
    "batch": _batch,
    "budgets": _budgets,
    "dynamodb": _dynamodb,
    "ec2": _ec2,
    "ecr": _ecr,
    "events": _named({"Rule": "rule/", "Name": "rule/", "ResourceARN": ""}, ("ListRules",), "TagResource"),
    "iam": _iam,
    "lambda": _lambda,
    "logs": _logs,
    "monitoring": _cloudwatch,
    "s3": _s3,
    "scheduler": _scheduler,
    "secretsmanager": _secretsmanager,
    "servicequotas": _named({}, ("*",)),
    "sns": _sns,
    "ssm": _ssm,
    "sts": _named({}, ("GetCallerIdentity",)),
    "tagging": _named({}, ("GetResources",)),
}
