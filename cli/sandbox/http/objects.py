"""GET, HEAD and PUT on presigned URLs, with ranges and entity tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import FileWrapper

from ..core import Sandbox
from ..data.catalog import StoredFile
from ..data.source import Edition, is_live
from ..faults import corrupted
from ..objects import file_etag
from ..records import FaultRecord
from ..refusal import HttpRefusal
from .messages import CHUNK, pieces

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

PREFIX = "/objects/"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_DATASET = re.compile(r"datasets/(\d+)/(.+)")


def answer_object(sandbox: Sandbox, request: Request, fault: FaultRecord | None) -> Response:
    """The object store's answer; errors come as XML."""
    try:
        key = request.path.removeprefix(PREFIX)
        signed_for = "PUT" if request.method == "PUT" else "GET"
        expires = request.args.get("expires", "")
        if not re.fullmatch(r"\d+\.\d+", expires):
            raise HttpRefusal(403, "AccessDenied")
        sandbox.signer.check(key, signed_for, expires, request.args.get("signature", ""))
        if request.method == "PUT":
            return _put(sandbox, request, key, fault)
        return _get(_stored(sandbox, key, stale=fault is not None and fault.kind == "stale"), request)
    except HttpRefusal as refusal:
        code = refusal.message.partition(":")[0]
        text = f"<Error><Code>{code}</Code><Message>{refusal.message}</Message></Error>"
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
        return Response(xml, refusal.status, content_type="application/xml")


def _put(sandbox: Sandbox, request: Request, key: str, fault: FaultRecord | None) -> Response:
    kind, _, name = key.partition("/")
    if kind != "uploads":
        raise HttpRefusal(403, "AccessDenied")
    path = sandbox.upload_store.put(name, _spoilt(pieces(request), fault))
    return Response(headers={"ETag": f'"{file_etag(path)}"'})


def _spoilt(chunks: Iterable[bytes], fault: FaultRecord | None) -> Iterable[bytes]:
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


class _FileResponse(Response):
    """A file, or a range of it."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """werkzeug's, which leave Last-Modified out of a 304; S3 tells it."""
        headers = super().get_wsgi_headers(environ)
        headers["Last-Modified"] = self.headers["Last-Modified"]
        return headers


def _get(stored: StoredFile, request: Request) -> Response:
    stat = stored.path.stat()
    response = _FileResponse(content_type="application/octet-stream", direct_passthrough=True)
    response.accept_ranges = "bytes"
    response.set_etag(stored.etag)
    response.last_modified = stored.published or stat.st_mtime  # type: ignore[assignment]
    response.content_length = stat.st_size
    wanted = _range(request.environ.pop("HTTP_RANGE", None), stat.st_size)
    if wanted is not None:
        request.environ["HTTP_RANGE"] = wanted
    response.response = FileWrapper(stored.path.open("rb"), CHUNK)
    try:
        return response.make_conditional(request, accept_ranges=True, complete_length=stat.st_size)
    except RequestedRangeNotSatisfiable:
        response.close()
        response.direct_passthrough = False
        response.status_code = 416
        response.headers["Content-Range"] = f"bytes */{stat.st_size}"
        response.set_data(b"")
        return response


def _range(header: str | None, size: int) -> str | None:
    """The range that is asked for, as werkzeug reads it right; None when it is no single one, and the whole is sent.

    werkzeug refuses what is no single range, and a suffix that is longer than the file (RFC 9110, 14.1.2 and 14.2).
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return f"bytes={max(0, size - int(last)) if int(last) else size}-"
    return None if last and int(last) < int(first) else found[0]
