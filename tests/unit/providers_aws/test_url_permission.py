"""Who may call the webhook's function: Numerai through its address, and no stranger directly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from numerai_compute.models import CheckStatus
from numerai_compute.providers.aws.terraform import terraform_root
from numerai_compute.providers.aws.url_permission import STATEMENT, let_the_url_call

from tests.aws.iam import Ask, decide

from .conftest import World

FUNCTION = "numerai-webhook"


def own_policy(world: World) -> dict[str, Any]:
    """The function's own policy."""
    return dict(json.loads(world.clients.client("lambda").get_policy(FunctionName=FUNCTION)["Policy"]))


def stranger_may(world: World, **keys: str) -> bool:
    """Whether somebody unknown may invoke the function."""
    arn = world.clients.client("lambda").get_function(FunctionName=FUNCTION)["Configuration"]["FunctionArn"]
    context = {f"lambda:{name}": value for name, value in keys.items()}
    return decide(Ask("lambda:InvokeFunction", arn, context), [], None, own_policy(world), None).allowed


def test_the_address_may_call_and_nobody_directly(world: World) -> None:
    world.configured()
    assert stranger_may(world, InvokedViaFunctionUrl="true")
    assert not stranger_may(world)
    assert not stranger_may(world, InvokedViaFunctionUrl="false")


def test_a_second_configure_puts_nothing_and_a_lost_permission_is_put_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configured()
    before = own_policy(world)
    world.configured()
    assert own_policy(world) == before and not let_the_url_call(world.clients, FUNCTION)
    world.clients.client("lambda").remove_permission(FunctionName=FUNCTION, StatementId=STATEMENT)
    monkeypatch.setattr("numerai_compute.providers.aws.checks.denied", lambda *_: iter(()))
    (check,) = (check for check in world.provider.checks([]) if check.name == "AWS cluster")
    assert (check.status, check.mend) == (CheckStatus.FAILED, "numerai node config")
    applied = len(world.terraform.applied)
    world.configured()
    assert own_policy(world)["Statement"] == before["Statement"]
    assert len(world.terraform.applied) == applied, "which takes no Terraform"


def test_one_of_the_same_name_that_is_open_to_strangers_is_replaced(world: World) -> None:
    world.configured()
    client = world.clients.client("lambda")
    client.remove_permission(FunctionName=FUNCTION, StatementId=STATEMENT)
    client.add_permission(FunctionName=FUNCTION, StatementId=STATEMENT, Action="lambda:InvokeFunction", Principal="*")
    assert stranger_may(world)
    assert let_the_url_call(world.clients, FUNCTION)
    assert not stranger_may(world) and stranger_may(world, InvokedViaFunctionUrl="true")


def test_terraform_gives_strangers_no_permission_to_invoke() -> None:
    webhook = (terraform_root() / "webhook.tf").read_text()
    assert '"lambda:InvokeFunctionUrl"' in webhook
    assert '"lambda:InvokeFunction"' not in webhook
