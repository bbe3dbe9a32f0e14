"""The command `numerai` as a user runs it, against a sandbox that is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from docker.models.images import Image
from numerai_compute.providers.local.settings import LocalPaths
from numerai_compute.providers.local.store import RunStore

from tests.images import tagged

SMALL = ("--seed", "1", "--eras", "12", "--rows-per-era", "120", "--features", "20", "--rate-limit", "100000")
TIMEOUT = 600


@dataclass
class Done:
    """How a command ended and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """A terminal with its own home folder, and a sandbox's address and keys in its environment."""

    folder: Path
    sandbox: dict[str, Any]
    executor: str
    printed: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def images(self) -> dict[str, Image]:
        """What this home has put into the engine, by tag: other tests build for a node of the same name meanwhile."""
        home = RunStore(LocalPaths(self.home).database).fact("home")
        assert home
        return tagged(f"numerai-local/{home}/")

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMERAI_", "AWS_"))}
        return {
            **kept,
            "NUMERAI_HOME": str(self.home),
            "NUMERAI_EXECUTOR": self.executor,
            "NUMERAI_API_URL": self.sandbox["url"],
            "NUMERAI_PUBLIC_ID": self.sandbox["public_id"],
            "NUMERAI_SECRET_KEY": self.sandbox["secret_key"],
            "COLUMNS": "200",
        }

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "numerai_compute", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, *arguments: str, **environment: str) -> Done:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=TIMEOUT)
        self.printed += [out, err]
        assert "Traceback" not in out + err, out + err
        return Done(process.returncode, out, err)

    def ok(self, *arguments: str) -> Done:
        done = self(*arguments)
        assert done.exit_code == 0, done.out + done.err
        return done

    def node(self, name: str, files: dict[str, str]) -> Path:
        """A folder with these files."""
        folder = self.folder / name
        folder.mkdir()
        for file, content in files.items():
            (folder / file).write_text(content)
        return folder


@contextmanager
def sandbox_process(*arguments: str, cwd: Path, **how: Any) -> Iterator[dict[str, Any]]:
    """`numerai sandbox serve` with one line of JSON on its standard output. `how` is for `Popen`."""
    command = [sys.executable, "-m", "numerai_compute", "sandbox", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, **how)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(120)
        process.stdout.close()


@contextmanager
def watched_command_lines() -> Iterator[list[str]]:
    """Every command line that a process of this machine had while the block ran, as `ps` would show it."""
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                seen.add(" ".join(process.info["cmdline"] or ()))

    watcher = threading.Thread(target=look)
    watcher.start()
    found: list[str] = []
    try:
        yield found
    finally:
        stop.set()
        watcher.join()
        found += sorted(seen)
