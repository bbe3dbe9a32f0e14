"""AWS mails nothing to an address that has not confirmed it: that is said, and does not count as notified."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from numerai_compute.models import Node
from numerai_compute.providers.aws.subscription import Mail, mail_to

from .conftest import World
from .test_runs import why

EMAIL = "me@example.org"


def subscriptions(*arns: str) -> dict[str, Any]:
    """What SNS lists: this address under each ARN, and another one."""
    other = {"SubscriptionArn": "arn:aws:sns:us-east-1:1:t:1", "Protocol": "email", "Endpoint": "other@example.org"}
    own = [{"SubscriptionArn": arn, "Protocol": "email", "Endpoint": EMAIL} for arn in arns]
    return {"Subscriptions": [other, *own]}


@pytest.fixture
def node(world: World) -> Node:
    """A node of a cluster that mails to `EMAIL`."""
    world.parts.settings = replace(world.parts.settings, notification_email=EMAIL)
    return world.configured()


@pytest.mark.parametrize(
    ("arns", "mail"),
    [
        (["PendingConfirmation"], Mail.UNCONFIRMED),
        (["arn:aws:sns:us-east-1:1:t:2"], Mail.CONFIRMED),
        (["PendingConfirmation", "arn:aws:sns:us-east-1:1:t:2"], Mail.CONFIRMED),
        ([], Mail.ABSENT),
        (["Deleted"], Mail.ABSENT),
        (["Deleted", "PendingConfirmation"], Mail.UNCONFIRMED),
    ],
)
def test_how_a_subscription_stands(world: World, answers: Any, arns: list[str], mail: Mail) -> None:
    answers("sns", "ListSubscriptionsByTopic", subscriptions(*arns))
    assert mail_to(world.clients, "arn:aws:sns:us-east-1:1:t", EMAIL) is mail


def test_config_asks_to_confirm_the_mail(world: World, answers: Any) -> None:
    world.parts.settings = replace(world.parts.settings, notification_email=EMAIL)
    answers("sns", "ListSubscriptionsByTopic", subscriptions("PendingConfirmation"))
    said: list[str] = []
    world.provider.configure(world.node(), said.append)
    assert [line for line in said if EMAIL in line and "confirm" in line]


def test_a_confirmed_address_is_asked_for_nothing(world: World, node: Node) -> None:
    said: list[str] = []
    world.provider.configure(node, said.append)
    assert not [line for line in said if EMAIL in line]
    assert why(world, "AWS notifications", node) == f"told: {EMAIL}"


def test_doctor_warns_of_an_address_that_has_not_confirmed(world: World, node: Node, answers: Any) -> None:
    answers("sns", "ListSubscriptionsByTopic", subscriptions("PendingConfirmation"))
    check = next(check for check in world.provider.checks([node]) if check.name == "AWS notifications")
    assert check.status.value == "warning" and f"{EMAIL} is sent nothing until" in check.why
    assert "click on the link" in str(check.mend)


def test_a_subscription_that_aws_dropped_is_said_and_made_again(world: World, node: Node, answers: Any) -> None:
    answers("sns", "ListSubscriptionsByTopic", subscriptions())
    assert f"gone: the subscription of {EMAIL}" in why(world, "AWS cluster", node)
    said: list[str] = []
    world.provider.configure(node, said.append)
    assert said[0] == f"Not there any more: the subscription of {EMAIL}. Making it again"
    assert len(world.terraform.applied) == 2
