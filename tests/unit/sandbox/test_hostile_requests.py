"""What a web page or a broken client may send to the sandbox: it is refused fast, and nothing of it is carried out."""

from __future__ import annotations

import json
import time

import pytest
import requests
from numerai_compute.sandbox.api.executor import MOST_ROOT_FIELDS
from numerai_compute.sandbox.http.hosts import is_own_name

from tests.fixtures.sandbox import ServedSandbox

OWN = (
    *("127.0.0.1:8765", "127.0.0.2", "localhost", "localhost:1", "LOCALHOST.:80", "x.localhost:80", "[::1]:8765"),
    *("[::1]", "172.17.0.1:8765", "192.168.1.5", "host.docker.internal:8765", "sandbox:8765", ""),
)
FOREIGN = (
    *("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example:80", "evil.example."),
    *("notlocalhost.example", "host.docker.internal.evil.example", "127.0.0.1.nip.io:8765"),
)


@pytest.mark.parametrize("host", OWN)
def test_own_names(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_names_of_others(host: str) -> None:
    assert not is_own_name(host)


@pytest.mark.parametrize(("method", "path"), [("GET", "sandbox/state"), ("POST", "sandbox/rounds"), ("POST", "")])
def test_a_page_that_was_rebound_here_reads_nothing(sandbox: ServedSandbox, method: str, path: str) -> None:
    before = len(sandbox.state()["rounds"])
    answer = requests.request(method, f"{sandbox.url}/{path}", headers={"Host": "evil.example"}, json={}, timeout=10)
    assert answer.status_code == 403
    assert set(answer.json()) == {"error"}
    assert len(sandbox.state()["rounds"]) == before


@pytest.mark.parametrize("body", ["[" * 500_000, '{"query":' * 100_000, '{"a":[' * 50_000 + "]}" * 50_000])
@pytest.mark.parametrize("path", ["", "sandbox/rounds"])
def test_a_body_that_is_nested_too_deep(sandbox: ServedSandbox, path: str, body: str) -> None:
    assert requests.post(f"{sandbox.url}/{path}", data=body, timeout=10).status_code == 400


@pytest.mark.parametrize(
    "query", ["{a" * 2_000, "{a" * 2_000 + "}" * 2_000, "{a(b:" + "[" * 2_000 + "]" * 2_000 + ")}"]
)
def test_a_query_that_is_nested_too_deep(sandbox: ServedSandbox, query: str) -> None:
    answer = requests.post(sandbox.url, json={"query": query}, timeout=10)
    assert answer.status_code == 400 or "errors" in answer.json()
    assert answer.status_code in (200, 400)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "{" + " ".join(f"a{number}: rounds(tournament: 8) {{number}}" for number in range(20_000)) + "}",
        "{" + " ".join(f"a{number}: tournaments {{id}}" for number in range(MOST_ROOT_FIELDS + 1)) + "}",
        "{...F} fragment F on Query {" + " ".join(f"a{number}: tournaments {{id}}" for number in range(20_000)) + "}",
    ],
)
def test_aliases_do_not_multiply_the_work(sandbox: ServedSandbox, query: str) -> None:
    started = time.process_time()
    answer = requests.post(sandbox.url, json={"query": query}, timeout=60)
    assert time.process_time() - started < 5
    assert answer.status_code == 400 or "data" not in answer.json()


def test_as_many_as_allowed_are_answered(sandbox: ServedSandbox) -> None:
    query = "{" + " ".join(f"a{number}: tournaments {{id}}" for number in range(MOST_ROOT_FIELDS)) + "}"
    assert len(requests.post(sandbox.url, json={"query": query}, timeout=10).json()["data"]) == MOST_ROOT_FIELDS


def test_the_sandbox_goes_on(sandbox: ServedSandbox) -> None:
    for body in ("[" * 100_000, json.dumps({"query": "{a" * 10_000})):
        requests.post(sandbox.url, data=body, timeout=10)
    assert sandbox.health()["status"] == "ok"
