"""The local provider under test: a home, a daemon, nodes made of one Python script, and ways to break them."""

from __future__ import annotations

import io
import itertools
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from numerai_compute.models import Node, Run
from numerai_compute.providers.local.daemon import daemon_status, start_daemon, stop_daemon

from .local_daemon import KEYS, SECRET, LocalHome
from .provider_suite import quiet

DOCKERFILE = (
    'FROM python:3.13-slim\nCOPY --chown=4321 . /app\nWORKDIR /app\nUSER 4321\nCMD ["python", "-u", "main.py"]\n'
)
SETTINGS: dict[str, str | int] = {"concurrency": 4, "retry_seconds": 0, "grace_seconds": 5}


class LocalBench:
    """`provider_suite.Bench` for one executor."""

    secret = SECRET

    def __init__(self, folder: Path, executor: str):
        self.folder = folder
        self.executor = executor
        self.home = LocalHome(folder / "home")
        self.home.write({**SETTINGS, "executor": executor}, KEYS)
        self.provider = self.home.provider()
        self._numbers = itertools.count()
        self._unique = secrets.token_hex(4)
        self.nodes: list[str] = []

    def node(self, script: str, **changes: Any) -> Node:
        name = f"t{self._unique}-{next(self._numbers)}"
        source = self.folder / name
        source.mkdir(parents=True)
        (source / "Dockerfile").write_text(DOCKERFILE)
        (source / "main.py").write_text(script)
        self.nodes.append(f"numerai-{name}")
        node = Node(f"numerai-{name}", name, "an-id", 8, "local", str(source), cpu=1, memory_mib=256, timeout_minutes=5)
        return replace(node, **changes)

    def rewrite(self, node: Node, script: str) -> None:
        (Path(node.path) / "main.py").write_text(script)

    def break_build(self, node: Node) -> None:
        source = Path(node.path)
        if self.executor == "docker":
            failing = 'RUN ["python", "-c", "raise SystemExit(\'this breaks\')"]\n'
            (source / "Dockerfile").write_text("FROM python:3.13-slim\n" + failing)
        else:
            (source / "requirements.txt").write_text("this breaks\n")

    def release(self, node: Node, run: Run) -> None:
        if self.executor == "process":
            (self.home.path / "local" / "nodes" / node.name / "artifacts" / "go").touch()
            return
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("go"))
        self._client().api.put_archive(f"numerai-{run.id}", "/numerai/artifacts", content.getvalue())

    def lose_image(self, node: Node) -> None:
        if self.executor == "process":
            for folder in (self.home.path / "local" / "nodes" / node.name).glob("source-*"):
                shutil.rmtree(folder)
        else:
            for image in self._client().images.list(filters={"label": self._label(node)}):
                self._client().images.remove(image.id, force=True)

    def traces(self, node: Node) -> list[str]:
        walked = os.walk(self.home.path / "local")  # what vanishes meanwhile, as an attempt that has ended, is left out
        entries = (f"{root}/{name}" for root, folders, files in walked for name in (*folders, *files))
        found = [entry for entry in entries if node.name in entry.rpartition("/")[2]]
        logs = self.home.path / "local" / "logs"
        found += [str(path) for path in logs.glob("*") if path.stem.split(".")[0] in self._run_ids(node)]
        if self.executor == "docker":
            client, filters = self._client(), {"label": self._label(node)}
            found += [container.name for container in client.containers.list(all=True, filters=filters)]
            found += [image.id for image in client.images.list(filters=filters)]
            found += [volume.name for volume in client.volumes.list(filters=filters)]
        return found

    def kill_daemon(self) -> None:
        """kill -9, and return when it is dead."""
        import psutil

        process = psutil.Process(daemon_status(self.home.context()).pid)
        process.kill()
        process.wait(120)

    def start_daemon(self) -> None:
        """Start the daemon and return when it answers."""
        start_daemon(self.home.context(), report=quiet, command=self.home.daemon_command)

    def close(self) -> None:
        """Stop the daemon and remove every node."""
        stop_daemon(self.home.context())
        for name in self.nodes:
            self.provider.destroy(name, force=True, report=quiet)

    def container(self, run: Run) -> Any:
        """The container of a run."""
        return self._client().containers.get(f"numerai-{run.id}")

    def _run_ids(self, node: Node) -> set[str]:
        return {run.id for run in self.provider.runs(node.name)}

    def _label(self, node: Node) -> str:
        return f"numerai.node={self.provider._parts.home_id}/{node.name}"

    def _client(self) -> Any:
        import docker

        return docker.from_env()


@contextmanager
def local_bench(folder: Path, executor: str, *, awake: bool = True) -> Iterator[LocalBench]:
    """A bench that leaves nothing behind."""
    bench = LocalBench(folder, executor)
    try:
        if awake:
            bench.start_daemon()
        yield bench
    finally:
        bench.close()
