"""Trained models in a bucket: fetched into a folder before the model's code asks for it, put back after it ends.

Speaks S3 with what the node has anyway, so that an image need not carry an AWS SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlsplit

from .clock import moment
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
RENEWED = timedelta(minutes=5)
"""How long before their end credentials are asked for anew: a run may last longer than they do, about 6 hours."""
ENDED = 400, 403
"""How S3 may answer to credentials that have ended (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
LARGEST_PUT, PART = 5 * 10**9, 1 << 29
"""Bytes of the largest object that one request makes, and of a part of one that several make, at most 10,000
(docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
UNSIGNED = "UNSIGNED-PAYLOAD"
APART = "sent/"
"""What runs put there and never need again begins with this: no run fetches it."""
T = TypeVar("T")


@dataclass(frozen=True)
class Credentials:
    """Credentials; those of the run's role end at some time."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    ends: datetime | None = None


@dataclass(frozen=True)
class Body:
    """What a request sends: how to open it, and how many bytes it has."""

    open: Callable[[], AbstractContextManager[BinaryIO]]
    size: int


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
            tree = ET.fromstring(self._request("GET", "", Answer.content, query=query))  # noqa: S314  (S3's own answer)
            for entry in tree.findall(".//{*}Key"):
                name = (entry.text or "").removeprefix(f"{self._prefix}/")
                if name and not name.endswith("/"):
                    yield name
            token = tree.findtext("{*}NextContinuationToken")
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
        """Make a file an object, in parts where it is too large for one request. The bucket itself
        removes the parts of one that was not put to its end."""
        size = source.stat().st_size
        if size <= LARGEST_PUT:
            self._request("PUT", name, lambda _: None, body=Body(lambda: source.open("rb"), size))
            return
        begun = ET.fromstring(self._request("POST", name, Answer.content, query={"uploads": ""}))  # noqa: S314
        upload = {"uploadId": begun.findtext("{*}UploadId") or ""}
        whole = ET.Element("CompleteMultipartUpload")
        for number, start in enumerate(range(0, size, PART), 1):
            part = _part(source, start, min(PART, size - start))
            query = {"partNumber": str(number), **upload}
            etag = self._request("PUT", name, lambda answer: answer.headers.get("ETag", ""), query=query, body=part)
            listed = ET.SubElement(whole, "Part")
            ET.SubElement(listed, "PartNumber").text = str(number)
            ET.SubElement(listed, "ETag").text = etag
        parts = ET.tostring(whole)
        self._request("POST", name, _completed, query=upload, body=Body(lambda: BytesIO(parts), len(parts)))

    def put_tagged(self, name: str, content: bytes, tagging: str) -> None:
        """Make some bytes an object with a tag, `key=value`, which takes the permission s3:PutObjectTagging
        (docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html)."""
        body = Body(lambda: BytesIO(content), len(content))
        self._request("PUT", name, lambda _: None, body=body, headers={"x-amz-tagging": tagging})

    def _request(
        self,
        method: str,
        name: str,
        read: Callable[[Answer], T],
        *,
        query: Mapping[str, str] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """What `read` makes of the answer."""
        key = f"{self._prefix}/{name}" if name else ""
        path = quote(f"/{self._name}/{key}".rstrip("/"))
        asked = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted((query or {}).items()))
        url = f"{self._endpoint}{path}" + (f"?{asked}" if asked else "")
        size = body.size if body else 0

        def send() -> T:
            opened: AbstractContextManager[BinaryIO | None] = body.open() if body else nullcontext()
            length = {"content-length": str(size)} if body else {}  # S3 takes nothing in chunks
            with (
                opened as data,
                self._transport.request(
                    method,
                    url,
                    timeout=UPLOAD_TIMEOUT if body else DOWNLOAD_TIMEOUT,
                    seconds=BLOCK_SECONDS + size / SLOWEST_UPLOAD,
                    headers={**self._signed(method, path, asked, headers or {}), **length},
                    data=data,
                ) as answer,
            ):
                if answer.ok:
                    return read(answer)
                what = f"The bucket {self._name} answered {answer.status} to {method} {key or 'a listing'}."
                refused = ConfigurationError(what)
                if self._credentials().ends and answer.status in ENDED and b"ExpiredToken" in answer.content():
                    self._held = None
                    raise Passing("the credentials of the run's role have ended", at_most=2, then=refused)
                raise refused

        return self._transport.retry(f"{method} of {key or 'the listing'} in the bucket {self._name}", send)

    def _signed(self, method: str, path: str, query: str, more: Mapping[str, str]) -> dict[str, str]:
        """The headers of a signed request (AWS Signature Version 4)."""
        held = self._credentials()
        now = datetime.now(timezone.utc)
        stamp, scope = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}/{self._region}/s3/aws4_request"
        own = {"host": urlsplit(self._endpoint).netloc, "x-amz-content-sha256": UNSIGNED, "x-amz-date": stamp}
        headers = {**own, **more}
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
        held = self._held
        if held is None or (held.ends and held.ends - datetime.now(timezone.utc) < RENEWED):
            held = self._held = self._find_credentials()
        return held

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
                    ends = moment(given.get("Expiration"))
                    return Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["Token"], ends)
                except (AttributeError, TypeError, KeyError):
                    raise Passing("AWS gives none to this run", at_most=REFUSALS) from None

        return self._transport.retry("asking for the credentials of the run's role", ask)


class Mirror:
    """A folder that holds what is in a bucket, and remembers what of it is new."""

    def __init__(self, bucket: Bucket, folder: Path):
        self._bucket = bucket
        self._folder = folder
        self._known: dict[str, tuple[int, int]] = {}

    def fetch(self) -> Path:
        """Bring everything here, and return the folder. An object that is no file inside it is left where it is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in list(self._bucket.names()):
            if name.startswith(APART):
                continue
            try:
                path = self._path(name)
            except ConfigurationError as error:
                log("warning", what="an artifact is not fetched", why=error)
                continue
            self._bucket.get(name, path)
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

    def _path(self, name: str) -> Path:
        """Where an object belongs, links followed: whoever may write to the bucket has named it."""
        path = inside(self._folder, name)
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise ConfigurationError(f"{name!r} is refused: it names no file inside {self._folder}.")
        return path

    def _files(self) -> dict[str, tuple[int, int]]:
        files = {path.relative_to(self._folder): path for path in self._folder.rglob("*") if path.is_file()}
        shown = {name: path for name, path in files.items() if not any(part.startswith(".") for part in name.parts)}
        seen = {name.as_posix(): path.stat() for name, path in shown.items()}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in seen.items()}


@dataclass
class _Reader:
    """The next so many bytes of a file."""

    file: BinaryIO
    left: int

    def read(self, size: int = -1) -> bytes:
        """At most so many of them."""
        block = self.file.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(block)
        return block


def _part(source: Path, start: int, size: int) -> Body:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with source.open("rb") as file:
            file.seek(start)
            yield cast(BinaryIO, _Reader(file, size))

    return Body(opened, size)


def _completed(answer: Answer) -> None:
    """S3 may find out that it failed after it has answered 200
    (docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html)."""
    if b"<Error>" in answer.content():
        raise Passing("the bucket could not put the parts together")
