"""Random histories of one node in one round, and the world that one of them plays to a watcher.

A history is data: what would happen, whatever a watcher does. A world is what comes of it when a watcher acts: the same
history played to two watchers that decide alike gives two worlds that are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st

OPENS = datetime(2026, 1, 6, 12, tzinfo=timezone.utc)
NUMBER = 1000
TOURNAMENT = 8


@dataclass(frozen=True)
class Ending:
    """How a run goes: minutes until it starts (None: never), minutes that it lasts, its exit code, and whether it
    submits, which it does at its end."""

    waits: int | None = 0
    lasts: int = 2
    exit_code: int = 0
    submits: bool = True


@dataclass(frozen=True)
class History:
    """All times are in minutes after the scheduled opening. `earlier` says that a file of an earlier round stands for
    this one: `queued` until the opening and on time after it. `silent` are the times when Numerai does not answer,
    `deploys` those of deployments. `moved` is when the deadline changes, and to what. `since` is when the node was
    configured, and `scheduled` the minute at which its own schedule starts a run each day."""

    looks: tuple[int, ...]
    opens_late: int = 0
    window: int = 60
    earlier: bool = False
    webhook: Ending | None = None
    called_after: int = 0
    endings: tuple[Ending, ...] = ()
    deploys: tuple[int, ...] = (-1440,)
    silent: tuple[tuple[int, int], ...] = ()
    moved: tuple[int, int] | None = None
    since: int = -720
    scheduled: int | None = None


@dataclass
class PlayedRun:
    """A run in a world."""

    id: str
    trigger_id: str
    ending: Ending
    created: datetime
    submitted: bool = False
    cancelled: datetime | None = None

    @property
    def started(self) -> datetime | None:
        """When it starts; None for never."""
        if self.ending.waits is None or self.cancelled:
            return None
        return self.created + timedelta(minutes=self.ending.waits)

    @property
    def ended(self) -> datetime | None:
        """When it ends; None for never."""
        return None if self.started is None else self.started + timedelta(minutes=self.ending.lasts)


@dataclass(frozen=True)
class File:
    """A file that Numerai holds."""

    id: str
    filename: str
    round_number: int
    inserted: datetime


@dataclass
class PlayedWorld:
    """What a history has come to. `now` is Numerai's time and everyone's."""

    history: History
    now: datetime = OPENS
    runs: list[PlayedRun] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    attempts: int = 0

    def go_to(self, minute: int) -> None:
        """Let time pass until so many minutes after the scheduled opening, and what is due happen."""
        self.now = OPENS + timedelta(minutes=minute)
        webhook, called = self.history.webhook, self.opens + timedelta(minutes=self.history.called_after)
        if webhook and called <= self.now and not any(run.trigger_id == "uuid" for run in self.runs):
            self._begin("uuid", webhook, called)
        for run in self.runs:
            if run.ended and run.ended <= self.now and run.ending.submits and not run.submitted:
                run.submitted = True
                self.files.append(File(f"s-{run.id}", f"{run.id}.csv", NUMBER, run.ended))

    def start(self, trigger_id: str) -> str:
        """Start a watcher's run, once; returns its id."""
        known = next((run for run in self.runs if run.trigger_id == trigger_id), None)
        if known:
            return known.id
        endings = self.history.endings
        ending = endings[self.attempts % len(endings)] if endings else Ending(exit_code=1, submits=False)
        self.attempts += 1
        return self._begin(trigger_id, ending, self.now)

    def cancel(self, run_id: str) -> None:
        """Cancel a run that has not started."""
        run = next(run for run in self.runs if run.id == run_id)
        if run.started is None or run.started > self.now:
            run.cancelled = self.now

    def _begin(self, trigger_id: str, ending: Ending, created: datetime) -> str:
        run = PlayedRun(f"run-{trigger_id}", trigger_id, ending, created)
        self.runs.append(run)
        return run.id

    # Numerai

    @property
    def silent(self) -> bool:
        """Whether Numerai does not answer now."""
        minute = (self.now - OPENS).total_seconds() / 60
        return any(begin <= minute < end for begin, end in self.history.silent)

    @property
    def since(self) -> datetime:
        """When the node was configured."""
        return OPENS + timedelta(minutes=self.history.since)

    @property
    def cron(self) -> str | None:
        """The node's own schedule."""
        if self.history.scheduled is None:
            return None
        start = OPENS + timedelta(minutes=self.history.scheduled)
        return f"{start.minute} {start.hour} * * *"

    @property
    def opens(self) -> datetime:
        """When the round opens."""
        return OPENS + timedelta(minutes=self.history.opens_late)

    @property
    def deadline(self) -> datetime:
        """When the on-time window ends, as Numerai says it now."""
        moved, window = self.history.moved, self.history.window
        if moved and self.now >= OPENS + timedelta(minutes=moved[0]):
            window = moved[1]
        return self.opens + timedelta(minutes=window)

    @property
    def closes(self) -> datetime:
        """When the late period ends."""
        return self.opens + timedelta(minutes=max(self.history.window, 1560)) + timedelta(hours=23)

    def entry(self) -> tuple[str, File | None]:
        """The status of the model's entry for the round, and its file."""
        if self.now >= self.opens:
            on_time = [each for each in self.files if each.inserted < self.deadline]
            late = [each for each in self.files if each.inserted >= self.deadline]
            if on_time:
                return "on-time", on_time[-1]
            if self.history.earlier:
                return "on-time", File("s-clone", EARLIER.filename, NUMBER, self.opens)
            if late:
                return "late", late[-1]
        elif self.history.earlier:
            return "queued", EARLIER
        return "none", None

    def entries(self) -> list[tuple[int, str, File | None]]:
        """Round, status and file of each of the model's entries."""
        status, file = self.entry()
        before = [(NUMBER - 1, "late", EARLIER)] if self.history.earlier else []
        return [(NUMBER, status, file), *before]

    def submissions(self) -> list[File]:
        """What Numerai holds of the model."""
        return [*self.files, *([EARLIER] if self.history.earlier else [])]


EARLIER = File("s-earlier", "earlier.csv", NUMBER - 1, OPENS - timedelta(hours=20))

exit_codes = st.sampled_from([0, 0, 0, 1, 65, 69, 73, 75, 76, 78])


@st.composite
def run_endings(draw: st.DrawFn) -> Ending:
    """Runs that start at once, later or never, and end in every way."""
    code = draw(exit_codes)
    submits = code == 0 or (code in (69, 73, 76) and draw(st.booleans()))
    return Ending(draw(st.sampled_from([0, 0, 0, 1, 3, 8, 25, None])), draw(st.integers(0, 30)), code, submits)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Histories of a round, short or long, looked at every few minutes."""
    window = draw(st.sampled_from([60, 60, 60, 20, 240, 1560]))
    late = draw(st.sampled_from([0, 0, 0, 1, 17, 54]))
    end = late + window
    steps = draw(st.lists(st.integers(1, max(2, window // 6)), min_size=4, max_size=14))
    first = draw(st.integers(-20, late + window // 2))
    looks = [first]
    for step in steps:
        looks.append(looks[-1] + step)
    looks += sorted(draw(st.sets(st.integers(end - 20, end + 60), max_size=4)))
    minutes = st.integers(late - 10, end + 40)
    spans = st.tuples(minutes, st.integers(1, 40)).map(lambda span: (span[0], span[0] + span[1]))
    return History(
        looks=tuple(sorted(set(looks))),
        opens_late=late,
        window=window,
        earlier=draw(st.booleans()),
        webhook=draw(st.none() | run_endings()),
        called_after=draw(st.integers(0, 20)),
        endings=tuple(draw(st.lists(run_endings(), min_size=1, max_size=4))),
        deploys=(-1440, *sorted(draw(st.lists(minutes, max_size=2)))),
        silent=tuple(draw(st.lists(spans, max_size=2))),
        moved=draw(st.none() | st.tuples(minutes, st.sampled_from([window // 2, window + 30]))),
        since=draw(st.sampled_from([-720, -720, late, late + window // 2, end - 5])),
        scheduled=draw(st.none() | st.integers(-60, window).map(lambda minute: minute % 1440)),
    )
