"""The local provider keeps the provider contract, with containers and with processes."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from numerai_compute.adapters.docker_engine import PIDS_LIMIT

from .local_bench import LocalBench, local_bench
from .provider_suite import ProviderContract, ended, texts

LEAVE_A_FILE = """
import os
cache = os.environ["NUMERAI_CACHE"]
print(sorted(os.listdir(cache)))
open(os.path.join(cache, "live.parquet"), "w").close()
"""
START_THREADS = """
import threading
done, started = threading.Event(), 1
try:
    while started < 10_000:
        threading.Thread(target=done.wait).start()
        started += 1
except RuntimeError:
    pass
print(started)
done.set()
"""


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

    def test_no_node_sees_the_cache_of_another(self, bench: LocalBench) -> None:
        alice, mallory = (self.ready(bench, LEAVE_A_FILE) for _ in range(2))
        printed = []
        for node in (mallory, alice, alice):
            run = bench.provider.trigger(node)
            ended(bench.provider, run.id)
            printed += texts(bench.provider, run.id)
        assert printed == ["[]", "[]", "['live.parquet']"]

    def test_the_cache_that_nodes_once_shared_goes_at_the_next_deploy(self, bench: LocalBench) -> None:
        home = bench.provider._parts.home_id
        volumes = docker.from_env().volumes
        volumes.create(f"numerai-{home}-cache", labels={"numerai.home": home, "numerai.cache": home})
        self.ready(bench, LEAVE_A_FILE)
        assert volumes.list(filters={"label": f"numerai.cache={home}"}) == []

    def test_a_container_cannot_use_up_the_machines_processes(self, bench: LocalBench) -> None:
        node = self.ready(bench, START_THREADS, memory_mib=512)
        run = bench.provider.trigger(node)
        ended(bench.provider, run.id)
        (started,) = map(int, texts(bench.provider, run.id))
        assert 1500 < started <= PIDS_LIMIT <= 2048
