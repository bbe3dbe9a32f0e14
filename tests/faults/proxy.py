"""A proxy between a client and the sandbox that spoils what passes: answers of its own, resets, stalls, other bytes."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_LONG = 600.0

Change = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Rule:
    """What happens to requests whose method, path or body holds `match`, the first `times` times (None: always).

    GraphQL's names are compared without underscores and case, as the runtime and numerapi spell them differently.

    | kind | effect |
    | --- | --- |
    | `answer` | `status`, `headers` and `body` are answered; the request is not passed on |
    | `reset` | the connection is reset at once |
    | `reset-request` | so many (`after`) bytes of the request's body are read, then the connection is reset |
    | `reset-answer` | so many bytes of the answer's body are passed on, then the connection is reset |
    | `lose` | the request takes effect, its answer is lost, or is an empty one of `status` where that is not 200 |
    | `stall` | nothing is answered; the request is not passed on |
    | `stall-request`, `stall-answer` | so many bytes pass, then no more; `Proxy.reached` is set |
    | `slow` | the answer comes in ten pieces over `seconds` |
    | `no-length` | so many bytes pass as an answer of no stated length |
    | `no-range` | the request is passed on without its Range |
    | `change` | `change` makes other bytes of the answer's body |
    | `rewrite` | `rewrite` makes other bytes of the request's body and the answer's |
    | `event` | `Proxy.events[event]` is called, then the request is passed on |
    """

    kind: str
    match: str = ""
    times: int | None = 1
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    seconds: float = 0.0
    change: Change | None = None
    rewrite: Callable[[bytes, bytes], bytes] | None = None
    event: str = ""
    header: str | None = None
    """The request must also have this header."""
    minutes: float | None = None
    """The rule ends when so many minutes of the sandbox's time have passed since the proxy was opened."""


class Proxy:
    """Listens on a free port of this machine and passes requests on to `upstream`, but for what the rules say."""

    def __init__(
        self,
        upstream: str,
        rules: Iterable[Rule] = (),
        *,
        tls: ssl.SSLContext | None = None,
        events: Mapping[str, Callable[[], object]] | None = None,
        minutes: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.upstream = urlsplit(upstream)
        self.rules = list(rules)
        self.events = dict(events or {})
        self.minutes = minutes
        self.reached = threading.Event()
        self.released = threading.Event()
        self.closing = threading.Event()
        self.struck: list[Rule] = []
        """What has taken effect, as often as it did, whatever its `times`."""
        self._lock = threading.Lock()
        handler = type("BoundHandler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def take(self, subject: str, headers: Mapping[str, str]) -> Rule | None:
        """The first rule for a request, counted down."""
        spelt = _bare(subject)
        with self._lock:
            for number, rule in enumerate(self.rules):
                if _bare(rule.match) not in spelt or (rule.header is not None and rule.header not in headers):
                    continue
                if rule.minutes is not None and self.minutes() >= rule.minutes:
                    continue
                if rule.times is not None and rule.times <= 1:
                    del self.rules[number]
                elif rule.times is not None:
                    self.rules[number] = replace(rule, times=rule.times - 1)
                return rule
        return None

    def strikes(self, rule: Rule) -> int:
        """How often a rule has taken effect."""
        return self.struck.count(replace(rule, times=None))

    def release(self) -> None:
        """End the stalls, with a reset."""
        self.released.set()

    def close(self) -> None:
        """End everything and stop listening."""
        self.released.set()
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away, or did not trust the certificate, is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    proxy: Proxy

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        graphql = self.command == "POST"
        body = self.rfile.read(length) if graphql else b""
        subject = f"{self.command} {self.path}\n{body.decode(errors='replace')}"
        rule = self.proxy.take(subject, dict(self.headers))
        kind = rule.kind if rule else ""
        if rule is not None:
            if kind == "event":
                self.proxy.events[rule.event]()
            self.proxy.struck.append(replace(rule, times=None))
        if rule is not None and kind in ("reset-request", "stall-request"):
            self.rfile.read(rule.after)
            self._reset_or_stall(kind)
            return
        if not graphql:
            body = self.rfile.read(length)
        if rule is None:
            self._pass_on(body)
        elif kind in ("reset", "stall"):
            self._reset_or_stall(kind)
        elif kind == "answer":
            self._send(rule.status, dict(rule.headers), rule.body)
        else:
            self._pass_on(body, rule)

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def _pass_on(self, body: bytes, rule: Rule | None = None) -> None:
        upstream = http.client.HTTPConnection(self.proxy.upstream.hostname or "", self.proxy.upstream.port, timeout=60)
        without = {"range", "if-range"} if rule and rule.kind == "no-range" else set()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {"connection", *without}}
        try:
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        kept["Date"] = answer.getheader("Date") or ""
        if rule is not None and rule.rewrite is not None and answer.status == 200:
            content = rule.rewrite(body, content)
        self._deliver(answer.status, kept, content, rule)

    def _deliver(self, status: int, headers: dict[str, str], content: bytes, rule: Rule | None) -> None:
        kind = rule.kind if rule else ""
        if rule is None or kind in ("event", "no-range", "rewrite"):
            self._send(status, headers, content)
        elif kind == "lose" and rule.status != 200:
            self._send(rule.status, {}, b"")
        elif kind == "lose":
            self._reset_or_stall("reset")
        elif kind in ("reset-answer", "stall-answer"):
            self._send(status, headers, content, keep=rule.after)
            self._reset_or_stall(kind)
        elif kind == "no-length":
            self._send(status, headers, content[: rule.after], length=None)
        elif kind == "slow":
            self._send(status, headers, content, seconds=rule.seconds)
        elif kind == "change" and rule.change is not None:
            self._send(status, headers, rule.change(content) if status in (200, 206) else content)
        else:
            raise AssertionError(f"there is no kind {kind}")

    def _send(
        self,
        status: int,
        headers: Mapping[str, str],
        content: bytes,
        *,
        keep: int | None = None,
        length: int | None = -1,
        seconds: float = 0.0,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        content = content[:keep]
        step = max(1, -(-len(content) // 10)) if seconds else max(1, len(content))
        source = io.BytesIO(content)
        while piece := source.read(step):
            self.proxy.closing.wait(seconds / 10) if seconds else None
            self.wfile.write(piece)
            self.wfile.flush()

    def _reset_or_stall(self, kind: str) -> None:
        self.close_connection = True
        self.proxy.reached.set()
        if kind.startswith("stall"):
            self.proxy.released.wait(_LONG)
        raw = self.connection
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        raw.close()


def _bare(text: str) -> str:
    return text.replace("_", "").lower()


def self_signed(folder: str) -> ssl.SSLContext:
    """A server's TLS context with a certificate for 127.0.0.1 that nobody trusts; its files go into `folder`."""
    import datetime
    import ipaddress
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = Path(folder) / "untrusted.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
