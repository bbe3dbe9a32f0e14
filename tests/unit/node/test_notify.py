"""Telling people how a run ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from numerai_node import BadPredictions, Late, Node, run
from numerai_node.__main__ import main
from numerai_node.errors import Covered, Interrupted, Unconfirmed
from numerai_node.notify import tell

TEMPLATE = Path(__file__).parents[3] / "node_template"


class Inbox:
    """A web server that keeps what it is told."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.status = 200
        inbox = self

        class Taker(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None: ...

            def do_POST(self) -> None:
                inbox.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(inbox.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.address = f"json://user:PASSWORD@127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    found = Inbox()
    monkeypatch.setenv("NUMERAI_NOTIFY", found.address)
    thread = threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


WELL = "numerai-alice ended well"


def ends(work: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Any:
    """The exit code of a run that does this work."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("numerai_node.running.honour_sigterm", lambda: None)
    with pytest.raises(SystemExit) as end:
        run(work)
    return end.value.code


def _fails(error: Exception) -> Any:
    def work(node: Node) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "title", "words", "type_"),
    [
        (lambda node: None, 0, "numerai-alice ended well", "submitted nothing", "success"),
        (_fails(Late("it is late", "id")), 69, "numerai-alice was late", "it is late", "warning"),
        (_fails(Covered("by it", "id")), 73, "numerai-alice is covered by an earlier file", "by it", "warning"),
        (_fails(Unconfirmed("no answer", "id")), 76, "numerai-alice submitted, unconfirmed", "no answer", "failure"),
        (_fails(BadPredictions("no", ["row 3"])), 65, "numerai-alice failed", "Exit code 65: no row 3", "failure"),
        (_fails(ValueError("SECRET-KEY")), 1, "numerai-alice failed", "Exit code 1: ValueError", "failure"),
    ],
)
def test_how_a_run_ended_is_told(
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    work: Any,
    code: int,
    title: str,
    words: str,
    type_: str,
) -> None:
    assert ends(work, monkeypatch, environment) == code
    (post,) = inbox.posts
    assert (post["title"], post["type"]) == (title, type_)
    assert words in post["message"]


def test_what_the_gate_has_found_is_told_with_how_the_run_ended(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def work(node: Node) -> None:
        node.check_features({"feature_a": [0, 0, 1, 0, 0]}, pd.DataFrame({"feature_a": [0, 1, 0, 1]}))

    assert ends(work, monkeypatch, environment) == 0
    (post,) = inbox.posts
    assert (post["title"], post["type"]) == (f"{WELL}, but its predictions do not look right", "warning")
    assert "submitted nothing" in post["message"] and "was trained on: feature_a" in post["message"]


@pytest.mark.slow
def test_an_accepted_submission_is_told(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def work(node: Node) -> None:
        live = node.live(node.features("all"))
        live["prediction"] = [(row + 1) / (len(live) + 1) for row in range(len(live))]
        node.submit(live["prediction"])

    assert ends(work, monkeypatch, environment) == 0
    assert [post["title"] for post in inbox.posts] == ["numerai-alice submitted"]
    assert "submission-1 for round 900" in inbox.posts[0]["message"]


@pytest.mark.slow
def test_a_failure_after_the_submission_says_that_it_stands(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def work(node: Node) -> None:
        live = node.live(node.features("all"))
        live["prediction"] = [(row + 1) / (len(live) + 1) for row in range(len(live))]
        node.submit(live["prediction"])
        raise ValueError("the plot failed")

    assert ends(work, monkeypatch, environment) == 1
    (post,) = inbox.posts
    assert post["title"] == "numerai-alice failed"
    assert "the plot failed" in post["message"]
    assert "Numerai counts the submission submission-1 all the same." in post["message"]


@pytest.mark.parametrize("signal", [Interrupted, KeyboardInterrupt])
def test_being_told_to_stop_while_telling_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    signal: type[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise signal

    monkeypatch.setattr("numerai_node.running.tell", stopped)
    assert ends(lambda node: None, monkeypatch, environment) == 0
    assert "before the notification was sent" in capsys.readouterr().out


def test_a_notice_that_is_refused_changes_no_exit_code(
    inbox: Inbox,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    inbox.status = 500
    assert ends(lambda node: None, monkeypatch, environment) == 0
    shown = capsys.readouterr()
    assert "the json: address did not take it" in shown.out
    assert "PASSWORD" not in shown.out + shown.err


@pytest.mark.slow
def test_several_addresses_and_one_that_is_none(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMERAI_NOTIFY", f"nonsense://x {inbox.address}\n{inbox.address}")
    assert not tell("success", "title", "text")
    assert len(inbox.posts) == 2
    assert "begins with nonsense: is not understood" in capsys.readouterr().out


def test_certificates_that_are_none_are_named(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMERAI_NOTIFY", inbox.address)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    assert not tell("success", "title", "text")
    assert "REQUESTS_CA_BUNDLE names /nowhere.pem" in capsys.readouterr().out


def test_nobody_to_tell_is_fine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NUMERAI_NOTIFY", raising=False)
    assert tell("success", "title", "text")
    monkeypatch.setenv("NUMERAI_NOTIFY", "none")
    assert tell("success", "title", "text") and capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_command_tells(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as end:
        main(["notify", "missed", "alice missed round 900", "nothing came"])
    assert end.value.code == 0
    assert inbox.posts[0]["title"] == "alice missed round 900"
    assert inbox.posts[0]["type"] == "failure"
    monkeypatch.delenv("NUMERAI_NOTIFY")
    with pytest.raises(SystemExit) as end:
        main(["notify", "missed", "title", "text"])
    assert end.value.code == 78


@pytest.mark.slow
def test_a_server_that_hangs_keeps_no_process_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"json://127.0.0.1:{silent.getsockname()[1]}?rto=600"
        program = (
            "import sys; from numerai_node.notify import tell; sys.exit(3 if tell('late', 'a', 'b', seconds=1) else 5)"
        )
        environment = os.environ | {"NUMERAI_NOTIFY": address, "PYTHONPATH": str(TEMPLATE)}
        ended = subprocess.run(
            [sys.executable, "-c", program], env=environment, timeout=30, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 5, ended.stderr
    assert "it took longer than 1 s" in ended.stdout
