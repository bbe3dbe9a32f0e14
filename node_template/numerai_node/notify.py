"""Tells people through apprise how a run ended, for nodes that run where nobody watches. It never fails a run."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from .errors import ConfigurationError
from .log import hide, log
from .settings import NOTIFY_VARIABLE
from .trust import BUNDLES, check_certificates

SUCCESS, FAILURE, LATE, COVERED, GATE = "success", "failure", "late", "covered", "gate"
TYPES = {
    SUCCESS: "success",
    FAILURE: "failure",
    LATE: "warning",
    COVERED: "warning",
    GATE: "warning",
    "missed": "failure",
    "data": "warning",
    "training": "warning",
    "watcher-stopped": "failure",
}
"""What is told about, and the type that apprise gives it; anything else is `info`."""
SECONDS = 15.0
NOBODY = "none"
"""In place of addresses where a provider keeps no empty value, as AWS does not."""


def addresses() -> list[str]:
    """The apprise addresses of NUMERAI_NOTIFY, separated by white space, which from now on no line shows."""
    found = [each for each in os.environ.get(NOTIFY_VARIABLE, "").split() if each != NOBODY]
    for each in found:
        hide(each)
    return found


def tell(kind: str, title: str, text: str, *, seconds: float = SECONDS) -> bool:
    """Send a notice to every address of NUMERAI_NOTIFY; whether it went out to all. Waits at most so many seconds.

    What goes wrong is a warning in the log. Without an address there is nothing to do, which is fine.
    """
    urls = addresses()
    if not urls:
        return True
    problems: list[str] = []
    sending = threading.Thread(target=_send, args=(urls, kind, title, text, problems), daemon=True, name="notify")
    sending.start()
    sending.join(seconds)
    if sending.is_alive():
        problems = [f"it took longer than {seconds:g} s"]
    for problem in problems:
        log("warning", what="the notification was not sent", why=problem)
    if not problems:
        log("notified", kind=kind, addresses=len(urls))
    return not problems


def _send(urls: Sequence[str], kind: str, title: str, text: str, problems: list[str]) -> None:
    try:
        import apprise
    except ImportError:
        problems.append("apprise is not installed; add it to requirements.txt")
        return
    # what apprise logs may hold an address
    logging.getLogger("apprise").propagate = False
    try:
        check_certificates(*BUNDLES)
        for url in urls:
            scheme = url.partition(":")[0]
            target = apprise.Apprise(asset=_asset())
            if not target.add(url):
                problems.append(f"an address of {NOTIFY_VARIABLE} that begins with {scheme[:20]}: is not understood")
            elif not target.notify(body=text, title=title, notify_type=TYPES.get(kind, "info")):
                problems.append(f"the {scheme}: address did not take it")
    except ConfigurationError as error:
        problems.append(str(error))
    except Exception as error:  # noqa: BLE001 - whatever a notification service's code raises, the run has ended already
        problems.append(f"{type(error).__name__} in apprise")


def _asset() -> Any:
    """How apprise works here: in the thread that calls it, so that nothing of it outlives the run."""
    from apprise import AppriseAsset

    given: dict[str, Any] = {"app_id": "numerai", "app_desc": "numerai_node", "async_mode": False}
    try:
        return AppriseAsset(**given, service_timeout=0)  # since 2.2: else it starts threads that outlive the process
    except (AttributeError, TypeError):  # an apprise without that setting starts none
        return AppriseAsset(**given)
