"""Serves the web application with waitress; also what the server itself refuses is answered in JSON."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from typing import Any

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask

from ...errors import EnvironmentNotReady

THREADS = 4
CONNECTIONS = 1000
"""Open at once. Reading takes no thread, so slow callers cost a file descriptor each and nothing else."""
TAKEN_IN = 32
"""How many callers are taken in at a time, so that whoever waits behind many is soon among them."""
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


class _Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Refuses what waitress stumbles over: a length of thousands of digits, and brackets that are none. Its
    `parse_header` (waitress 3.0, parser.py) turns only its own errors into an answer; `int` and `urlsplit` raise
    `ValueError`."""

    def parse_header(self, header_plus: bytes) -> None:
        """Read the first line and the headers; `ParsingError` for what they cannot be."""
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("Header is invalid") from error


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """One connection. The time limit is for the whole request: a byte now and then does not renew it."""

    error_task_class = _JsonErrorTask
    parser_class = _Parser
    last_activity: float
    _begun: float | None = None

    def handle_read(self) -> None:
        """Take what has arrived."""
        super().handle_read()
        self._begun = None if self.request is None else self._begun or self.last_activity
        self.last_activity = self._begun or self.last_activity


class _Server(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """Listens. Where waitress would take in nobody more, the oldest caller without a complete request makes room."""

    channel_class = _Channel

    def handle_accept(self) -> None:
        """Take in who waits, then make room: in this order, as a new connection may get the number of one that was
        closed, and what has happened to that one would be taken for its own."""
        for _ in range(TAKEN_IN):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                break
        waiting = [channel for channel in self.active_channels.values() if not channel.requests]
        waiting.sort(key=lambda channel: channel.creation_time)
        for channel in waiting[: max(0, len(self._map) - self.adj.connection_limit + 1)]:
            channel.handle_close()


class WebhookServer:
    """Listens on one address, in a thread of its own."""

    def __init__(
        self,
        app: Flask,
        host: str,
        port: int,
        *,
        request_seconds: float = REQUEST_SECONDS,
        connections: int = CONNECTIONS,
    ):
        """Bind; `EnvironmentNotReady` with code `port-in-use` or `cannot-listen` when that is not possible."""
        adjustments = Adjustments(
            threads=THREADS,
            connection_limit=_connections(connections),
            asyncore_use_poll=True,
            channel_timeout=request_seconds,
            cleanup_interval=request_seconds / 4,
            max_request_body_size=MAX_BODY,
            ident="numerai",
            clear_untrusted_proxy_headers=True,
        )
        try:
            bound = listen(host, port)
            where = (bound.family, bound.type, bound.proto, bound.getsockname())
            self._server: Any = _Server(app, _sock=bound, adj=adjustments, sockinfo=where, bind_socket=False)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
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


def _connections(wanted: int) -> int:
    """How many connections this process can hold, at most as many as wanted."""
    if not hasattr(select, "poll"):  # Windows: select() takes 512 at most
        return min(wanted, 400)
    if sys.platform != "win32":
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # 256 on macOS, unless it was raised
        if allowed != resource.RLIM_INFINITY:
            return min(wanted, max(64, allowed - OTHER_FILES))
    return wanted


def _cannot_listen(host: str, port: int, error: OSError) -> EnvironmentNotReady:
    return EnvironmentNotReady(
        f"The webhook cannot listen on {host}:{port}: {error.strerror or error}.",
        "The webhooks registered at Numerai hold this port. End what uses it, or choose another one with"
        " NUMERAI_DAEMON_PORT and run `numerai node config` again for every node.",
        code="port-in-use",
    )
