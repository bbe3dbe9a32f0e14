"""`numerai daemon run` on a machine whose clock is wrong by so many seconds."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

from numerai_compute.adapters.clock import SystemClock
from numerai_compute.main import main

if __name__ == "__main__":
    right = SystemClock.now
    skew = timedelta(seconds=float(sys.argv.pop()))

    def wrong(self: SystemClock) -> datetime:
        """The time that this machine would show."""
        return right(self) + skew

    SystemClock.now = wrong  # type: ignore[method-assign]
    sys.argv[1:] = ["daemon", "run"]
    main()
