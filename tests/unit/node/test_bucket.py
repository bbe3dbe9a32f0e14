"""Trained models in a bucket: fetched, put back, and signed as AWS wants it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from numerai_node import bucket as module
from numerai_node.bucket import Bucket, Mirror
from numerai_node.errors import ConfigurationError, TemporaryFailure
from numerai_node.transport import Transport

from .test_node import MakeNode

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_SESSION_TOKEN": "TOKEN"}


class Store:
    """An S3 of one bucket on this machine, which lists two objects a page. `refuse` is a status to answer with,
    `refusals` are such for one request each, and so many (`cuts`) objects break off as they are read."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuse = 0
        self.refusals: list[int] = []
        self.cuts = 0
        self.seen: list[tuple[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                key = unquote(parts.path).removeprefix("/models").lstrip("/")
                store.seen.append(("GET", key))
                if store.refusals:
                    self._send(store.refusals.pop(), b"")
                elif store.cuts and key:
                    store.cuts -= 1
                    self._send(200, store.objects[key], cut=5)
                elif store.refuse:
                    self._send(store.refuse, b"")
                elif key:
                    self._send(200 if key in store.objects else 404, store.objects.get(key, b""))
                else:
                    self._send(200, store.listing(parse_qs(parts.query)))

            def do_PUT(self) -> None:
                key = unquote(self.path).removeprefix("/models/")
                content = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
                store.seen.append(("PUT", key))
                refused = store.refusals.pop() if store.refusals else store.refuse
                if not refused:
                    store.objects[key] = content
                self._send(refused or 200, b"")

            def _send(self, status: int, body: bytes, cut: int | None = None) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:cut])

            def log_message(self, *_: object) -> None:
                """Keep the tests' output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def listing(self, query: dict[str, list[str]]) -> bytes:
        prefix = query["prefix"][0]
        found = sorted(key for key in self.objects if key.startswith(prefix))
        start = int(query.get("continuation-token", ["0"])[0])
        page = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in found[start : start + 2])
        more = f"<NextContinuationToken>{start + 2}</NextContinuationToken>" if len(found) > start + 2 else ""
        space = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
        return f"<ListBucketResult {space}>{page}{more}</ListBucketResult>".encode()


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    thread = threading.Thread(target=store.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield store
    store.server.shutdown()
    store.server.server_close()
    thread.join()


def transport() -> Transport:
    return Transport(sleep=lambda _: None, attempts=3)


def bucket(store: Store, **changes: str) -> Bucket:
    return Bucket("s3://models/numerai-alice", transport(), {"AWS_ENDPOINT_URL": store.url, **KEYS, **changes})


def test_everything_is_fetched_and_only_what_is_new_is_put_back(store: Store, tmp_path: Path) -> None:
    store.objects = {f"numerai-alice/{name}": name.encode() for name in ("a.txt", "deep er/b+c.txt", "d", "empty/")}
    store.objects["numerai-alice-2/other"] = b"x"
    mirror = Mirror(bucket(store), tmp_path / "artifacts")
    folder = mirror.fetch()
    files = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert files == {"a.txt": "a.txt", "deep er/b+c.txt": "deep er/b+c.txt", "d": "d"}
    (folder / "a.txt").write_text("changed")
    (folder / "new").mkdir()
    (folder / "new" / "model").write_bytes(b"m" * 100_000)
    (folder / "new" / "empty").touch()
    (folder / ".temporary").write_text("x")
    mirror.put_back()
    mirror.put_back()
    puts = [key for method, key in store.seen if method == "PUT"]
    assert sorted(puts) == ["numerai-alice/a.txt", "numerai-alice/new/empty", "numerai-alice/new/model"]
    assert store.objects["numerai-alice/a.txt"] == b"changed"
    assert store.objects["numerai-alice/new/model"] == b"m" * 100_000


def test_a_node_keeps_its_artifacts_in_the_bucket(
    store: Store, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": store.url}.items():
        monkeypatch.setenv(name, value)
    store.objects["numerai-alice/model.txt"] = b"old"
    node = make_node(NUMERAI_ARTIFACTS="s3://models/numerai-alice")
    node.keep_artifacts()
    assert (node.artifacts / "model.txt").read_text() == "old"
    (node.artifacts / "model.txt").write_text("newer")
    node.keep_artifacts()
    assert store.objects["numerai-alice/model.txt"] == b"newer"
    (node.artifacts / "model.txt").write_text("newest")
    store.refuse = 403
    node.keep_artifacts()
    node.api.transport.submit_by(datetime.now(timezone.utc) + timedelta(hours=1))
    store.refuse, store.seen = 503, []
    node.keep_artifacts()
    assert len(store.seen) == 3
    assert "the next run trains again" in capsys.readouterr().out
    monkeypatch.setattr(Path, "open", unreadable)
    node.keep_artifacts()
    assert "the next run trains again" in capsys.readouterr().out


def unreadable(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_an_object_whose_name_leads_out_of_the_folder_is_refused(store: Store, tmp_path: Path) -> None:
    store.objects["numerai-alice//escaped"] = b"x"
    with pytest.raises(ConfigurationError, match="'/escaped' is refused"):
        Mirror(bucket(store), tmp_path / "artifacts").fetch()


@pytest.mark.parametrize(("status", "kind"), [(403, ConfigurationError), (503, TemporaryFailure)])
def test_a_bucket_that_refuses(store: Store, status: int, kind: type[Exception]) -> None:
    store.refuse = status
    with pytest.raises(kind, match=str(status)):
        list(bucket(store).names())


def test_what_passes_is_tried_again(store: Store, tmp_path: Path) -> None:
    store.objects["numerai-alice/model"] = b"m" * 1000
    store.refusals, store.cuts = [503, 500], 2
    mirror = Mirror(bucket(store), tmp_path / "artifacts")
    folder = mirror.fetch()
    assert (folder / "model").read_bytes() == b"m" * 1000
    (folder / "model").write_bytes(b"n" * 2000)
    store.refusals = [503]
    mirror.put_back()
    assert store.objects["numerai-alice/model"] == b"n" * 2000


def test_an_object_that_always_breaks_off_is_a_temporary_failure(store: Store, tmp_path: Path) -> None:
    store.objects["numerai-alice/model"], store.cuts = b"m" * 1000, 3
    with pytest.raises(TemporaryFailure, match="GET of numerai-alice/model in the bucket models failed 3 times"):
        Mirror(bucket(store), tmp_path / "artifacts").fetch()
    assert not (tmp_path / "artifacts" / "model").exists()


def test_a_bucket_that_cannot_be_reached() -> None:
    gone = Bucket("s3://models/x", transport(), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", **KEYS})
    with pytest.raises(TemporaryFailure, match=r"in the bucket models failed 3 times, .* could not be reached"):
        list(gone.names())


def test_without_credentials_it_says_so(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        list(bucket(store, AWS_ACCESS_KEY_ID="").names())


def test_a_container_on_aws_has_the_credentials_of_its_role(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/role"
    monkeypatch.setattr(module, "CREDENTIALS_HOST", store.url)
    held = {"AccessKeyId": "AKID", "SecretAccessKey": "SECRET", "Token": "T"}
    store.objects["role"] = json.dumps(held).encode()
    role = {"AWS_ACCESS_KEY_ID": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": path}
    assert list(bucket(store, **role).names()) == []
    store.objects["role"] = b"{}"
    with pytest.raises(TemporaryFailure, match="gives none to this run"):
        list(bucket(store, **role).names())


def test_requests_are_signed_as_the_sdk_signs_them() -> None:
    auth = pytest.importorskip("botocore.auth")
    request_class = pytest.importorskip("botocore.awsrequest").AWSRequest
    credentials = pytest.importorskip("botocore.credentials").Credentials("AKID", "SECRET", "TOKEN")
    ours = Bucket("s3://models/x", transport(), {**KEYS, "AWS_REGION": "eu-west-1"})._signed(
        "GET", "/models", "list-type=2&prefix=x%2F"
    )
    signer = auth.S3SigV4Auth(credentials, "s3", "eu-west-1")
    url = "https://s3.eu-west-1.amazonaws.com/models?list-type=2&prefix=x%2F"
    headers = {name: ours[name] for name in ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")}
    request = request_class("GET", url, headers=headers)
    request.context["timestamp"] = ours["x-amz-date"]
    request.context["payload_signing_enabled"] = False
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={signature}")
