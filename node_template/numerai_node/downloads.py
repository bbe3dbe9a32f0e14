"""Downloads files to a cache so that no other process ever sees, and no run ever uses, a part of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from .errors import ConfigurationError, TemporaryFailure
from .log import log, seconds_since
from .transport import DOWNLOAD_TIMEOUT, Transport, describe, host

CHUNK = 1 << 16
PARQUET_MAGIC = b"PAR1"
LOCK_POLL = 0.2
MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Incomplete(TemporaryFailure):
    """The bytes that arrived are not the whole file, or not that file."""


class Cache:
    """A folder of downloaded files, safe for several processes at once."""

    def __init__(self, folder: Path, transport: Transport):
        self.folder = folder
        self._transport = transport

    def fetch(self, name: str, address: Callable[[], str]) -> Path:
        """The path of a complete, current copy of the file `name` (e.g. `v5.3/live.parquet`).

        `address` gives a presigned address and is asked again for each try; a try that got further than all before it
        starts the count of failures anew. A file whose ETag has not changed is not
        downloaded again. A folder that cannot be written is replaced by one for temporary files, with a warning.
        Raises `TemporaryFailure` when all tries failed, and `ConfigurationError` when no folder can be written.
        """
        try:
            return self._fetch(name, address)
        except OSError as error:
            why = error.strerror or str(error)
        fallback = Path(tempfile.gettempdir()) / "numerai-cache"
        if self.folder != fallback:
            log("warning", what=f"the cache {self.folder} cannot be used", why=why, instead=fallback)
            self.folder = fallback
            return self.fetch(name, address)
        raise ConfigurationError(
            f"{name} could not be written to {self.folder} ({why})."
            " Set NUMERAI_CACHE to a folder with room that this user may write to."
        )

    def discard(self, path: Path) -> None:
        """Forget a file that turned out to be unreadable, so that the next run downloads it again."""
        _remove(_beside(path, ".etag"), path)

    def _fetch(self, name: str, address: Callable[[], str]) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_beside(path, ".lock")):
            return self._fetch_locked(name, path, address)

    def _fetch_locked(self, name: str, path: Path, address: Callable[[], str]) -> Path:
        started = time.monotonic()
        part, furthest, failures = _beside(path, ".part"), 0, 0
        while True:
            url = address()
            try:
                size = self._try_once(name, path, url)
                break
            except (requests.RequestException, Incomplete) as error:
                why = str(error) if isinstance(error, Incomplete) else describe(error, url)
            reached = part.stat().st_size if part.exists() else 0
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures == self._transport.attempts:
                raise TemporaryFailure(f"Downloading {name} failed {failures} times in a row, last because {why}.")
            self._transport.wait(failures, f"downloading {name}", why)
        if size is None:
            log("cached", file=name, bytes=path.stat().st_size)
        else:
            log("downloaded", file=name, bytes=size, seconds=seconds_since(started))
        return path

    def _try_once(self, name: str, path: Path, url: str) -> int | None:
        """One request; the size of the file in bytes when it was downloaded, None when the cached copy is current."""
        etag_file, part, part_etag_file = (_beside(path, end) for end in (".etag", ".part", ".part.etag"))
        cached_etag = _read(etag_file) if path.exists() else None
        part_etag = _read(part_etag_file)
        have = part.stat().st_size if part_etag and part.exists() else 0
        headers = {"Accept-Encoding": "identity"}
        if have and part_etag:
            headers |= {"Range": f"bytes={have}-", "If-Range": part_etag}
        elif cached_etag:
            headers["If-None-Match"] = cached_etag
        with self._transport.send(
            "GET", url, what=f"downloading {name}", timeout=DOWNLOAD_TIMEOUT, headers=headers, stream=True
        ) as answer:
            etag = answer.headers.get("ETag")
            if answer.status_code == 304 and cached_etag:
                return None
            if answer.status_code not in (200, 206):
                _remove(part, part_etag_file)
                raise Incomplete(f"{host(url)} answered {answer.status_code}")
            if etag and etag == cached_etag:
                _remove(part, part_etag_file)
                return None
            start, size = _span(answer, have)
            if start == 0:
                _remove(part, part_etag_file)
                if etag and not etag.startswith("W/"):
                    part_etag_file.write_text(etag, encoding="utf-8")
            try:
                _receive(answer, part, start)
                _verify(part, name, size, answer.headers)
            except Incomplete:
                _remove(part, part_etag_file)
                raise
            except BaseException:
                if not part_etag_file.exists():
                    _remove(part)
                raise
        _remove(etag_file)
        part.replace(path)
        if etag:
            etag_file.write_text(etag, encoding="utf-8")
        _remove(part_etag_file)
        return path.stat().st_size


def _span(answer: requests.Response, have: int) -> tuple[int, int | None]:
    """Where in the file the answer's bytes start, and the size of the whole file in bytes if the server tells."""
    if answer.status_code == 206:
        match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != have:
            raise Incomplete("the server sent another part of the file than was asked for")
        return have, int(match[2])
    length = answer.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _receive(answer: requests.Response, part: Path, start: int) -> None:
    with part.open("ab" if start else "wb") as file:
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _verify(part: Path, name: str, size: int | None, headers: Mapping[str, str]) -> None:
    """Raise `Incomplete` unless the file is provably whole."""
    actual = part.stat().st_size
    if size is not None and actual != size:
        raise Incomplete(f"{actual} of {size} bytes arrived")
    proven = size is not None or "chunked" in headers.get("Transfer-Encoding", "")
    if name.endswith(".parquet"):
        if not _is_parquet(part, actual):
            raise Incomplete(f"what arrived is no whole Parquet file ({actual} bytes)")
        proven = True
    md5 = _md5_of(headers)
    if md5 is not None:
        if _digest(part) != md5:
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


def _md5_of(headers: Mapping[str, str]) -> str | None:
    """The MD5 of the file, where the ETag is one: S3's, unless encrypted with a managed key or uploaded in parts."""
    match = MD5_ETAG.fullmatch(headers.get("ETag", ""))
    from_s3 = headers.get("Server") == "AmazonS3"
    encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
    return match[1] if match and from_s3 and not encrypted else None


def _digest(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
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
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock that the system gives up when this process ends, however it ends."""
    with path.open("a+b") as file:
        while not _try_lock(file.fileno()):
            time.sleep(LOCK_POLL)
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
