"""Ordered faults: what a client sees of each kind on each target, and how often."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from numerai_compute.errors import NumeraiError
from numerai_compute.sandbox.faults import corrupted, parse_fault
from numerai_compute.sandbox.refusal import MISSING_OBJECT, HttpRefusal

from tests.fixtures.sandbox import ServedSandbox

QUERY = {"query": "{tournaments {name}}"}


def graphql(sandbox: ServedSandbox, timeout: float = 10) -> requests.Response:
    return requests.post(sandbox.url, json=QUERY, timeout=timeout)


@pytest.fixture
def get_url(sandbox: ServedSandbox) -> str:
    return str(sandbox.graphql('{dataset(filename: "v5.3/features.json")}')["data"]["dataset"])


@pytest.fixture
def put_url(sandbox: ServedSandbox) -> str:
    query = 'query($m: ID) {submissionUploadAuth(filename: "p.csv", tournament: 8, modelId: $m) {url}}'
    found = sandbox.graphql(query, m=sandbox.models["alice"])
    return str(found["data"]["submissionUploadAuth"]["url"])


def stored(sandbox: ServedSandbox, url: str) -> bytes:
    name = url.partition("?")[0].rpartition("/")[2]
    return sandbox.running.sandbox.upload_store.path(name).read_bytes()


class TestGraphql:
    def test_status_as_often_as_ordered(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "status", status=503, times=2)
        assert [graphql(sandbox).status_code for _ in range(3)] == [503, 503, 200]

    def test_until_cleared(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "status", status=429, times=None)
        assert {graphql(sandbox).status_code for _ in range(4)} == {429}
        assert sandbox.clear_faults() == 1
        assert graphql(sandbox).status_code == 200

    def test_drop(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "drop")
        with pytest.raises(requests.ConnectionError):
            graphql(sandbox)

    @pytest.mark.slow
    def test_hang(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "hang", seconds=60)
        with pytest.raises(requests.ReadTimeout):
            graphql(sandbox, timeout=0.2)

    def test_truncate(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "truncate")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            graphql(sandbox)

    def test_corrupt(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "corrupt")
        with pytest.raises(ValueError):
            graphql(sandbox).json()

    @pytest.mark.slow
    def test_slow(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "slow", seconds=0.3)
        started = time.monotonic()
        assert graphql(sandbox).ok
        assert time.monotonic() - started >= 0.25

    @pytest.mark.parametrize(("kind", "lost"), [("drop", True), ("status", False), ("hang", True)])
    def test_an_answer_lost_after_the_deed(self, sandbox: ServedSandbox, kind: str, lost: bool) -> None:
        sandbox.set_fault("graphql", kind, when="after", match="setUserBio", seconds=0.05)
        query = f'mutation {{setUserBio(modelId: "{sandbox.models["alice"]}", value: "done")}}'
        headers = {"x-public-id": sandbox.public_id, "x-secret-key": sandbox.secret_key}
        try:
            answer = requests.post(sandbox.url, json={"query": query}, headers=headers, timeout=10)
            assert not lost
            assert answer.status_code == 503
        except requests.ConnectionError:
            assert lost
        assert sandbox.graphql('{v3UserProfile(modelName: "alice") {bio}}')["data"]["v3UserProfile"]["bio"] == "done"

    def test_only_what_matches(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "status", match="createSubmission")
        assert graphql(sandbox).status_code == 200
        assert len(sandbox.state()["faults"]) == 1


class TestErrors:
    """Numerai's own faults come in `errors`, with HTTP 200."""

    @pytest.mark.slow
    def test_a_missing_object_passes(self, sandbox: ServedSandbox, tmp_path: Path) -> None:
        csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
        sandbox.set_fault("graphql", "error", match="createSubmission")
        assert sandbox.refusal(csv) == MISSING_OBJECT
        assert sandbox.state()["requests"][-1]["error"] == MISSING_OBJECT
        assert sandbox.submit(csv) == sandbox.entry()["id"]
        assert [each["filename"] for each in sandbox.state()["submissions"]] == [sandbox.entry()["filename"]]

    def test_it_may_say_something_else_and_take_effect(self, sandbox: ServedSandbox, tmp_path: Path) -> None:
        csv = sandbox.live_predictions(tmp_path).to_csv(index=False)
        sandbox.set_fault("graphql", "error", match="createSubmission", message="Internal server error", when="after")
        assert sandbox.refusal(csv) == "Internal server error"
        assert sandbox.entry()["status"] == "on-time"

    def test_an_error_without_a_message(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "bare-error", status=500, message="internal_server_error")
        answer = graphql(sandbox)
        assert (answer.status_code, answer.json()) == (
            200,
            {"errors": [{"error": "internal_server_error", "code": 500}]},
        )


class TestDownload:
    def test_status(self, sandbox: ServedSandbox, get_url: str) -> None:
        sandbox.set_fault("download", "status", status=500)
        assert requests.get(get_url, timeout=10).status_code == 500
        assert requests.get(get_url, timeout=10).status_code == 200

    def test_truncate_ends_halfway(self, sandbox: ServedSandbox, get_url: str) -> None:
        whole = requests.get(get_url, timeout=10).content
        sandbox.set_fault("download", "truncate", match="features.json")
        answer = requests.get(get_url, stream=True, timeout=10)
        assert int(answer.headers["Content-Length"]) == len(whole)
        got = b""
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            for piece in answer.iter_content(64):
                got += piece
        assert whole.startswith(got)
        assert len(got) < len(whole)

    def test_corrupt_keeps_length_and_tag(self, sandbox: ServedSandbox, get_url: str) -> None:
        right = requests.get(get_url, timeout=10)
        sandbox.set_fault("download", "corrupt")
        wrong = requests.get(get_url, timeout=10)
        assert wrong.headers["ETag"] == right.headers["ETag"]
        assert len(wrong.content) == len(right.content)
        assert wrong.content != right.content

    @pytest.mark.slow
    def test_drop_and_slow(self, sandbox: ServedSandbox, get_url: str) -> None:
        sandbox.set_fault("download", "drop")
        sandbox.set_fault("download", "slow", seconds=0.3)
        with pytest.raises(requests.ConnectionError):
            requests.get(get_url, timeout=10)
        started = time.monotonic()
        assert requests.get(get_url, timeout=10).content
        assert time.monotonic() - started >= 0.25


class TestUpload:
    def test_status_stores_nothing(self, sandbox: ServedSandbox, put_url: str) -> None:
        sandbox.set_fault("upload", "status", status=403)
        assert requests.put(put_url, data=b"x" * 100_000, timeout=10).status_code == 403
        with pytest.raises(FileNotFoundError):
            stored(sandbox, put_url)

    @pytest.mark.parametrize(
        ("kind", "changed"),
        [("truncate", lambda body: body[: len(body) // 2]), ("corrupt", corrupted), ("slow", lambda body: body)],
    )
    def test_what_arrives(
        self, sandbox: ServedSandbox, put_url: str, kind: str, changed: Callable[[bytes], bytes]
    ) -> None:
        body = bytes(range(256))
        sandbox.set_fault("upload", kind, seconds=0.05)
        assert requests.put(put_url, data=body, timeout=10).status_code == 200
        assert stored(sandbox, put_url) == changed(body)

    def test_drop(self, sandbox: ServedSandbox, put_url: str) -> None:
        sandbox.set_fault("upload", "drop")
        with pytest.raises(requests.ConnectionError):
            requests.put(put_url, data=b"x", timeout=10)


class TestOrders:
    @pytest.mark.parametrize(
        ("order", "said"),
        [
            ({"target": "moon", "kind": "drop"}, "target must be one of"),
            ({"target": "graphql", "kind": "explode"}, "kind must be one of"),
            ({"target": "graphql"}, "kind must be one of"),
            ({"target": "graphql", "kind": "drop", "times": 0}, "times must be at least 1"),
            ({"target": "graphql", "kind": "drop", "times": "two"}, "times must be a whole number"),
            ({"target": "graphql", "kind": "status", "status": 42}, "status must be between"),
            ({"target": "graphql", "kind": "slow", "seconds": -1}, "seconds must be a number"),
            ({"target": "graphql", "kind": "drop", "match": 3}, "match must be a text"),
            ({"target": "graphql", "kind": "error", "message": 3}, "message must be a text"),
            ({"target": "upload", "kind": "error"}, "error is a fault of graphql only"),
            ({"target": "graphql", "kind": "stale"}, "stale is a fault of download only"),
            ({"target": "graphql", "kind": "drop", "when": "never"}, "when must be one of"),
            ({"target": "graphql", "kind": "drop", "tmies": 2}, "unknown field 'tmies'"),
        ],
    )
    def test_nonsense_is_refused(self, sandbox: ServedSandbox, order: dict[str, Any], said: str) -> None:
        with pytest.raises(HttpRefusal, match=said):
            parse_fault(order)
        with pytest.raises(NumeraiError, match=said):
            sandbox._ask("POST", "faults", order)
        assert sandbox.state()["faults"] == []

    def test_they_are_shown(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("webhook", "slow", times=3, seconds=2)
        shown = requests.get(f"{sandbox.url}/sandbox/faults", timeout=10).json()["faults"]
        assert [(each["target"], each["kind"], each["times"]) for each in shown] == [("webhook", "slow", 3)]

    def test_requests_show_the_fault_that_they_suffered(self, sandbox: ServedSandbox) -> None:
        sandbox.set_fault("graphql", "status", status=502)
        graphql(sandbox)
        last = sandbox.state()["requests"][-1]
        assert (last["operation"], last["status"], last["fault"]) == ("tournaments", 502, "status")


def test_a_hang_ends_when_the_sandbox_does(sandbox: ServedSandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sandbox.set_fault("graphql", "hang", seconds=600)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(graphql, sandbox, 30)
        while not sandbox.running.sandbox.requests.all():
            time.sleep(0.01)
        sandbox.running.close()
        with pytest.raises(requests.ConnectionError):
            waiting.result(timeout=10)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_dropped_connection_is_reset(sandbox: ServedSandbox, when: str) -> None:
    sandbox.set_fault("graphql", "drop", when=when)
    with socket.create_connection(("127.0.0.1", sandbox.running.port), timeout=10) as connection:
        body = json.dumps(QUERY)
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


def test_a_stop_ends_connections_that_wait_for_a_request(sandbox: ServedSandbox) -> None:
    with socket.create_connection(("127.0.0.1", sandbox.running.port), timeout=10) as connection:
        connection.sendall(b"GET /sandbox/health HTTP/1.1\r\nHost: x\r\n\r\n")
        with connection.makefile("rb") as answers:
            assert b"200 OK" in answers.readline()
            sandbox.running.close()
            assert answers.read().endswith(b"}")
