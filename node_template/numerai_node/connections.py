"""Connections whose every wait ends by the deadline of the request that uses them, however slowly bytes drip.

A timeout of urllib3 limits each wait for bytes, so a server that sends a byte now and then is never given up. The
sockets here set their timeout anew before each wait, to what is left of the request that this thread is sending.
"""

from __future__ import annotations

import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxySchemeUnknown

from .addresses import is_secure
from .errors import ConfigurationError
from .trust import trusting


class Deadline:
    """The time of one request. `seconds` is its time unless it makes progress, `at_most` however well it does;
    `connect` and `read` (seconds) limit each wait."""

    def __init__(self, seconds: float, at_most: float = math.inf, connect: float = math.inf, read: float = math.inf):
        started = time.monotonic()
        self._latest = started + at_most
        self._ends = min(started + seconds, self._latest)
        self._connect, self._read = connect, read
        self.connecting = False
        """Whether a connection is being made, so that nothing has been sent."""

    @property
    def expired(self) -> bool:
        """Whether there is no time left."""
        return time.monotonic() >= self._ends

    def allow(self, seconds: float) -> None:
        """Give the request so many seconds from now, because it made progress."""
        self._ends = min(max(self._ends, time.monotonic() + seconds), self._latest)

    def wait(self) -> float:
        """How long the next wait may take, in seconds; `TimeoutError` when there is no time left."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return min(left, self._connect if self.connecting else self._read)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let it limit what this thread sends and receives within the block."""
        before = getattr(_thread, "deadline", None)
        _thread.deadline = self
        try:
            yield
        finally:
            _thread.deadline = before


_thread = threading.local()


def _active() -> Deadline | None:
    deadline: Deadline | None = getattr(_thread, "deadline", None)
    return deadline


class _Timed:
    """A socket that never waits longer than the active deadline allows."""

    def _hurry(self: Any) -> None:
        deadline = _active()
        if deadline is not None:
            self.settimeout(deadline.wait())

    def recv_into(self, *args: Any, **options: Any) -> int:
        self._hurry()
        return int(super().recv_into(*args, **options))  # type: ignore[misc]

    def recv(self, *args: Any, **options: Any) -> bytes:
        self._hurry()
        return bytes(super().recv(*args, **options))  # type: ignore[misc]

    def send(self, *args: Any, **options: Any) -> int:
        self._hurry()
        return int(super().send(*args, **options))  # type: ignore[misc]

    def sendall(self, *args: Any, **options: Any) -> None:
        self._hurry()
        super().sendall(*args, **options)  # type: ignore[misc]


class _Socket(_Timed, socket.socket):
    pass


class _SecureSocket(_Timed, ssl.SSLSocket):
    pass


class _Connecting:
    """A connection of urllib3 whose name resolution and connecting are limited too."""

    def connect(self) -> None:
        deadline = _active()
        if deadline is not None:
            deadline.connecting = True
        super().connect()  # type: ignore[misc]
        if deadline is not None:
            deadline.connecting = False

    def _new_conn(self: Any) -> socket.socket:
        deadline = _active() or Deadline(math.inf)
        try:
            return _connect(self._dns_host, self.port, deadline)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} could not be reached in time") from error
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"{self.host} could not be reached: {error}") from error


class _Http(_Connecting, HTTPConnection):
    pass


class _Https(_Connecting, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


def _connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in _resolve(host.strip("[]"), port, deadline.wait()):
        connection = _Socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.wait())
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(address)
            connection.settimeout(deadline.wait())  # for the TLS handshake
            return connection
        except OSError as error:
            connection.close()
            failure = error
    raise failure


def _resolve(host: str, port: int, seconds: float) -> list[Any]:
    """The addresses of a name. The system's resolver has no time limit, so it is left to itself after `seconds`."""
    answers: queue.SimpleQueue[list[Any] | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=work, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=min(seconds, threading.TIMEOUT_MAX))
    except queue.Empty:
        raise TimeoutError("the name was not resolved in time") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


class Connections:
    """Kept connections to the hosts that are asked, through the proxies that the environment names. For any thread."""

    def __init__(self) -> None:
        self._managers: dict[tuple[str | None, bool], urllib3.PoolManager] = {}
        self._tls: ssl.SSLContext | None = None

    def manager(self, url: str) -> urllib3.PoolManager:
        """The pools to send a request for `url` with; `ConfigurationError` for a proxy that cannot be used."""
        proxy, secure = proxy_for(url), url.lower().startswith("https:")
        key = proxy, secure or (proxy or "").startswith("https:")
        if key not in self._managers:
            self._managers[key] = self._make_manager(*key)
        return self._managers[key]

    def _make_manager(self, proxy: str | None, secure: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {}
        if secure:
            self._tls = self._tls or tls_context()
            options["ssl_context"] = self._tls
        if proxy is None:
            manager = urllib3.PoolManager(**options)
        else:
            if proxy.startswith("https:"):
                options["proxy_ssl_context"] = self._tls
            parts = urlsplit(proxy)
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            headers = urllib3.make_headers(proxy_basic_auth=user) if user else None
            try:
                manager = urllib3.ProxyManager(proxy, proxy_headers=headers, **options)
            except ProxySchemeUnknown as error:
                raise ConfigurationError(
                    f"The proxy on {parts.hostname} is a {parts.scheme}:// proxy; only http:// and https:// ones work."
                ) from error
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


def proxy_for(url: str) -> str | None:
    """The proxy that the environment, or the system, names for an address, as `requests` chooses it.

    HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; NO_PROXY may hold networks such as 10.0.0.0/8. None for plain http
    to this machine, which a proxy would carry off it. `ConfigurationError`, without the value, which may hold a
    password, for a proxy that is no address.
    """
    parts, proxies = urlsplit(url), getproxies()
    host = parts.hostname or ""
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or (parts.scheme == "http" and is_secure(url)):
        return None
    if proxy_bypass(f"{host}:{parts.port}" if parts.port else host) or _in_networks(host, proxies):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not _is_address(proxy):
        named = parts.scheme if proxies.get(parts.scheme) else "all"
        raise ConfigurationError(
            f"{named.upper()}_PROXY holds no address of a proxy. It is http://[user:password@]host:port, and a password"
            " has / as %2F, # as %23 and ? as %3F."
        )
    return proxy


def _is_address(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return bool(parts.hostname) and parts.port != 0 and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:  # brackets or a port that are none
        return False


def proxy_name(url: str) -> str | None:
    """Host and port of the proxy for an address, without its user and password; None where there is none."""
    proxy = proxy_for(url)
    if proxy is None:
        return None
    parts = urlsplit(proxy)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _in_networks(host: str, proxies: dict[str, str]) -> bool:
    for entry in proxies.get("no", "").split(","):
        with suppress(ValueError):
            if "/" in entry and ip_address(host) in ip_network(entry.strip(), strict=False):
                return True
    return False


def tls_context() -> ssl.SSLContext:
    """What to trust, as `trust.trusting`, for sockets that keep to deadlines."""
    context = trusting()
    context.sslsocket_class = _SecureSocket
    return context
