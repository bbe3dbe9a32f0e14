"""Runs other programs: argv lists only, output line by line with secrets redacted, or detached from this process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import EnvironmentNotReady, NumeraiError
from ..redaction import Redactor

TAIL_LINES = 20
_STOP_SECONDS = 5


@dataclass(frozen=True)
class ProcessResult:
    """How a program ended. `tail` holds the last lines of its output (both streams), redacted."""

    exit_code: int
    tail: tuple[str, ...]


def run_process(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str | None] = (),
    timeout: float | None = None,
    grace: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> ProcessResult:
    """Run a program to its end and return how it ended.

    Both output streams are read together, line by line; `on_line` gets every line. `timeout` is in seconds; a program
    that needs longer is ended and `NumeraiError` with code `process-timeout` raised. `EnvironmentNotReady` with code
    `program-missing` when there is no such program. Interrupting the call ends the program.

    `grace` is for a program that must be allowed to stop in its own time, in seconds: it gets one request to stop, and
    a Ctrl-C at the terminal does not reach it a second time beside that.
    """
    redact = Redactor(secrets)
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=grace is not None and os.name == "posix",
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise EnvironmentNotReady(
            f"Cannot run {argv[0]}: {error.strerror}.", f"Install {argv[0]} and try again.", code="program-missing"
        ) from error
    timed_out = threading.Event()
    timer = threading.Timer(timeout, _end, (process, timed_out)) if timeout is not None else None
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        if timer:
            timer.start()
        assert process.stdout is not None  # noqa: S101  (asked for with PIPE above)
        for raw in process.stdout:
            line = redact(raw.decode("utf-8", errors="replace").rstrip("\r\n"))
            tail.append(line)
            if on_line:
                on_line(line)
        exit_code = process.wait()
    except BaseException:
        _end(process, threading.Event(), grace)
        raise
    finally:
        if timer:
            timer.cancel()
        if process.stdout:
            process.stdout.close()
    if timed_out.is_set():
        raise NumeraiError(f"{argv[0]} did not end within {timeout:g} seconds.", code="process-timeout")
    return ProcessResult(exit_code, tuple(tail))


def spawn_detached(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: IO[bytes], stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program that outlives this process and its terminal; both its output streams go to `output`."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        list(argv),
        cwd=cwd,
        env=dict(env),
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
        creationflags=flags,
    )


def _end(process: subprocess.Popen[bytes], ended: threading.Event, grace: float | None = None) -> None:
    if process.poll() is not None:
        return
    ended.set()
    if (
        grace is None or os.name == "posix"
    ):  # elsewhere terminate() kills, and the console's Ctrl-C has reached it already
        process.terminate()
    try:
        process.wait(_STOP_SECONDS if grace is None else grace)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
