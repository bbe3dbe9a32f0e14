"""From a numerai-cli 1.1 home with two nodes on AWS to both submitting from this tool's cluster, with a clock, on the
emulated AWS: run by hand, never by a test.

python -m benchmarks.official_move

Commands and Terraform are real; the emulated AWS is faster than the real one in some places and slower in others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.aws.emulator import emulated_aws
from tests.e2e.command_line import SMALL, sandbox_process
from tests.e2e.official_home import MOVED, OfficialHome, opened

COMMANDS = (
    ("upgrade", "--move-aws", "--dry-run"),
    ("upgrade", "--move-aws", "--yes"),
    ("node", "-m", "alice", "test"),
    ("node", "-m", "bob", "test"),
)


def timed(home: OfficialHome, *arguments: str) -> float:
    """Run a command, printing what it prints with the seconds at which it did."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "numerai_compute", *arguments],
        cwd=home.shell.folder,
        env=home.shell.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert process.stdout is not None
    print(f"$ numerai {' '.join(arguments)}", flush=True)
    for line in process.stdout:
        print(f"{time.perf_counter() - start:7.1f}  {line.rstrip()}", flush=True)
    if process.wait() != 0:
        sys.exit(process.returncode)
    return time.perf_counter() - start


def main() -> None:
    """Print what each command took, and what is there at the end."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        emulated_aws() as emulator,
        sandbox_process(*SMALL, "--models", "alice,bob,carol", cwd=Path(temporary)) as sandbox,
    ):
        os.environ.update(emulator.environment)
        start = time.perf_counter()
        home = opened(Path(temporary), sandbox, emulator)
        print(f"The official tool's cluster was made in {time.perf_counter() - start:.0f} s.")
        taken = [timed(home, *command) for command in COMMANDS]
        for command, seconds in zip(COMMANDS, taken, strict=True):
            print(f"{seconds:7.1f} s  numerai {' '.join(command)}")
        print(f"{sum(taken):7.1f} s  in all; Numerai calls the new cluster for {len(MOVED)} nodes: {home.holds()}")
        print(f"left of the old cluster: {home.left_over() or 'nothing'}")


if __name__ == "__main__":
    main()
