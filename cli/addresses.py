"""Addresses of APIs and webhooks: which lead to this machine only, and which may be given keys."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from .errors import EnvironmentNotReady, UsageError

HOST_FROM_CONTAINER = "host.docker.internal"
"""This machine, as its containers know it (the runtime, which stands alone, has the word too)."""


def is_loopback(url: str) -> bool:
    """Whether an address can be reached from this machine only."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def check_api_url(url: str) -> str:
    """The URL without a trailing slash; `UsageError`, which names no more of it than its host, when keys must not be
    sent there or a part of it may be a secret."""
    if TYPE_CHECKING:
        from numerai_node.addresses import is_secure
    else:  # here, as the runtime takes urllib3 along
        from numerai_compute.node_template.numerai_node.addresses import is_secure
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        known = known and not set(url) & set("@?#")
    except ValueError:  # brackets or a port that are none
        known = False
    if not known:
        raise UsageError(
            f"{origin(url)} is not the address of an API, or there is a user, `?` or `#` in it.",
            "Give NUMERAI_API_URL as https://host[:port].",
        )
    if not is_secure(url):
        raise UsageError(
            f"{origin(url)} is not encrypted: the keys would be readable on the way.",
            "Use https (plain http is accepted for this machine only).",
        )
    return url.rstrip("/")


def check_certificates(*names: str) -> None:
    """Whether the certificates that these variables name can be used, by the runtime's rule: other libraries say
    nothing of them. `EnvironmentNotReady` that names the variable."""
    if not any(map(os.environ.get, names)):
        return
    if TYPE_CHECKING:
        from numerai_node.errors import ConfigurationError
        from numerai_node.trust import check_certificates as check
    else:
        from numerai_compute.node_template.numerai_node.errors import ConfigurationError
        from numerai_compute.node_template.numerai_node.trust import check_certificates as check
    try:
        check(*names)
    except ConfigurationError as error:
        raise EnvironmentNotReady(str(error), "Correct that variable, or unset it.", code="certificates") from error


def origin(url: str) -> str:
    """Where an address leads, e.g. `http://127.0.0.1:8000`, without its path, which may hold a token."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that is none"
    if not parts.scheme or not parts.hostname:
        return "an address that is none"
    return f"{parts.scheme}://{parts.hostname}{port}"


def proxy_passwords(environ: Mapping[str, str]) -> Iterator[str]:
    """The passwords of the proxies that the environment names, also of a proxy that is no address."""
    for name, proxy in environ.items():
        if name.lower().endswith("_proxy") and "@" in proxy:
            user = proxy.rpartition("@")[0].partition("://")
            password = (user[2] or user[0]).partition(":")[2]
            yield from (password, unquote(password))
