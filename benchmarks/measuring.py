"""What a program takes: CPU seconds, wall seconds and peak memory, as POSIX systems count them at its end.

Imports nothing but the standard library: on Linux a process inherits the peak memory of the one that starts it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEAK_UNIT = 1 << 20 if sys.platform == "darwin" else 1 << 10
"""ru_maxrss is in bytes on macOS and in KiB on Linux."""


@dataclass
class Taken:
    """What one way took, a number for each round. `what` it did with them; MiB is empty where it is not known."""

    way: str
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    mib: list[float] = field(default_factory=list)

    def add(self, cpu: float, wall: float | None = None, mib: float | None = None) -> None:
        """One more round."""
        for values, value in ((self.cpu, cpu), (self.wall, wall), (self.mib, mib)):
            if value is not None:
                values.append(round(value, 4))

    def run(self, argv: Sequence[str | Path], **how: Any) -> str:
        """Run a program to its end as one more round, its children included; what it printed. Raises
        `CalledProcessError` when it fails."""
        start = time.perf_counter()
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8", **how) as process:
            assert process.stdout is not None
            out: str = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(map(str, argv)), out)
        self.add(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / PEAK_UNIT)
        return out

    def apart(self, argv: Sequence[str | Path], **how: Any) -> dict[str, float]:
        """Run a program that ends with `first_call` as one more round: what that printed, not what the program took."""
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True, **how)
        told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        self.add(told["cpu"], told["wall"], told["mib"])
        return told

    def fork(self, work: Callable[[], object]) -> None:
        """Do work in a copy of this process as one more round. The memory is what it takes beyond what is here."""
        import resource

        import psutil

        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                here = psutil.Process().memory_info().rss / (1 << 20)
                cpu, wall = time.process_time(), time.perf_counter()
                work()
                spent = (time.process_time() - cpu, time.perf_counter() - wall)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PEAK_UNIT
                os.write(writer, json.dumps([*spent, max(0.0, peak - here)]).encode())
            except BaseException:  # noqa: BLE001 - the child must never go on as the parent
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reader) as spoken:
            told = spoken.read()
        if status:
            raise SystemExit(f"{self.way} failed")
        self.add(*json.loads(told))


def first_call(work: Callable[[], object]) -> None:
    """Do work in a process that has imported and read all it needs, twice, and print what the first time took, and
    the CPU seconds of the second. The memory is what the first takes beyond what is here."""
    import resource

    import psutil

    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # Linux: the peak is counted anew, man 5 proc
    here, cpu, wall = psutil.Process().memory_info().rss / (1 << 20), time.process_time(), time.perf_counter()
    work()
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / PEAK_UNIT
    cpu = time.process_time()
    work()
    print(json.dumps({**spent, "mib": max(0.0, peak - here), "again": time.process_time() - cpu}))


def row(
    what: str, ours: Taken, others: Sequence[Taken], remark: str = "", share: float | None = None, size: str = ""
) -> dict[str, Any]:
    """What was measured side by side. `share` is of Numerai's size, None where there is one size only; `size` says what
    it comes to."""
    return {
        "what": what,
        "share": share,
        "size": size,
        "ours": vars(ours),
        "others": [vars(one) for one in others],
        "remark": remark,
    }


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def emit(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows for the runner."""
    print(json.dumps(rows))
