"""In a new account AWS's services have no roles of their own yet: they are there before Batch needs them."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.errors import NumeraiError, ProviderError
from numerai_compute.providers.aws.service_roles import SERVICES, USABLE_SECONDS

from .conftest import World, quiet


def roles(world: World) -> set[str]:
    """The services that the account has a role for."""
    listed = world.clients.client("iam").list_roles(PathPrefix="/aws-service-role/")["Roles"]
    return {str(role["Path"]).split("/")[2] for role in listed}


def test_the_roles_are_there_and_usable_before_the_first_apply(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_apply: list[tuple[set[str], float]] = []
    plan = world.terraform.plan

    def looked(*args: Any, **kwargs: Any) -> Any:
        at_apply.append((roles(world), world.clock.elapsed))
        return plan(*args, **kwargs)

    monkeypatch.setattr(world.terraform, "plan", looked)
    said: list[str] = []
    world.provider.configure(world.node(), said.append)
    assert at_apply == [(set(SERVICES), USABLE_SECONDS)]
    assert len([line for line in said if "the first time in this account" in line]) == 2


def test_roles_that_are_there_cost_no_time(world: World, answers: Any) -> None:
    asked = answers("iam", "CreateServiceLinkedRole", "InvalidInput")
    node = world.configured()
    assert len(asked) == 2 and world.clock.elapsed == 0
    world.provider.configure(world.node(cpu=2, memory_mib=4096), quiet)
    world.provider.configure(node, quiet)
    assert len(asked) == 2, "only the first apply of a cluster makes them"


def test_a_first_apply_that_failed_makes_them_again(world: World, answers: Any) -> None:
    asked = answers("iam", "CreateServiceLinkedRole", None)
    world.terraform.fail = ProviderError("AWS does not let you", code="access-denied")
    with pytest.raises(NumeraiError):
        world.configured()
    world.configured()
    assert len(asked) == 4 and world.clock.elapsed == USABLE_SECONDS


def test_credentials_that_may_not_make_them_leave_it_to_aws(world: World, answers: Any) -> None:
    answers("iam", "CreateServiceLinkedRole", "AccessDenied")
    world.configured()
    assert world.stack().applied and world.clock.elapsed == 0


def test_another_refusal_is_said(world: World, answers: Any) -> None:
    answers("iam", "CreateServiceLinkedRole", "LimitExceeded")
    with pytest.raises(ProviderError, match="LimitExceeded"):
        world.configured()
