"""The permissions that this tool needs in AWS: as a policy to hand to whoever gives them, and as a check."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .clients import AwsClients, aws_errors
from .lambda_package import FUNCTIONS
from .node_keys import keys_path

_LOOK = (
    "batch:Describe*",
    "batch:List*",
    "budgets:ListTagsForResource",
    "budgets:ViewBudget",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:ListTagsForResource",
    "dynamodb:ListTables",
    "ec2:Describe*",
    "ecr:DescribeRepositories",
    "ecr:GetAuthorizationToken",
    "iam:SimulatePrincipalPolicy",
    "lambda:ListFunctions",
    "logs:DescribeLogGroups",
    "servicequotas:GetServiceQuota",
    "sts:GetCallerIdentity",
    "tag:GetResources",
)
_NETWORK = (
    "ec2:AssociateRouteTable",
    "ec2:AttachInternetGateway",
    "ec2:AuthorizeSecurityGroupEgress",
    "ec2:CreateInternetGateway",
    "ec2:CreateLaunchTemplate",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateRoute",
    "ec2:CreateRouteTable",
    "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet",
    "ec2:CreateTags",
    "ec2:CreateVpc",
    "ec2:DeleteInternetGateway",
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteRoute",
    "ec2:DeleteRouteTable",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSubnet",
    "ec2:DeleteTags",
    "ec2:DeleteVpc",
    "ec2:DetachInternetGateway",
    "ec2:DisassociateRouteTable",
    "ec2:ModifySecurityGroupRules",
    "ec2:ModifySubnetAttribute",
    "ec2:ModifyVpcAttribute",
    "ec2:RevokeSecurityGroupEgress",
    "ec2:RevokeSecurityGroupIngress",
)
_ROLE = (
    "iam:AddRoleToInstanceProfile",
    "iam:AttachRolePolicy",
    "iam:CreateInstanceProfile",
    "iam:CreateRole",
    "iam:DeleteInstanceProfile",
    "iam:DeleteRole",
    "iam:DeleteRolePolicy",
    "iam:DetachRolePolicy",
    "iam:GetInstanceProfile",
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListRolePolicies",
    "iam:PassRole",
    "iam:PutRolePolicy",
    "iam:RemoveRoleFromInstanceProfile",
    "iam:TagInstanceProfile",
    "iam:TagRole",
    "iam:UntagRole",
    "iam:UpdateAssumeRolePolicy",
)
PROBED = (
    "batch:CreateJobQueue",
    "batch:SubmitJob",
    "dynamodb:CreateTable",
    "ec2:CreateVpc",
    "ecr:CreateRepository",
    "ecr:PutImage",
    "iam:CreateRole",
    "iam:PassRole",
    "lambda:CreateFunction",
    "lambda:InvokeFunction",
    "logs:CreateLogGroup",
    "s3:CreateBucket",
    "sns:CreateTopic",
    "ssm:PutParameter",
    "tag:GetResources",
)
"""One action of each kind, which tells who may make a cluster from who may not."""

NO_ACCOUNT = "ACCOUNT"
"""In place of an account's number that is not known. IAM takes no policy with it by mistake: an account is 12 digits
(docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html)."""


def minimal_policy(cluster: str, account: str, region: str, *, partition: str = "aws") -> dict[str, Any]:
    """The IAM policy that suffices to make, use and remove a cluster of this name, and nothing beside it.

    Networks have no name before they are made, so what makes them is bound to the region instead.
    """

    def arn(service: str, what: str, *, regional: bool = True) -> str:
        return f"arn:{partition}:{service}:{region if regional else ''}:{account}:{what}"

    here = {"StringEquals": {"aws:RequestedRegion": region}}
    bucket = f"arn:{partition}:s3:::{cluster}-artifacts-{account}-{region}"
    batch = ("compute-environment", "job-queue", "job-definition")
    logs = (f"/numerai/{cluster}/*", *(f"/aws/lambda/{cluster}-{function}*" for function in FUNCTIONS))
    roles = [arn("iam", f"{kind}/{cluster}-*", regional=False) for kind in ("role", "instance-profile")]
    statements = [
        _allow("Look", _LOOK, ["*"]),
        _allow("Network", _NETWORK, ["*"], here),
        _allow("Roles", _ROLE, roles),
        _allow(
            "BatchsOwnRole",
            ["iam:CreateServiceLinkedRole"],
            [arn("iam", "role/aws-service-role/batch.amazonaws.com/*", regional=False)],
        ),
        _allow("Batch", ["batch:*"], [*(arn("batch", f"{kind}/{cluster}-*") for kind in batch), arn("batch", "job/*")]),
        _allow("Functions", ["lambda:*"], [arn("lambda", f"function:{cluster}-{function}") for function in FUNCTIONS]),
        _allow("Images", ["ecr:*"], [arn("ecr", f"repository/{cluster}/*")]),
        _allow("Keys", ["ssm:*"], [arn("ssm", f"parameter{keys_path(cluster)}*")]),
        # where versions before this one kept them: read once and removed by the next `node config`
        _allow("OlderKeys", ["secretsmanager:*"], [arn("secretsmanager", f"secret:{cluster}/*")]),
        _allow("Triggers", ["dynamodb:*"], [arn("dynamodb", f"table/{cluster}-webhook")]),
        _allow("Models", ["s3:*"], [bucket, f"{bucket}/*"]),
        _allow("Logs", ["logs:*"], [arn("logs", f"log-group:{group}") for group in logs]),
        _allow("Alarms", ["cloudwatch:*"], [arn("cloudwatch", f"alarm:{cluster}-*")]),
        _allow("Notices", ["sns:*"], [arn("sns", f"{cluster}-*")]),
        _allow("Rules", ["events:*"], [arn("events", f"rule/{cluster}-*")]),
        _allow("Schedules", ["scheduler:*"], [arn("scheduler", f"schedule/default/{cluster}-*")]),
        _allow("Budget", ["budgets:*"], [arn("budgets", f"budget/{cluster}-*", regional=False)]),
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def denied(clients: AwsClients) -> Iterator[str]:
    """The probed actions that these credentials may not do, as IAM's simulator says.

    Raises what the simulator's own refusal is; not everybody may ask it.
    """
    with aws_errors():
        who = clients.client("sts").get_caller_identity()["Arn"]
        iam = clients.client("iam")
        answer = iam.simulate_principal_policy(PolicySourceArn=_principal(who), ActionNames=list(PROBED))
    for result in answer["EvaluationResults"]:
        if result["EvalDecision"] != "allowed":
            yield result["EvalActionName"]


def _principal(arn: str) -> str:
    """The role behind a session: the simulator takes users and roles only."""
    if ":assumed-role/" not in arn:
        return arn
    head, _, tail = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{tail.split('/')[0]}"


def _allow(
    name: str, actions: tuple[str, ...] | list[str], resources: list[str], condition: dict[str, Any] | None = None
) -> dict[str, Any]:
    statement: dict[str, Any] = {"Sid": name, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement
