"""What the AWS account lets a cluster have: looked at before Terraform asks for more and stops half way."""

from __future__ import annotations

from ...errors import NumeraiError
from .clients import AwsClients, aws_errors

KEPT_UNRESERVED = 100
"""Of the executions that an account may run at once, what Lambda keeps for functions that reserve none
(docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html). New accounts, whose limit may be 10, are refused
with a minimum of 10 or 50 (github.com/DataDog/datadog-serverless-functions/issues/621): more is never kept."""
NONE_RESERVED = -1


def affordable_concurrency(clients: AwsClients, function: str, wanted: int) -> int:
    """How many executions this function can reserve, at most `wanted`; -1 where the account has none to spare.

    What the function has reserved already counts as free. Where AWS does not say, it is `wanted`.
    """
    if wanted == NONE_RESERVED:
        return wanted
    try:
        with aws_errors():
            limits = clients.client("lambda").get_account_settings()["AccountLimit"]
        own = clients.shows("lambda", "get_function_concurrency", FunctionName=function) or {}
    except NumeraiError:
        return wanted
    free = limits["UnreservedConcurrentExecutions"] + (own.get("ReservedConcurrentExecutions") or 0) - KEPT_UNRESERVED
    return min(wanted, free) if free >= 1 else NONE_RESERVED


def in_words(wanted: int, reserved: int) -> str | None:
    """What a person is told when the account cannot spare what the settings ask for; None when it can."""
    if reserved == wanted:
        return None
    what = "none" if reserved == NONE_RESERVED else f"only {reserved}"
    return (
        f"The webhook reserves {what} of the account's concurrent Lambda executions instead of {wanted}: the account's "
        "limit leaves no more (Service Quotas, AWS Lambda, Concurrent executions). It works all the same"
    )
