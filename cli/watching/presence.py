"""Being known to watch, and finding out since when nobody did."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..models import GOING_ON, Notice, NoticeKind, Round
from .policy import DATE_STEP

if TYPE_CHECKING:
    from .ledger import Ledger

SLEPT = timedelta(minutes=15)
"""A watcher that has not looked for this long was asleep with its machine."""

log = logging.getLogger(__name__)


@dataclass
class Presence:
    """A watcher in the ledger: there from its first look on. `down` is since when nobody has watched, and from which
    length on that counts."""

    ledger: Ledger
    kind: str
    id: str | None = None
    down: tuple[datetime, timedelta] | None = None

    def enter(self, now: datetime, machine_now: datetime) -> None:
        """Be known to be alive, and find out whether nobody was."""
        if self.id is None:
            self.id, since = self.ledger.begin_watch(self.kind, now, machine_now)
            self.down = None if since is None else (since, timedelta())
            return
        last = next(iter(self.ledger.watchers()), None)
        if self.down is None and last is not None and machine_now - last.machine_seen > SLEPT:
            self.down = last.seen, SLEPT
        self.ledger.beat(self.id, now, machine_now)

    def end(self, now: datetime) -> None:
        """End as planned."""
        if self.id is not None:
            try:
                self.ledger.end_watch(self.id, now)
            except NumeraiError as error:
                log.warning("%s", error.message)

    def others(self) -> bool:
        """Whether another watcher goes on."""
        try:
            return any(each.alive and each.kind in GOING_ON and each.id != self.id for each in self.ledger.watchers())
        except NumeraiError:
            return False

    def say_if_down(self, now: datetime, rounds: Iterable[Round]) -> None:
        """After a watcher was killed, or its machine slept: tell from when until when nobody watched, if one of the
        rounds was open then."""
        if self.down is None:
            return
        (since, least), self.down = self.down, None
        meanwhile = {each.number for each in rounds if each.open_time < now and each.deadline > since}
        # by Numerai's time: this machine's clock may have been put right
        if meanwhile and now - since >= least - DATE_STEP:
            text = (
                f"Nobody watched from {since:%Y-%m-%d %H:%M:%S} to {now:%Y-%m-%d %H:%M:%S} UTC, because the watcher was"
                " killed, or its machine was off or asleep. Open in that time: round"
                f" {', '.join(str(number) for number in sorted(meanwhile))}. It watches again."
            )
            notice = Notice(NoticeKind.WATCHER_STOPPED, "The watcher was down", text)
            self.ledger.decide_notice(notice, now, f"watcher/down/{since.isoformat()}")
        if self.id is not None:
            self.ledger.said_unwatched(self.id)
