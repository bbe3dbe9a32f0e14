"""Who may call the webhook's function: everybody through its address, and nobody directly.

Since October 2025 a function URL takes two public permissions: `lambda:InvokeFunctionUrl`, and `lambda:InvokeFunction`
narrowed to calls through the address by the condition `lambda:InvokedViaFunctionUrl`
(docs.aws.amazon.com/lambda/latest/dg/urls-auth.html). The version of Terraform's provider in use has no argument for
that condition, so this tool puts the second permission itself. It goes with the function.
"""

from __future__ import annotations

import json
from typing import Any

from .clients import AwsClients, aws_errors

STATEMENT = "NumeraiCallsThroughTheUrl"
CONDITION = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}


def let_the_url_call(clients: AwsClients, function: str) -> bool:
    """Put the permission where it is missing; says whether it was. A function that is not there has none to put."""
    held = _statements(clients, function)
    if held is None or _narrow(held):
        return False
    with aws_errors():
        client = clients.client("lambda")
        if any(statement.get("Sid") == STATEMENT for statement in held):
            client.remove_permission(FunctionName=function, StatementId=STATEMENT)
        client.add_permission(
            FunctionName=function,
            StatementId=STATEMENT,
            Action="lambda:InvokeFunction",
            Principal="*",
            InvokedViaFunctionUrl=True,
        )
    return True


def url_may_call(clients: AwsClients, function: str) -> bool:
    """Whether the permission is there."""
    return _narrow(_statements(clients, function) or [])


def _narrow(statements: list[dict[str, Any]]) -> bool:
    return any(
        statement.get("Sid") == STATEMENT and statement.get("Condition") == CONDITION for statement in statements
    )


def _statements(clients: AwsClients, function: str) -> list[dict[str, Any]] | None:
    """The function's own policy; empty where it has none yet, None where there is no function."""
    found = clients.shows("lambda", "get_policy", FunctionName=function)
    if found:
        return list(json.loads(found["Policy"])["Statement"])
    return [] if clients.shows("lambda", "get_function_configuration", FunctionName=function) else None
