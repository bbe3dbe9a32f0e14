"""The roles that AWS's own services act as: made before they are needed, in an account that has none yet."""

from __future__ import annotations

from ...errors import ProviderError
from ...ports import Clock, Report
from .clients import AwsClients, aws_errors

SERVICES = ("batch.amazonaws.com", "ecs.amazonaws.com")
"""Batch makes clusters in ECS, and the first one makes ECS's role and assumes it at once, which fails: "Unable to
assume the service linked role". In a new account the first apply failed and the second one worked
(github.com/aws/containers-roadmap/issues/2614, aws-cloudformation/cloudformation-coverage-roadmap/issues/818)."""
USABLE_SECONDS = 10
"""How long a new role takes to be known everywhere in AWS. Nothing tells, and AWS names no number: "Changes that I make
are not always immediately visible" (docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html)."""
_EXISTS = ("InvalidInput", "EntityAlreadyExists")
"""What IAM says of a role that is there ("has been taken in this account, please try a different suffix")."""


def make_service_roles(clients: AwsClients, clock: Clock, report: Report) -> None:
    """Make the roles that are missing, and wait until they can be used.

    Where these credentials may not make them, AWS still does so itself while it needs them.
    """
    made = [_made(clients, service, report) for service in SERVICES]
    if any(made):
        clock.sleep(USABLE_SECONDS)


def _made(clients: AwsClients, service: str, report: Report) -> bool:
    try:
        with aws_errors(absent=_EXISTS):
            clients.client("iam").create_service_linked_role(AWSServiceName=service)
    except ProviderError as error:
        if error.code not in ("absent", "aws-forbidden"):
            raise
        return False
    report(f"Made the role that {service} acts as, the first time in this account")
    return True
