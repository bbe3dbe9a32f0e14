"""The object store: uploaded files, and presigned URLs that name one object, one method and an end.

It behaves as Amazon S3 is documented to, which Numerai uses.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlencode

from ..files.private import replacing
from .refusal import HttpRefusal

WHOLE_BYTES = 64 * 1024 * 1024
"""Larger files have no checksum as their entity tag."""
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class Signer:
    """Makes and checks presigned URLs. `now` is the sandbox's time; `seconds` how long a URL works."""

    def __init__(self, secret: bytes, now: Callable[[], datetime], seconds: float) -> None:
        self._secret = secret
        self._now = now
        self._lifetime = timedelta(seconds=seconds)

    def url(self, base: str, key: str, method: str) -> str:
        """A URL under `base` (scheme and host) with which `method` may be used on the object `key`."""
        expires = f"{(self._now() + self._lifetime).timestamp():.3f}"
        query = urlencode({"expires": expires, "signature": self._signature(key, method, expires)})
        return f"{base}/objects/{quote(key)}?{query}"

    def check(self, key: str, method: str, expires: str, signature: str) -> None:
        """`HttpRefusal` 403 when the URL was tampered with or has expired."""
        if not hmac.compare_digest(signature.encode(), self._signature(key, method, expires).encode()):
            raise HttpRefusal(403, "SignatureDoesNotMatch")
        if self._now().timestamp() > float(expires):
            raise HttpRefusal(403, "AccessDenied: Request has expired")

    def _signature(self, key: str, method: str, expires: str) -> str:
        return hmac.new(self._secret, f"{method}\n{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


class UploadStore:
    """Files that clients have put, in one folder. A file is either whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where the object of that name lies; `HttpRefusal` 404 for a name that could never be one."""
        if not _KEY.fullmatch(name) or "/" in name:
            raise HttpRefusal(404, "NoSuchKey")
        return self._folder / name

    def put(self, name: str, chunks: Iterable[bytes]) -> Path:
        """Store an object, replacing an older one, only once all of it has arrived."""
        target = self.path(name)
        with replacing(target) as file:
            for chunk in chunks:
                file.write(chunk)
        return target


def file_etag(path: Path) -> str:
    """The entity tag that S3 gives a file: its MD5, or for a large one, as if uploaded in parts, something with a dash.

    Files are replaced, never changed in place.
    """
    stat = path.stat()
    return _file_etag(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _file_etag(path: Path, modified: int, size: int) -> str:
    if size > WHOLE_BYTES:
        parts = -(-size // WHOLE_BYTES)
        return f"{hashlib.sha256(f'{path.name}:{modified}:{size}'.encode()).hexdigest()[:32]}-{parts}"
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
