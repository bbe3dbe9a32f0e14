"""The local provider's settings: what `setup` recorded, overridden by the environment, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ..setting_values import bad_setting, whole_number

EXECUTORS = ("auto", "docker", "process")


@dataclass(frozen=True)
class LocalSettings:
    """How this machine runs nodes.

    `executor` is `docker`, `process`, or `auto` (containers where an engine answers). The webhook listens on
    `host`:`port`; without a port a free one is chosen once and kept. `public_url` is the base of the webhook's address
    where a tunnel or proxy leads to it. At most `concurrency` runs go on at a time. A run that ends with 75 is tried
    `attempts` times in all, `retry_seconds`, twice that, ... after the attempt before. `grace_seconds` lie between
    SIGTERM and SIGKILL. `read_only` makes the containers' root file system read-only.
    """

    executor: str = "auto"
    host: str = "127.0.0.1"
    port: int | None = None
    public_url: str | None = None
    concurrency: int = 1
    attempts: int = 3
    retry_seconds: int = 60
    grace_seconds: int = 10
    read_only: bool = False


def read_settings(recorded: Mapping[str, str | int], environ: Mapping[str, str] = os.environ) -> LocalSettings:
    """The settings; NUMERAI_EXECUTOR and NUMERAI_DAEMON_PORT win over what is recorded.

    Raises `UsageError` with code `bad-setting` for values that cannot be.
    """
    executor = environ.get("NUMERAI_EXECUTOR") or str(recorded.get("executor", "auto"))
    if executor not in EXECUTORS:
        raise _bad("executor", executor, f"one of {', '.join(EXECUTORS)} (also in NUMERAI_EXECUTOR)")
    port = environ.get("NUMERAI_DAEMON_PORT") or recorded.get("port")
    public_url = str(recorded.get("public_url") or "").rstrip("/") or None
    if public_url and not public_url.startswith(("http://", "https://")):
        raise _bad("public_url", public_url, "an address that begins with https://")
    default_concurrency = max(1, (os.cpu_count() or 1) // 2)
    return LocalSettings(
        executor=executor,
        host=str(recorded.get("host", LocalSettings.host)),
        port=None if port is None else _number("port", port, 1, 65535),
        public_url=public_url,
        concurrency=_number("concurrency", recorded.get("concurrency", default_concurrency), 1, 256),
        attempts=_number("attempts", recorded.get("attempts", LocalSettings.attempts), 1, 10),
        retry_seconds=_number("retry_seconds", recorded.get("retry_seconds", LocalSettings.retry_seconds), 0, 3600),
        grace_seconds=_number("grace_seconds", recorded.get("grace_seconds", LocalSettings.grace_seconds), 0, 600),
        read_only=_number("read_only", recorded.get("read_only", 0), 0, 1) == 1,
    )


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


def _number(name: str, value: str | int, low: int, high: int) -> int:
    return whole_number("local", name, value, low, high)


def _bad(name: str, value: object, wanted: str) -> UsageError:
    return bad_setting("local", name, value, wanted)
