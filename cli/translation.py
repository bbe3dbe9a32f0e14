"""What the operating system and missing packages raise, as errors for people: these are no bugs of the tool."""

from __future__ import annotations

import errno

from .errors import DISK_FULL, MAKE_ROOM, EnvironmentNotReady, NumeraiError


def translated(error: BaseException) -> NumeraiError | None:
    """The error that a person can act on, for what was raised below; None for what looks like a bug."""
    if isinstance(error, ImportError):
        from .installation import missing_part

        return missing_part(error)
    if isinstance(error, UnicodeError):
        return _not_text(error)
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, MemoryError):
        return EnvironmentNotReady("There is not enough memory.", "Close other programs and try again.", code="memory")
    return None


def _not_text(error: UnicodeError) -> NumeraiError:
    if isinstance(error, UnicodeEncodeError):
        return EnvironmentNotReady(
            f"A text holds characters that {error.encoding} cannot hold.",
            "Set PYTHONIOENCODING=utf-8 (or PYTHONUTF8=1) and run it again.",
            code="encoding",
        )
    return NumeraiError(
        f"A file or an answer holds bytes that are no text in {getattr(error, 'encoding', 'UTF-8')}.",
        "Save what you wrote as UTF-8; --verbose shows which file it is.",
        code="encoding",
    )


def _system(error: OSError) -> EnvironmentNotReady:
    what = f" ({error.filename})" if error.filename else ""
    reason = error.strerror or str(error) or type(error).__name__
    hint = (
        "Look at that file or folder, and try again." if error.filename else "`numerai doctor` looks at this machine."
    )
    if error.errno in DISK_FULL:
        hint = MAKE_ROOM
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "Make it readable and writable for you, and try again."
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "Raise the limit of open files (`ulimit -n`), and try again."
    return EnvironmentNotReady(f"The system refused: {reason}{what}.", hint, code="system")
