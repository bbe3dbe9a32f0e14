"""Whether a submission made now can be on time, as far as Numerai says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..errors import ApiError
from ..models import Round
from ..ports import Clock, NumeraiApi


@dataclass(frozen=True)
class Window:
    """The on-time window of a tournament. `is_open` is None where Numerai does not say; `last` is the latest round and
    `opens` when the next one opens, as far as they are known."""

    is_open: bool | None
    last: Round | None = None
    opens: datetime | None = None

    @property
    def words(self) -> str:
        """How it stands, for people."""
        if self.is_open is None:
            return "whether a round is open is not known"
        if self.is_open:
            return "a round is open"
        over = (
            f" (the deadline of round {self.last.number} was {moment_words(self.last.deadline)})" if self.last else ""
        )
        opens = f"; the next one opens {moment_words(self.opens)}" if self.opens else ""
        return f"no round is open now{over}{opens}"


def window_of(tournament: int, api: NumeraiApi, clock: Clock) -> Window:
    """How the window stands now, by Numerai's own clock where it was heard."""
    try:
        last = api.current_round(tournament)
        now = api.heard_time() or clock.now()
        if last is not None and last.is_open(now):
            return Window(True, last)
        upcoming = api.upcoming_round(tournament)
    except ApiError:
        return Window(None)
    opens = upcoming.open_time if upcoming is not None and upcoming.open_time > now else None
    return Window(False, last, opens)


def moment_words(moment: datetime) -> str:
    """A moment as people read it."""
    return f"{moment:%a %Y-%m-%d %H:%M} UTC"
