"""The emulated AWS asks nobody who they are, so it answers this machine and its containers only."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import NumeraiError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where an emulator listens that nothing has been asked of yet, so it needs no engine."""
    argv = [sys.executable, "-m", "tests.aws.moto_server", "--lambda-image", "i", "--registry", "r", "--label", "l"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(urlsplit(json.loads(server.stdout.readline())["url"]).port or 0)
        finally:
            server.terminate()


def reachable(address: str, port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as caller:
        caller.settimeout(10)
        return caller.connect_ex((address, port)) == 0


def test_it_listens_for_this_machine_and_its_containers_only(port: int) -> None:
    assert reachable("127.0.0.1", port)
    assert not reachable("127.0.0.2", port), "as every other address of this machine, which 0.0.0.0 stands for"
    try:
        gateway = DockerEngine().gateway()
    except NumeraiError:
        return
    assert gateway is None or reachable(gateway, port)


@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("127.0.0.1", 200), ("host.docker.internal", 200)])
def test_a_page_that_was_rebound_here_reads_nothing(port: int, host: str, status: int) -> None:
    answer = requests.get(f"http://127.0.0.1:{port}/moto-api/data.json", headers={"Host": f"{host}:{port}"}, timeout=30)
    assert answer.status_code == status
