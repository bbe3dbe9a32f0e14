"""Which addresses may be given keys, files or trust: https anywhere, plain http on this machine only.

Standard library only.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

HOST_FROM_CONTAINER = "host.docker.internal"
"""This machine, as its containers know it: rehearsals reach the sandbox there."""


def is_secure(url: str) -> bool:
    """Whether nobody on the way can read what is sent to `url`; not for what is no address."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError where it is none
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and _is_this_machine(parts.hostname or "")


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost") or host == HOST_FROM_CONTAINER:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
