"""Ends requests that a server keeps alive without getting on: a byte now and then beats every read timeout."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from weakref import ref

import requests
from requests.adapters import HTTPAdapter

Sockets = list[ref[socket.socket]]


class Watchdog:
    """Shuts the connections of one request once its time is up; whoever reads from them then sees them end.

    `seconds` is its time unless it gets on, `at_most` however well it does.
    """

    def __init__(self, sockets: Sockets, seconds: float, at_most: float = math.inf):
        self._sockets = sockets
        started = time.monotonic()
        self._ends, self._latest = started + seconds, started + at_most
        self._done = threading.Event()
        self.expired = False
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._thread.start()

    def allow(self, seconds: float) -> None:
        """Give the request so many seconds from now, because it got on."""
        self._ends = min(max(self._ends, time.monotonic() + seconds), self._latest)

    def stop(self) -> None:
        """Let the connections be: the request has ended."""
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while (left := self._ends - time.monotonic()) > 0:
            if self._done.wait(left):
                return
        self.expired = True
        for reference in list(self._sockets):
            if (each := reference()) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


class ConnectionAdapter(HTTPAdapter):
    """Connects as requests does and remembers the sockets, so that a watchdog can end what hangs on them."""

    def __init__(self, **options: Any):
        self._sockets: Sockets = []
        super().__init__(**options)

    @contextmanager
    def watched(self, seconds: float, at_most: float = math.inf) -> Iterator[Watchdog]:
        """A watchdog over everything that is sent within the block."""
        self._sockets[:] = [reference for reference in self._sockets if reference() is not None]
        watchdog = Watchdog(self._sockets, seconds, at_most)
        try:
            yield watchdog
        finally:
            watchdog.stop()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: tuple[str, str] | str | None = None,
    ) -> Any:
        """The pool for a request, whose connections report their sockets."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        if not hasattr(pool.ConnectionCls, "reports_to"):
            pool.ConnectionCls = _reporting(pool.ConnectionCls, self._sockets)
        return pool


def _reporting(kind: Any, sockets: Sockets) -> Any:
    class Reporting(kind):  # type: ignore[misc]
        reports_to = sockets

        def connect(self) -> None:
            super().connect()
            if isinstance(self.sock, socket.socket):
                sockets.append(ref(self.sock))

    return Reporting
