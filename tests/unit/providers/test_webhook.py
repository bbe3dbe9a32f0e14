"""The webhook answers whatever comes: in JSON, never with a 5xx of its own, and with no token in a log."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.errors import EnvironmentNotReady
from numerai_compute.models import Node
from numerai_compute.providers.local.server import WebhookServer, listen
from numerai_compute.providers.local.store import RunStore
from numerai_compute.providers.local.webhook import Webhook, create_app, create_control_app
from numerai_compute.providers.webhooks import calls
from numerai_compute.redaction import hide

from tests.fakes import FakeClock

NODE = Node("numerai-alice", "alice", "id-1", 8, "local", "/code", cpu=1, memory_mib=512)


class Bench:
    """A webhook on a store of its own."""

    def __init__(self, folder: Path):
        self.clock = FakeClock()
        self.store = RunStore(folder / "runs.db")
        self.token = self.store.save_node(NODE, self.clock.now()).token
        self.pokes = 0
        self.draining = False
        self.webhook = Webhook(self.store, self.clock, self._poke, lambda: self.draining)
        app = create_app(self.webhook, "i")
        self.client: FlaskClient = app.test_client()
        self.path = f"/{NODE.name}/{self.token}"

    def _poke(self) -> None:
        self.pokes += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.store.close()


def test_a_trigger_is_on_the_disk_when_it_is_answered(bench: Bench, tmp_path: Path) -> None:
    answer = bench.client.post(bench.path, json={"triggerId": "t-1", "other": [1]})
    assert answer.status_code == 200
    run_id = answer.get_json()["runId"]
    assert answer.get_json() == {"runId": run_id, "triggerId": "t-1", "status": "queued"}
    rows = sqlite3.connect(tmp_path / "runs.db").execute("SELECT id, trigger_id FROM runs").fetchall()
    assert rows == [(run_id, "t-1")]
    assert bench.pokes == 1
    assert bench.client.post(bench.path, json={"triggerId": "t-1"}).get_json()["runId"] == run_id


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'"x"', b"{}", b'{"triggerId": 5}', b'{"triggerId": ""}', b'{"triggerId": "a b"}', b"\xff\xfe",
     b'{"triggerId": "' + b"x" * 129 + b'"}', b'{"triggerId": "t\\n"}', "{\"triggerId\": \"\u00e9\"}".encode(),
     b"[" * 60000, b'{"triggerId": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_no_trigger_id_is_a_400(bench: Bench, body: bytes) -> None:
    answer = bench.client.post(bench.path, data=body)
    assert (answer.status_code, answer.mimetype) == (400, "application/json")
    assert bench.store.active() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/numerai-alice/wrong", "/nobody/x", None])
def test_only_post(bench: Bench, method: str, path: str | None) -> None:
    answer = bench.client.open(path or bench.path, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.mimetype == "application/json"


def test_limits(bench: Bench) -> None:
    body = json.dumps({"triggerId": "t"}).encode()
    assert bench.client.post(bench.path, data=body + b" " * (64 * 1024 - len(body))).status_code == 200
    assert bench.client.post(bench.path, data=body + b" " * (64 * 1024)).status_code == 413
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = bench.client.post(bench.path, input_stream=io.BytesIO(b"x" * 70000), environ_overrides=chunked)
    assert answer.status_code == 413


def test_too_many(bench: Bench) -> None:
    statuses = [bench.client.post(bench.path, json={"triggerId": "t"}).status_code for _ in range(calls.BURST + 1)]
    assert statuses == [200] * calls.BURST + [429]
    bench.clock.sleep(1 / calls.PER_SECOND)
    assert bench.client.post(bench.path, json={"triggerId": "t"}).status_code == 200
    assert bench.store.calls(NODE.name, 2)[1].status == 429


def test_buckets_are_kept_per_name() -> None:
    bucket = calls.TokenBucket(FakeClock().monotonic, burst=1)
    assert [bucket.take("a"), bucket.take("a"), bucket.take("b")] == [True, False, True]


def test_nothing_can_be_scheduled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.draining = True
    assert bench.client.post(bench.path, json={"triggerId": "t"}).status_code == 503
    bench.draining = False
    monkeypatch.setattr("numerai_compute.providers.local.store.QUEUE_LIMIT", 1)
    statuses = [bench.client.post(bench.path, json={"triggerId": str(number)}).status_code for number in range(2)]
    assert statuses == [200, 503]
    assert "wait already" in bench.store.calls(NODE.name, 1)[0].answer

    def full(*_: object) -> None:
        raise EnvironmentNotReady("the disk is full")

    monkeypatch.setattr(bench.store, "add_call", full)
    answer = bench.client.post(bench.path, json={"triggerId": "t"})
    assert (answer.status_code, answer.mimetype) == (503, "application/json")


def test_a_trigger_id_that_holds_a_secret_is_refused_and_not_kept(bench: Bench, tmp_path: Path) -> None:
    hide("a-planted-secret")
    for trigger_id in ("a-planted-secret", "x-" + b"a-planted-secret".hex()):
        answer = bench.client.post(bench.path, json={"triggerId": trigger_id})
        assert answer.status_code == 400 and trigger_id not in answer.text
    db = sqlite3.connect(tmp_path / "runs.db")
    assert db.execute("SELECT * FROM runs").fetchall() == []
    kept = db.execute("SELECT trigger_id FROM webhook_calls").fetchall()
    assert kept == [("***",), ("x-***",)]


def test_other_addresses(bench: Bench) -> None:
    assert bench.client.get("/health").get_json() == {"service": "numerai", "instance": "i"}
    for path in ("/", "/a", "/a/b/c", "/stop"):
        answer = bench.client.post(path)
        assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_the_daemon_is_asked_and_stopped_with_its_token_only() -> None:
    def ground(token: str) -> dict[str, str] | None:
        return {"version": "1"} if token == "control" else None

    client = create_control_app(lambda: {"queued": 1}, lambda token: token == "control", ground).test_client()
    assert client.get("/health").get_json() == {"queued": 1}
    for headers in ({}, {"X-Control-Token": "other"}):
        assert client.post("/stop", headers=headers).status_code == 404
        assert client.get("/ground", headers=headers).status_code == 404
    assert client.get("/ground", headers={"X-Control-Token": "control"}).get_json() == {"ground": {"version": "1"}}
    assert client.post("/stop", headers={"X-Control-Token": "control"}).get_json() == {"status": "stopping"}
    answer = client.post("/a/b")
    assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_a_bug_is_answered_in_json_and_leaves_no_token_in_the_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(bench.webhook, "admit", broken)
    with caplog.at_level(logging.DEBUG):
        answer = bench.client.post(bench.path, json={"triggerId": "t"})
    assert (answer.status_code, answer.mimetype) == (500, "application/json")
    assert "a bug" in caplog.text
    assert bench.token not in caplog.text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("triggerId"), inner, max_size=3),
    max_leaves=10,
)
bodies = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
segments = st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text) | st.just(NODE.name)


@pytest.mark.slow
@settings(max_examples=300)
@given(body=bodies, node=segments, token=segments, real=st.booleans(), kind=st.sampled_from(["", "application/json"]))
def test_fuzz(fuzzed: Bench, body: bytes, node: str, token: str, real: bool, kind: str) -> None:
    fuzzed.clock.sleep(10)
    if real:
        answer = fuzzed.client.post(fuzzed.path, data=body, content_type=kind)
        assert answer.status_code in (200, 400)
        assert (answer.status_code == 200) == (calls.trigger_id_of(body) is not None)
    else:
        answer = fuzzed.client.post(f"/{quote(node)}/{quote(token)}", data=body, content_type=kind)
        assert answer.status_code in (404, 405)
    assert answer.mimetype == "application/json"
    assert isinstance(answer.get_json(), dict)


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(1 << 16):
            found += piece
        return found


def test_the_server_answers_in_json_what_it_refuses_itself(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    server = WebhookServer(bench.client.application, "127.0.0.1", 0)
    server.start()
    try:
        for request, status in (
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
            (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
            (b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
            (b"POST /a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b"404"),
        ):
            answer = raw(server.port, request)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.split()[1] == status, answer
            assert b"application/json" in head
            assert "error" in json.loads(body)
        with pytest.raises(EnvironmentNotReady) as error:
            WebhookServer(bench.client.application, "127.0.0.1", server.port)
        assert error.value.code == "port-in-use"
        assert str(server.port) in error.value.message
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    finally:
        server.close()


def test_hundreds_of_slow_callers_do_not_silence_it(bench: Bench) -> None:
    server = WebhookServer(bench.client.application, "127.0.0.1", 0)
    server.start()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(210):
                slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
                slow.sendall(b"POST /a/b HTTP/1.1\r\nX-Slow: ")
            assert b'"service"' in raw(server.port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    finally:
        server.close()


def test_more_slow_callers_than_it_holds_do_not_silence_it(bench: Bench) -> None:
    """The oldest of those whose request is not complete makes room."""
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    server = WebhookServer(bench.client.application, "127.0.0.1", 0, connections=20)
    server.start()
    try:
        with contextlib.ExitStack() as stack:
            callers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(60)
            ]
            for caller in callers:
                with contextlib.suppress(ConnectionError):
                    caller.sendall(b"POST /a/b HTTP/1.1\r\nX-Slow: ")
            assert b'"service"' in raw(server.port, health)
            first, last = callers[0], callers[-1]
            with contextlib.suppress(ConnectionError):
                assert first.recv(1) == b""
            last.sendall(b"x\r\nContent-Length: 0\r\n\r\n")
            assert last.recv(12) == b"HTTP/1.1 404"
    finally:
        server.close()


def test_a_byte_now_and_then_does_not_renew_the_time_limit(bench: Bench) -> None:
    server = WebhookServer(bench.client.application, "127.0.0.1", 0, request_seconds=0.5)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as slow:
            slow.sendall(b"POST /a/b HTTP/1.1\r\nX-Slow: ")
            for _ in range(300):  # 30 s, many times the limit
                try:
                    slow.sendall(b"x")
                    closed = slow.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    closed = True
                assert closed
                return
            pytest.fail("it was never closed")
    finally:
        server.close()


def test_a_socket_listens_where_told() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_the_ids_of_tests_without_submitting_are_one_word_everywhere() -> None:
    from numerai_compute.providers.webhooks.calls import is_own, trigger_id_of
    from numerai_compute.triggers import NO_SUBMIT, submits

    assert NO_SUBMIT == "no-submit-"
    assert is_own(f"{NO_SUBMIT}1") and not submits(f"{NO_SUBMIT}1") and submits(None) and submits("watch-8-1-1")
    assert trigger_id_of(b'{"triggerId": "no-submit-1"}') is None


def test_the_runtime_and_the_tool_mean_the_same() -> None:
    from numerai_compute import addresses, models
    from numerai_node.addresses import HOST_FROM_CONTAINER
    from numerai_node.errors import EXIT_NOT_SUBMITTED

    assert addresses.HOST_FROM_CONTAINER == HOST_FROM_CONTAINER == "host.docker.internal"
    assert models.NOT_SUBMITTED_CODE == EXIT_NOT_SUBMITTED == 79
