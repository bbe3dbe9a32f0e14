"""A small Numerai on a real socket whose answers a test can script, and the runtime's parts talking to it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numerai_node.node import Node
from numerai_node.settings import from_environment
from numerai_node.transport import Transport

PUBLIC_ID, SECRET_KEY, MODEL_ID, TRIGGER_ID = "PUBLICID", "SECRETSECRETSECRET", "model-1", "trigger-1"

GRAPHQL_FIELD = re.compile(
    r"\b(listDatasets|dataset|rounds|apiTokenInfo|model|submissionUpload\w*Auth|submissionDownloadAuth"
    r"|create\w*Submission|submissions)\b[ (]"
)

Answer = Callable[["Handler"], None]


class Stub:
    """What the server serves and remembers. `script[target]` holds answers that are given first, one per request.

    Targets: `graphql`, the name of a GraphQL field, `download`, `upload`, `submitted` (what is read back). `modified`
    are Last-Modified headers of files, `store_headers` what a PUT is answered with, `inserted_at` what every submission
    shows. `standings` is what the newest submission's entry says, one a look, the last for good; `entries` are further
    ones.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.script: dict[str, list[Answer]] = defaultdict(list)
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self.scopes = ["upload_submission", "read_submission_info"]
        self.models: dict[str, dict[str, Any]] = {MODEL_ID: {"name": "alice", "tournament": 8}}
        self.round: dict[str, Any] | None = a_round()
        self.standings = ["none", "on-time"]
        self.entries: list[dict[str, Any]] = []
        self.earlier_rounds: list[dict[str, Any]] = []
        self.modified: dict[str, str] = {}
        self.store_headers: Callable[[bytes], Mapping[str, str]] = lambda content: {}
        self.inserted_at: str | None = None
        self.uploads: dict[str, bytes] = {}
        self.submissions: list[dict[str, Any]] = []
        self.created: list[dict[str, Any]] = []
        self.url = ""

    def asked(self, target: str) -> int:
        """How many requests came for a target."""
        return sum(1 for name, _, _ in self.requests if name == target)

    def headers_of(self, target: str) -> list[Mapping[str, str]]:
        """The headers of every request for a target."""
        return [headers for name, _, headers in self.requests if name == target]

    def etag(self, name: str) -> str:
        """The file's ETag, by default its MD5 as S3 gives it."""
        md5 = hashlib.md5(self.files[name], usedforsecurity=False).hexdigest()
        return self.etags.get(name, f'"{md5}"')


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms for an ACK
    stub: Stub

    def log_message(self, *args: object) -> None: ...

    def _scripted(self, *targets: str) -> bool:
        for target in targets:
            if self.stub.script[target]:
                self.stub.script[target].pop(0)(self)
                return True
        return False

    def do_GET(self) -> None:
        if self.path.startswith("/submitted/"):
            name = self.path.removeprefix("/submitted/").partition("?")[0]
            self.stub.requests.append(("submitted", name, dict(self.headers)))
            if not self._scripted("submitted"):
                self.answer(200, self.stub.uploads[name])
            return
        name = self.path.removeprefix("/data/").partition("?")[0]
        self.stub.requests.append(("download", name, dict(self.headers)))
        if self._scripted("download"):
            return
        self.serve(name)

    def serve(self, name: str, *, cut: int | None = None) -> None:
        """Answer a GET like an object store; with `cut` the connection breaks after that many bytes."""
        if name not in self.stub.files:
            self.answer(404, b"")
            return
        content, etag = self.stub.files[name], self.stub.etag(name)
        modified = {"Last-Modified": self.stub.modified[name]} if name in self.stub.modified else {}
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, b"", {"ETag": etag, **modified})
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range") == etag:
            start = int(asked[1])
            headers = {"ETag": etag, "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            self.answer(206, content[start:], headers, cut=cut)
        else:
            self.answer(200, content, {"ETag": etag, **modified}, cut=cut)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.removeprefix("/upload/").partition("?")[0]
        self.stub.requests.append(("upload", name, dict(self.headers)))
        if self._scripted("upload"):
            return
        self.stub.uploads[name] = content
        headers = dict(self.stub.store_headers(content))
        self.server_version, self.sys_version = headers.pop("Server", "stub"), ""
        self.answer(200, b"", headers)

    def version_string(self) -> str:
        return self.server_version

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = GRAPHQL_FIELD.search(body["query"])
        assert found, body["query"]
        field = found[1]
        self.stub.requests.append(("graphql", field, dict(self.headers)))
        field = "latestSubmissions" if "latestSubmissions" in body["query"] else field
        self.stub.requests.append((field, "", dict(self.headers)))
        if self._scripted("graphql", field):
            return
        self.resolve(field, body["variables"])

    def resolve(self, field: str, variables: dict[str, Any]) -> None:
        """Answer one GraphQL field as Numerai does; `latestSubmissions` is that of the model."""
        stub = self.stub
        if field == "listDatasets":
            self.data({field: list(stub.files)})
        elif field == "dataset":
            self.data({field: f"{stub.url}/data/{variables['filename']}?signature=SIGNATURE"})
        elif field == "rounds":
            number = variables.get("number") or 0
            earlier = [each for each in stub.earlier_rounds if each["number"] == number]
            self.data({field: earlier if number else [stub.round] if stub.round else []})
        elif self.headers.get("Authorization") != f"Token {PUBLIC_ID}${SECRET_KEY}":
            self.errors("You must be authenticated to perform this action.")
        elif field == "apiTokenInfo":
            self.data({field: {"scopes": stub.scopes}})
        elif field == "model":
            self.data({field: stub.models.get(variables["modelId"])})
        elif field == "latestSubmissions":
            self.data({"model": {field: self.entries()}})
        elif field.startswith("submissionUpload"):
            name = f"{stub.asked(field)}-{variables['filename']}"
            self.data({field: {"filename": name, "url": f"{stub.url}/upload/{name}?signature=SIGNATURE"}})
        elif field == "submissionDownloadAuth":
            (held,) = [each for each in stub.submissions if each["id"] == variables["id"]]
            self.data({field: {"url": f"{stub.url}/submitted/{held['filename']}?signature=SIGNATURE"}})
        elif field.startswith("create"):
            self.data({field: {"id": self.create(variables)}})
        else:
            self.data({field: stub.submissions})

    def create(self, variables: dict[str, Any]) -> str:
        """Record a submission and return its id."""
        self.stub.created.append(variables)
        identity = f"submission-{len(self.stub.created)}"
        self.stub.submissions.append(
            {
                "id": identity,
                "filename": variables["filename"],
                "triggerId": variables["triggerId"],
                "insertedAt": self.stub.inserted_at,
                "round": dict(self.stub.round) if self.stub.round else None,
            }
        )
        return identity

    def entries(self) -> list[dict[str, Any]]:
        """The model's entries: of the newest submission what `standings` says, and those that are given."""
        stub = self.stub
        if not stub.submissions:
            return stub.entries
        newest = stub.submissions[-1]
        status = stub.standings.pop(0) if len(stub.standings) > 1 else stub.standings[0]
        made = {} if status == "none" else {"id": newest["id"], "filename": newest["filename"], "timestamp": at(0)}
        number = newest["round"]["number"] if newest["round"] else 901
        status = status if newest["round"] or status == "none" else "queued"
        return [{"roundNumber": number, "status": status, **made}, *stub.entries]

    def data(self, data: dict[str, Any]) -> None:
        self.answer(200, json.dumps({"data": data}).encode())

    def errors(self, *messages: str) -> None:
        self.answer(200, json.dumps({"errors": [{"message": text} for text in messages]}).encode())

    def answer(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        length: int | None = None,
        cut: int | None = None,
    ) -> None:
        """Send an answer; `length` lies about its length, `cut` ends it early."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content[:cut])
        if cut is not None or length is not None:
            self.close_connection = True

    def hang_up(self) -> None:
        self.close_connection = True


def status(code: int, **headers: str) -> Answer:
    """An answer with this status and no use."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(code, b"<html>secret stack trace</html>", named)


def refusal(*messages: str) -> Answer:
    """A GraphQL answer with errors."""
    return lambda handler: handler.errors(*messages)


def drop(handler: Handler) -> None:
    """No answer at all."""
    handler.hang_up()


def at(minutes: float) -> str:
    """A time so many minutes from now, as the API writes it."""
    return (datetime.now(timezone.utc) + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def http_time(minutes: float) -> str:
    """A time so many minutes from now, as HTTP headers write it."""
    return format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes), usegmt=True)


def a_round(number: int = 900, opened: float = -10.0, closes: float = 50.0, day: int = 20251121) -> dict[str, Any]:
    """A round that opened so many minutes from now and whose deadline is then; the late period takes 23 hours more."""
    times = {"openTime": at(opened), "closeStakingTime": at(closes), "closeTime": at(closes + 23 * 60)}
    return {"number": number, "dataDatestamp": day, **times}


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


@cache
def classic_files(rows: int = 200, features: int = 4) -> dict[str, bytes]:
    """A Classic dataset of two versions; the targets follow the first feature."""
    random = np.random.default_rng(1)
    names = [f"feature_{number}" for number in range(features)]

    def frame(prefix: str, eras: list[str], targets: bool) -> pd.DataFrame:
        index = pd.Index([f"{prefix}{number:04d}" for number in range(rows)], name="id")
        data = pd.DataFrame(random.integers(0, 5, (rows, features)).astype("int8"), index=index, columns=names)
        data.insert(0, "era", [eras[number % len(eras)] for number in range(rows)])
        if targets:
            data["target"] = (data[names[0]] / 4).astype("float32")
        return data

    sets = {"feature_sets": {"small": names[:2], "all": names}, "targets": ["target"]}
    newest = {
        "train.parquet": parquet(frame("t", ["0001", "0002", "0003", "0004"], True)),
        "validation.parquet": parquet(frame("v", ["0005", "0006"], True)),
        "live.parquet": parquet(frame("n", ["X"], False)),
        "features.json": json.dumps(sets).encode(),
    }
    return {"v5.3/live.parquet": b"old"} | {f"v5.10/{name}": content for name, content in newest.items()}


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A running server with a Classic dataset."""
    stub = Stub()
    stub.files = dict(classic_files())
    handler = type("BoundHandler", (Handler,), {"stub": stub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield stub
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the transport would have slept."""
    return []


@pytest.fixture
def transport(waits: list[float]) -> Transport:
    """A transport that does not sleep and tries three times."""
    return Transport(sleep=waits.append, attempts=3)


@pytest.fixture
def environment(stub: Stub, tmp_path: Path) -> dict[str, str]:
    """The environment contract of a Classic node that was triggered."""
    return {
        "NUMERAI_PUBLIC_ID": PUBLIC_ID,
        "NUMERAI_SECRET_KEY": SECRET_KEY,
        "MODEL_ID": MODEL_ID,
        "TRIGGER_ID": TRIGGER_ID,
        "NUMERAI_API_URL": stub.url,
        "NUMERAI_NODE": "numerai-alice",
        "NUMERAI_ARTIFACTS": str(tmp_path / "artifacts"),
        "NUMERAI_CACHE": str(tmp_path / "cache"),
    }


@pytest.fixture
def make_node(environment: dict[str, str], transport: Transport) -> Callable[..., Node]:
    """Builds a node whose environment differs by these variables."""
    return lambda **changes: Node(from_environment(environment | changes), transport)


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    """A Classic node that was triggered."""
    return make_node()


@pytest.fixture(autouse=True)
def _forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["numerai_node.log"], "_secrets", set())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate that nobody has signed, for localhost, in one file."""
    trustme = pytest.importorskip("cryptography.x509")
    from datetime import datetime, timedelta, timezone

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = trustme.Name([trustme.NameAttribute(trustme.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = trustme.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    builder = builder.add_extension(trustme.SubjectAlternativeName([trustme.DNSName("localhost")]), critical=False)
    signed = builder.sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path
