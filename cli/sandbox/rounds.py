"""The rounds of every tournament: which is open, when the next one opens, and what is known of the past ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from msgspec import structs

from ..models import Tournament
from .calendar import windows_after, windows_before
from .clock import SandboxClock
from .journal import Journal, Table
from .records import RoundRecord

FIRST_ROUND = 1000
SCORE_DELAY = timedelta(days=2)
RESOLVE_DELAY = timedelta(days=31)
"""A 20 business day target with two days of lag is scored from the second day on and resolved about a month later."""

TOURNAMENTS = tuple(tournament.value for tournament in Tournament)
OnOpen = Callable[[RoundRecord], None]


class Rounds:
    """Opens rounds and answers about them. `on_open` is called for every round that opens, in order.

    `publishes` is how long after a round's opening its live data come out.
    """

    def __init__(
        self,
        journal: Journal,
        clock: SandboxClock,
        window: timedelta,
        on_open: OnOpen,
        publishes: timedelta = timedelta(0),
    ) -> None:
        self._journal = journal
        self._table = Table(journal, "rounds", RoundRecord)
        self._clock = clock
        self._window = window
        self._on_open = on_open
        self._publishes = publishes

    def begin(self, history: int, *, calendar: bool) -> None:
        """Make the past rounds and the present one, unless the state already holds some.

        With the calendar the latest round is the one whose opening time has just passed, and may be over.
        """
        if self.all():
            return
        now = self._clock.now()
        past = windows_before(now)
        windows = [] if calendar else [(now, now + self._window)]
        windows += [next(past) for _ in range(history + (1 if calendar else 0))]
        windows.reverse()
        nexts = [opens for opens, _ in windows[1:]] + [windows[-1][1]]
        for tournament in TOURNAMENTS:
            for (opens, closes), next_opens in zip(windows, nexts, strict=True):
                self._table.put(self._following(tournament, opens, min(closes, next_opens)))

    def open_next(
        self, tournament: int, minutes: float | None = None, window: tuple[datetime, datetime] | None = None
    ) -> RoundRecord:
        """Open the tournament's next round now (or with the given window) and close the one before it."""
        with self._journal.lock:
            now = self._clock.now()
            length = self._window if minutes is None else timedelta(minutes=minutes)
            opens, closes = window or (now, now + length)
            latest = self.latest(tournament)
            if latest is not None and latest.close_time > opens:
                self._table.put(structs.replace(latest, close_time=opens))
            opened = self._table.put(self._following(tournament, opens, closes))
        self._on_open(opened)
        return opened

    def follow_calendar(self) -> list[RoundRecord]:
        """Open every round whose time in Numerai's calendar has come since the last one, each in turn."""
        opened = []
        now = self._clock.now()
        latest = max((found.open_time for found in self.all() if found.opened), default=now)
        for window in windows_after(latest):
            if window[0] > now:
                break
            opened += [self.open_next(tournament, window=window) for tournament in TOURNAMENTS]
        return opened

    def next_opening(self) -> datetime:
        """When Numerai's calendar has the next opening."""
        return next(windows_after(self._clock.now()))[0]

    def all(self, tournament: int | None = None) -> list[RoundRecord]:
        """The rounds so far, newest first."""
        found = [each for each in self._table.all() if tournament is None or each.tournament == tournament]
        return sorted(found, key=lambda each: (each.number, -each.tournament), reverse=True)

    def get(self, tournament: int, number: int) -> RoundRecord | None:
        """One round, the upcoming one included; None when there is none of that number."""
        found = self._table.get(f"{tournament}-{number}")
        if found is None:
            upcoming = self.upcoming(tournament)
            return upcoming if upcoming.number == number else None
        return found

    def latest(self, tournament: int) -> RoundRecord | None:
        """The round that was opened last, open or not."""
        found = self.all(tournament)
        return found[0] if found else None

    def current(self, tournament: int) -> RoundRecord | None:
        """The round that is open now."""
        latest = self.latest(tournament)
        return latest if latest is not None and self.is_open(latest) else None

    def upcoming(self, tournament: int) -> RoundRecord:
        """The round after the latest one, with the times that Numerai's calendar gives it."""
        opens, closes = next(windows_after(self._clock.now()))
        return structs.replace(self._following(tournament, opens, closes), opened=False)

    def _following(self, tournament: int, opens: datetime, closes: datetime) -> RoundRecord:
        """The round after the latest one. Its data are from the day it opens, and never as old as the last one's."""
        latest = self.latest(tournament)
        day = opens.date()
        if latest is not None:
            last_day = datetime.strptime(str(latest.data_datestamp), "%Y%m%d").replace(tzinfo=timezone.utc).date()
            day = max(day, last_day + timedelta(days=1))
        number = FIRST_ROUND if latest is None else latest.number + 1
        return RoundRecord(
            id=f"{tournament}-{number}",
            tournament=tournament,
            number=number,
            open_time=opens,
            close_time=closes,
            data_datestamp=int(day.strftime("%Y%m%d")),
        )

    def published(self, tournament: int, number: int) -> datetime:
        """When the live data of a round come out, in whole seconds as HTTP has them: when it opens or so long after
        that, and later than those of the rounds before; a day before the first one for a round before it."""
        held = sorted(self.all(tournament), key=lambda each: each.number)
        earliest = held[0].open_time if held else self._clock.now()
        moment = (earliest - timedelta(days=1)).replace(microsecond=0)
        for each in held:
            if each.number > number:
                break
            opened = each.open_time.replace(microsecond=0)
            moment = max(opened + self._publishes, moment + timedelta(seconds=1))
        return moment

    def is_published(self, tournament: int, number: int) -> bool:
        """Whether the live data of a round are out by now."""
        found = self.get(tournament, number)
        return found is None or self._clock.now() >= found.open_time + self._publishes

    def is_open(self, found: RoundRecord) -> bool:
        """Whether submissions for that round are in time now."""
        return found.opened and found.open_time <= self._clock.now() < found.close_time

    def status(self, found: RoundRecord) -> str:
        """UPCOMING, OPEN, RESOLVING or RESOLVED."""
        if not found.opened:
            return "UPCOMING"
        if self.is_open(found):
            return "OPEN"
        return "RESOLVED" if self._clock.now() >= resolve_time(found) else "RESOLVING"


def score_time(found: RoundRecord) -> datetime:
    """When the round's first scores appear."""
    return found.open_time + SCORE_DELAY


def resolve_time(found: RoundRecord) -> datetime:
    """When the round's scores become final."""
    return found.open_time + RESOLVE_DELAY
