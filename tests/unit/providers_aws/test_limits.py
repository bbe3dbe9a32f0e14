"""What the account has to spare is looked at before Terraform asks for it."""

from __future__ import annotations

from typing import Any

import pytest
from numerai_compute.adapters.terraform_errors import Diagnostic, explain

from .conftest import World, quiet


def limits(total: int, unreserved: int) -> dict[str, Any]:
    """What Lambda's GetAccountSettings says of the account."""
    return {"AccountLimit": {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}}


def test_an_account_whose_limit_is_10_reserves_nothing_and_is_told_so(world: World, answers: Any) -> None:
    answers("lambda", "GetAccountSettings", limits(10, 10))
    said: list[str] = []
    world.provider.configure(world.node(), said.append)
    assert world.terraform.applied[0]["webhook_concurrency"] == -1
    assert [line for line in said if "reserves none" in line and "instead of 10" in line]


def test_the_preview_says_that_the_account_can_spare_less(world: World, answers: Any) -> None:
    answers("lambda", "GetAccountSettings", limits(1000, 104))
    assert [line for line in world.provider.preview(world.node()) if "reserves only 4" in line]


@pytest.mark.parametrize(
    ("unreserved", "reserved"), [(1000, 10), (110, 10), (109, 9), (101, 1), (100, -1), (50, -1), (10, -1)]
)
def test_as_much_is_reserved_as_aws_lets_go_of(world: World, answers: Any, unreserved: int, reserved: int) -> None:
    answers("lambda", "GetAccountSettings", limits(1000, unreserved))
    world.configured()
    assert world.terraform.applied[0]["webhook_concurrency"] == reserved


def test_what_the_webhook_has_reserved_already_counts_as_free(world: World, answers: Any) -> None:
    answers("lambda", "GetAccountSettings", limits(110, 110))
    node = world.configured()
    world.clients.client("lambda").put_function_concurrency(
        FunctionName="numerai-webhook", ReservedConcurrentExecutions=10
    )
    answers("lambda", "GetAccountSettings", limits(110, 100))
    world.provider.configure(node, quiet)
    assert len(world.terraform.applied) == 1


def test_a_limit_that_was_raised_is_used_by_the_next_config(world: World, answers: Any) -> None:
    answers("lambda", "GetAccountSettings", limits(10, 10))
    node = world.configured()
    answers("lambda", "GetAccountSettings", limits(1000, 1000))
    world.provider.configure(node, quiet)
    assert [given["webhook_concurrency"] for given in world.terraform.applied] == [-1, 10]


def test_credentials_that_may_not_ask_for_the_limits_ask_for_what_is_wanted(world: World, answers: Any) -> None:
    answers("lambda", "GetAccountSettings", "AccessDeniedException")
    world.configured()
    assert world.terraform.applied[0]["webhook_concurrency"] == 10


def test_a_reservation_that_aws_refuses_names_the_setting(world: World) -> None:
    refused = (
        "setting Lambda Function (numerai-webhook) concurrency: InvalidParameterValueException: Specified "
        "ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [10]."
    )
    error = explain([Diagnostic(refused)], world.home)
    assert error.code == "no-concurrency" and "webhook_concurrency=-1" in (error.hint or "")
