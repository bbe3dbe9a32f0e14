"""The image registry over its HTTP API: what a tag points to, and moving a tag without moving an image."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ...errors import EnvironmentNotReady, ProviderError
from .clients import aws_errors

SECONDS = 30
MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)
"""https://github.com/opencontainers/distribution-spec and Docker's image manifest, version 2, schema 2."""


@dataclass(frozen=True)
class RegistryLogin:
    """How to log in: ECR's token is good for twelve hours. `endpoint` is the registry's address with its scheme."""

    user: str
    password: str = field(repr=False)
    endpoint: str

    @property
    def auth(self) -> dict[str, str]:
        """The form in which a container engine takes it."""
        return {"username": self.user, "password": self.password}


def registry_login(ecr: Any) -> RegistryLogin:
    """A login for the account's registry; `ecr` is the SDK's client."""
    with aws_errors():
        data = ecr.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    return RegistryLogin(user, password, data["proxyEndpoint"].rstrip("/"))


class ImageRegistry:
    """One account's registry. `repository` is always the full one, as in an image's name: `<host>/<path>`.

    `EnvironmentNotReady` with code `registry-unreachable` when nobody answers, `ProviderError` when it refuses.
    """

    def __init__(self, login: Callable[[], RegistryLogin]):
        self._get_login = login
        self._login: RegistryLogin | None = None

    @property
    def login(self) -> RegistryLogin:
        """Asked for once."""
        if self._login is None:
            self._login = self._get_login()
        return self._login

    def digest(self, repository: str, tag: str) -> str | None:
        """What a tag points to; None when there is no such tag or repository."""
        response = self._request("HEAD", repository, f"manifests/{tag}", headers={"Accept": ", ".join(MANIFESTS)})
        return response.headers.get("Docker-Content-Digest") if response is not None else None

    def move_tag(self, repository: str, tag: str, to: str) -> None:
        """Let `tag` point to what `to` points to. No layer is transferred."""
        found = self._request("GET", repository, f"manifests/{to}", headers={"Accept": ", ".join(MANIFESTS)})
        if found is None:
            raise ProviderError(f"There is no image {repository}:{to}.", "Deploy again.", code="image-missing")
        kind = found.headers.get("Content-Type", MANIFESTS[0])
        self._request("PUT", repository, f"manifests/{tag}", headers={"Content-Type": kind}, content=found.content)

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository; none when there is no such repository."""
        response = self._request("GET", repository, "tags/list", headers={})
        return sorted(response.json().get("tags") or []) if response is not None else []

    def _request(
        self, method: str, repository: str, what: str, *, headers: dict[str, str], content: bytes | None = None
    ) -> Any:
        """The response; None for 404."""
        import requests

        host, _, path = repository.partition("/")
        url = f"{urlsplit(self.login.endpoint).scheme}://{host}/v2/{path}/{what}"
        auth = (self.login.user, self.login.password)
        try:
            response = requests.request(method, url, headers=headers, data=content, auth=auth, timeout=SECONDS)
        except requests.RequestException as error:
            raise EnvironmentNotReady(
                f"The image registry {host} cannot be reached: {type(error).__name__}.",
                "Check the connection and try again.",
                code="registry-unreachable",
            ) from error
        if response.status_code == 404:
            return None
        if not response.ok:
            raise ProviderError(
                f"The image registry {host} answered {response.status_code} to {method} {path}: "
                f"{response.text.strip()[:200]}",
                "`numerai doctor` looks at the AWS permissions.",
                code="registry-refused",
            )
        return response
