"""Trained models in a bucket: fetched into a folder before the model's code asks for it, put back after it ends.

Speaks S3 with what the node has anyway, so that an image need not carry an AWS SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

from .downloads import inside
from .errors import ConfigurationError
from .log import log
from .transport import (
    DOWNLOAD_TIMEOUT,
    QUERY_TIMEOUT,
    REFUSALS,
    SLOWEST_UPLOAD,
    UPLOAD_TIMEOUT,
    Answer,
    Passing,
    Transport,
)

BLOCK = 1 << 20
BLOCK_SECONDS = 60.0
"""How long each MiB may take, and the answer's beginning."""
CREDENTIALS_HOST = "http://169.254.170.2"
"""Where a container on AWS gets the credentials of its role (ECS, task IAM roles)."""
UNSIGNED = "UNSIGNED-PAYLOAD"
T = TypeVar("T")


@dataclass(frozen=True)
class Credentials:
    """Short-lived credentials of the run's role."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Bucket:
    """The objects below `s3://bucket/prefix`. What may pass is tried again; `TemporaryFailure` when it does not, and
    `ConfigurationError` when the bucket refuses."""

    def __init__(self, address: str, transport: Transport, environment: Mapping[str, str] | None = None):
        self._transport = transport
        parts = urlsplit(address)
        self._name, self._prefix = parts.netloc, parts.path.strip("/")
        self._env = os.environ if environment is None else environment
        self._region = self._env.get("AWS_REGION") or self._env.get("AWS_DEFAULT_REGION") or "us-east-1"
        named = self._env.get("AWS_ENDPOINT_URL_S3") or self._env.get("AWS_ENDPOINT_URL")
        self._endpoint = (named or f"https://s3.{self._region}.amazonaws.com").rstrip("/")
        self._held: Credentials | None = None

    def names(self) -> Iterator[str]:
        """The names of the objects, without the prefix."""
        query = {"list-type": "2", "prefix": f"{self._prefix}/"}
        while True:
            listing = self._request("GET", "", Answer.content, query=query)
            tree = ET.fromstring(listing)  # noqa: S314  (S3's own answer)
            space = tree.tag.partition("}")[0] + "}" if tree.tag.startswith("{") else ""
            for entry in tree.iter(f"{space}Key"):
                name = (entry.text or "").removeprefix(f"{self._prefix}/")
                if name and not name.endswith("/"):
                    yield name
            token = tree.findtext(f"{space}NextContinuationToken")
            if not token:
                return
            query["continuation-token"] = token

    def get(self, name: str, target: Path) -> None:
        """Write an object to a file, complete or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")

        def write(answer: Answer) -> None:
            with temporary.open("wb") as file:
                for block in answer.blocks(BLOCK, BLOCK_SECONDS):
                    file.write(block)

        self._request("GET", name, write)
        temporary.replace(target)

    def put(self, name: str, source: Path) -> None:
        """Make a file an object."""
        self._request("PUT", name, lambda _: None, source=source)

    def _request(
        self,
        method: str,
        name: str,
        read: Callable[[Answer], T],
        *,
        query: Mapping[str, str] | None = None,
        source: Path | None = None,
    ) -> T:
        """What `read` makes of the answer. `source` is a file to send."""
        key = f"{self._prefix}/{name}" if name else ""
        path = quote(f"/{self._name}/{key}".rstrip("/"))
        asked = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted((query or {}).items()))
        url = f"{self._endpoint}{path}" + (f"?{asked}" if asked else "")
        size = source.stat().st_size if source else 0

        def send() -> T:
            opened: AbstractContextManager[BinaryIO | None] = source.open("rb") if source else nullcontext()
            length = {"content-length": str(size)} if source else {}  # S3 takes nothing in chunks
            with (
                opened as data,
                self._transport.request(
                    method,
                    url,
                    timeout=UPLOAD_TIMEOUT if source else DOWNLOAD_TIMEOUT,
                    seconds=BLOCK_SECONDS + size / SLOWEST_UPLOAD,
                    headers={**self._signed(method, path, asked), **length},
                    data=data,
                ) as answer,
            ):
                if answer.ok:
                    return read(answer)
                what = f"The bucket {self._name} answered {answer.status} to {method} {key or 'a listing'}."
                raise ConfigurationError(what)

        return self._transport.retry(f"{method} of {key or 'the listing'} in the bucket {self._name}", send)

    def _signed(self, method: str, path: str, query: str) -> dict[str, str]:
        """The headers of a signed request (AWS Signature Version 4)."""
        held = self._credentials()
        now = datetime.now(timezone.utc)
        stamp, scope = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        headers = {"host": urlsplit(self._endpoint).netloc, "x-amz-content-sha256": UNSIGNED, "x-amz-date": stamp}
        if held.token:
            headers["x-amz-security-token"] = held.token
        names = ";".join(sorted(headers))
        canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = "\n".join((method, path, query, canonical, names, UNSIGNED))
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
        secret = f"AWS4{held.secret_key}".encode()
        for word in scope.split("/"):
            secret = hmac.new(secret, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={held.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return {**headers, "authorization": authorization, "content-type": "application/octet-stream"}

    def _credentials(self) -> Credentials:
        if self._held is None:
            self._held = self._find_credentials()
        return self._held

    def _find_credentials(self) -> Credentials:
        access, secret = self._env.get("AWS_ACCESS_KEY_ID"), self._env.get("AWS_SECRET_ACCESS_KEY")
        if access and secret:
            return Credentials(access, secret, self._env.get("AWS_SESSION_TOKEN"))
        path = self._env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        if not path:
            raise ConfigurationError("NUMERAI_ARTIFACTS is a bucket, but there are no AWS credentials here.")
        url = f"{CREDENTIALS_HOST}{path}"

        def ask() -> Credentials:
            with self._transport.request("GET", url, timeout=QUERY_TIMEOUT) as answer:
                given: Any = answer.json()
                try:
                    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
                except (TypeError, KeyError):
                    raise Passing("AWS gives none to this run", at_most=REFUSALS) from None

        return self._transport.retry("asking for the credentials of the run's role", ask)


class Mirror:
    """A folder that holds what is in a bucket, and remembers what of it is new."""

    def __init__(self, bucket: Bucket, folder: Path):
        self._bucket = bucket
        self._folder = folder
        self._known: dict[str, tuple[int, int]] = {}

    def fetch(self) -> Path:
        """Bring everything here, and return the folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in list(self._bucket.names()):
            self._bucket.get(name, inside(self._folder, name))
        self._known = self._files()
        log("fetched", artifacts=len(self._known))
        return self._folder

    def put_back(self) -> None:
        """Put what is new or changed into the bucket."""
        changed = [name for name, seen in self._files().items() if self._known.get(name) != seen]
        for name in changed:
            self._bucket.put(name, self._folder / name)
        self._known = self._files()
        if changed:
            log("kept", artifacts=len(changed))

    def _files(self) -> dict[str, tuple[int, int]]:
        files = [path for path in self._folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
        seen = {path.relative_to(self._folder).as_posix(): path.stat() for path in files}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in seen.items()}
