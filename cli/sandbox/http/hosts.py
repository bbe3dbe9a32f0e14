"""Which names a request may ask for: a page on the internet must not reach this service by a name of its own."""

from __future__ import annotations

from ipaddress import ip_address

from ...addresses import HOST_FROM_CONTAINER


def is_own_name(host: str) -> bool:
    """Whether a Host header (`name[:port]`) can only be meant for this machine or the network beside it.

    Numbers, `localhost`, the name by which containers know this machine, and names without a dot, as services of a
    container network have. A browser that was led here by DNS rebinding sends the name of the page's own site.
    Source: "Host header validation" is what Jupyter and Node's inspector do against it too.
    """
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    name = name.rstrip(".").lower()
    if "." not in name or name.endswith(".localhost") or name == HOST_FROM_CONTAINER:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
