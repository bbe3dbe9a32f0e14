"""The local provider keeps the provider contract, with containers and with processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .local_bench import LocalBench, local_bench
from .provider_suite import ProviderContract


@pytest.fixture(scope="module")
def process_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBench]:
    with local_bench(tmp_path_factory.mktemp("process"), "process") as bench:
        yield bench


@pytest.fixture(scope="module")
def docker_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBench]:
    with local_bench(tmp_path_factory.mktemp("docker"), "docker") as bench:
        yield bench


class TestProcesses(ProviderContract[LocalBench]):
    """Nodes as processes."""

    @pytest.fixture
    def bench(self, process_bench: LocalBench) -> LocalBench:
        return process_bench


@pytest.mark.docker
class TestContainers(ProviderContract[LocalBench]):
    """Nodes as containers."""

    @pytest.fixture
    def bench(self, docker_bench: LocalBench) -> LocalBench:
        return docker_bench
