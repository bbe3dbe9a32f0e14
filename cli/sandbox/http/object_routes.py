"""GET, HEAD and PUT on presigned URLs, with ranges and entity tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from email.utils import format_datetime

from ..core import Sandbox
from ..data.catalog import StoredFile, is_live
from ..data.source import Edition
from ..faults import corrupted
from ..objects import file_etag
from ..records import FaultRecord
from ..refusal import HttpRefusal
from .messages import Answer, FilePart, Request, store_error

PREFIX = "/objects/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DATASET = re.compile(r"datasets/(\d+)/(.+)")


def answer_object(sandbox: Sandbox, request: Request, fault: FaultRecord | None) -> Answer:
    """The object store's answer; errors come as XML."""
    try:
        key = request.path.removeprefix(PREFIX)
        signed_for = "PUT" if request.method == "PUT" else "GET"
        expires = request.query.get("expires", "")
        if not re.fullmatch(r"\d+\.\d+", expires):
            raise HttpRefusal(403, "AccessDenied")
        sandbox.signer.check(key, signed_for, expires, request.query.get("signature", ""))
        if request.method == "PUT":
            return _put(sandbox, request, key, fault)
        return _get(_stored(sandbox, key, stale=fault is not None and fault.kind == "stale"), request)
    except HttpRefusal as refusal:
        return store_error(refusal.status, refusal.message)


def _put(sandbox: Sandbox, request: Request, key: str, fault: FaultRecord | None) -> Answer:
    kind, _, name = key.partition("/")
    if kind != "uploads":
        raise HttpRefusal(403, "AccessDenied")
    path = sandbox.upload_store.put(name, _spoilt(request.chunks(), fault))
    return Answer(200, b"", {"ETag": f'"{file_etag(path)}"'})


def _spoilt(chunks: Iterator[bytes], fault: FaultRecord | None) -> Iterable[bytes]:
    """The uploaded bytes as a fault leaves them: cut in half or garbled."""
    if fault is None or fault.kind not in ("truncate", "corrupt"):
        return chunks
    body = b"".join(chunks)
    return [body[: len(body) // 2] if fault.kind == "truncate" else corrupted(body)]


def _stored(sandbox: Sandbox, key: str, *, stale: bool) -> StoredFile:
    dataset = _DATASET.fullmatch(key)
    if dataset is not None:
        return _dataset(sandbox, int(dataset[1]) - stale, dataset[2])
    found = sandbox.submissions.get(key.removeprefix("submissions/"))
    if found is None:
        raise HttpRefusal(404, "NoSuchKey")
    if found.invented and not sandbox.upload_store.path(found.filename).exists():
        sandbox.upload_store.put(found.filename, [sandbox.history.file(found)])
    path = sandbox.submissions.file(found)
    if not path.is_file():
        raise HttpRefusal(404, "NoSuchKey")
    return StoredFile(path, file_etag(path))


def _dataset(sandbox: Sandbox, number: int, name: str) -> StoredFile:
    tournament = sandbox.catalog.tournament_of(name)
    if tournament is None:
        raise HttpRefusal(404, "NoSuchKey")
    if is_live(name) and not sandbox.rounds.is_published(tournament, number):
        number -= 1
    published = sandbox.rounds.published(tournament, number)
    edition = sandbox.edition(tournament, number)
    if not edition.round_number:
        edition = Edition(number, int(published.strftime("%Y%m%d")))
    stored = sandbox.catalog.file(name, edition)
    return replace(stored, published=published) if is_live(name) else stored


def _get(stored: StoredFile, request: Request) -> Answer:
    stat = stored.path.stat()
    size = stat.st_size
    etag = f'"{stored.etag}"'
    made = datetime.fromtimestamp(int(stat.st_mtime), timezone.utc)
    modified = format_datetime(stored.published or made, usegmt=True)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "ETag": etag,
        "Last-Modified": modified,
    }
    if etag in [each.strip() for each in request.headers.get("If-None-Match", "").split(",")]:
        return Answer(304, b"", headers)
    unchanged = request.headers.get("If-Range") in (None, etag, modified)
    wanted = _range(request.headers.get("Range"), size) if unchanged else None
    if wanted is None:
        return Answer(200, FilePart(stored.path, 0, size), headers)
    start, end = wanted
    if start >= size or start > end:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{size}"
    return Answer(206, FilePart(stored.path, start, end - start + 1), headers)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte asked for; None when no single range is, and the whole is sent (RFC 9110, 14.2)."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) else (size, size - 1)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < int(first):
        return None
    return int(first), end
