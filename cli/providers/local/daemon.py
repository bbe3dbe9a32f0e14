"""The daemon: serves the webhooks and executes the runs; one per home folder, known by lock and health answer."""

from __future__ import annotations

import hmac
import http.client
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...counting import counted
from ...errors import NumeraiError, ProviderError
from ...files.locks import Held, is_held, take
from ...files.logs import PrivateLog
from ...files.private import make_private_folder, owner_only, write_private
from ...ports import Report
from ...process import spawn_detached
from ...signals import ending_signals
from ..registry import ProviderContext
from .companions import Companion, Companions
from .ground import CONTROL_TOKEN, NO_ADDRESS, differences, ground_of, heard
from .parts import LocalParts
from .scheduler import Scheduler
from .settings import LocalPaths

COMMAND = (sys.executable, "-m", "numerai_compute", "daemon", "run")
RESTART = "numerai daemon stop; numerai daemon start"
START_SECONDS = 60.0
STOP_SECONDS = 60.0
"""Longer than the daemon's companions may take to say what they have to say."""
ENDING_SECONDS = 5.0
"""How long one that does not listen may still be ending, as it was asked to by another command."""
LOOK_SECONDS = 0.05
GROUND_SECONDS = 15.0
"""How long the daemon may take to look at what it stands on; an engine that is there answers within a second."""
LOOK_WAITS_SECONDS = 5.0
"""How long a look waits for another one: an engine that hangs must not take every thread that answers `stop`."""
CONTROL_HOST = "127.0.0.1"
LOG_BYTES = 1024 * 1024
LOG_FILES = 3
PACKAGE_LOGGER = __name__.partition(".")[0]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DaemonStatus:
    """How the daemon stands. `running` is whether one holds the lock, `answering` whether its webhook answers.

    `going_on` are the ids of the runs that are executed, `queued` is how many wait.
    """

    running: bool
    answering: bool
    log: Path
    pid: int | None = None
    url: str | None = None
    instance: str | None = None
    since: str | None = None
    going_on: tuple[str, ...] = ()
    queued: int = 0


@dataclass(frozen=True)
class _DaemonFile:
    """What the daemon that holds the lock says about itself; only its owner can read it."""

    instance: str
    pid: int
    host: str
    port: int
    control_port: int
    control_token: str
    since: str


def run_daemon(context: ProviderContext, *, report: Report, companions: Sequence[Companion] = ()) -> None:
    """Serve until SIGTERM, Ctrl-C or `stop_daemon`. Runs that go on then are left running. The companions are started
    once the webhook answers.

    Raises `ProviderError` with code `daemon-running` when there is one already, `EnvironmentNotReady` with code
    `port-in-use` when its port is taken.
    """
    parts = LocalParts(context)
    make_private_folder(parts.paths.root)
    with owner_only(), _held_lock(parts.paths), _log_file(parts.paths):
        try:
            _Daemon(parts, report, companions).serve()
        finally:
            parts.paths.daemon_file.unlink(missing_ok=True)
            parts.store.close()


def start_daemon(context: ProviderContext, *, report: Report, command: Sequence[str] = COMMAND) -> DaemonStatus:
    """Start the daemon in the background and return once it answers; nothing to do when one runs.

    Raises `ProviderError` with code `daemon-failed` and its last words when it ends instead.
    """
    paths = LocalPaths(context.home)
    status = daemon_status(context)
    if status.answering:
        return status
    make_private_folder(paths.root)
    process, give_up = None, context.clock.monotonic() + START_SECONDS
    while context.clock.monotonic() < give_up:
        if process is None and not status.running:
            report("Starting the daemon")
            process = _spawn(paths, command)
        status = daemon_status(context)
        if status.answering:
            return status
        if process is not None and process.poll() is not None and not status.running:
            break
        context.clock.sleep(LOOK_SECONDS)
    if process is None:
        raise _stuck(status, "runs, but does not answer")
    raise ProviderError(
        f"The daemon did not start: {_last_words(paths)}",
        f"`numerai daemon run` shows what happens; its log is {paths.daemon_log}.",
        code="daemon-failed",
    )


def _why_silent(paths: LocalPaths) -> str:
    """Why a daemon that has ended could not even say why."""
    probe = paths.root / "daemon.probe"
    try:
        write_private(probe, bytes(4096), keep_previous=False)
        probe.unlink()
    except NumeraiError as error:
        return error.in_full
    return "it does not answer"


def _spawn(paths: LocalPaths, command: Sequence[str]) -> subprocess.Popen[bytes]:
    with os.fdopen(os.open(paths.daemon_output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        environ = {**os.environ, "NUMERAI_HOME": str(paths.home)}
        return spawn_detached(command, cwd=paths.root, env=environ, output=output)


def _last_words(paths: LocalPaths) -> str:
    """What a daemon that did not start has said. On a full disk it could not say anything."""
    return paths.daemon_output.read_text(encoding="utf-8", errors="replace").strip() or _why_silent(paths)


def stop_daemon(context: ProviderContext) -> DaemonStatus:
    """End the daemon and return how it stood before; `going_on` are the runs that it leaves running.

    `ProviderError` with code `daemon-stuck` when it does not end.
    """
    paths, before = LocalPaths(context.home), daemon_status(context)
    if not before.running:
        return before
    told = _read_daemon_file(paths)
    asked = told is not None and _ask_to_stop(told)
    give_up = context.clock.monotonic() + (STOP_SECONDS if asked else ENDING_SECONDS)
    while lock_is_held(paths):
        if context.clock.monotonic() > give_up:
            raise _stuck(before)
        context.clock.sleep(LOOK_SECONDS)
    return before


def daemon_status(context: ProviderContext) -> DaemonStatus:
    """How the daemon of this home folder stands."""
    paths = LocalPaths(context.home)
    if not lock_is_held(paths):
        return DaemonStatus(False, False, paths.daemon_log)
    told = _read_daemon_file(paths)
    if told is None:
        return DaemonStatus(True, False, paths.daemon_log)
    health = _health(told)
    return DaemonStatus(
        running=True,
        answering=health is not None and _webhook_answers(told),
        log=paths.daemon_log,
        pid=told.pid,
        url=_url(told.host, told.port),
        instance=told.instance,
        since=told.since,
        going_on=tuple(health["going_on"]) if health else (),
        queued=int(health["queued"]) if health else 0,
    )


def daemon_differs(parts: LocalParts) -> list[str]:
    """In words, where the daemon that runs stands on something else than this process: keys, settings, an engine, its
    version. Asked of the daemon itself, as its environment is not this one's."""
    asked = _read_daemon_file(parts.paths)
    if asked is None:
        return []
    token = {CONTROL_TOKEN: asked.control_token}
    content = request(CONTROL_HOST, asked.control_port, "GET", "/ground", token, seconds=GROUND_SECONDS)
    try:
        if content is None:
            return [f"it has not said within {GROUND_SECONDS:.0f} s what it stands on: does its Docker engine answer?"]
        if content.get("error") == NO_ADDRESS:
            return ["it was started by another version of numerai"]
        return list(differences(heard(content["ground"]), ground_of(parts, asked.control_token)))
    except (KeyError, TypeError):
        return ["it does not say what it stands on"]


def daemon_runs(home: Path) -> bool:
    """Whether a daemon of this home folder lives; reads none of its files."""
    return lock_is_held(LocalPaths(home))


def lock_is_held(paths: LocalPaths) -> bool:
    """Whether a daemon of this home folder lives."""
    return is_held(paths.lock)


@contextmanager
def no_daemon(paths: LocalPaths) -> Iterator[bool]:
    """Keep a daemon from starting; gives False when one runs."""
    try:
        lock = take(paths.lock)
    except Held:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


class _Daemon:
    """The parts of a daemon at work."""

    def __init__(self, parts: LocalParts, report: Report, companions: Sequence[Companion]):
        self._parts = parts
        self._report = report
        self._companions = Companions(companions, parts.context.clock)
        self._stop = threading.Event()
        self._looking = threading.Lock()
        self._instance = secrets.token_hex(8)
        self._control_token = secrets.token_urlsafe(32)
        self._since = parts.context.clock.now()
        self._scheduler = Scheduler(
            parts.store,
            parts.execution(),
            parts.used_executors,
            parts.context.clock,
            parts.settings,
            lambda: parts.rehearsals.try_to_remove_abandoned(parts.used_executors()),
        )

    def serve(self) -> None:
        """Take over what was left, then serve until told to stop."""
        from .server import WebhookServer
        from .webhook import Webhook, create_app, create_control_app

        parts = self._parts
        webhook = Webhook(parts.store, parts.context.clock, self._scheduler.poke, self._stop.is_set)
        host = parts.settings.host
        server = WebhookServer(create_app(webhook, self._instance), host, parts.port)
        control = WebhookServer(create_control_app(self._health, self._stop_if_allowed, self._ground), CONTROL_HOST, 0)
        with ending_signals(self._stop):
            told = _DaemonFile(
                self._instance,
                os.getpid(),
                host,
                server.port,
                control.port,
                self._control_token,
                self._since.isoformat(),
            )
            write_private(parts.paths.daemon_file, json.dumps(asdict(told)).encode(), keep_previous=False)
            self._scheduler.start()
            server.start()
            control.start()
            self._say(f"The daemon serves webhooks on {_url(host, server.port)} (pid {os.getpid()}).")
            self._companions.start()
            while not self._stop.wait(1.0):  # with a time limit, as Windows would not see Ctrl-C otherwise
                pass
            self._companions.stop()
            going_on = self._scheduler.stop()
            server.close()
            control.close()
        left = f" Still at work, for the next start to take over: {counted(len(going_on), 'run')}." if going_on else ""
        self._say(f"The daemon has stopped.{left}")

    def _say(self, line: str) -> None:
        log.info(line)
        self._report(line)

    def _health(self) -> Mapping[str, Any]:
        active = self._parts.store.active()
        return {
            "service": "numerai",
            "instance": self._instance,
            "since": self._since.isoformat(),
            "going_on": [job.run.id for job in active if job.phase in ("starting", "started")],
            "queued": sum(job.phase in ("queued", "waiting") for job in active),
        }

    def _ground(self, token: str) -> Mapping[str, Any] | None:
        if not self._allowed(token):
            return None
        if not self._looking.acquire(timeout=LOOK_WAITS_SECONDS):
            return {}
        try:
            return asdict(ground_of(self._parts, self._control_token))
        finally:
            self._looking.release()

    def _stop_if_allowed(self, token: str) -> bool:
        allowed = self._allowed(token)
        if allowed:
            self._stop.set()
        return allowed

    def _allowed(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", errors="replace"), self._control_token.encode())


@contextmanager
def _held_lock(paths: LocalPaths) -> Iterator[None]:
    try:
        lock = take(paths.lock)
    except Held:
        told = _read_daemon_file(paths)
        pid = f" (pid {told.pid})" if told else ""
        raise ProviderError(
            f"A daemon runs for {paths.home} already{pid}.",
            "Stop it with `numerai daemon stop`.",
            code="daemon-running",
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _log_file(paths: LocalPaths) -> Iterator[None]:
    layout = "%(asctime)s %(levelname)s %(message)s"
    handler = PrivateLog(paths.daemon_log, layout, max_bytes=LOG_BYTES, kept=LOG_FILES)
    loggers = [logging.getLogger(PACKAGE_LOGGER), logging.getLogger("waitress")]
    loggers[0].setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        handler.close()


def _read_daemon_file(paths: LocalPaths) -> _DaemonFile | None:
    try:
        return _DaemonFile(**json.loads(paths.daemon_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _health(told: _DaemonFile) -> dict[str, Any] | None:
    """What the daemon says of itself; None when it does not answer or another program answers in its place."""
    content = request(CONTROL_HOST, told.control_port, "GET", "/health", {})
    return content if content is not None and content.get("instance") == told.instance else None


def _webhook_answers(told: _DaemonFile) -> bool:
    """Whether this daemon, and not another program, answers where Numerai calls it."""
    content = request(_client_host(told.host), told.port, "GET", "/health", {})
    return content is not None and content.get("instance") == told.instance


def _ask_to_stop(told: _DaemonFile) -> bool:
    content = request(CONTROL_HOST, told.control_port, "POST", "/stop", {CONTROL_TOKEN: told.control_token})
    return content is not None and content.get("status") == "stopping"


def request(
    host: str, port: int, method: str, path: str, headers: Mapping[str, str], seconds: float = 5.0
) -> dict[str, Any] | None:
    """The JSON object that is answered, None where there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request(method, path, headers=dict(headers))
        content = json.loads(connection.getresponse().read(1 << 20))
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    return content if isinstance(content, dict) else None


def _url(host: str, port: int) -> str:
    name = _client_host(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _client_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not listened on)


def how_to_end(status: DaemonStatus) -> str:
    """The commands that replace a daemon which does not listen any more."""
    kill = "taskkill /F /PID" if os.name == "nt" else "kill -9"
    return f"{kill} {status.pid or 'PID'}, then numerai daemon start"


def _stuck(status: DaemonStatus, how: str = "does not end") -> NumeraiError:
    return ProviderError(
        f"The daemon (pid {status.pid or 'unknown'}) {how}.",
        f"Look at {status.log}, then end the process yourself: {how_to_end(status)}. What is queued is kept.",
        code="daemon-stuck",
    )
