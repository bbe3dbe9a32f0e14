"""Downloads files to a cache so that no other process ever sees, and no run ever uses, a part of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from .cache_folder import default_cache, fallback_cache, make_own, new_cache, open_new, open_own, write_new
from .errors import ConfigurationError, TemporaryFailure
from .log import log, seconds_since
from .transport import DOWNLOAD_TIMEOUT, LONGEST_TROUBLE, Answer, Passing, Patience, Transport, host

CHUNK = 1 << 16
CHUNK_SECONDS = 45.0
"""How long each 64 KiB of a download may take, and the answer's beginning: slower is as good as stalled."""
PARQUET_MAGIC = b"PAR1"
LOCK_POLL = 0.2
NOT_FOUND = 404
MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')
DRIVE = re.compile(r"[A-Za-z]:")
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


Address = Callable[[Patience], str]
"""Gives an address to download from, asked for with so much patience."""
Accept = Callable[[Mapping[str, str]], None]
"""Looks at an answer's headers before its body is read, and raises what ends the download."""
Watch = Callable[[int, "int | None"], None]
"""Hears, as a file arrives, how many of its bytes are here, and how many it has if the server tells."""


class Incomplete(Passing):
    """The bytes that arrived are not the whole file, or not that file."""


class Missing(Passing):
    """The store has no such file."""


class Cache:
    """A folder of downloaded files, safe for several processes at once.

    `report` is told, as `log` is, what has arrived. With `only_here` nothing is ever kept in another folder: what makes
    this one unusable is raised as the OSError that it is.
    """

    def __init__(
        self, folder: Path, transport: Transport, *, report: Callable[..., None] = log, only_here: bool = False
    ):
        self.folder = folder
        self._transport = transport
        self._report = report
        self._only_here = only_here

    def fetch(
        self,
        name: str,
        address: Address,
        accept: Accept | None = None,
        *,
        wait_for_missing: bool = True,
        watch: Watch = lambda here, size: None,
        patience: Patience | None = None,
    ) -> Path:
        """The path of a complete, current copy of the file `name` (e.g. `v5.3/live.parquet`).

        `address` gives a presigned address and is asked again for each try; a try that got further than all before it
        starts the count of failures, and the time for them, anew. A file whose ETag has not changed is not downloaded
        again, as long as its content is what was downloaded. `accept` sees the headers first. A folder that cannot be
        written, or trusted, is replaced by one for temporary files, with a warning. Raises `TemporaryFailure` when
        trying on is of no use, `ConfigurationError` when no folder can be written, and, without `wait_for_missing`,
        `Missing` at the first 404. `patience` is for all tries together; without it, each one that gets further has
        the transport's anew.
        """
        for instead in (fallback_cache, new_cache, None):
            try:
                return self._fetch(name, address, accept, wait_for_missing, watch, patience)
            except OSError as error:
                if self._only_here:
                    raise
                why, theirs = error.strerror or str(error), isinstance(error, PermissionError)
            if instead is None or (instead is new_cache and not theirs):
                break
            if (folder := _another(instead, self.folder)) is not None:
                log("warning", what=f"the cache {self.folder} cannot be used", why=why, instead=folder)
                self.folder = folder
        raise ConfigurationError(
            f"{name} could not be written to {self.folder} ({why})."
            " Set NUMERAI_CACHE to a folder with room that this user may write to."
        )

    def etag(self, name: str) -> str | None:
        """The ETag of the copy that is here; None where there is none."""
        path = inside(self.folder, name)
        return _read(_beside(path, ".etag")) if path.exists() else None

    def discard(self, path: Path) -> None:
        """Forget a file that turned out to be unreadable, so that the next run downloads it again."""
        _remove(_beside(path, ".etag"), _beside(path, ".sha256"), path)

    def _fetch(
        self,
        name: str,
        address: Address,
        accept: Accept | None,
        wait_for_missing: bool,
        watch: Watch,
        given: Patience | None,
    ) -> Path:
        path = inside(self.folder, name)
        if self.folder in (default_cache(), fallback_cache()):
            make_own(self.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_beside(path, ".lock"), name, self._transport, self._report):
            return self._fetch_locked(name, path, address, accept, wait_for_missing, watch, given)

    def _fetch_locked(
        self,
        name: str,
        path: Path,
        address: Address,
        accept: Accept | None,
        wait_for_missing: bool,
        watch: Watch,
        given: Patience | None,
    ) -> Path:
        started = time.monotonic()
        part, furthest, failures = _beside(path, ".part"), 0, 0
        cached_etag = self._known_etag(path)  # once, as it reads the whole file
        patience = given or self._transport.patience()
        while True:
            try:
                size = self._try_once(path, cached_etag, address(patience), accept, patience, watch)
                break
            except Missing as missing:
                if not wait_for_missing:
                    raise
                passing: Passing = missing
            except Passing as error:
                passing = error
            reached = part.stat().st_size if part.exists() else 0
            failures += 1
            if reached > furthest:
                failures, furthest, patience = 1, reached, given or self._transport.patience()
            self._transport.pause(failures, f"downloading {name}", passing, patience)
        if size is None:
            self._report("cached", file=name, bytes=path.stat().st_size)
        else:
            self._report("downloaded", file=name, bytes=size, seconds=seconds_since(started))
        return path

    def _try_once(
        self, path: Path, cached_etag: str | None, url: str, accept: Accept | None, patience: Patience, watch: Watch
    ) -> int | None:
        """One request; the size of the file in bytes when it was downloaded, None when the cached copy is current."""
        etag_file, part, part_etag_file = (_beside(path, end) for end in (".etag", ".part", ".part.etag"))
        part_etag = _read(part_etag_file)
        # from the last byte that is here: beyond the end of a file that is whole there would be nothing to ask for
        have = max(0, part.stat().st_size - 1) if part_etag and part.exists() else 0
        headers: dict[str, str] = {}
        if have and part_etag:
            headers |= {"Range": f"bytes={have}-", "If-Range": part_etag}
        elif cached_etag:
            headers["If-None-Match"] = cached_etag
        with self._transport.request(
            "GET", url, timeout=DOWNLOAD_TIMEOUT, seconds=CHUNK_SECONDS, patience=patience, headers=headers
        ) as answer:
            etag = answer.headers.get("ETag")
            unchanged = answer.status == 304 and cached_etag is not None
            if not unchanged and answer.status not in (200, 206):
                _remove(part, part_etag_file)
                kind = Missing if answer.status == NOT_FOUND else Incomplete
                raise kind(f"{host(url)} answered {answer.status}")
            if accept is not None:
                accept(answer.headers)
            if unchanged:
                return None
            if etag and etag == cached_etag:
                _remove(part, part_etag_file)
                return None
            start, size = _span(answer, have)
            if start == 0:
                _remove(part, part_etag_file)
                if etag and not etag.startswith("W/"):
                    write_new(part_etag_file, etag)
            try:
                _receive(answer, part, start, lambda here: watch(here, size))
                _verify(part, size, answer.headers, path.name)
            except Incomplete:
                _remove(part, part_etag_file)
                raise
            except BaseException:
                if not part_etag_file.exists():
                    _remove(part)
                raise
        _remove(etag_file)
        digest = _digest(part, "sha256")
        part.replace(path)
        if etag:
            write_new(_beside(path, ".sha256"), digest)
            write_new(etag_file, etag)
        _remove(part_etag_file)
        return path.stat().st_size

    def _known_etag(self, path: Path) -> str | None:
        """The ETag of the copy that is here; None for one whose content is not what was downloaded under it."""
        etag, digest = _read(_beside(path, ".etag")), _read(_beside(path, ".sha256"))
        if etag is None or not path.is_file():
            return None
        if path.is_symlink() or digest != _digest(path, "sha256"):
            _remove(_beside(path, ".etag"))
            return None
        return etag


def _another(folder: Callable[[], Path], than: Path) -> Path | None:
    """Another folder than the one that cannot be used; None where there is none."""
    try:
        made = folder()
    except OSError:
        return None
    return None if made == than else made


def inside(folder: Path, name: str) -> Path:
    """The path of a file that somebody else named, in a folder; `ConfigurationError` when it would be outside."""
    pure = PurePosixPath(name)
    if "\\" in name or pure.is_absolute() or ".." in pure.parts or DRIVE.match(name) or not pure.name:
        raise ConfigurationError(f"{name!r} is refused: it names no file inside {folder}.")
    return folder / name


def _span(answer: Answer, have: int) -> tuple[int, int | None]:
    """Where in the file the answer's bytes start, and the size of the whole file in bytes if the server tells."""
    if answer.status == 206:
        match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise Incomplete("the server sent another part of the file than was asked for")
        return have, int(match[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _receive(answer: Answer, part: Path, start: int, here: Callable[[int], None]) -> None:
    with open_own(part) if start else open_new(part) as file:
        file.truncate(start)
        file.seek(start)
        for chunk in answer.blocks(CHUNK, CHUNK_SECONDS):
            file.write(chunk)
            here(file.tell())
        file.flush()
        os.fsync(file.fileno())


def _verify(part: Path, size: int | None, headers: Mapping[str, str], name: str) -> None:
    """Raise `Incomplete` unless the file, which is to be called `name`, is provably whole."""
    actual = part.stat().st_size
    if size is not None and actual != size:
        raise Incomplete(f"{actual} of {size} bytes arrived")
    proven = size is not None or "chunked" in headers.get("Transfer-Encoding", "")
    if name.endswith(".parquet"):
        if not _is_parquet(part, actual):
            raise Incomplete(f"what arrived is no whole Parquet file ({actual} bytes)")
        proven = True
    md5 = md5_of(headers)
    if md5 is not None:
        if _digest(part, "md5") != md5:
            raise Incomplete("the bytes that arrived do not match their checksum")
        proven = True
    if name.endswith(".json"):
        try:
            json.loads(part.read_text(encoding="utf-8"))
        except ValueError:
            raise Incomplete("what arrived is not JSON") from None
        proven = True
    if not proven:
        raise Incomplete("the server did not say how long the file is")


def _is_parquet(path: Path, size: int) -> bool:
    if size < 12:
        return False
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-4, os.SEEK_END)
        return head == file.read(4) == PARQUET_MAGIC


def md5_of(headers: Mapping[str, str]) -> str | None:
    """The MD5 of an object, where its ETag is one: S3's, unless encrypted with a managed key or uploaded in parts."""
    return etag_like_md5(headers) if headers.get("Server") == "AmazonS3" else None


def etag_like_md5(headers: Mapping[str, str]) -> str | None:
    """The ETag without its quotes, where it has the form of an MD5 and is not known to be something else."""
    match = MD5_ETAG.fullmatch(headers.get("ETag", ""))
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    return match[1] if match and not encrypted else None


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, name: str, transport: Transport, report: Callable[..., None]) -> Iterator[None]:
    """Hold an exclusive lock that the system gives up when this process ends, however it ends.

    Another process's is waited for while the round is open, and never longer than 45 minutes: `TemporaryFailure` then.
    """
    with open_own(path) as file:
        deadline = transport.monotonic() + min(transport.seconds_left() or LONGEST_TROUBLE, LONGEST_TROUBLE)
        waiting = False
        while not _try_lock(file.fileno()):
            if transport.monotonic() >= deadline:
                raise TemporaryFailure(f"Another run downloads {name} and does not come to an end.")
            if not waiting:
                report("waiting", what=f"another run downloads {name}")
                waiting = True
            transport.sleep(LOCK_POLL)
        try:
            yield
        finally:
            with suppress(OSError):
                _unlock(file.fileno())


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
