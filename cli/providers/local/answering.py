"""Whether the webhooks answer at the very address that Numerai is given, by calling it."""

from __future__ import annotations

import json
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from ...addresses import is_loopback
from ...ports import Silence
from ..registry import ProviderContext
from .daemon import RESTART, daemon_status, request

START = "numerai daemon start"
SECONDS = 10.0
"""How long a public address may take to answer."""


def silence_at(context: ProviderContext, base: str, port: int) -> Silence | None:
    """Why the daemon of this home does not answer at an address that begins with `base`; None when it does. `port` is
    the one that it is to serve by the settings as they are.

    Its health answer carries an id that is another one at every start, so that no other program is taken for it.
    """
    status = daemon_status(context)
    if not status.running:
        return Silence("the daemon does not run, so nothing answers", START)
    health, why = _health(base)
    if health is not None and status.instance is not None and health.get("instance") == status.instance:
        return None
    where = f"{base} {why or 'is answered by something else than the daemon of this home'}"
    if status.url is not None and urlsplit(status.url).port != port:
        return Silence(
            f"{where}; the daemon, which was started with other settings, serves {status.url}", RESTART, True
        )
    mend = RESTART if is_loopback(base) else f"let {base} lead to {status.url or 'the daemon'} (numerai config list)"
    return Silence(where, mend)


def _health(base: str) -> tuple[dict[str, object] | None, str | None]:
    """The answer to GET `base`/health, or why there is none."""
    parts = urlsplit(base)
    if is_loopback(base):  # never through a proxy
        port = parts.port or (443 if parts.scheme == "https" else 80)
        health = request(parts.hostname or "127.0.0.1", port, "GET", f"{parts.path}/health", {})
        return health, None if health is not None else "does not answer"
    try:
        with urlopen(f"{base}/health", timeout=SECONDS) as answer:  # noqa: S310  (the settings take https only)
            content = json.loads(answer.read(1 << 16))
    except HTTPError as error:
        return None, f"answers HTTP {error.code}"
    except (OSError, URLError) as error:
        return None, f"does not answer: {getattr(error, 'reason', error)}"
    except (ValueError, RecursionError):
        content = None
    return (content, None) if isinstance(content, dict) else (None, None)
