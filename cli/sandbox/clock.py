"""The sandbox's own time, which tests can move, set or stop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from msgspec import Struct

from .journal import Journal, Table


class ClockRecord(Struct, frozen=True):
    """How far the sandbox's time is from the machine's, and where it stands when it is stopped."""

    id: str = "clock"
    offset_seconds: float = 0.0
    frozen_at: datetime | None = None


def _machine_time() -> datetime:
    return datetime.now(timezone.utc)


class SandboxClock:
    """Time in UTC: the machine's plus an offset, or stopped. What was set survives with the journal."""

    def __init__(self, journal: Journal, machine_time: Callable[[], datetime] = _machine_time) -> None:
        self._table = Table(journal, "clock", ClockRecord)
        self._machine_time = machine_time

    @property
    def frozen(self) -> bool:
        """Whether time stands still."""
        return self._state.frozen_at is not None

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        state = self._state
        return state.frozen_at or self._machine_time() + timedelta(seconds=state.offset_seconds)

    def set(self, moment: datetime) -> None:
        """Make `moment` the present; a clock that stands still keeps standing, one that runs goes on from there."""
        if self.frozen:
            self._table.put(ClockRecord(frozen_at=moment))
        else:
            offset = moment - self._machine_time()
            self._table.put(ClockRecord(offset_seconds=offset.total_seconds()))

    def advance(self, seconds: float) -> None:
        """Move time by so many seconds."""
        self.set(self.now() + timedelta(seconds=seconds))

    def freeze(self) -> None:
        """Stop time."""
        self._table.put(ClockRecord(frozen_at=self.now()))

    def resume(self) -> None:
        """Let time run again from where it stands."""
        offset = self.now() - self._machine_time()
        self._table.put(ClockRecord(offset_seconds=offset.total_seconds()))

    @property
    def _state(self) -> ClockRecord:
        return self._table.get("clock") or ClockRecord()
