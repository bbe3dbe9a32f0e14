"""A user's home folder with real nodes on the local provider, its daemon as a process, and somebody who is told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from numerai_compute.factory import Factory
from numerai_compute.models import Keys, Node, Run
from numerai_compute.providers.local.daemon import daemon_status, start_daemon, stop_daemon
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node
from numerai_compute.usecases.deploy import deploy_node

from tests.fixtures.sandbox import ServedSandbox, wait_for

NODE_TEMPLATE = Path(__file__).parents[2] / "node_template"
TESTS = Path(__file__).parents[2]

MAIN = f"""
import sys
sys.path[:0] = [{str(NODE_TEMPLATE)!r}, {str(TESTS)!r}]
from numerai_node import run_and_submit
from tests.faults.model import features_of, predict


def main(node):
    columns = features_of(node.columns("live.parquet"))
    node.submit(predict(node.live(columns)))


run_and_submit(main)
"""
"""A node with the real runtime and the model of the matrix."""

SETTINGS: dict[str, str | int] = {"executor": "process", "retry_seconds": 0, "grace_seconds": 5, "concurrency": 2}


def quiet(line: str) -> None:
    """Say nothing."""


class House:
    """`url` is where the nodes and the tool find Numerai: the sandbox, or a proxy before it."""

    def __init__(
        self,
        folder: Path,
        sandbox: ServedSandbox,
        url: str | None = None,
        *,
        settings: Mapping[str, str | int] | None = None,
    ) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.factory = Factory(folder / "home")
        self.factory.store.save_keys(Keys(sandbox.public_id, sandbox.secret_key, url or sandbox.url))
        self.factory.store.save_settings("local", {**SETTINGS, **(settings or {})})
        self.nodes: list[Node] = []

    @property
    def provider(self) -> Any:
        """The local provider."""
        return self.factory.provider("local")

    def node(self, model: str = "alice", main: str = MAIN, *, webhook: bool = True, memory_mib: int = 1024) -> Node:
        """Configure and deploy a node; without `webhook` Numerai does not call it."""
        source = self.folder / f"source-{model}"
        source.mkdir(parents=True)
        command = json.dumps([sys.executable, "-u", "main.py"])
        (source / "Dockerfile").write_text(f"FROM python:3.13-slim\nCOPY . /app\nWORKDIR /app\nCMD {command}\n")
        (source / "main.py").write_text(main)
        made = configure_node(
            NodeRequest(path=source, cpu=1, memory=memory_mib, timeout_minutes=30),
            model,
            None,
            api=self.factory.api,
            store=self.factory.store,
            provider_named=self.factory.provider,
            report=quiet,
            agree=lambda lines: None,
        )
        assert isinstance(made, Configured)
        if not webhook:
            self.factory.api.set_webhook(made.node.model_id, None)
        deploy_node(made.node, self.provider, self.factory.store, quiet, force=False)
        self.nodes.append(made.node)
        return made.node

    def start_daemon(self) -> None:
        """Start `numerai daemon run` and return when it answers."""
        start_daemon(self.factory.provider_context("local"), report=quiet)

    def kill_daemon(self) -> None:
        """kill -9, and return when it is dead; nothing when none runs."""
        pid = daemon_status(self.factory.provider_context("local")).pid
        if pid is None:
            return
        process = psutil.Process(pid)
        process.kill()
        process.wait(30)

    def runs(self, node: Node | None = None) -> list[Run]:
        """The runs of a node, newest first."""
        found: list[Run] = self.provider.runs((node or self.nodes[0]).name)
        return found

    def ended(self, count: int = 1, seconds: float = 60.0) -> list[Run]:
        """The runs of the first node, as soon as there are so many and all have ended."""

        def all_ended() -> list[Run] | None:
            runs = self.runs()
            return runs if len(runs) >= count and all(run.state.final for run in runs) else None

        return list(wait_for(all_ended, seconds))

    def log(self, run: Run) -> str:
        """What a run printed."""
        return "\n".join(line.text for line in self.provider.logs(run.id))

    def close(self) -> None:
        """Stop the daemon and remove every node."""
        stop_daemon(self.factory.provider_context("local"))
        for node in self.nodes:
            self.provider.destroy(node.name, force=True, report=quiet)


class Mailbox:
    """A small HTTP server that keeps what it is told; `url` is what `numerai notify add` takes."""

    def __init__(self, status: int = 200) -> None:
        self.told: list[dict[str, Any]] = []
        self.status = status
        mailbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                mailbox.told.append(json.loads(body))
                self.send_response(mailbox.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/told"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def opened_house(
    folder: Path, sandbox: ServedSandbox, url: str | None = None, **settings: str | int
) -> Iterator[House]:
    """A house that leaves nothing behind."""
    house = House(folder, sandbox, url, settings=settings)
    try:
        yield house
    finally:
        house.close()
