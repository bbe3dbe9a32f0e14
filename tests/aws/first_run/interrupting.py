"""Ctrl-C, as a terminal sends it: to the program and to all that it has started in its process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .account import until
from .world import REPOSITORY

PATIENCE = 300


def interrupted_when(there: Callable[[], bool], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program, press Ctrl-C as soon as AWS has so much, and wait for its end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and hands that on
    command = [sys.executable, "-m", "tests.aws.first_run", "--yes", "--home", str(folder / "runs")]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until(lambda: there() or process.poll() is not None, PATIENCE, "something was made", 0.2)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, err)
