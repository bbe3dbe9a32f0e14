"""The errors a person may see: what failed, what to do next, and the exit code it ends with."""

from __future__ import annotations

import errno

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_UNPROVEN = 4
"""Nothing failed, and not everything could be proven now (`node test` while no round is open)."""
EXIT_INTERRUPTED = 130


DISK_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
MAKE_ROOM = "Make room on the disk and try again; what was there before is as it was."


class NumeraiError(Exception):
    """Something failed that a person can understand and act on.

    `message` says what failed and why, `hint` the next command to run, `code` names the failure for programs
    (stable, kebab-case) and `exit_code` is what the process ends with.
    """

    exit_code = EXIT_FAILED
    code = "failed"

    def __init__(self, message: str, hint: str | None = None, *, code: str | None = None, exit_code: int | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if exit_code is not None:
            self.exit_code = exit_code

    @property
    def in_full(self) -> str:
        """The message and the hint as one text."""
        return f"{self.message} {self.hint or ''}".rstrip()


class UsageError(NumeraiError):
    """The command was called wrongly: an option is missing, unknown or out of range."""

    exit_code = EXIT_USAGE
    code = "usage"


class EnvironmentNotReady(NumeraiError):
    """Something the command needs is missing or broken on this machine; `numerai doctor` says how to mend it."""

    exit_code = EXIT_ENVIRONMENT
    code = "environment"


class ApiError(NumeraiError):
    """Numerai's API refused a request or could not be reached. `temporary` says whether trying again can help."""

    code = "numerai-api"

    def __init__(self, message: str, hint: str | None = None, *, code: str | None = None, temporary: bool = False):
        super().__init__(message, hint, code=code)
        self.temporary = temporary


class ProviderError(NumeraiError):
    """A provider could not do what it was asked for."""

    code = "provider"
