"""`numerai daemon run` on a machine whose clock is wrong by so many seconds."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from numerai_compute.adapters.clock import SystemClock
from numerai_compute.main import main
from numerai_compute.providers.local import supervisor

if __name__ == "__main__":
    right, write_spec = SystemClock.now, supervisor.write_spec
    skew = timedelta(seconds=float(sys.argv.pop()))

    def wrong(self: SystemClock) -> datetime:
        """The time that this machine would show."""
        return right(self) + skew

    def write_right(folder: Path, spec: supervisor.Spec) -> None:
        """A supervisor is a process of its own and sees the right time, in which its deadline is told."""
        write_spec(folder, replace(spec, deadline=spec.deadline - skew.total_seconds()))

    SystemClock.now = wrong  # type: ignore[method-assign]
    supervisor.write_spec = write_right
    sys.argv[1:] = ["daemon", "run"]
    main()
