"""Starts children from a fork server that has pandas, the runtime and numerapi loaded."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.faults.job import Job, enter


class Child:
    """A process at its job."""

    def __init__(self, job: Job) -> None:
        self._file = Path(job.output)
        self._process = _context().Process(target=enter, args=(job,), daemon=True)
        self.started = time.monotonic()
        self._process.start()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._file.read_text(errors="replace") if self._file.exists() else ""

    def begun(self) -> bool:
        """Whether it has started to work, or has ended."""
        return self._file.exists() or not self._process.is_alive()

    def wait(self, seconds: float) -> int | None:
        """Its exit code (minus the signal that ended it), or None, and then it is killed, when it takes longer."""
        self._process.join(seconds)
        code: int | None = self._process.exitcode
        if code is None:
            self.kill()
        return code

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join()


@cache
def _context() -> Any:
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.child"])
    return context
