"""The policy that the tool asks for, and the check whether it is held."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from numerai_compute.providers.aws.policy import PROBED, minimal_policy

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
    assert world.provider.policy() == POLICY


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
