"""The HTTP/1.1 server: werkzeug's, one thread for each connection, with connections that live on and may be reset."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app
from werkzeug.wsgi import LimitedStream, get_content_length

from ..core import Sandbox
from .app import SandboxApp

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_IDLE_SECONDS = 120.0
_BACKLOG = 128


class SandboxServer(ThreadedWSGIServer):
    """Listens on one address for one sandbox; `OSError` when it cannot."""

    def __init__(self, host: str, port: int, sandbox: Sandbox) -> None:
        self._connections: set[Any] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # werkzeug would end the process when it could not bind itself
        with socket.socket(family) as listener:
            if os.name != "nt":  # there the option would let two processes listen on the same port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
            super().__init__(host, port, SandboxApp(sandbox), SandboxHandler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection, so that closing the server can end it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, and end every connection once the answer that is under way has been sent."""
        super().server_close()
        for connection in self._connections.copy():
            with contextlib.suppress(OSError):  # it was closed already
                connection.shutdown(socket.SHUT_RD)


class SandboxHandler(WSGIRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS

    def log(self, type: str, message: str, *args: Any) -> None:
        """Requests are kept in the sandbox's state, not printed."""

    def run_wsgi(self) -> None:
        """Answer one request and keep the connection for the next one. werkzeug's own method closes it."""
        self.environ = environ = self.make_environ()
        host, port = self.server.server_address[:2]
        if not _HOST.fullmatch(environ.get("HTTP_HOST", "")):
            environ["HTTP_HOST"] = f"{host!s}:{port}"
        body = LimitedStream(environ["wsgi.input"], get_content_length(environ) or 0)
        environ |= {"wsgi.input": body, "wsgi.input_terminated": True}
        try:
            pieces, status, headers = run_wsgi_app(self.server.app, environ)
        except ConnectionAbortedError:
            self._reset()
            return
        if not body.is_exhausted or "HTTP_TRANSFER_ENCODING" in environ:
            headers["Connection"] = "close"
        self.send_response_only(int(status[:3]))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(piece)
        finally:
            if close := getattr(pieces, "close", None):
                close()

    def _reset(self) -> None:
        """End the connection so that the client sees a reset."""
        self.close_connection = True
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.rfile.close()
        self.connection.close()
