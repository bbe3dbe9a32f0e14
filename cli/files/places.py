"""Places on the disk as people type them, and the user's own home folder."""

from __future__ import annotations

import errno
from pathlib import Path

from ..errors import EnvironmentNotReady, UsageError

_SHOWN = 60


def place(typed: str | Path) -> Path:
    """The absolute path that is meant, whether there is anything or not; `~` and `~user` are home folders.

    `UsageError` with code `bad-path` for what can be no path here: too long, or of a user that does not exist.
    """
    try:
        path = Path(typed).expanduser().absolute()
        path.stat()
    except RuntimeError as error:
        raise _bad(typed, "this machine knows no home folder of that user") from error
    except ValueError as error:
        raise _bad(typed, str(error)) from error
    except OSError as error:  # what is not there, or may not be looked at, can still be meant
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise _bad(typed, error.strerror or str(error)) from error
    return path


def users_home() -> Path:
    """The user's home folder; `EnvironmentNotReady` with code `no-home` where this machine knows none."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise EnvironmentNotReady(
            "This machine knows no home folder of yours.",
            "Set HOME to a folder of your own, or NUMERAI_HOME for this tool alone.",
            code="no-home",
        ) from error


def _bad(typed: str | Path, why: str) -> UsageError:
    text = str(typed)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return UsageError(f"'{shown}' cannot be a path: {why}.", "Give the whole path instead.", code="bad-path")
