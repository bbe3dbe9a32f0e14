"""The local provider keeps the provider contract, with containers and with processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import docker
import pytest
from numerai_compute.adapters.docker_engine import PIDS_LIMIT
from numerai_compute.errors import ProviderError
from numerai_compute.ports import Artifact

from .local_bench import LocalBench, local_bench
from .provider_suite import ImageContract, ProviderContract, ended, quiet, texts

LEAVE_A_FILE = """
import os
cache = os.environ["NUMERAI_CACHE"]
print(sorted(os.listdir(cache)))
open(os.path.join(cache, "live.parquet"), "w").close()
"""
TRAIN = """
import os, pathlib
kept = pathlib.Path(os.environ["NUMERAI_ARTIFACTS"])
print((kept / "model.txt").read_text())
(kept / "model.txt").write_text("changed")
(kept / "folds" / "2.model").write_text("new")
(kept / "link").symlink_to("/etc/hostname")
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


class HandsOver(ProviderContract[LocalBench]):
    """What every way of running nodes here keeps for a move."""

    def test_what_runs_leave_is_handed_over_and_taken(self, bench: LocalBench) -> None:
        """The run reads, changes and adds to what it was given, whoever it runs as; a link hands nothing over."""
        node, provider = self.ready(bench, TRAIN), bench.provider
        assert list(provider.artifacts(node.name)) == []
        given = {"model.txt": b"given", "folds/1.model": b"\0tree"}
        for content in (b"first", b"given"):
            files = {**given, "model.txt": content}
            provider.put_artifacts(
                node.name, (Artifact(name, len(each), partial(BytesIO, each)) for name, each in files.items())
            )
        held = {file.name: (file.size, file.open().read()) for file in provider.artifacts(node.name)}
        assert held == {name: (len(content), content) for name, content in given.items()}
        run = ended(provider, provider.trigger(node).id)
        assert texts(provider, run.id) == ["given"]
        left = {file.name: file.open().read() for file in provider.artifacts(node.name)}
        assert left == {"model.txt": b"changed", "folds/1.model": b"\0tree", "folds/2.model": b"new"}
        with pytest.raises(ProviderError, match="no name in a folder"):
            provider.put_artifacts(node.name, [Artifact("../x", 0, BytesIO)])
        provider.destroy(node.name, force=False, report=quiet)
        assert list(provider.artifacts(node.name)) == [] and bench.traces(node) == []


class TestProcesses(HandsOver):
    """Nodes as processes."""

    @pytest.fixture
    def bench(self, process_bench: LocalBench) -> LocalBench:
        return process_bench


@pytest.mark.docker
class TestContainers(HandsOver, ImageContract[LocalBench]):
    """Nodes as containers."""

    @pytest.fixture
    def bench(self, docker_bench: LocalBench) -> LocalBench:
        return docker_bench

    def test_capabilities_are_those_that_were_configured_last(self, bench: LocalBench) -> None:
        """Without another deploy."""
        node = bench.node("print([line for line in open('/proc/self/status') if 'CapEff' in line][0][-4:-1])")
        dockerfile = Path(node.path) / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text().replace("USER 4321\n", ""))
        bench.provider.configure(node, quiet)
        bench.provider.deploy(node, force=False, report=quiet)
        for capabilities, mask in (((), "000"), (("CHOWN", "SETPCAP"), "101"), (("CHOWN",), "001")):
            bench.provider.configure(replace(node, capabilities=capabilities), quiet)
            run = ended(bench.provider, bench.provider.trigger(node).id)
            assert texts(bench.provider, run.id) == [mask]

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
