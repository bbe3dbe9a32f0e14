"""Whether a webhook answers at an address: real servers, and a home with a real lock and daemon file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from numerai_compute.files.locks import take
from numerai_compute.providers.local.answering import silence_at
from numerai_compute.providers.local.settings import LocalPaths

from tests.contract.local_daemon import KEYS, LocalHome
from tests.listeners import free_port


@contextmanager
def answering(content: object, status: int = 200) -> Iterator[int]:
    """A server that answers every GET with this JSON; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> LocalHome:
    made = LocalHome(tmp_path / "home")
    made.write({}, KEYS)
    return made


@contextmanager
def daemon_on(home: LocalHome, port: int) -> Iterator[None]:
    """The traces of a daemon with the id `me` that serves a port."""
    paths = LocalPaths(home.path)
    paths.root.mkdir(parents=True, exist_ok=True)
    lock = take(paths.lock)
    told = {"instance": "me", "pid": 1, "host": "127.0.0.1", "port": port, "control_port": port}
    paths.daemon_file.write_text(json.dumps({**told, "control_token": "x", "since": "2026-01-01T00:00:00+00:00"}))
    try:
        yield
    finally:
        lock.release()


MINE = {"instance": "me", "going_on": [], "queued": 0}


def test_a_daemon_that_does_not_run(home: LocalHome) -> None:
    silence = silence_at(home.context(), "http://127.0.0.1:1", 1)
    assert silence is not None and "does not run" in silence.why and silence.mend == "numerai daemon start"
    assert not silence.elsewhere


def test_an_answer_that_is_nested_without_end_is_none(home: LocalHome) -> None:
    with answering(b"[" * 60_000) as port, daemon_on(home, port):
        silence = silence_at(home.context(), f"http://127.0.0.1:{port}", port)
        assert silence is not None and "does not answer" in silence.why


def test_one_that_answers_at_the_address(home: LocalHome) -> None:
    with answering(MINE) as port, daemon_on(home, port):
        assert silence_at(home.context(), f"http://127.0.0.1:{port}", port) is None


def test_one_that_serves_another_address(home: LocalHome) -> None:
    with answering(MINE) as port, daemon_on(home, port):
        other = f"http://127.0.0.1:{free_port()}"
        silence = silence_at(home.context(), other, int(other.rpartition(":")[2]))
        assert silence is not None and silence.elsewhere
        assert f"{other} does not answer" in silence.why and f"serves http://127.0.0.1:{port}" in silence.why


def test_another_program_at_the_address(home: LocalHome) -> None:
    with answering(MINE) as port, answering({"instance": "other"}) as taken, daemon_on(home, port):
        silence = silence_at(home.context(), f"http://127.0.0.1:{taken}", taken)
        assert silence is not None and "is answered by something else" in silence.why


def test_a_public_address_that_cannot_be_reached(home: LocalHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")  # so that nobody outside is asked
    with answering(MINE) as port, daemon_on(home, port):
        silence = silence_at(home.context(), "https://tunnel.invalid", port)
        assert silence is not None and "https://tunnel.invalid" in silence.why and not silence.elsewhere
