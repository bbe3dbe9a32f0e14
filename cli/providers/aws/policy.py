"""The permissions that this tool needs in AWS: as a policy to hand to whoever gives them, and as a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ...errors import NumeraiError
from .clients import AwsClients, aws_errors
from .lambda_package import FUNCTIONS
from .node_keys import keys_path
from .service_roles import SERVICES

CLUSTER_TAG = "numerai:cluster"
"""Put on everything by terraform/aws (versions.tf). Names alone do not tell `numerai` from `numerai-b`."""
HOST_POLICY = "service-role/AmazonEC2ContainerServiceforEC2Role"
"""The one managed policy that terraform/aws attaches to a role: an EC2 host's."""
PASSED_TO = (
    "ec2.amazonaws.com",
    "ecs-tasks.amazonaws.com",
    "lambda.amazonaws.com",
    "scheduler.amazonaws.com",
    "vpc-flow-logs.amazonaws.com",
)
"""The services that the roles of terraform/aws are made for (its iam.tf)."""

_LOOK = (
    "batch:Describe*",
    "batch:List*",
    "budgets:ListTagsForResource",
    "budgets:ViewBudget",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "ec2:Describe*",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "iam:GetRole",
    "iam:SimulatePrincipalPolicy",
    "lambda:GetAccountSettings",
    "logs:DescribeLogGroups",
    "servicequotas:Get*",
    "sts:GetCallerIdentity",
    "tag:GetResources",
)
_NETWORK = (
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:CreateFlowLogs",
    "ec2:CreateInternetGateway",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateRouteTable",
    "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet",
    "ec2:CreateVpc",
)
"""What makes a part of the network: a new thing has no tag by which it could be known."""
_OWN_NETWORK = (
    "ec2:AssociateRouteTable",
    "ec2:AttachInternetGateway",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateRoute",
    "ec2:CreateTags",
    "ec2:Delete*",
    "ec2:DetachInternetGateway",
    "ec2:DisassociateRouteTable",
    "ec2:ModifyLaunchTemplate",
    "ec2:ModifySecurityGroupRules",
    "ec2:ModifySubnetAttribute",
    "ec2:ModifyVpcAttribute",
    "ec2:RevokeSecurityGroup*",
)
"""What changes or removes a part of the network: only one that has this cluster's tag."""
_ROLE = (
    "iam:*InstanceProfile",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListRolePolicies",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateRole",
    "iam:UpdateRoleDescription",
)
_BOUNDED = (
    "iam:CreateRole",
    "iam:PutRolePermissionsBoundary",
    "iam:PutRolePolicy",
)
"""What could give a role more than its maker has: only for roles that the boundary limits. IAM knows that condition for
these only; who may assume a role cannot be changed at all (Service Authorization Reference, AWS IAM)."""
_HOST = (
    "ecs:DeregisterContainerInstance",
    "ecs:Poll",
    "ecs:RegisterContainerInstance",
    "ecs:StartTelemetrySession",
    "ecs:Submit*",
    "ecs:TagResource",
    "ecs:UpdateContainerInstancesState",
)
"""What an EC2 host of Batch does by `HOST_POLICY`, beside `ecs:DiscoverPollEndpoint`, for which AWS knows no resource.
A boundary that leaves it out would keep hosts from joining. This tool itself does none of it."""
_OWN = (
    "batch:*",
    "budgets:*",
    "cloudwatch:*",
    "dynamodb:*",
    "ecr:*",
    "events:*",
    "lambda:*",
    "logs:*",
    "s3:*",
    "scheduler:*",
    "secretsmanager:*",
    "sns:*",
    "ssm:*",
    *_HOST,
)
"""What is done to things of the cluster's own name. One statement for all services keeps the policy within its size: a
service's actions are used on that service's ARNs only."""

NO_ACCOUNT = "ACCOUNT"
"""In place of an account's number that is not known. IAM takes no policy with it by mistake: an account is 12 digits
(docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html)."""


@dataclass(frozen=True)
class _Arns:
    """Makes the ARNs of an account."""

    partition: str
    account: str
    region: str

    def __call__(self, service: str, what: str) -> str:
        region = "" if service in ("budgets", "iam") else self.region
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{what}"


@dataclass(frozen=True)
class Probe:
    """One action of a kind, on what it is used on and with the condition keys that its statement asks for."""

    action: str
    resource: str = "*"
    context: tuple[tuple[str, str], ...] = ()


def own_boundary(cluster: str, account: str, partition: str = "aws") -> str:
    """The ARN that the printed policy has when it is made under the cluster's name: it is its own roles' boundary."""
    return f"arn:{partition}:iam::{account}:policy/{cluster}"


def minimal_policy(
    cluster: str, account: str, region: str, *, boundary: str | None = None, partition: str = "aws"
) -> dict[str, Any]:
    """The IAM policy that suffices to make, use and remove a cluster of this name, and nothing beside it.

    Networks have no name before they are made, so making them is bound to the region, and changing them to the
    cluster's tag. Roles may only be made with a permissions boundary, by default this policy itself: else whoever may
    make roles and hand them to functions could give them everything (IAM user guide, access_policies_boundaries.html).
    """

    arn = _Arns(partition, account, region)
    here = {"StringEquals": {"aws:RequestedRegion": region}}
    own = {"StringEquals": {"aws:RequestedRegion": region, f"aws:ResourceTag/{CLUSTER_TAG}": cluster}}
    adopted = {"StringEquals": {f"aws:RequestTag/{CLUSTER_TAG}": cluster}}
    role, profile = (arn("iam", f"{kind}/{cluster}-*") for kind in ("role", "instance-profile"))
    bounded = {"iam:PermissionsBoundary": boundary or own_boundary(cluster, account, partition)}
    host = {**bounded, "iam:PolicyARN": f"arn:{partition}:iam::aws:policy/{HOST_POLICY}"}
    kinds = ("compute-environment", "job-queue", "job-definition")
    groups = (f"/numerai/{cluster}/*", *(f"/aws/lambda/{cluster}-{function}*" for function in FUNCTIONS))
    buckets = [f"arn:{partition}:s3:::{cluster}-{what}-{account}-{region}" for what in ("artifacts", "state")]
    owned = (
        [*(arn("batch", f"{kind}/{cluster}-*") for kind in kinds), arn("batch", "job/*")],
        [arn("budgets", f"budget/{cluster}-*")],
        [arn("cloudwatch", f"alarm:{cluster}-*")],
        [arn("dynamodb", f"table/{cluster}-webhook")],
        [arn("ecr", f"repository/{cluster}/*")],
        [arn("ecs", f"{kind}/*{cluster}-*") for kind in ("cluster", "container-instance")],
        [arn("events", f"rule/{cluster}-*")],
        [arn("lambda", f"function:{cluster}-{function}") for function in FUNCTIONS],
        [arn("logs", f"log-group:{group}") for group in groups],
        [f"{bucket}{what}" for bucket in buckets for what in ("", "/*")],
        [arn("scheduler", f"schedule/default/{cluster}-*")],
        [arn("secretsmanager", f"secret:{cluster}/*")],
        [arn("sns", f"{cluster}-*")],
        [arn("ssm", f"parameter{keys_path(cluster)}*")],
    )
    statements = [
        _allow("Look", _LOOK, ["*"]),
        _allow("Network", _NETWORK, ["*"], here),
        _allow("OwnNetwork", _OWN_NETWORK, ["*"], own),
        _allow("Tag", ["ec2:CreateTags"], ["*"], {**here, "Null": {"ec2:CreateAction": "false"}}),
        _allow("Adopt", ["ec2:CreateTags"], [arn("ec2", "security-group/*")], adopted),
        _allow("Roles", _ROLE, [role, profile]),
        _allow("BoundedRoles", _BOUNDED, [role], {"StringEquals": bounded}),
        _allow("Hosts", ["iam:AttachRolePolicy"], [role], {"StringEquals": host}),
        _allow("Pass", ["iam:PassRole"], [role], {"StringEquals": {"iam:PassedToService": list(PASSED_TO)}}),
        _allow(
            "Linked",
            ["iam:CreateServiceLinkedRole"],
            [arn("iam", "role/aws-service-role/*")],
            {"StringEquals": {"iam:AWSServiceName": list(SERVICES)}},
        ),
        _allow("Own", _OWN, [found for kind in owned for found in kind]),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def probes(cluster: str, account: str, region: str, boundary: str | None, partition: str = "aws") -> list[Probe]:
    """One action of each kind, which tells who may make and use a cluster from who may not."""

    arn = _Arns(partition, account, region)

    def role(action: str, **context: str) -> Probe:
        limited = {"iam:PermissionsBoundary": boundary} if boundary and action != "PassRole" else {}
        keys = {**limited, **{f"iam:{key}": value for key, value in context.items()}}
        return Probe(f"iam:{action}", arn("iam", f"role/{cluster}-webhook"), tuple(keys.items()))

    here, tag = ("aws:RequestedRegion", region), (f"aws:ResourceTag/{CLUSTER_TAG}", cluster)
    linked = arn("iam", f"role/aws-service-role/{SERVICES[0]}/AWSServiceRoleForBatch")
    bucket = f"arn:{partition}:s3:::{cluster}-{{}}-{account}-{region}"
    return [
        Probe("batch:CreateJobQueue", arn("batch", f"job-queue/{cluster}-fargate")),
        Probe("batch:DescribeJobs"),
        Probe("batch:SubmitJob", arn("batch", f"job-queue/{cluster}-fargate")),
        Probe("cloudwatch:PutMetricAlarm", arn("cloudwatch", f"alarm:{cluster}-webhook-errors")),
        Probe("dynamodb:CreateTable", arn("dynamodb", f"table/{cluster}-webhook")),
        Probe("ec2:CreateVpc", arn("ec2", "vpc/*"), (here,)),
        Probe("ec2:DeleteVpc", arn("ec2", "vpc/*"), (here, tag)),
        Probe("ec2:DescribeVpcs", context=(here,)),
        Probe("ecr:CreateRepository", arn("ecr", f"repository/{cluster}/node")),
        Probe("ecr:GetAuthorizationToken"),
        Probe("ecr:PutImage", arn("ecr", f"repository/{cluster}/node")),
        Probe("events:PutRule", arn("events", f"rule/{cluster}-failed-run")),
        role("CreateRole"),
        Probe("iam:CreateServiceLinkedRole", linked, (("iam:AWSServiceName", SERVICES[0]),)),
        role("PassRole", PassedToService="lambda.amazonaws.com"),
        role("PutRolePolicy"),
        Probe("lambda:CreateFunction", arn("lambda", f"function:{cluster}-webhook")),
        Probe("lambda:GetAccountSettings"),
        Probe("lambda:InvokeFunction", arn("lambda", f"function:{cluster}-webhook")),
        Probe("logs:CreateLogGroup", arn("logs", f"log-group:/numerai/{cluster}/runs")),
        Probe("s3:CreateBucket", bucket.format("artifacts")),
        Probe("s3:PutObject", bucket.format("state") + "/state"),
        Probe("scheduler:CreateSchedule", arn("scheduler", f"schedule/default/{cluster}-node")),
        Probe("secretsmanager:PutSecretValue", arn("secretsmanager", f"secret:{cluster}/numerai-keys-AbCdEf")),
        Probe("sns:CreateTopic", arn("sns", f"{cluster}-failures")),
        Probe("ssm:PutParameter", arn("ssm", f"parameter{keys_path(cluster)}NUMERAI_PUBLIC_ID")),
        Probe("tag:GetResources"),
    ]


def denied(clients: AwsClients, asked: Iterable[Probe]) -> Iterator[str]:
    """The actions among these that the credentials may not do, as IAM's simulator says.

    Raises what the simulator's own refusal is; not everybody may ask it. It takes each action on each resource that it
    is given, so there is one question for each resource (API reference, SimulatePrincipalPolicy).
    """
    with aws_errors():
        iam = clients.client("iam")
        who = _principal(clients, clients.client("sts").get_caller_identity()["Arn"])

    def alike(probe: Probe) -> tuple[str, tuple[tuple[str, str], ...]]:
        return probe.resource, probe.context

    for (resource, context), same in groupby(sorted(asked, key=alike), alike):
        keys = [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"} for key, value in context
        ]
        with aws_errors():
            answer = iam.simulate_principal_policy(
                PolicySourceArn=who,
                ActionNames=[probe.action for probe in same],
                ResourceArns=[resource],
                ContextEntries=keys,
            )
        for result in answer["EvaluationResults"]:
            if result["EvalDecision"] != "allowed":
                yield result["EvalActionName"]


def _principal(clients: AwsClients, arn: str) -> str:
    """The role behind a session: the simulator takes users and roles only. A session's ARN leaves the role's path out,
    which those of IAM Identity Center have (IAM user guide, reference_identifiers.html)."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, tail = arn.partition(":assumed-role/")
    name = tail.split("/")[0]
    try:
        found = clients.shows("iam", "get_role", RoleName=name)
    except NumeraiError:
        found = None  # not everybody may ask
    return str(found["Role"]["Arn"]) if found else f"{head.replace(':sts:', ':iam:')}:role/{name}"


def _allow(
    name: str, actions: tuple[str, ...] | list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement
