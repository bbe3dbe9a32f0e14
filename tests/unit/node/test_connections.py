"""A request goes where it should, by the proxies and certificates of the environment, and no further."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest
from numerai_node import connections
from numerai_node.connections import Connections, proxy_for, tls_context
from numerai_node.errors import ConfigurationError
from numerai_node.kinds import Kind
from numerai_node.transport import LARGEST_ANSWER, Answer, Passing, Transport

from .conftest import Handler, Stub

TIMEOUT = (2.0, 2.0)
URL = "https://api.numer.ai/x"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def get(transport: Transport, url: str, seconds: float = 10.0) -> bytes:
    with transport.request("GET", url, timeout=TIMEOUT, seconds=seconds) as answer:
        return answer.content()


def answers(body: bytes, status: int = 200, **headers: str) -> Callable[[Handler], None]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, body, named)


def look(transport: Transport, stub: Stub) -> AbstractContextManager[Answer]:
    return transport.request("GET", f"{stub.url}/data/x", timeout=TIMEOUT)


class TestWhatIsRefused:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, stub: Stub, transport: Transport, status: int) -> None:
        stub.script["download"] = [answers(b"", status, Location=f"{stub.url}/data/elsewhere")]
        with transport.request("GET", f"{stub.url}/data/x", timeout=TIMEOUT) as answer:
            assert (answer.status, answer.ok) == (status, False)
        assert stub.asked("download") == 1

    def test_an_answer_that_is_too_large(self, stub: Stub, transport: Transport) -> None:
        stub.script["download"] = [answers(bytes(LARGEST_ANSWER + 1)), answers(bytes(LARGEST_ANSWER))]
        with pytest.raises(Passing, match="more than 8 MiB"):
            get(transport, f"{stub.url}/data/x")
        assert len(get(transport, f"{stub.url}/data/x")) == LARGEST_ANSWER

    def test_an_answer_that_becomes_too_large_in_memory(self, stub: Stub, transport: Transport) -> None:
        body = b"[" + b",".join([b'{"":[]}'] * 100_000) + b"]"
        stub.script["download"] = [answers(body), answers(b"[" + b",".join([b"[]"] * 50_000) + b"]")]
        with pytest.raises(Passing, match="more than 200000 values"), look(transport, stub) as answer:
            answer.json()
        with look(transport, stub) as answer:
            assert answer.json() == [[]] * 50_000

    @pytest.mark.slow
    def test_a_compressed_answer_is_never_expanded(self, stub: Stub, transport: Transport) -> None:
        """A few kilobytes could be gigabytes; nothing compressed was asked for."""
        bomb = gzip.compress(bytes(LARGEST_ANSWER * 4))
        stub.script["download"] = [answers(bomb, Content_Encoding="gzip")]
        assert get(transport, f"{stub.url}/data/x") == bomb
        assert stub.headers_of("download")[0]["Accept-Encoding"] == "identity"

    def test_netrc_is_not_read(
        self, stub: Stub, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / ".netrc"
        netrc.write_text("default login someone password NETRC\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(netrc))
        stub.script["download"] = [answers(b"x")]
        get(transport, f"{stub.url}/data/x")
        assert "Authorization" not in stub.headers_of("download")[0]


class TestTime:
    def test_a_name_that_is_not_resolved_in_time(self, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
        resolving = threading.Event()
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: resolving.wait(30) and [])
        started = time.monotonic()
        with pytest.raises(Passing, match=r"numer\.ai could not be reached in time") as caught:
            get(transport, "http://api.numer.ai/", seconds=0.2)
        resolving.set()
        assert time.monotonic() - started < 25
        assert (caught.value.kind, caught.value.lost) == (Kind.TOO_SLOW, False)

    def test_the_second_address_of_a_name_is_tried(
        self, stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        resolve = socket.getaddrinfo
        monkeypatch.setattr(
            "socket.getaddrinfo",
            lambda host, port, **options: [*resolve("127.0.0.1", 1, **options), *resolve("127.0.0.1", port, **options)],
        )
        stub.script["download"] = [answers(b"x")]
        assert get(transport, f"{stub.url.replace('127.0.0.1', 'localhost')}/data/x") == b"x"

    @pytest.mark.slow
    def test_a_server_that_takes_nothing_is_given_up(self, transport: Transport) -> None:
        """An upload ends too when nobody reads it."""
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            address = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
            with (
                pytest.raises(Passing, match="did not answer in time"),
                transport.request("PUT", address, timeout=(2.0, 5.0), seconds=0.3, data=bytes(50_000_000)),
            ):
                pass

    def test_a_connection_is_used_again(
        self, stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[str] = []
        connect = connections._connect
        monkeypatch.setattr(connections, "_connect", lambda host, *rest: made.append(host) or connect(host, *rest))
        stub.script["download"] = [answers(b"x")] * 2
        for _ in range(2):
            get(transport, f"{stub.url}/data/x")
        assert made == ["127.0.0.1"]


class TestProxies:
    @pytest.mark.parametrize(
        ("environment", "proxy"),
        [
            ({}, None),
            ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
            ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
            ({"http_proxy": "http://proxy:3128"}, None),
            ({"all_proxy": "http://proxy:3128"}, "http://proxy:3128"),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "numer.ai"}, None),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "example.com,.numer.ai"}, None),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "*"}, None),
            ({"https_proxy": "http://proxy:3128", "no_proxy": "other.ai"}, "http://proxy:3128"),
        ],
    )
    def test_it_is_the_environments(
        self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert proxy_for(URL) == proxy

    def test_networks_in_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://proxy:3128")
        monkeypatch.setenv("no_proxy", "10.0.0.0/8, 127.0.0.0/8")
        assert proxy_for("http://10.1.2.3/") is None
        assert proxy_for("http://11.1.2.3/") == "http://proxy:3128"

    @pytest.mark.parametrize("host", ["127.0.0.1:8080", "[::1]", "localhost", "host.docker.internal:8080"])
    def test_what_is_for_this_machine_only_stays_on_it(self, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        """By a proxy, the keys would be readable on the way."""
        monkeypatch.setenv("http_proxy", "http://proxy:3128")
        assert proxy_for(f"http://{host}/") is None

    def test_requests_go_through_it(self, stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", stub.url.replace("://", "://user:pass%40word@"))
        stub.script["download"] = [answers(b"by proxy")]
        assert get(transport, "http://far.invalid/file") == b"by proxy"
        ((_, target, headers),) = stub.requests
        assert target == "http://far.invalid/file"
        assert headers["proxy-authorization"] == "Basic dXNlcjpwYXNzQHdvcmQ="

    def test_one_that_cannot_be_used(self, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "socks5://user:SECRET@proxy:1080")
        with pytest.raises(ConfigurationError, match="a socks5:// proxy") as caught:
            get(transport, "http://far.invalid/")
        assert "SECRET" not in str(caught.value)


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    """The address of a server with that certificate. It drips when asked for /drip."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    ending = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not ending.is_set():
            with suppress(OSError):
                plain, _ = server.accept()
                with plain.dup() as raw, context.wrap_socket(plain, server_side=True) as connection:
                    drips = b"/drip" in connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
                    if not drips:
                        connection.sendall(b"ok")
                    if drips:
                        raw.send(b"\x17\x03\x03\x40\x00")  # a record of 16 KiB, which never ends
                    while drips and not ending.wait(0.02):
                        raw.send(b"x")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://localhost:{server.getsockname()[1]}/"
    ending.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


class TestCertificates:
    @pytest.mark.slow
    def test_one_that_nobody_signed_is_refused(self, transport: Transport, secure: str) -> None:
        with pytest.raises(Passing, match="certificate of localhost is not trusted") as caught:
            get(transport, secure)
        assert (caught.value.kind, caught.value.lost) == (Kind.UNTRUSTED, False)

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_the_environment_says_what_to_trust(
        self, transport: Transport, secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, str(certificate))
        assert get(transport, secure) == b"ok"

    @pytest.mark.slow
    def test_a_server_that_drips_is_given_up_over_tls_too(
        self, transport: Transport, secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with pytest.raises(Passing, match="did not answer in time"):
            get(transport, f"{secure}drip", seconds=0.3)

    def test_a_file_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
        with pytest.raises(ConfigurationError, match="REQUESTS_CA_BUNDLE"):
            tls_context()

    def test_certifi_is_not_needed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "certifi", None)
        assert tls_context().verify_mode is ssl.CERT_REQUIRED

    def test_none_is_loaded_for_plain_http(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "tls_context", lambda: pytest.fail("TLS is not needed"))
        manager: Any = Connections().manager("http://127.0.0.1/")
        assert manager is not None
