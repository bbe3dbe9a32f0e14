"""The HTTP/1.1 server: one thread for each connection, and faults down to the socket."""

from __future__ import annotations

import logging
import os
import re
import socket
import struct
import threading
from collections.abc import Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ... import __version__
from ..core import Sandbox
from ..faults import ERROR_KINDS, corrupted, seconds_of
from ..records import FaultRecord
from ..refusal import HttpRefusal
from . import object_routes
from .messages import Answer, Request, json_answer
from .router import Router, fault_answer

_LOG = logging.getLogger(__name__)
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_IDLE_SECONDS = 120.0
_SLOW_STEPS = 10


class SandboxServer(ThreadingHTTPServer):
    """Listens on one address for one sandbox."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    # On Windows the option would let two processes listen on the same port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, address: tuple[str, int], sandbox: Sandbox) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sandbox = sandbox
        self.router = Router(sandbox)
        self.connections: set[socket.socket] = set()
        self.connections_lock = threading.Lock()
        super().__init__(address, SandboxHandler)

    def server_bind(self) -> None:
        """Bind without asking a name server for our name."""
        socketserver_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        _LOG.debug("connection from %s ended early", client_address, exc_info=True)

    def close_connections(self) -> None:
        """Wake every thread that waits for a client."""
        with self.connections_lock:
            for connection in self.connections:
                _shut(connection)


def socketserver_bind(server: ThreadingHTTPServer) -> None:
    """What `HTTPServer.server_bind` does, without its reverse look-up of the host name."""
    if server.allow_reuse_address:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.bind(server.server_address)
    server.server_address = server.socket.getsockname()
    server.server_name, server.server_port = server.server_address[:2]  # type: ignore[assignment]


class SandboxHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: SandboxServer
    protocol_version = "HTTP/1.1"
    server_version = f"numerai-sandbox/{__version__}"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    wbufsize = 64 * 1024

    def setup(self) -> None:
        """Remember the connection, so that closing the server can end it."""
        super().setup()
        with self.server.connections_lock:
            self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        with self.server.connections_lock:
            self.server.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            _LOG.debug("the client did not wait for the end", exc_info=True)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_GET  # noqa: N815 names of http.server

    def version_string(self) -> str:
        """The Server header. The store is like S3, whose entity tags are checksums to clients that know it."""
        return "AmazonS3" if getattr(self, "path", "").startswith(object_routes.PREFIX) else self.server_version

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date header, by the sandbox's clock."""
        return format_datetime(self.server.sandbox.clock.now(), usegmt=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are kept in the sandbox's state, not printed."""

    def _answer(self) -> None:
        request = Request(self.command, self.path, self.headers, self.rfile, self.client_address[0], self._base_url())
        try:
            reply = self.server.router.reply(request)
        except HttpRefusal as refusal:
            self._send(json_answer(refusal.status, {"error": refusal.message}), request)
            return
        except Exception:  # noqa: BLE001 a fault of the sandbox itself is answered as any server would
            _LOG.exception("answering %s %s failed", self.command, request.path)
            self._send(json_answer(500, {"error": "the sandbox failed; its log says why"}), request)
            return
        if reply.fault is None:
            self._send(reply.answer or json_answer(500, {}), request)
        else:
            self._send_with_fault(reply.answer, reply.fault, request)

    def _send_with_fault(self, answer: Answer | None, fault: FaultRecord, request: Request) -> None:
        if fault.kind == "drop" or answer is None:
            if fault.kind == "hang":
                self.server.sandbox.stopping.wait(seconds_of(fault))
            self._reset()
        elif fault.kind == "hang":
            self.server.sandbox.stopping.wait(seconds_of(fault))
            self._reset()
        elif fault.kind == "status":
            self._send(fault_answer(fault), request)
        elif (fault.target == "upload" and fault.kind != "slow") or fault.kind in ("stale", *ERROR_KINDS):
            self._send(answer, request)
        elif fault.kind == "truncate":
            self._send(answer, request, keep=answer.length // 2)
        elif fault.kind == "slow":
            self._send(answer, request, seconds=seconds_of(fault))
        elif fault.target == "download":
            self._send(Answer(answer.status, corrupted(b"".join(answer.pieces())), answer.headers), request)
        else:
            self._send(answer, request)

    def _send(self, answer: Answer, request: Request, keep: int | None = None, seconds: float = 0.0) -> None:
        """Send an answer; only its first `keep` bytes if given, spread over `seconds`."""
        if not request.fully_read or keep is not None:
            self.close_connection = True
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(answer.length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD" or answer.status == 304:
            self.wfile.flush()
            return
        left = answer.length if keep is None else keep
        for piece in self._paced(answer, seconds):
            self.wfile.write(piece[:left])
            left -= min(left, len(piece))
            if seconds:
                self.wfile.flush()
            if not left:
                break
        self.wfile.flush()

    def _paced(self, answer: Answer, seconds: float) -> Iterator[bytes]:
        if not seconds:
            yield from answer.pieces()
            return
        body = b"".join(answer.pieces())
        size = max(1, -(-len(body) // _SLOW_STEPS))
        for start in range(0, max(1, len(body)), size):
            self.wfile.flush()
            self.server.sandbox.stopping.wait(seconds / _SLOW_STEPS)
            yield body[start : start + size]

    def _reset(self) -> None:
        """End the connection so that the client sees a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        self.rfile.close()
        self.connection.close()

    def _base_url(self) -> str:
        host = self.headers.get("Host") or ""
        if not _HOST.fullmatch(host):
            name, port = self.server.server_address[:2]
            host = f"{name!s}:{port}"
        return f"http://{host}"


_LINGER = "hh" if os.name == "nt" else "ii"


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        _LOG.debug("the connection was closed already", exc_info=True)
