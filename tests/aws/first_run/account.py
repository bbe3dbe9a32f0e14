"""The account of whoever runs this: the role that holds only the printed policy, and credentials of that role.

The role and its policy are named `first-run-of-<cluster>`: outside the names that the printed policy speaks of, so that
the role cannot change itself.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from numerai_compute.providers.aws.policy import own_boundary

from .model import CannotStart

SESSION_SECONDS = 3600
"""The longest that a role may be assumed by a role (docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html, "role
chaining"); what people log in with by SSO is a role."""
RENEWED_AFTER = 900
PATIENCE = 90
"""Seconds until a new role is known everywhere: IAM is eventually consistent
(docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html)."""
MANAGED_POLICY_CHARACTERS = 6144
"""docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html; white space does not count."""
_LOGIN = "Run `aws configure` or `aws sso login`, and name the profile: make aws-first-run ARGS='--profile NAME'."


@dataclass(frozen=True)
class Credentials:
    """Of the role, for an hour at most."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str


class Account:
    """An AWS account in one region, seen by its owner and by the role of one throwaway cluster."""

    def __init__(self, profile: str | None, region: str | None, cluster: str):
        self.cluster, self.profile = cluster, profile
        self.emulated = bool(os.environ.get("AWS_ENDPOINT_URL"))
        self.session = owner_session(profile, region)
        self.region = str(self.session.region_name or "us-east-1")
        identity = owner_identity(self.session.client("sts", region_name=self.region))
        self.number, self.owner_arn, self._user = identity["Account"], identity["Arn"], identity["UserId"]
        self._held: Credentials | None = None
        self._held_since = 0.0
        self._clients: dict[tuple[str, Credentials | None], Any] = {}

    @property
    def name(self) -> str:
        """Of the role: not one of the cluster's own, which the policy may change."""
        return f"first-run-of-{self.cluster}"

    @property
    def policy_arn(self) -> str:
        """Of the printed policy, once it is there. By its name it is the boundary of the roles it makes."""
        return own_boundary(self.cluster, self.number, self.owner_arn.split(":")[1])

    @property
    def belongings(self) -> list[str]:
        """What must not be in anything that is kept."""
        held = self._held
        keys = list(asdict(held).values()) if held else []
        return [self.number, self._user, self.owner_arn.rpartition(":")[2], *keys]

    def owner(self, service: str) -> Any:
        """A client with the owner's own credentials: for what the tool itself need not be able to do."""
        return self._client(service, None)

    def role(self, service: str) -> Any:
        """A client that may do what the printed policy allows."""
        return self._client(service, self.credentials())

    def _client(self, service: str, held: Credentials | None) -> Any:
        if (service, held) not in self._clients:
            keys = {} if held is None else asdict(held)
            self._clients[service, held] = self.session.client(service, region_name=self.region, **keys)
        return self._clients[service, held]

    def make_role(self, policy: str) -> None:
        """Make the role with exactly this policy, or bring the one of an earlier, interrupted run to it."""
        iam = self.owner("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": f"{self.policy_arn.rpartition(':policy/')[0]}:root"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        self.remove_role()
        iam.create_role(RoleName=self.name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.create_policy(PolicyName=self.cluster, PolicyDocument=policy)
        iam.attach_role_policy(RoleName=self.name, PolicyArn=self.policy_arn)

    def remove_role(self) -> None:
        """Remove the role and the policy, as far as they are there."""
        iam = self.owner("iam")
        self._held = None
        for remove in (
            lambda: iam.detach_role_policy(RoleName=self.name, PolicyArn=self.policy_arn),
            lambda: iam.delete_role(RoleName=self.name),
            lambda: iam.delete_policy(PolicyArn=self.policy_arn),
        ):
            unless_absent(remove)

    def has_role(self) -> bool:
        """Whether the role is there."""
        return unless_absent(lambda: self.owner("iam").get_role(RoleName=self.name)) is not None

    def credentials(self) -> Credentials:
        """Of the role; renewed before they end. Waits until a new role is known."""
        if self._held is None or time.monotonic() - self._held_since > RENEWED_AFTER:
            arn = f"{self.policy_arn.rpartition(':policy/')[0]}:role/{self.name}"
            asked = {"RoleArn": arn, "RoleSessionName": self.cluster, "DurationSeconds": SESSION_SECONDS}
            sts = self.owner("sts")
            given = until(lambda: _assumed(sts, asked), PATIENCE, "the role can be assumed")
            self._held = Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
            self._held_since = time.monotonic()
        return self._held

    def write_profile(self, folder: Path) -> dict[str, str]:
        """The variables that make a program use the role, and nothing else of this machine's settings of AWS."""
        held = self.credentials()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = folder / "credentials"
        file.touch(mode=0o600)
        lines = [f"[{self.cluster}]", *(f"{name} = {value}" for name, value in asdict(held).items())]
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        (folder / "config").write_text(f"[profile {self.cluster}]\nregion = {self.region}\n", encoding="utf-8")
        return {
            "AWS_PROFILE": self.cluster,
            "AWS_SHARED_CREDENTIALS_FILE": str(file),
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def owner_session(profile: str | None, region: str | None) -> Any:
    """The owner's session; raises `CannotStart`."""
    try:
        return boto3.Session(profile_name=profile, region_name=region)
    except BotoCoreError as error:
        raise CannotStart(f"{error} {_LOGIN}") from error


def owner_identity(sts: Any) -> dict[str, str]:
    """Who the credentials belong to; raises `CannotStart` where there are none, or none that AWS accepts."""
    try:
        identity: dict[str, str] = sts.get_caller_identity()
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise CannotStart(f"There are no AWS credentials. {_LOGIN}") from error
    except ClientError as error:
        raise CannotStart(
            f"AWS does not accept the credentials: {error.response['Error']['Message']} {_LOGIN}"
        ) from error
    except BotoCoreError as error:  # a login that has ended, no connection
        raise CannotStart(f"AWS cannot be asked: {error} {_LOGIN}") from error
    if identity["Arn"].endswith(":root"):
        raise CannotStart(
            "These are credentials of the account's root user, and AWS lets it assume no role "
            "(docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html). Use those of a user or of SSO."
        )
    return identity


def unless_absent(ask: Callable[[], Any]) -> Any:
    """What AWS answers; None where there is no such thing."""
    try:
        return ask()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if any(word in code for word in ("NoSuch", "NotFound", "NonExistent", "404")):
            return None
        raise


def until(look: Callable[[], Any], seconds: float, what: str, every: float = 1.0) -> Any:
    """What `look` gives once it is something; raises `TimeoutError` with what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"{seconds:.0f} seconds passed before {what}.")
        time.sleep(every)


def _assumed(sts: Any, asked: dict[str, Any]) -> Any:
    try:
        return sts.assume_role(**asked)["Credentials"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "NoSuchEntity"):
            return None
        raise
