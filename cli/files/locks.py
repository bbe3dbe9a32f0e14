"""Locks between processes: a file that one of them holds, and that the system frees when it dies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from .private import make_private_folder, unwritable

if TYPE_CHECKING:
    from filelock import BaseFileLock

FOREVER = -1.0
LOOK_SECONDS = 0.5
"""Longer than anyone needs to look whether a lock is held, which holds it for a moment."""
POLL_SECONDS = 0.01


class Held(NumeraiError):
    """Somebody else holds the lock."""

    code = "busy"


def take(path: Path, *, busy: NumeraiError | None = None, seconds: float = 0) -> BaseFileLock:
    """The lock of this file, held until its `release()`. Somebody who only looks at it (`is_held`) is waited for.

    Raises `busy`, or `Held`, when another holds it for that many seconds; `EnvironmentNotReady` when the file cannot be
    written.
    """
    from filelock import FileLock, Timeout

    make_private_folder(path.parent)
    try:
        lock = FileLock(path, mode=0o600, thread_local=False)
        lock.acquire(timeout=seconds if seconds == FOREVER else max(seconds, LOOK_SECONDS), poll_interval=POLL_SECONDS)
    except Timeout:
        raise busy or Held(f"Another process holds {path}.", "Try again when it has ended.") from None
    except OSError as error:
        raise unwritable(path, error) from error
    return lock


@contextmanager
def holding(path: Path, *, busy: NumeraiError | None = None, seconds: float = 0) -> Iterator[None]:
    """Hold the lock of this file within the block; raises as `take` does."""
    lock = take(path, busy=busy, seconds=seconds)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process that lives holds the lock of this file. Others who look at the same time do not count."""
    if not path.exists():
        return False
    if sys.platform != "win32" and (held := _refuses_to_share(path)) is not None:
        return held
    try:
        take(path).release()
    except Held:
        return True
    return False


def _refuses_to_share(path: Path) -> bool | None:
    """Whether somebody keeps the file's flock for himself, as filelock does; None where the system does not say. Unlike
    an attempt to take it, this is answered at once, and two who ask do not see each other."""
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
