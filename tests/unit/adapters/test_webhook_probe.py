"""Whether an address serves a node's webhook is asked without starting anything."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
from numerai_compute.adapters.webhook_probe import why_no_answer


class Answers(BaseHTTPRequestHandler):
    """Answers the status that the path names."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_refuses_a_call_without_a_trigger_id(address: str) -> None:
    assert why_no_answer(f"{address}/400") is None
    assert Answers.bodies == [b"{}"]
    for status in ("200", "403", "404", "502"):
        assert why_no_answer(f"{address}/{status}") == f"it answers HTTP {status}"
    assert "refused" in str(why_no_answer("http://127.0.0.1:9/x"))
    assert why_no_answer("no address") is not None
