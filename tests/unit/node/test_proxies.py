"""A proxy or a certificate bundle that does not work is named, never with its password."""

from __future__ import annotations

import socket
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


@pytest.mark.parametrize("variable", VARIABLES[4:])
def test_a_missing_bundle_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match=f"none.pem.*{variable}"):
        tls_context()


def test_a_bundle_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigurationError, match=r"ca.pem.*CURL_CA_BUNDLE"):
        tls_context()
