"""The local provider's settings: what `setup` recorded, overridden by the environment, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ...capabilities import WANTED, read_capabilities
from ...settings import Recorded, Setting, choice, read_all, switch, text, whole

ADDRESS = r"(?i:https://[^\s/?#@]+|http://(?:localhost|127\.[0-9.]+|\[::1\])(?::\d+)?)(?:/[^\s?#]*)?"
"""Numerai's call carries the token in its path, so plain http is for this machine only; what stands behind ? or # would
defeat the masking of the token."""

EXECUTORS = ("auto", "docker", "process")


def _public_url(value: str) -> str:
    """Checked by splitting it, too, which raises where brackets or a port are none."""
    if not re.fullmatch(ADDRESS, value) or urlsplit(value).port == 0:
        raise ValueError
    return value


SETTINGS = (
    choice("executor", "what runs nodes: containers, virtual environments, or what there is", EXECUTORS, "auto",
           ("NUMERAI_EXECUTOR",)),
    text("host", "the address that the webhook listens on", r"[0-9A-Za-z.:_-]{1,253}", "an address", "127.0.0.1"),
    whole("port", "the webhook's port; without one a free one is chosen once and kept", 1, 65535, None,
          ("NUMERAI_DAEMON_PORT",)),
    Setting("public_url", "the address of a tunnel or proxy that leads to the webhook",
            "an address that begins with https://, without user, password, ? and #", _public_url),
    whole("concurrency", "how many runs go on at a time", 1, 256, max(1, (os.cpu_count() or 1) // 2)),
    whole("attempts", "how often a run that ends with 75 is tried in all", 1, 10, 3),
    whole("retry_seconds", "seconds before the second attempt; twice that before the third, and so on", 0, 3600, 60),
    whole("grace_seconds", "seconds between SIGTERM and SIGKILL", 0, 600, 10),
    switch("read_only", "make the containers' root file system read-only", False),
    Setting("capabilities", "the Linux capabilities that the containers of all nodes have", WANTED,
            lambda value: ",".join(read_capabilities(value))),
)  # fmt: skip


@dataclass(frozen=True)
class LocalSettings:
    """How this machine runs nodes: a value for each of `SETTINGS`."""

    executor: str = "auto"
    host: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    concurrency: int = 1
    attempts: int = 3
    retry_seconds: int = 60
    grace_seconds: int = 10
    read_only: bool = False
    capabilities: tuple[str, ...] = ()


def read_settings(recorded: Recorded, environ: Mapping[str, str] = os.environ) -> LocalSettings:
    """The settings; raises `UsageError` with code `bad-setting` for values that cannot be."""
    values = read_all(SETTINGS, recorded, environ)
    public_url = (values["public_url"] or "").rstrip("/") or None
    capabilities = tuple(values["capabilities"].split(",")) if values["capabilities"] else ()
    return LocalSettings(**{**values, "public_url": public_url, "capabilities": capabilities})


class LocalPaths:
    """Where the local provider keeps what in the tool's home folder."""

    def __init__(self, home: Path):
        self.home = home
        self.root = root = home / "local"
        self.database = root / "runs.db"  # nodes, runs, triggers, webhook calls
        self.lock = root / "daemon.lock"  # held by the daemon for life
        self.daemon_file = root / "daemon.json"  # how to reach the daemon that runs
        self.daemon_log = root / "daemon.log"
        self.daemon_output = root / "daemon.out"  # what it printed, for when it fails before its log begins
        self.cache = root / "cache"  # downloads that process runs share
        self.attempts = root / "attempts"  # one folder per attempt of a process run

    def node(self, name: str) -> Path:
        """What process runs of a node use: snapshots, virtual environments, artifacts."""
        return self.root / "nodes" / name

    def attempt(self, run_id: str, attempt: int) -> Path:
        """The folder of one attempt of a process run."""
        return self.attempts / f"{run_id}-{attempt}"

    def log(self, run_id: str, attempt: int = 1) -> Path:
        """What one attempt of a run printed."""
        return self.root / "logs" / (f"{run_id}.log" if attempt == 1 else f"{run_id}.{attempt}.log")
