"""The machine's own clock."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class SystemClock:
    """`ports.Clock` on the machine's time."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        time.sleep(seconds)
