"""Where downloads are kept when nobody says where: a folder that only this user can write to, on every system."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_FOLLOW_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def default_cache(environment: Mapping[str, str] | None = None) -> Path:
    """The user's own place for caches.

    `$XDG_CACHE_HOME` or `~/.cache` (XDG Base Directory Specification 0.8), `~/Library/Caches` on macOS (File System
    Programming Guide), `%LOCALAPPDATA%` on Windows (KNOWNFOLDERID). A user without a home folder has one for temporary
    files.
    """
    env = os.environ if environment is None else environment
    try:
        home = Path(env.get("HOME") or Path.home()) if sys.platform != "win32" else Path.home()
    except RuntimeError:  # the user is none that the system knows
        return fallback_cache()
    if sys.platform == "win32":
        return Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local") / "numerai" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "numerai"
    named = env.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else home / ".cache") / "numerai"


def fallback_cache() -> Path:
    """This user's folder among the temporary files, which others may have made: see `make_own`."""
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""  # Windows has a folder for temporary files for each user
    return Path(tempfile.gettempdir()) / f"numerai-cache{user}"


def new_cache() -> Path:
    """A new folder for temporary files, which nobody can have made before."""
    return Path(tempfile.mkdtemp(prefix="numerai-cache-"))


def make_own(folder: Path) -> None:
    """Make a folder for this user only (mode 0700). `PermissionError` where one is there that another user owns, that
    others can write into, or that is a link among the temporary files."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return
    found = folder.lstat() if folder == fallback_cache() else folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(0, "it is a link")
    if found.st_uid != os.geteuid():
        raise PermissionError(0, "another user owns it")
    if found.st_mode & 0o022:
        raise PermissionError(0, "others can write into it")


def open_new(path: Path, mode: int = 0o666) -> BinaryIO:
    """A file that is made by this, in the place of whatever has its name: never the end of a link."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, mode), "w+b")


def open_own(path: Path) -> BinaryIO:
    """A file that is there, or a new one, to read and change. `PermissionError` for a link, also a hard one."""
    if path.is_symlink():
        raise PermissionError(0, "it is a link", str(path))
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | _FOLLOW_NO_LINK | _BINARY, 0o666), "r+b")
    found = os.fstat(file.fileno())
    if found.st_nlink > 1 or not stat.S_ISREG(found.st_mode):
        file.close()
        raise PermissionError(0, "it is a link", str(path))
    return file


def write_new(path: Path, text: str) -> None:
    """Put a short text in the place of a file."""
    with open_new(path) as file:
        file.write(text.encode())
