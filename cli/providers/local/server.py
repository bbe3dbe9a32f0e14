"""Serves the web application with waitress; also what the server itself refuses is answered in JSON."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from ...errors import EnvironmentNotReady

THREADS = 4
CONNECTIONS = 200
IDLE_SECONDS = 20
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
    error_task_class = _JsonErrorTask


class WebhookServer:
    """Listens on one address, in a thread of its own."""

    def __init__(self, app: Flask, host: str, port: int):
        """Bind; `EnvironmentNotReady` with code `port-in-use` or `cannot-listen` when that is not possible."""
        try:
            self._server: Any = create_server(
                app,
                sockets=[listen(host, port)],
                threads=THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_SECONDS,
                cleanup_interval=IDLE_SECONDS // 2,
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


def _cannot_listen(host: str, port: int, error: OSError) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"The webhook cannot listen on {host}:{port}: {error.strerror or error}.",
        "The webhooks registered at Numerai hold this port. End what uses it, or choose another one with"
        " NUMERAI_DAEMON_PORT and run `numerai node config` again for every node.",
        code="port-in-use",
    )
