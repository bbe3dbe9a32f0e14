"""The AWS SDK: one session, clients made when needed, and its errors in words. Nothing is imported before that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from ...addresses import check_certificates
from ...errors import EnvironmentNotReady, NumeraiError, ProviderError
from ...installation import extra_needed
from .settings import DEFAULT_REGION, AwsSettings

CONNECT_SECONDS = 5
READ_SECONDS = 60
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError")
_NEED_LOGIN = ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "SSOError", "LoginError")
_UNREACHABLE = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ProxyConnectionError",
    "SSLError",
    "HTTPClientError",
)
_REFUSED = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
)
_ABSENT = (
    "404",
    "NoSuchBucket",
    "NoSuchEntity",
    "NoSuchKey",
    "NotFoundException",
    "NotFound",
    "ResourceNotFoundException",
    "RepositoryNotFoundException",
    "ResourceNotFound",
)
_FORBIDDEN = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden")
_WAYS = {
    "ca_bundle": "AWS_CA_BUNDLE",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "use_dualstack_endpoint": "AWS_USE_DUALSTACK_ENDPOINT",
    "use_fips_endpoint": "AWS_USE_FIPS_ENDPOINT",
}
"""How AWS is reached, as a profile says it and as the environment does, which wins
(docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html)."""


Connect = Callable[[str | None, str | None], Any]
"""Makes the SDK's session for (profile, region)."""


class AwsClients:
    """Makes the SDK's clients, in `region` where the cluster has one already. `connect` gives a session for
    (profile, region); tests give their own."""

    def __init__(
        self,
        settings: AwsSettings,
        region: str | None = None,
        connect: Connect | None = None,
    ):
        self._profile = settings.profile
        self._region = region or settings.region
        self._connect = connect or _connect
        self._clients: dict[str, Any] = {}

    @cached_property
    def session(self) -> Any:
        """The SDK's session."""
        check_certificates("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
        with aws_errors():
            return self._connect(self._profile, self._region)

    @property
    def region(self) -> str:
        """The region that clients talk to."""
        return str(self.session.region_name or DEFAULT_REGION)

    def environment(self) -> dict[str, str]:
        """The credentials as they are now, and how the profile reaches AWS, as the variables in which every SDK looks
        first. Credentials that end soon are renewed, where they can be. Errors as for any call."""
        with aws_errors():
            found = self.session.get_credentials()
            if found is None:
                from botocore.exceptions import NoCredentialsError

                raise NoCredentialsError
            frozen = found.get_frozen_credentials()
            profile = self.session._session.get_scoped_config()
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        given = dict(zip(names, (frozen.access_key, frozen.secret_key, frozen.token), strict=True))
        ways = {name: os.environ.get(name) or profile.get(setting) for setting, name in _WAYS.items()}
        return {name: value for name, value in (given | ways).items() if value}

    def client(self, service: str) -> Any:
        """The client of a service, e.g. `batch`."""
        if service not in self._clients:
            from botocore.config import Config

            config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, user_agent_extra="numerai")
            with aws_errors():
                self._clients[service] = self.session.client(service, region_name=self.region, config=config)
        return self._clients[service]

    def pages(self, service: str, operation: str, key: str, **asked: Any) -> Iterator[Any]:
        """All things of an answer that comes in pages."""
        with aws_errors():
            for page in self.client(service).get_paginator(operation).paginate(**asked):
                yield from page.get(key) or []

    def shows(self, service: str, operation: str, **asked: Any) -> Any:
        """What AWS answers; None when it says that there is no such thing."""
        return present(lambda: getattr(self.client(service), operation)(**asked))

    @cached_property
    def account(self) -> str:
        """The number of the account that the credentials belong to."""
        with aws_errors():
            return str(self.client("sts").get_caller_identity()["Account"])


def _connect(profile: str | None, region: str | None) -> Any:
    with extra_needed():
        import boto3
    return boto3.Session(profile_name=profile, region_name=region)


def connects_with(profiles: Mapping[str, tuple[str, str]]) -> Connect:
    """Makes sessions with the keys of these profiles, which need be in no file yet: name -> id and secret, where no
    name is no profile. What a file says of one beside its keys counts."""

    def connect(chosen: str | None, region: str | None) -> Any:
        if (keys := profiles.get(chosen or "")) is None:
            return _connect(chosen, region)
        with extra_needed():
            import boto3
        there = chosen if chosen in boto3.Session().available_profiles else None
        return boto3.Session(*keys, region_name=region, profile_name=there)

    return connect


@contextmanager
def aws_errors(*, absent: tuple[str, ...] = ()) -> Iterator[None]:
    """Turns what the SDK raises into errors for people.

    The error codes in `absent` say that something is not there: `ProviderError` with code `absent`.
    """
    try:
        with extra_needed():
            yield
    except NumeraiError:
        raise
    except Exception as error:  # the SDK's errors have no other base that could be named without importing it
        if not type(error).__module__.startswith("botocore"):
            raise
        raise _in_words(error, absent) from error


def present(ask: Callable[[], Any], *absent: str) -> Any:
    """What AWS answers; None when it says that there is no such thing, with `absent` or one of the usual codes."""
    try:
        with aws_errors(absent=(*_ABSENT, *absent)):
            return ask()
    except ProviderError as error:
        if error.code == "absent":
            return None
        raise


def _in_words(error: Exception, absent: tuple[str, ...]) -> NumeraiError:
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ClientError" in names:
        return _refusal(error, absent)
    text = str(error).strip().rstrip(".")
    if names & set(_NO_CREDENTIALS):
        return EnvironmentNotReady(
            "There are no AWS credentials.",
            "Run `aws configure` or `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
            code="no-aws-credentials",
        )
    if names & set(_NEED_LOGIN):
        return EnvironmentNotReady(
            f"The AWS login has ended: {text}.", "Run `aws sso login`.", code="aws-credentials-refused"
        )
    if "ProfileNotFound" in names:
        return EnvironmentNotReady(
            f"{text}.", "Name another one with AWS_PROFILE, or run `aws configure --profile NAME`.", code="no-profile"
        )
    if names & set(_UNREACHABLE):
        return EnvironmentNotReady(
            f"AWS cannot be reached: {text}.",
            "Check the connection, the region, and AWS_ENDPOINT_URL if it is set.",
            code="aws-unreachable",
        )
    return ProviderError(
        f"The AWS SDK failed: {text}.", "Check the region, the profile and the network; --verbose says more."
    )


def _refusal(error: Any, absent: tuple[str, ...]) -> NumeraiError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".") or code
    operation = error.operation_name
    if code in absent:
        return ProviderError(f"{operation}: {message}.", code="absent")
    if code in _REFUSED:
        return EnvironmentNotReady(
            f"AWS does not accept the credentials: {message}.",
            "Log in again (`aws sso login`, `aws configure`), or choose others with AWS_PROFILE.",
            code="aws-credentials-refused",
        )
    if code in _FORBIDDEN:
        return ProviderError(
            f"Your AWS credentials may not do {operation}: {message}.",
            "Ask for that permission; `numerai setup -P aws --print-policy` prints all that are needed.",
            code="aws-forbidden",
        )
    if code in ("ThrottlingException", "TooManyRequestsException", "Throttling", "RequestLimitExceeded"):
        return ProviderError(f"AWS is asked too often ({operation}).", "Try again in a minute.", code="aws-throttled")
    return ProviderError(f"AWS refused {operation}: {message}.", code="aws-refused")
