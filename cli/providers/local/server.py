"""Serves the web application with waitress; also what the server itself refuses is answered in JSON."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from ...errors import EnvironmentNotReady

THREADS = 4
CONNECTIONS = 1000
"""Open at once. Reading takes no thread, so slow callers cost a file descriptor each and nothing else."""
OTHER_FILES = 128
"""File descriptors that this process needs beside connections."""
REQUEST_SECONDS = 20
"""A connection that is idle, or whose request is not complete by then, is closed."""
MAX_BODY = 1024 * 1024


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that never reaches the application."""

    def execute(self) -> None:
        error = self.request.error
        body = json.dumps({"error": f"{error.reason}."}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection. The time limit is for the whole request: a byte now and then does not renew it."""

    error_task_class = _JsonErrorTask
    last_activity: float
    _begun: float | None = None

    def handle_read(self) -> None:
        """Take what has arrived."""
        super().handle_read()
        self._begun = None if self.request is None else self._begun or self.last_activity
        self.last_activity = self._begun or self.last_activity


class WebhookServer:
    """Listens on one address, in a thread of its own."""

    def __init__(self, app: Flask, host: str, port: int, *, request_seconds: float = REQUEST_SECONDS):
        """Bind; `EnvironmentNotReady` with code `port-in-use` or `cannot-listen` when that is not possible."""
        try:
            self._server: Any = create_server(
                app,
                sockets=[listen(host, port)],
                threads=THREADS,
                connection_limit=_connections(),
                asyncore_use_poll=True,
                channel_timeout=request_seconds,
                cleanup_interval=request_seconds / 4,
                max_request_body_size=MAX_BODY,
                ident="numerai",
                clear_untrusted_proxy_headers=True,
            )
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        self._server.channel_class = _Channel
        self._thread = threading.Thread(target=self._server.run, name="webhook", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answer what has arrived, then close."""
        self._server.task_dispatcher.shutdown()
        self._server.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. `OSError` when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _connections() -> int:
    """How many connections this process can hold."""
    if not hasattr(select, "poll"):  # Windows: select() takes 512 at most
        return 400
    if sys.platform != "win32":
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # 256 on macOS, unless it was raised
        if allowed != resource.RLIM_INFINITY:
            return max(64, min(CONNECTIONS, allowed - OTHER_FILES))
    return CONNECTIONS


def _cannot_listen(host: str, port: int, error: OSError) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"The webhook cannot listen on {host}:{port}: {error.strerror or error}.",
        "The webhooks registered at Numerai hold this port. End what uses it, or choose another one with"
        " NUMERAI_DAEMON_PORT and run `numerai node config` again for every node.",
        code="port-in-use",
    )
