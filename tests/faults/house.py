"""A user's home folder with real nodes on the local provider, and its daemon as a process."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
from numerai_compute.factory import Factory
from numerai_compute.models import Keys, Node, Run
from numerai_compute.providers.local.daemon import COMMAND, daemon_status, start_daemon, stop_daemon
from numerai_compute.usecases.configure import Configured, NodeRequest, configure_node
from numerai_compute.usecases.deploy import deploy_node

from tests.fixtures.sandbox import ServedSandbox, wait_for

NODE_TEMPLATE = Path(__file__).parents[2] / "node_template"

MAIN = f"""
import sys
sys.path[:0] = [{str(NODE_TEMPLATE)!r}, {str(NODE_TEMPLATE.parent)!r}]
from numerai_node import run_and_submit
from tests.faults.model import features_of, predict


def main(node):
    columns = features_of(node.columns("live.parquet"))
    node.submit(predict(node.live(columns)))


run_and_submit(main)
"""
"""A node with the real runtime and the model of the matrix."""

SETTINGS: dict[str, str | int] = {
    "executor": "process",
    "retry_seconds": 0,
    "grace_seconds": 5,
    "concurrency": 2,
    "watch_seconds": "0.2",
}


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

    def node(
        self,
        model: str = "alice",
        main: str = MAIN,
        *,
        webhook: bool = True,
        memory_mib: int = 1024,
        container: bool = False,
        files: Mapping[str, str] = MappingProxyType({}),
    ) -> Node:
        """Configure and deploy a node; without `webhook` Numerai does not call it, with `container` it needs no library
        and runs in one. `files` are what its folder holds besides."""
        source = self.folder / f"source-{model}"
        source.mkdir(parents=True)
        command = json.dumps(["python" if container else sys.executable, "-u", "main.py"])
        (source / "Dockerfile").write_text(f"FROM python:3.13-slim\nCOPY . /app\nWORKDIR /app\nCMD {command}\n")
        for name, text in {"main.py": main, **files}.items():
            (source / name).write_text(text)
        made = configure_node(
            NodeRequest(path=source, cpu=1, memory=memory_mib / 1024, timeout_minutes=30),
            model,
            None,
            api=self.factory.api,
            store=self.factory.store,
            provider_named=self.factory.provider,
            digest_of=lambda image: None,
            report=quiet,
            agree=lambda lines: None,
            insist=lambda why: None,
        )
        assert isinstance(made, Configured)
        if not webhook:
            self.factory.api.set_webhook(made.node.model_id, None)
        deploy_node(made.node, self.provider, self.factory.store, quiet, force=False)
        self.nodes.append(made.node)
        return made.node

    def start_daemon(self, *command: str) -> None:
        """Start `numerai daemon run`, or another command that does the same, and return when it answers."""
        start_daemon(self.factory.provider_context("local"), report=quiet, command=command or COMMAND)

    def kill_daemon(self) -> None:
        """kill -9, and return when it is dead; nothing when none runs."""
        pid = daemon_status(self.factory.provider_context("local")).pid
        if pid is None:
            return
        process = psutil.Process(pid)
        process.kill()
        process.wait(120)

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

    def daemon_log(self) -> str:
        """What the daemon has logged."""
        file = self.factory.home / "local" / "daemon.log"
        return file.read_text() if file.exists() else ""

    def close(self) -> None:
        """Stop the daemon and remove every node."""
        stop_daemon(self.factory.provider_context("local"))
        for node in self.nodes:
            self.provider.destroy(node.name, force=True, report=quiet)


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
