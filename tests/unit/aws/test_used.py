"""The printed policy allows what is used and nothing beyond, apart from what is written down here with its reason."""

from __future__ import annotations

import fnmatch

import pytest

pytest.importorskip("boto3")

from numerai_compute.providers.aws.policy import minimal_policy

from tests.aws.judging import known

GRANTED = {
    (statement["Sid"], action)
    for statement in minimal_policy("numerai", "123456789012", "us-east-1")["Statement"]
    for action in statement["Action"]
}
HOST = "what a host of EC2 does by itself: the policy is also its role's boundary"
LATER = "what Terraform's provider does to such a thing when a later version of the root changes it"
BEYOND = {
    ("Look", "lambda:GetAccountSettings"): "how much concurrency the account has to give away",
    ("Look", "ecs:DiscoverPollEndpoint"): HOST,
    ("OwnNetwork", "ec2:CreateLaunchTemplateVersion"): "a node that needs more disk on hosts that are there already",
    ("OwnNetwork", "ec2:CreateTags"): "a tag of a thing that is there already, such as the id of another record",
    ("OwnNetwork", "ec2:ModifyLaunchTemplate"): LATER,
    ("OwnNetwork", "ec2:ModifySecurityGroupRules"): LATER,
    ("Roles", "iam:UntagRole"): LATER,
    ("Roles", "iam:UpdateRole"): LATER,
    ("Roles", "iam:UpdateRoleDescription"): LATER,
    ("BoundedRoles", "iam:PutRolePermissionsBoundary"): "a cluster that was made without one gets it",
    ("Linked", "iam:CreateServiceLinkedRole"): "in a new account; the emulator's has the roles",
    ("Own", "ecs:DeregisterContainerInstance"): HOST,
    ("Own", "ecs:Poll"): HOST,
    ("Own", "ecs:RegisterContainerInstance"): HOST,
    ("Own", "ecs:StartTelemetrySession"): HOST,
    ("Own", "ecs:Submit*"): HOST,
    ("Own", "ecs:TagResource"): HOST,
    ("Own", "ecs:UpdateContainerInstancesState"): HOST,
    ("Own", "ssm:*"): "the Numerai keys as parameters, which cost nothing",
}
"""Actions that the tests of the cluster do not use: those of other commands, of a new account, of another day."""
WIDE = {
    ("Look", "batch:Describe*"): "reads; AWS knows no resource for it",
    ("Look", "batch:List*"): "reads; AWS knows no resource for it",
    ("Look", "ec2:Describe*"): "reads; AWS knows no resource for it",
    ("Look", "servicequotas:Get*"): "the account's own quota, or the default where it has none",
    ("Roles", "iam:*InstanceProfile"): "only on those of the cluster's name",
    ("OwnNetwork", "ec2:Delete*"): "only of what has the cluster's tag",
    ("OwnNetwork", "ec2:RevokeSecurityGroup*"): "only of a group that has the cluster's tag",
    **{
        ("Own", f"{service}:*"): "only on things of the cluster's own name; `docker push` is among them"
        for service in (
            *("batch", "budgets", "cloudwatch", "dynamodb", "ecr", "events", "lambda", "logs"),
            *("s3", "scheduler", "secretsmanager", "sns", "ssm"),
        )
    },
}
"""Patterns that allow more than the actions that are used."""


def is_used(statement: str, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for action in known().get(statement, ()))


def test_every_action_is_used_or_has_its_reason() -> None:
    assert {granted for granted in GRANTED if not is_used(*granted)} - set(BEYOND) == set()
    assert {granted for granted in GRANTED if "*" in granted[1]} - set(WIDE) - set(BEYOND) == set()


def test_no_reason_is_left_of_what_is_not_granted() -> None:
    assert (set(BEYOND) | set(WIDE)) - GRANTED == set()


def test_no_statement_is_unused() -> None:
    names = {statement for statement, _ in GRANTED}
    assert names - set(known()) <= {"Linked"}, "in a new account only"


def test_everything_that_is_used_is_granted() -> None:
    names = {statement for statement, _ in GRANTED}
    for statement, actions in known().items():
        for action in actions if statement in names else ():
            assert any(
                fnmatch.fnmatchcase(action.lower(), pattern.lower()) for name, pattern in GRANTED if name == statement
            ), (statement, action)
