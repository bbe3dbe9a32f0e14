"""Runs a program to its end, whatever ends this process meanwhile."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .errors import Interrupted
from .settings import SECRET_VARIABLES

STOP_SECONDS = 5.0
MEANINGS = {
    65: "bad predictions",
    75: "a temporary failure",
    78: "a configuration error",
    126: "not executable",
    127: "command not found",
    137: "killed, perhaps for want of memory",
    139: "crashed: segmentation fault",
    143: "terminated",
}


def child_environment(environment: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, str]:
    """What a program sees: everything but the Numerai keys and whom to notify, plus where its files are."""
    kept = {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}
    return kept | {name: str(path) for name, path in files.items()}


def run_program(argv: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float | None = None) -> int:
    """The exit code of a program, 128 and its number for a signal. It is stopped where this process is told to stop,
    and after so many seconds, which is a `TimeoutError`. OSError when it cannot be started."""
    process = None
    try:
        with sigterm_held():
            process = subprocess.Popen(argv, cwd=folder, env=dict(environment))
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        stop(process)
        raise TimeoutError from None
    except (Interrupted, KeyboardInterrupt):
        stop(process)
        raise
    return code if code >= 0 else 128 - code


def meaning(code: int) -> str:
    """What an exit code means, in brackets; nothing where that is the program's own affair."""
    return f" ({MEANINGS[code]})" if code in MEANINGS else ""


@contextmanager
def sigterm_held() -> Iterator[None]:
    """Let a SIGTERM that comes within the block take effect only at its end, so that a started process is known."""
    came: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
    if came:
        signal.raise_signal(signal.SIGTERM)


def stop(process: subprocess.Popen[bytes] | None) -> None:
    """End a program: told first, killed after 5 s."""
    if process is None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
