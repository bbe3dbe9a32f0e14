"""A proxy or a certificate bundle that does not work is named, never with its password."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path

import pytest
from numerai_node.connections import proxy_name, tls_context
from numerai_node.errors import ConfigurationError
from numerai_node.transport import Passing, Transport

from .conftest import Stub
from .test_connections import answers, get

VARIABLES = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, closed_port: int, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", f"http://user:SECRETPASS@127.0.0.1:{closed_port}")
    with pytest.raises(Passing, match=f"the proxy 127.0.0.1:{closed_port} could not be reached") as found:
        get(transport, f"{scheme}://far.invalid/x")
    assert "SECRETPASS" not in str(found.value)


def test_a_proxy_that_wants_a_password(stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", stub.url)
    stub.script["download"] = [answers(b"", 407)]
    with pytest.raises(Passing, match=r"the proxy .* asks for a user and a password"):
        get(transport, "http://far.invalid/file")


def test_a_tunnel_that_is_refused(stub: Stub, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", stub.url)  # it knows no CONNECT: 501
    with pytest.raises(Passing, match=r"the proxy .* refuses: it answered 501"):
        get(transport, "https://far.invalid/file")


def test_a_name_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:pass@proxy.example:3128")
    assert proxy_name("https://api.numer.ai") == "proxy.example:3128"


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy:port",
        "http://me:CANARYPASS@127.0.0.1:99999",
        "http://me:CANARY#PASS@proxy:3128",
        "http://me:1/CANARYPASS@proxy:3128",
        "http://me:1?CANARYPASS@proxy:3128",
        "http://me:CANARYPASS@[::1",
        "http://[::1",
        "http://:3128",
        "http://proxy:0",
    ],
)
@pytest.mark.parametrize("variable", ["https_proxy", "all_proxy"])
def test_a_proxy_that_is_no_address_is_named_by_its_variable_and_not_shown(
    proxy: str, variable: str, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(ConfigurationError, match=f"^{variable.upper()} ") as found:
        get(transport, "https://api.numer.ai/file")
    assert "CANARY" not in str(found.value) and "PASS" not in str(found.value)


BUNDLES = {
    "missing": "there is nothing there",
    "garbage": "holds no certificate",
    "empty": "holds no certificate",
    "utf-16": "holds no certificate",
    "unreadable": "cannot be read",
    "pipe": "neither a file nor a folder",
    "empty-folder": "rehash",
    "folder": "rehash",
}


@pytest.mark.parametrize("variable", VARIABLES[4:])
@pytest.mark.parametrize("kind", BUNDLES)
def test_what_holds_no_certificates_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path, variable: str, kind: str
) -> None:
    place, why = tmp_path / kind, BUNDLES[kind]
    if kind in ("folder", "empty-folder"):
        place.mkdir()
        why = "is a folder" if variable == "SSL_CERT_FILE" else why
    if kind == "folder":
        (place / "ca.pem").write_bytes(certificate.read_bytes())
    if kind in ("garbage", "empty", "utf-16", "unreadable"):
        content = {"garbage": b"nonsense", "utf-16": certificate.read_text().encode("utf-16")}
        place.write_bytes(content.get(kind, b""))
        why = "is a file" if variable == "SSL_CERT_DIR" else why
    if kind == "pipe":
        if os.name != "posix":
            pytest.skip("Windows has no such pipes")
        os.mkfifo(place)
    if kind == "unreadable" and variable != "SSL_CERT_DIR":
        monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setenv(variable, str(place))
    with pytest.raises(ConfigurationError) as found:
        tls_context()
    assert str(found.value).startswith(f"{variable} names {place} ") and why in str(found.value)


def refused(path: Path, *_: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.mark.parametrize("variable", VARIABLES[4:])
def test_what_holds_certificates_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, certificate: Path, variable: str
) -> None:
    place = tmp_path / "ca.pem" if variable != "SSL_CERT_DIR" else tmp_path
    (tmp_path / "ca.pem").write_bytes(certificate.read_bytes())
    (tmp_path / "0a1b2c3d.0").write_bytes(certificate.read_bytes())
    monkeypatch.setenv(variable, str(place) if place.is_file() else f"{place}{os.pathsep}{place}")
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
