"""Runs other programs: argv lists only, output line by line with secrets redacted, or detached from this process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import EnvironmentNotReady, NumeraiError
from .redaction import Redactor

if TYPE_CHECKING:
    import psutil

TAIL_LINES = 20
_STOP_SECONDS = 5
_LOOK_SECONDS = 0.05
_NO_PROGRAM = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ELOOP)


class ProgramMissing(EnvironmentNotReady):
    """There is no such program, or what there is cannot be run."""

    code = "program-missing"


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
    whole_tree: bool = False,
    output: Path | None = None,
    private_files: bool = False,
    on_line: Callable[[str], None] | None = None,
) -> ProcessResult:
    """Run a program to its end and return how it ended.

    Both output streams are read together, line by line; `on_line` gets every line. `timeout` is in seconds; a program
    that needs longer is ended and `NumeraiError` with code `process-timeout` raised. `ProgramMissing` when there is
    no such program. Interrupting the call ends the program.

    `grace` is for a program that must be allowed to stop in its own time, in seconds: it gets one request to stop, and
    a Ctrl-C at the terminal does not reach it a second time beside that. With `whole_tree`, all that the program has
    started is ended with it. With `output`, a file that only its owner can
    read, the program writes there and not into a pipe: it goes on to its end when this process is killed. With
    `private_files`, only their owner can read the files that it makes, where modes exist.
    """
    redact = Redactor(secrets)
    new_session = grace is not None or whole_tree
    process = _start(argv, cwd, env, output, new_session=new_session, umask=0o077 if private_files else -1)
    timed_out = threading.Event()
    timer = threading.Timer(timeout or 0, _end, (process, timed_out, None, whole_tree))
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    try:
        if timeout is not None:
            timer.start()
        for raw in process.stdout or _lines_of(process, output):
            line = redact(raw.decode("utf-8", errors="replace").rstrip("\r\n"))
            tail.append(line)
            if on_line:
                on_line(line)
        exit_code = process.wait()
    except BaseException:
        _end(process, threading.Event(), grace, whole_tree)
        raise
    finally:
        timer.cancel()
        if process.stdout:
            process.stdout.close()
    if timed_out.is_set():
        raise NumeraiError(f"{argv[0]} did not end within {timeout:g} seconds.", code="process-timeout")
    return ProcessResult(exit_code, tuple(tail))


def _not_started(program: str, cwd: Path | None, error: OSError) -> EnvironmentNotReady:
    why = error.strerror or str(error)
    if error.errno not in _NO_PROGRAM:
        return EnvironmentNotReady(f"Cannot run {program}: {why}.", "Close other programs and try again.")
    if cwd is not None and not cwd.is_dir():
        return ProgramMissing(f"Cannot run {program} in {cwd}: there is no such folder.", "Make it, or name another.")
    missing = error.errno == errno.ENOENT
    hint = f"Install {program} and try again." if missing else f"Name a program that you may run; {program} is none."
    return ProgramMissing(f"Cannot run {program}: {why}.", hint)


def _start(
    argv: Sequence[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    output: Path | None,
    *,
    new_session: bool,
    umask: int,
) -> subprocess.Popen[bytes]:
    written = None if output is None else _private_file(output)
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if written is None else written,
            stderr=subprocess.STDOUT,
            start_new_session=new_session and os.name == "posix",
            umask=umask if os.name == "posix" else -1,
        )
    except OSError as error:
        raise _not_started(argv[0], cwd, error) from error
    finally:
        if written is not None:
            os.close(written)


def _private_file(path: Path) -> int:
    """An empty file for the program to write to, as a descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _lines_of(process: subprocess.Popen[bytes], output: Path | None) -> Iterator[bytes]:
    """The lines that a program writes to a file, as they come, until it has ended."""
    assert output is not None  # noqa: S101  (the caller reads the pipe otherwise)
    begun = b""
    with output.open("rb") as file:
        while True:
            ended = process.poll() is not None  # asked before the last look, so that nothing written is left behind
            while piece := file.readline():
                begun += piece
                if begun.endswith(b"\n"):
                    yield begun
                    begun = b""
            if ended:
                break
            time.sleep(_LOOK_SECONDS)
    if begun:
        yield begun


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


def _end(
    process: subprocess.Popen[bytes], ended: threading.Event, grace: float | None = None, whole_tree: bool = False
) -> None:
    if process.poll() is not None and not whole_tree:
        return
    ended.set()
    tree = _tree(process.pid) if whole_tree else []
    if grace is None or os.name == "posix":  # elsewhere that kills, and the console's Ctrl-C has reached it already
        process.terminate()
        _each(tree, "terminate")
    try:
        process.wait(_STOP_SECONDS if grace is None else grace)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
    finally:
        if whole_tree:
            _each(tree, "kill")
            kill_group(process.pid)  # what has left the tree, and may hold the output open


def kill_group(pid: int) -> None:
    """Kill the process group that a program leads, where there are such groups (not on Windows)."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _tree(pid: int) -> list[psutil.Process]:
    """A program and all that it has started."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(pid)
        return [*started.children(recursive=True), started]
    return []


def _each(tree: Iterable[psutil.Process], what: str) -> None:
    import psutil

    for each in tree:
        with suppress(psutil.NoSuchProcess):
            getattr(each, what)()
