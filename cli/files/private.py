"""Files that only their owner may read, written so that a crash leaves the old or the new content, never a mix."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import EnvironmentNotReady, NumeraiError

PREVIOUS_SUFFIX = ".previous"
_IN_THE_WAY = "Something that is no folder, or a link that leads nowhere, is in the way: move it, or mount its disk."
_FULL = "Make room on the disk and try again; what was there before is as it was."
_TOO_MANY_OPEN = "Raise the limit of open files (`ulimit -n`), and try again."
_REMEDIES = {
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,
    errno.EMFILE: _TOO_MANY_OPEN,
    errno.ENFILE: _TOO_MANY_OPEN,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: "A folder is where a file should be: move it away and try again.",
    errno.ENAMETOOLONG: "Use a shorter path.",
}


def make_private_folder(folder: Path) -> None:
    """Create the folder and what is missing above it (mode 0700 where modes exist); `EnvironmentNotReady` when that is
    not possible."""
    missing = [level for level in (folder, *folder.parents) if not level.exists()]
    try:
        for level in reversed(missing or [folder]):
            level.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def check_private_folder(folder: Path) -> None:
    """`EnvironmentNotReady` with code `home-open` where others than its owner could put files into the folder, or where
    another user owns it: keys and commands in it would be theirs. One that is not there is fine, and numerai-cli 0.1
    has a file for it."""
    if sys.platform == "win32":
        return
    try:
        found = folder.stat()
    except OSError:
        return
    writable = bool(found.st_mode & 0o022)
    theirs = found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0
    if writable or theirs:
        mode, into = ("600", "change it") if stat.S_ISREG(found.st_mode) else ("700", "write into it")
        why = f"others can {into}" if writable else f"it belongs to the user with the number {found.st_uid}"
        raise EnvironmentNotReady(
            f"{folder} cannot be trusted with keys: {why}.",
            f"Look who has been there, then run `chmod {mode} {folder}` (`numerai doctor --fix` does it)."
            if writable
            else "Set NUMERAI_HOME to a folder of your own.",
            code="home-open",
        )


def write_private(path: Path, content: bytes, *, keep_previous: bool = True) -> None:
    """Replace a file's content atomically: temporary file (mode 0600), fsync, rename. Of a link what it leads to is
    replaced.

    With `keep_previous` the content it had is kept beside it as `<name>.previous`. Raises `EnvironmentNotReady` when
    the folder cannot be written to; the file is then as it was.
    """
    make_private_folder(path.parent)
    try:
        if keep_previous and path.exists():
            _replace(path.with_name(path.name + PREVIOUS_SUFFIX), path.read_bytes())
        target = path.resolve() if path.is_symlink() else path
        _replace(target, content)
        _sync_folder(target.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def remove_tree(path: Path, within: Path, *, strict: bool = False) -> None:
    """Delete a folder, or a link without what it leads to. What is not there is fine, and what cannot be deleted stays
    behind, or with `strict` is an `OSError`. `NumeraiError` with code `outside-home`, and nothing deleted, for what
    does not lie inside the folder `within`."""
    check_inside(path, within)
    if path.is_symlink():
        path.unlink(missing_ok=True)
    elif strict:
        shutil.rmtree(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def remove_file(path: Path, within: Path) -> None:
    """Delete a file, or a link. What is not there is fine; `NumeraiError` as `remove_tree` raises it."""
    check_inside(path, within)
    path.unlink(missing_ok=True)


def check_inside(path: Path, within: Path) -> None:
    """`NumeraiError` with code `outside-home` unless the entry `path` lies inside the folder `within`, wherever links
    on the way lead; the folder itself does not."""
    parent, folder = path.parent.resolve(), within.resolve()
    if path.name in ("", "..") or path == within or not parent.is_relative_to(folder) or parent / path.name == folder:
        raise NumeraiError(
            f"{path} does not lie inside {within}: it was left alone.",
            "Look at the names in nodes.json, and for links in that folder.",
            code="outside-home",
        )


def unwritable(path: Path, error: OSError) -> EnvironmentNotReady:
    """The error for a home folder that cannot be written to."""
    return EnvironmentNotReady(
        f"Cannot write {path}: {error.strerror or error}.",
        f"{remedy(error) or 'Make the folder writable for you.'} NUMERAI_HOME may name another folder.",
        code="home-unwritable",
    )


def write_result(path: Path, content: bytes) -> None:
    """Write a file of the user's own, whole or not at all, and make the folder that it goes into.

    `EnvironmentNotReady` with code `folder-unwritable` where that is not possible.
    """
    make_folder(path.parent)
    try:
        with replacing(path, mode=0o666) as file:
            file.write(content)
    except OSError as error:
        raise folder_unwritable(path, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder of the user's own and what is missing above it, before long work that ends in a file there; raises
    as `write_result` does, also where no file could be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise folder_unwritable(folder, error) from error


def folder_unwritable(path: Path, error: OSError) -> EnvironmentNotReady:
    """The error for a place of the user's own that cannot be written to."""
    return EnvironmentNotReady(
        f"Cannot write {path}: {error.strerror or error}.",
        remedy(error) or "Choose a folder you may write to.",
        code="folder-unwritable",
    )


def remedy(error: OSError) -> str | None:
    """What to do about a refusal of the system that says what is wrong; None where it is about who may do what."""
    return _REMEDIES.get(error.errno or 0)


@contextlib.contextmanager
def owner_only() -> Iterator[None]:
    """Within the block only their owner can read and change what this process makes, and what programs make that it
    starts, whatever mode they ask for. It holds for all threads."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """A file to write in the place of `path`: it appears under that name, whole and on the disk, when the block has
    ended. After an exception `path` is as it was. Errors of the system are not translated. `mode` is narrowed by the
    umask."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unfinished(path: Path) -> list[Path]:
    """What processes that were killed in `replacing` have left beside a file. Nobody may be writing it meanwhile."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    return [each for each in path.parent.iterdir() if name.fullmatch(each.name)] if path.parent.is_dir() else []


def _replace(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder; the rename is still atomic
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
