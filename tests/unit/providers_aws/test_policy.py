"""The policy that the tool asks for, and the check whether it is held."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from numerai_compute.adapters.terraform_errors import Diagnostic, explain
from numerai_compute.errors import ProviderError
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.models import Check, CheckStatus
from numerai_compute.providers.aws.clients import aws_errors
from numerai_compute.providers.aws.policy import (
    CLUSTER_TAG,
    HOST_POLICY,
    NO_ACCOUNT,
    PASSED_TO,
    Probe,
    minimal_policy,
    own_boundary,
    probes,
)
from numerai_compute.providers.aws.remote_state import state_bucket
from numerai_compute.providers.aws.terraform import terraform_root

from tests.aws.iam import Ask, access_denied, decide

from .conftest import ACCOUNT, REGION, World

ROOT = terraform_root()
POLICY = minimal_policy("numerai", ACCOUNT, REGION)
SSO = "AWSReservedSSO_Admin_0123456789abcdef"
PROBES = probes("numerai", ACCOUNT, REGION, own_boundary("numerai", ACCOUNT))
SSO_ARN = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/eu-west-1/{SSO}"
LIMIT = 6144
"""Characters of a managed policy, blanks aside (IAM quotas)."""


OPEN = {"Look", "Network", "OwnNetwork", "Tag"}
"""The statements about every resource: they read, or are bound to the region and to the cluster's tag."""
BOUNDARY = own_boundary("numerai", ACCOUNT)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/numerai-run"
HERE = {"aws:RequestedRegion": REGION}


def allows(action: str, resource: str, **context: str) -> bool:
    """Whether the printed policy allows it; in the names of keys `__` stands for `:`."""
    return decide(
        Ask(action, resource, {key.replace("__", ":"): value for key, value in context.items()}), [POLICY]
    ).allowed


def statement(name: str) -> dict[str, Any]:
    return next(dict(found) for found in POLICY["Statement"] if found["Sid"] == name)


def test_only_what_reads_and_networks_are_open_to_every_resource() -> None:
    wide = {found["Sid"]: found for found in POLICY["Statement"] if "*" in found["Resource"]}
    assert set(wide) == OPEN
    for name in OPEN - {"Look"}:
        assert wide[name]["Condition"]["StringEquals"]["aws:RequestedRegion"] == REGION
        assert all(action.startswith("ec2:") for action in wide[name]["Action"])
    changing = ("Create", "Delete", "Put", "Update", "Attach", "Modify")
    assert not [action for action in wide["Look"]["Action"] if action.partition(":")[2].startswith(changing)]


def test_every_other_statement_is_bound_to_the_clusters_name() -> None:
    for found in POLICY["Statement"]:
        if found["Sid"] not in OPEN:
            rest = [resource for resource in found["Resource"] if "numerai" not in resource]
            assert [resource.rpartition(":")[2] for resource in rest] in (
                [],
                ["job/*"],
                ["security-group/*"],
                ["role/aws-service-role/*"],
            )


@pytest.mark.parametrize(("cluster", "region"), [("numerai", "us-east-1"), ("n" * 24, "ap-southeast-2")])
def test_it_fits_into_one_managed_policy(cluster: str, region: str) -> None:
    """Characters without blanks: IAM user guide, reference_iam-quotas.html."""
    printed = json.dumps(minimal_policy(cluster, ACCOUNT, region), indent=2)
    assert len("".join(printed.split())) <= LIMIT


def test_what_doctor_probes_is_what_the_policy_allows() -> None:
    for probe in PROBES:
        assert decide(Ask(probe.action, probe.resource, dict(probe.context)), [POLICY]).allowed, probe
    assert len({probe.action for probe in PROBES}) == len(PROBES)


@pytest.mark.parametrize("action", ["CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"])
def test_no_role_is_made_or_changed_without_the_boundary(action: str) -> None:
    assert not allows(f"iam:{action}", ROLE)
    assert not allows(f"iam:{action}", ROLE, iam__PermissionsBoundary=f"arn:aws:iam::{ACCOUNT}:policy/numerai-other")
    assert allows(f"iam:{action}", ROLE, iam__PermissionsBoundary=BOUNDARY)
    assert not allows(f"iam:{action}", ROLE.replace("numerai", "other"), iam__PermissionsBoundary=BOUNDARY)


def test_who_may_assume_a_role_cannot_be_changed() -> None:
    """IAM knows no condition on the boundary for it: it would open any role of such a name to its holder."""
    assert not allows("iam:UpdateAssumeRolePolicy", ROLE, iam__PermissionsBoundary=BOUNDARY)


def test_a_host_of_ec2_finds_its_cluster_under_the_boundary() -> None:
    """For `ecs:DiscoverPollEndpoint` AWS knows no resource, so that it is asked of `*`."""
    assert allows("ecs:DiscoverPollEndpoint", "*")


def test_the_boundary_cannot_be_taken_away_or_changed() -> None:
    for action in ("CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicy", "DeletePolicyVersion"):
        assert not allows(f"iam:{action}", BOUNDARY)
    assert not allows("iam:DeleteRolePermissionsBoundary", ROLE, iam__PermissionsBoundary=BOUNDARY)


def test_a_role_with_everything_gets_no_more_than_its_maker_has() -> None:
    """The way to administrator: a role with `*`, handed to a function. Its boundary is the printed policy itself."""
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    for action, resource in (
        ("iam:AttachUserPolicy", f"arn:aws:iam::{ACCOUNT}:user/me"),
        ("iam:CreateAccessKey", f"arn:aws:iam::{ACCOUNT}:user/root"),
        ("iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT}:role/admin"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/admin"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/x"),
    ):
        assert decide(Ask(action, resource, HERE), [everything]).allowed
        assert not decide(Ask(action, resource, HERE), [everything], boundary=POLICY).allowed


def test_only_the_managed_policy_of_hosts_is_attached() -> None:
    host = f"arn:aws:iam::aws:policy/{HOST_POLICY}"
    assert HOST_POLICY in (ROOT / "iam.tf").read_text()
    assert allows("iam:AttachRolePolicy", ROLE, iam__PermissionsBoundary=BOUNDARY, iam__PolicyARN=host)
    assert not allows("iam:AttachRolePolicy", ROLE, iam__PolicyARN=host)
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert not allows("iam:AttachRolePolicy", ROLE, iam__PermissionsBoundary=BOUNDARY, iam__PolicyARN=admin)


def test_roles_are_handed_only_to_the_services_that_they_are_made_for() -> None:
    for service in PASSED_TO:
        assert allows("iam:PassRole", ROLE, iam__PassedToService=service)
    assert not allows("iam:PassRole", ROLE)
    for service in ("cloudformation.amazonaws.com", "glue.amazonaws.com", "ssm.amazonaws.com"):
        assert not allows("iam:PassRole", ROLE, iam__PassedToService=service)
    trusted = set(re.findall(r'= "([a-z0-9-]+\.amazonaws\.com)"', (ROOT / "iam.tf").read_text()))
    assert trusted == set(PASSED_TO)


def test_service_linked_roles_are_those_of_batch_and_ecs() -> None:
    for service, name in (("batch", "Batch"), ("ecs", "ECS")):
        own = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}.amazonaws.com/AWSServiceRoleFor{name}"
        assert allows("iam:CreateServiceLinkedRole", own, iam__AWSServiceName=f"{service}.amazonaws.com")
        assert not allows("iam:CreateServiceLinkedRole", own, iam__AWSServiceName="rds.amazonaws.com")


@pytest.mark.parametrize(
    "action", ["DeleteVpc", "DeleteTags", "ModifyVpcAttribute", "DetachInternetGateway", "CreateTags"]
)
def test_of_networks_only_what_bears_the_clusters_tag_is_changed(action: str) -> None:
    vpc, tag = f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-1", f"aws:ResourceTag/{CLUSTER_TAG}"
    assert decide(Ask(f"ec2:{action}", vpc, {**HERE, tag: "numerai"}), [POLICY]).allowed
    for keys in ({}, {tag: "other"}, {tag: "numerai", "aws:RequestedRegion": "eu-west-1"}):
        assert not decide(Ask(f"ec2:{action}", vpc, {**HERE, **keys}), [POLICY]).allowed


def test_the_state_bucket_is_the_clusters_too() -> None:
    bucket = f"arn:aws:s3:::{state_bucket('numerai', ACCOUNT, REGION)}"
    for action in ("CreateBucket", "PutBucketVersioning", "PutBucketPolicy", "ListBucketVersions", "DeleteBucket"):
        assert allows(f"s3:{action}", bucket)
    for action in ("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion"):
        assert allows(f"s3:{action}", f"{bucket}/numerai/terraform.tfstate.tflock")
    assert not allows("s3:GetObject", f"arn:aws:s3:::{state_bucket('other', ACCOUNT, REGION)}/x")


def test_the_provider_gives_the_policy_of_its_cluster_and_says_how_it_limits_itself(world: World) -> None:
    said: list[str] = []
    assert world.provider.policy(said.append) == POLICY
    (how,) = said
    assert "managed policy named numerai" in how and f"--set permissions_boundary={BOUNDARY}" in how


def test_a_boundary_of_ones_own_stands_in_the_policy(world: World) -> None:
    other = f"arn:aws:iam::{ACCOUNT}:policy/limits"
    world.parts.settings = replace(world.parts.settings, permissions_boundary=other)
    assert world.provider.policy(pytest.fail) == minimal_policy("numerai", ACCOUNT, REGION, boundary=other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "options", "why", "region"),
    [
        ({}, (), "no AWS credentials", "us-east-1"),
        ({"AWS_REGION": "eu-west-2"}, (), "no AWS credentials", "eu-west-2"),
        ({}, ("--region", "eu-west-1"), "no AWS credentials", "eu-west-1"),
        ({"AWS_PROFILE": "nobody"}, (), "(nobody) could not be found", "us-east-1"),
        (
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            (),
            "cannot be reached",
            "us-east-1",
        ),
    ],
)
def test_without_credentials_or_network_the_account_has_a_placeholder(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    options: tuple[str, ...],
    why: str,
    region: str,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), str(home / "none"))
    for name, value in {**nothing, "AWS_EC2_METADATA_DISABLED": "true", **variables}.items():
        monkeypatch.setenv(name, value)
    assert run(["setup", "-P", "aws", "--print-policy", *options], Factory(home)) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == minimal_policy("numerai", NO_ACCOUNT, region)
    assert f"in place of {NO_ACCOUNT}" in printed.err and f"region {region}" in printed.err and why in printed.err
    assert not home.exists()


class Simulator:
    """IAM's simulator over one policy, for one principal."""

    def __init__(self, policy: dict[str, Any], who: str, roles: dict[str, str] | None = None):
        self.policy, self.who, self.roles = policy, who, roles or {}
        self.sources: set[str] = set()

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": self.who, "Account": ACCOUNT}

    def get_role(self, RoleName: str) -> dict[str, Any]:
        if RoleName not in self.roles:
            refused = {"Error": {"Code": "AccessDenied", "Message": "not authorized to perform: iam:GetRole"}}
            raise ClientError(refused, "GetRole")
        return {"Role": {"Arn": self.roles[RoleName]}}

    def simulate_principal_policy(
        self, PolicySourceArn: str, ActionNames: list[str], ResourceArns: list[str], ContextEntries: list[Any]
    ) -> dict[str, Any]:
        self.sources.add(PolicySourceArn)
        keys = {entry["ContextKeyName"]: entry["ContextKeyValues"] for entry in ContextEntries}
        decisions = {
            (name, arn): decide(Ask(name, arn, keys), [self.policy]).allowed
            for name in ActionNames
            for arn in ResourceArns
        }
        return {
            "EvaluationResults": [
                {"EvalActionName": name, "EvalDecision": "allowed" if allowed else "implicitDeny"}
                for (name, _), allowed in decisions.items()
            ]
        }


def permissions(world: World, monkeypatch: pytest.MonkeyPatch, simulator: Simulator, **settings: Any) -> Check:
    """What doctor finds out about the permissions."""
    monkeypatch.setattr(type(world.clients), "account", ACCOUNT)
    for service in ("iam", "sts"):
        monkeypatch.setitem(world.clients._clients, service, simulator)
    world.parts.settings = replace(world.parts.settings, **{"permissions_boundary": BOUNDARY, **settings})
    world.parts.terraform = SimpleNamespace(program=("/bin/terraform", "1.11.4"))  # type: ignore[assignment]
    monkeypatch.setattr("numerai_compute.providers.aws.checks.cluster_remains", lambda *_: iter(()))
    return next(check for check in world.provider.checks([]) if check.name == "AWS permissions")


@pytest.mark.parametrize(
    ("who", "roles", "asked"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/me", {}, f"arn:aws:iam::{ACCOUNT}:user/me"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/session", {}, f"arn:aws:iam::{ACCOUNT}:role/admin"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/{SSO}/ada", {SSO: SSO_ARN}, SSO_ARN),
    ],
)
def test_who_holds_the_printed_policy_lacks_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, who: str, roles: dict[str, str], asked: str
) -> None:
    simulator = Simulator(POLICY, who, roles)
    check = permissions(world, monkeypatch, simulator)
    assert (check.status, check.why) == (CheckStatus.OK, "enough to make and use a cluster, as IAM's simulator says")
    assert simulator.sources == {asked}


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.action)
def test_an_action_that_is_taken_away_is_named_by_doctor_and_by_the_error(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, probe: Probe
) -> None:
    deny = {"Effect": "Deny", "Action": probe.action, "Resource": "*"}
    less = {**POLICY, "Statement": [*POLICY["Statement"], deny]}
    who = f"arn:aws:iam::{ACCOUNT}:user/me"
    check = permissions(world, monkeypatch, Simulator(less, who))
    assert (check.status, check.why) == (CheckStatus.FAILED, f"these credentials may not do {probe.action}")
    ask = Ask(probe.action, probe.resource, dict(probe.context))
    sentence = access_denied(who, ask, decide(ask, [less]).why)
    refused = {"Error": {"Code": "AccessDeniedException", "Message": sentence}}
    with pytest.raises(ProviderError) as sdk, aws_errors():
        raise ClientError(refused, "SomeOperation")
    error = f"operation error EC2: SomeOperation, StatusCode: 403, api error UnauthorizedOperation: {sentence}"
    for said in (sdk.value, explain([Diagnostic(f"Error: creating: {error}")], tmp_path)):
        assert probe.action in said.message


def test_without_the_setting_doctor_says_that_only_the_boundary_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = Simulator(POLICY, f"arn:aws:iam::{ACCOUNT}:user/me")
    check = permissions(world, monkeypatch, simulator, permissions_boundary=None)
    assert check.status is CheckStatus.FAILED
    assert check.why == (
        "these credentials may do iam:CreateRole, iam:PutRolePolicy only with a permissions boundary, and none is set"
    )
    assert check.mend == f"numerai setup -s -P aws --set permissions_boundary={BOUNDARY}"
