"""Asks an address whether it serves a node's webhook, without starting anything."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import Request, urlopen

SECONDS = 20


def why_no_answer(url: str) -> str | None:
    """Why an address does not serve a webhook; None where it does. A request without a trigger id is answered 400 by a
    webhook, and 404 where the node or the token is none of its own (`providers/webhooks/calls.py`)."""
    try:
        request = Request(url, b"{}", {"Content-Type": "application/json"}, method="POST")  # noqa: S310  (a webhook's)
        with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
            status = int(answer.status)
    except HTTPError as error:
        status = error.code
        error.close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None if status == 400 else f"it answers HTTP {status}"
