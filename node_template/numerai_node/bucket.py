"""Trained models in a bucket: fetched into a folder before the model's code asks for it, put back after it ends.

Speaks S3 with what the node has anyway, so that an image need not carry an AWS SDK.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from .errors import ConfigurationError, TemporaryFailure
from .log import log

SECONDS = 300
CREDENTIALS_HOST = "http://169.254.170.2"
"""Where a container on AWS gets the credentials of its role (ECS, task IAM roles)."""
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Credentials:
    """Short-lived credentials of the run's role."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Bucket:
    """The objects below `s3://bucket/prefix`."""

    def __init__(self, address: str, environment: Mapping[str, str] | None = None):
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
            tree = ET.fromstring(self._request("GET", "", query=query).content)  # noqa: S314  (S3's own answer)
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
        with temporary.open("wb") as file:
            for block in self._request("GET", name, stream=True).iter_content(1 << 20):
                file.write(block)
        temporary.replace(target)

    def put(self, name: str, source: Path) -> None:
        """Make a file an object."""
        with source.open("rb") as file:
            self._request("PUT", name, data=file)

    def _request(self, method: str, name: str, *, query: Mapping[str, str] | None = None, **more: Any) -> Any:
        key = f"{self._prefix}/{name}" if name else ""
        path = quote(f"/{self._name}/{key}".rstrip("/"))
        asked = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted((query or {}).items()))
        headers = self._signed(method, path, asked)
        try:
            url = f"{self._endpoint}{path}" + (f"?{asked}" if asked else "")
            response = requests.request(method, url, headers=headers, timeout=SECONDS, **more)
        except requests.RequestException as error:
            raise TemporaryFailure(f"The bucket {self._name} cannot be reached: {type(error).__name__}.") from error
        if not response.ok:
            what = f"The bucket {self._name} answered {response.status_code} to {method} {key or 'a listing'}."
            raise (TemporaryFailure if response.status_code >= 500 else ConfigurationError)(what)
        return response

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
        try:
            found = requests.get(f"{CREDENTIALS_HOST}{path}", timeout=10).json()
            return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
        except (requests.RequestException, ValueError, KeyError) as error:
            raise TemporaryFailure(f"AWS gives no credentials to this run: {type(error).__name__}.") from error


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
            self._bucket.get(name, self._folder / name)
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
