"""Trained models in a bucket: fetched, put back, and signed as AWS wants it."""

from __future__ import annotations

import json
import threading
import xml.etree.ElementTree as ET
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
    `refusals` are such for one request each, and so many (`cuts`) objects break off as they are read. The token of an
    `expired` role is answered as such until another is asked for; `parts` are those of an upload that goes on."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuse = 0
        self.refusals: list[int] = []
        self.cuts = 0
        self.expired = ""
        self.parts: dict[int, bytes] = {}
        self.tags: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []
        store = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                key = unquote(parts.path).removeprefix("/models").lstrip("/")
                store.seen.append(("GET", key))
                if store.refusals:
                    self._send(store.refusals.pop(), b"")
                elif store.expired and self.headers.get("x-amz-security-token") == store.expired:
                    self._send(400, b"<Error><Code>ExpiredToken</Code></Error>")
                elif store.cuts and key:
                    store.cuts -= 1
                    self._send(200, store.objects[key], cut=5)
                elif store.refuse:
                    self._send(store.refuse, b"")
                elif key:
                    self._send(200 if key in store.objects else 404, store.objects.get(key, b""))
                else:
                    self._send(200, store.listing(parse_qs(parts.query)))

            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query, keep_blank_values=True)
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                if "uploads" in query:
                    self._send(200, b"<Started><UploadId>u 1</UploadId></Started>")
                    return
                assert query == {"uploadId": ["u 1"]}
                listed = [(int(part[0].text or ""), part[1].text) for part in ET.fromstring(content)]
                assert listed == [(number, f'"{number}"') for number in sorted(store.parts)]
                key = unquote(parts.path).removeprefix("/models/")
                store.objects[key] = b"".join(store.parts[number] for number, _ in listed)
                self._send(200, b"<CompleteMultipartUploadResult/>")

            def do_PUT(self) -> None:
                parts = urlsplit(self.path)
                key = unquote(parts.path).removeprefix("/models/")
                content = self.rfile.read(int(self.headers["content-length"]))
                assert self.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
                store.seen.append(("PUT", key))
                refused = store.refusals.pop() if store.refusals else store.refuse
                number = parse_qs(parts.query).get("partNumber", [""])[0]
                if number and not refused:
                    store.parts[int(number)] = content
                elif not refused:
                    store.objects[key] = content
                    if tag := self.headers.get("x-amz-tagging"):
                        assert "x-amz-tagging" in self.headers["authorization"]  # S3 refuses one that is not signed
                        store.tags[key] = tag
                self._send(refused or 200, b"", etag=f'"{number}"')

            def _send(self, status: int, body: bytes, cut: int | None = None, etag: str = '""') -> None:
                self.send_response(status)
                self.send_header("etag", etag)
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


def test_objects_whose_names_lead_out_of_the_folder_are_left_and_the_rest_is_fetched(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = (
        "/escaped",
        "../up",
        "sub/../../up",
        "back\\slash",
        "..\\up",
        "C:evil",
        "D:/evil",
        "link/planted",
        "//host/x",
    )
    store.objects = {f"numerai-alice/{name}": b"bad" for name in bad}
    store.objects |= {"numerai-alice/a": b"a", "numerai-alice/sub/z..y": b"z"}
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    Mirror(bucket(store), folder).fetch()
    (folder / "link").unlink()
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"artifacts/a", "artifacts/sub/z..y"}
    said = capsys.readouterr().out
    assert said.count("names no file inside") == len(bad) and "fetched artifacts=2" in said


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


def role(store: Store, token: str, minutes: float) -> None:
    """Let the role have credentials with this token that end in so many minutes."""
    ends = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    held = {
        "AccessKeyId": "AKID",
        "SecretAccessKey": "SECRET",
        "Token": token,
        "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
    }
    store.objects["role"] = json.dumps(held).encode()


def of_role(store: Store, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(module, "CREDENTIALS_HOST", store.url)
    return bucket(store, AWS_ACCESS_KEY_ID="", AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/role")


def test_credentials_are_asked_for_again_before_they_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = of_role(store, monkeypatch)
    role(store, "first", minutes=4)
    list(held.names())
    role(store, "second", minutes=60)
    for _ in range(3):
        list(held.names())
    assert store.seen.count(("GET", "role")) == 2


def test_credentials_that_have_ended_are_asked_for_again_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    held = of_role(store, monkeypatch)
    role(store, "first", minutes=60)
    list(held.names())
    store.expired = "first"
    role(store, "second", minutes=60)
    list(held.names())
    assert store.seen.count(("GET", "role")) == 2
    store.expired = "second"
    with pytest.raises(ConfigurationError, match="answered 400"):
        list(held.names())
    assert store.seen.count(("GET", "role")) == 3


def test_a_file_beyond_what_one_request_may_hold_is_put_in_parts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_PUT", 1000)
    monkeypatch.setattr(module, "PART", 400)
    content = bytes(range(256)) * 5
    (tmp_path / "big").write_bytes(content)
    bucket(store).put("big", tmp_path / "big")
    assert store.objects["numerai-alice/big"] == content
    assert [len(part) for part in store.parts.values()] == [400, 400, 400, 80]
    (tmp_path / "small").write_bytes(b"s" * 1000)
    bucket(store).put("small", tmp_path / "small")
    assert store.objects["numerai-alice/small"] == b"s" * 1000 and len(store.parts) == 4


def test_requests_are_signed_as_the_sdk_signs_them() -> None:
    auth = pytest.importorskip("botocore.auth")
    request_class = pytest.importorskip("botocore.awsrequest").AWSRequest
    credentials = pytest.importorskip("botocore.credentials").Credentials("AKID", "SECRET", "TOKEN")
    ours = Bucket("s3://models/x", transport(), {**KEYS, "AWS_REGION": "eu-west-1"})._signed(
        "GET", "/models", "list-type=2&prefix=x%2F", {"x-amz-tagging": "a=b"}
    )
    signer = auth.S3SigV4Auth(credentials, "s3", "eu-west-1")
    url = "https://s3.eu-west-1.amazonaws.com/models?list-type=2&prefix=x%2F"
    names = ("host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "x-amz-tagging")
    headers = {name: ours[name] for name in names}
    request = request_class("GET", url, headers=headers)
    request.context["timestamp"] = ours["x-amz-date"]
    request.context["payload_signing_enabled"] = False
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={signature}")
