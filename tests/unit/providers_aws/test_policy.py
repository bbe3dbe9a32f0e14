"""The policy that the tool asks for, and the check whether it is held."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.providers.aws.policy import NO_ACCOUNT, PROBED, minimal_policy

from .conftest import ACCOUNT, REGION, World

POLICY = minimal_policy("numerai", ACCOUNT, REGION)
LIMIT = 6144
"""Characters of a managed policy, blanks aside (IAM quotas)."""


def test_only_what_reads_and_networks_are_open_to_every_resource() -> None:
    wide = {statement["Sid"]: statement for statement in POLICY["Statement"] if "*" in statement["Resource"]}
    assert set(wide) == {"Look", "Network"}
    assert wide["Network"]["Condition"] == {"StringEquals": {"aws:RequestedRegion": REGION}}
    changing = ("Create", "Delete", "Put", "Update", "Attach", "Modify")
    assert not [action for action in wide["Look"]["Action"] if action.partition(":")[2].startswith(changing)]
    assert all(action.startswith("ec2:") for action in wide["Network"]["Action"])


def test_every_other_statement_is_bound_to_the_clusters_name() -> None:
    for statement in POLICY["Statement"]:
        if statement["Sid"] not in ("Look", "Network", "BatchsOwnRole"):
            bound = [resource for resource in statement["Resource"] if "numerai" in resource]
            assert bound == [resource for resource in statement["Resource"] if not resource.endswith(":job/*")]


def test_it_fits_into_one_managed_policy_and_covers_what_is_probed() -> None:
    assert len(json.dumps(POLICY, separators=(",", ":"))) < LIMIT
    allowed = [action for statement in POLICY["Statement"] for action in statement["Action"]]
    services = {action.partition(":")[0] for action in allowed if action.endswith(":*")}
    assert not [action for action in PROBED if action not in allowed and action.partition(":")[0] not in services]


def test_the_provider_gives_the_policy_of_its_cluster(world: World) -> None:
    assert world.provider.policy(pytest.fail) == POLICY


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


@pytest.mark.parametrize(
    ("who", "asked"),
    [
        ("arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/me"),
        ("arn:aws:sts::123456789012:assumed-role/admin/session", "arn:aws:iam::123456789012:role/admin"),
    ],
)
def test_what_is_missing_is_named(world: World, monkeypatch: pytest.MonkeyPatch, who: str, asked: str) -> None:
    sources: list[str] = []

    def simulate(PolicySourceArn: str, ActionNames: list[str]) -> dict[str, Any]:
        sources.append(PolicySourceArn)
        refused = ("iam:PassRole",) if len(sources) == 1 else ()
        decisions = {name: "implicitDeny" if name in refused else "allowed" for name in ActionNames}
        return {
            "EvaluationResults": [
                {"EvalActionName": name, "EvalDecision": decision} for name, decision in decisions.items()
            ]
        }

    monkeypatch.setattr(type(world.clients), "account", ACCOUNT)
    monkeypatch.setitem(world.clients._clients, "iam", SimpleNamespace(simulate_principal_policy=simulate))
    monkeypatch.setitem(world.clients._clients, "sts", SimpleNamespace(get_caller_identity=lambda: {"Arn": who}))

    def permissions() -> Any:
        world.parts.terraform = SimpleNamespace(program=("/bin/terraform", "1.11.4"))  # type: ignore[assignment]
        checks = world.provider.checks([])
        return next(check for check in checks if check.name == "AWS permissions")

    monkeypatch.setattr("numerai_compute.providers.aws.checks.cluster_remains", lambda *_: iter(()))
    first, second = permissions(), permissions()
    assert (first.status.value, first.why) == ("failed", "these credentials may not do iam:PassRole")
    assert second.status.value == "ok"
    assert sources == [asked, asked]
