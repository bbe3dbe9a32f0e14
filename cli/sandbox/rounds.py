"""The rounds of every tournament: which is open, when the next one opens, and what is known of the past ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from msgspec import structs

from ..models import Tournament
from .calendar import Calendar, Window
from .clock import SandboxClock
from .data.source import Edition
from .journal import Journal, Table
from .records import RoundRecord
from .settings import Settings

FIRST_ROUND = 1000
SCORE_DELAY = timedelta(days=2)
RESOLVE_DELAY = timedelta(days=31)
"""A 20 business day target with two days of lag is scored from the second day on and resolved about a month later.

Source: docs.numer.ai, scoring."""
LATE_PERIOD = timedelta(hours=23)
SHORTEST_LATE_PERIOD = timedelta(hours=6)
"""How long late submissions are taken after a deadline: by hand, and at least with the calendar.

Source: a recorded answer of the API, 2025-09: closeTime is the next opening, about 23 hours after a weekday's
closeStakingTime and longer after the weekend's."""

TOURNAMENTS = tuple(tournament.value for tournament in Tournament)
OnOpen = Callable[[RoundRecord], None]


@dataclass
class Rounds:
    """Opens rounds and answers about them. `on_open` is called for every round that opens, in order.

    A round has three times: its opening, its deadline (Numerai's closeStakingTime: on time means `open_time <= t <
    deadline`) and its close, the end of the late period. Sources: numerapi 3.1.1 check_round_open;
    forum.numer.ai/t/6253; a recorded answer of the API, 2025-09, in which all 23 late submissions fit.
    """

    journal: Journal
    clock: SandboxClock
    settings: Settings
    on_open: OnOpen

    def __post_init__(self) -> None:
        self._table = Table(self.journal, "rounds", RoundRecord)
        self._window = timedelta(minutes=self.settings.window_minutes)
        self._calendar = self.settings.round_calendar
        self._publishes = timedelta(
            minutes=self.settings.publish_minutes - self.settings.switches.live_minutes_before_opening
        )
        """How long after a round's opening its live data come out; below 0, before the one the calendar has planned."""

    def begin(self, history: int) -> None:
        """Make the past rounds and the present one, unless the state already holds some.

        With the calendar the latest round is the one whose opening time has just passed, and may be over.
        """
        if self.all():
            return
        now = self.clock.now()
        past = (self._calendar or Calendar()).before(now)
        if self._calendar is None:
            past = (window for window in past if window[1] + SHORTEST_LATE_PERIOD <= now)
            windows = [(now, now + self._window)]
        else:
            windows = [next(past)]
        windows += [next(past) for _ in range(history)]
        for tournament in TOURNAMENTS:
            for window in reversed(windows):
                self._open(tournament, window)

    def open_next(self, tournament: int, minutes: float | None = None, window: Window | None = None) -> RoundRecord:
        """Open the tournament's next round now (or with the given window) and end the one before it."""
        now = self.clock.now()
        length = self._window if minutes is None else timedelta(minutes=minutes)
        opened = self._open(tournament, window or (now, now + length))
        self.on_open(opened)
        return opened

    def move_deadline(self, tournament: int, minutes: float) -> RoundRecord | None:
        """Move the latest round's deadline by so many minutes, as Numerai does when something holds it up.

        Not before the opening; the close goes along if need be. None without a round.
        """
        with self.journal.lock:
            latest = self.latest(tournament)
            if latest is None:
                return None
            deadline = max(latest.open_time, latest.deadline + timedelta(minutes=minutes))
            close = max(latest.close_time, deadline)
            return self._table.put(structs.replace(latest, deadline=deadline, close_time=close))

    def follow_calendar(self) -> list[RoundRecord]:
        """Open every round whose time in the calendar has come since the last one, each in turn."""
        if self._calendar is None:
            return []
        opened = []
        now = self.clock.now()
        latest = max((round_.open_time for round_ in self.all() if round_.opened), default=now)
        for window in self._calendar.after(latest):
            if window[0] > now:
                break
            opened += [self.open_next(tournament, window=window) for tournament in TOURNAMENTS]
        return opened

    def next_opening(self) -> datetime | None:
        """When the next round will really open; None when rounds open by hand."""
        return None if self._calendar is None else next(self._calendar.after(self.clock.now()))[0]

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

    def edition(self, tournament: int, number: int) -> Edition:
        """Which live data a round has."""
        round_ = self.get(tournament, number)
        return Edition(number, 0 if round_ is None else round_.data_datestamp)

    def latest(self, tournament: int) -> RoundRecord | None:
        """The round that was opened last, open or not."""
        return next((each for each in reversed(self._table.all()) if each.tournament == tournament), None)

    def current(self, tournament: int) -> RoundRecord | None:
        """The round that `rounds(number: 0)` names: the open one; None for "Current round not open for submissions".

        Whether a round is still named between its deadline and its close is not known: a switch
        (`round_zero_after_deadline`). Source of the error: numerapi 3.1.1 check_round_open.
        """
        latest = self.latest(tournament)
        return latest if latest is not None and self.status(latest) == "OPEN" else None

    def upcoming(self, tournament: int) -> RoundRecord:
        """The round after the latest one, with the times of Numerai's published calendar: nobody announces a delay."""
        moment = self.clock.now()
        opening = self.next_opening()
        if opening is not None:
            moment = opening.replace(hour=0, minute=0, second=0)
        return structs.replace(self._following(tournament, next(Calendar().after(moment))), opened=False)

    def _open(self, tournament: int, window: Window) -> RoundRecord:
        """Record the tournament's next round. Its opening ends the round before, on-time window included."""
        with self.journal.lock:
            latest = self.latest(tournament)
            if latest is not None and latest.close_time > window[0]:
                deadline = min(latest.deadline, window[0])
                self._table.put(structs.replace(latest, deadline=deadline, close_time=window[0]))
            return self._table.put(self._following(tournament, window))

    def _following(self, tournament: int, window: Window) -> RoundRecord:
        """The round after the latest one. Its data are of the day before it opens, and never as old as the last one's.

        Source of the day: one round in a recorded answer of the API, 2025-09.
        """
        opens, deadline = window
        close = deadline + LATE_PERIOD
        if self._calendar is not None:
            close = max(next(Calendar().after(opens))[0], deadline + SHORTEST_LATE_PERIOD)
        latest = self.latest(tournament)
        day = opens.date() - timedelta(days=1)
        if latest is not None:
            last_day = datetime.strptime(str(latest.data_datestamp), "%Y%m%d").replace(tzinfo=timezone.utc).date()
            day = max(day, last_day + timedelta(days=1))
        number = FIRST_ROUND if latest is None else latest.number + 1
        return RoundRecord(
            id=f"{tournament}-{number}",
            tournament=tournament,
            number=number,
            open_time=opens,
            deadline=deadline,
            close_time=close,
            data_datestamp=int(day.strftime("%Y%m%d")),
        )

    def published(self, tournament: int, number: int) -> datetime:
        """When the live data of a round come out, in whole seconds as HTTP has them: when it opens or so long from
        that, and later than those of the rounds before; a day before the first one for a round before it."""
        held = sorted(self.all(tournament), key=lambda each: each.number)
        if held and number > held[-1].number:
            held.append(self.upcoming(tournament))
        earliest = held[0].open_time if held else self.clock.now()
        moment = (earliest - timedelta(days=1)).replace(microsecond=0)
        for each in held:
            if each.number > number:
                break
            opened = each.open_time.replace(microsecond=0)
            moment = max(opened + self._publishes, moment + timedelta(seconds=1))
        return moment

    def newest_data(self, tournament: int) -> int:
        """The number of the newest round whose live data can be asked for: the latest one's, or the one's after it.

        When live data appear before the opening is not known: a switch (`live_minutes_before_opening`).
        """
        latest = self.latest(tournament)
        if latest is None:
            return 0
        if self._calendar is not None and self._publishes < timedelta(0):
            upcoming = self.upcoming(tournament)
            if self.is_published(tournament, upcoming.number):
                return upcoming.number
        return latest.number

    def is_published(self, tournament: int, number: int) -> bool:
        """Whether the live data of a round are out by now."""
        found = self.get(tournament, number)
        return found is None or self.clock.now() >= found.open_time + self._publishes

    def is_open(self, found: RoundRecord) -> bool:
        """Whether submissions for that round are on time now."""
        return found.opened and found.open_time <= self.clock.now() < found.deadline

    def phase(self, found: RoundRecord) -> str:
        """upcoming, open (on time), late, resolving or resolved."""
        now = self.clock.now()
        if not found.opened:
            return "upcoming"
        if now < found.deadline:
            return "open"
        if now < found.close_time:
            return "late"
        return "resolved" if now >= resolve_time(found) else "resolving"

    def status(self, found: RoundRecord) -> str:
        """Numerai's RoundStatus: UPCOMING, OPEN, RESOLVING or RESOLVED. OPEN ends when `current` does."""
        phase = self.phase(found)
        return {"late": "OPEN" if self.settings.switches.round_zero_after_deadline else "RESOLVING"}.get(
            phase, phase.upper()
        )


def score_time(found: RoundRecord) -> datetime:
    """When the round's first scores appear."""
    return found.open_time + SCORE_DELAY


def resolve_time(found: RoundRecord) -> datetime:
    """When the round's scores become final."""
    return found.open_time + RESOLVE_DELAY
