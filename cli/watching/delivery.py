"""Sends what was decided to be told, from the ledger: each notice once, and again where it reached nobody."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from ..models import KeptNotice, Notice, NoticeKind
from ..ports import Clock, Notifier, NotifiesItself, Provider

if TYPE_CHECKING:
    from .ledger import Ledger

NOTICE_TRIES = 9
"""The first two again at the next look, then after 1, 2, 4, ... minutes: somewhat over an hour in all."""

log = logging.getLogger(__name__)


class Delivery:
    """From the ledger to people. Several may be at work at once: whoever claims a notice sends it."""

    def __init__(self, ledger: Ledger, notifier: Notifier, clock: Clock):
        self._ledger = ledger
        self._notifier = notifier
        self._clock = clock

    def send(self, sent: list[Notice], after: int = 0) -> int:
        """Send what is to be told, beginning after the notice of that serial number; returns the last one's. What went
        out is added to `sent`."""
        while (kept := self._ledger.claim_notice(self._clock.now(), NOTICE_TRIES, after)) is not None:
            after = kept.serial
            if self._reached(kept):
                sent.append(kept.notice)
        return after

    def _reached(self, kept: KeptNotice) -> bool:
        """Send one notice; whether it reached anybody."""
        answers = self._notifier.tell(kept.notice)
        failures = [f"{name}: {why}" for name, why in answers.items() if why is not None]
        for failure in failures:
            log.warning("'%s' did not reach %s", kept.notice.title, failure)
        if failures and len(failures) == len(answers):
            if kept.tries + 1 >= NOTICE_TRIES:
                log.error("'%s' reached nobody and is given up: %s", kept.notice.title, kept.notice.text)
            wait = timedelta(minutes=2 ** (kept.tries - 2)) if kept.tries >= 2 else timedelta()
            self._ledger.notice_failed(kept.key, "; ".join(failures), self._clock.now() + wait)
            return False
        if not answers:
            good = kept.notice.kind is NoticeKind.SUCCESS
            level = logging.INFO if good else logging.WARNING
            log.log(level, "nobody is listed to be told: %s: %s", kept.notice.title, kept.notice.text)
            self._ledger.notice_dropped(kept.key, "nobody is listed", self._clock.now())
            return False
        log.info("told %s: %s: %s", ", ".join(answers), kept.notice.title, kept.notice.text)
        self._ledger.notice_sent(kept.key, self._clock.now())
        return True


def tells_itself(provider: Provider) -> bool:
    """Whether a provider's runs tell people by themselves how they ended."""
    try:
        return isinstance(provider, NotifiesItself) and provider.notifies()
    except Exception as error:  # noqa: BLE001  it may be a plugin, as above
        log.warning("whether %s tells by itself is not known: %r", provider.name, error)
        return False
