"""Tells people through apprise: Slack, Discord, e-mail and the rest, each by its URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..models import Notice


class AppriseNotifier:
    """`ports.Notifier` on apprise. `urls` gives name -> apprise URL when there is something to tell."""

    def __init__(self, urls: Callable[[], Mapping[str, str]]):
        self._urls = urls

    def tell(self, notice: Notice) -> Mapping[str, str | None]:
        """Send a notice to everybody; name -> None when it went out, else why not. Never raises."""
        return dict.fromkeys(self._urls(), "not sent")
