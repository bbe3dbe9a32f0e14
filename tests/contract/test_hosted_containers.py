"""Numerai's limits, held by a real engine: models are packed and rehearsed in containers, and refused there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import pytest
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.errors import NumeraiError
from numerai_compute.factory import Factory
from numerai_compute.main import run
from numerai_compute.providers.hosted.packing import Packer
from numerai_compute.providers.hosted.provider import HostedProvider
from numerai_compute.providers.hosted.rehearsal import LABEL, Limits
from numerai_compute.sandbox.data.catalog import Catalog
from numerai_compute.sandbox.serve import serve
from numerai_compute.sandbox.settings import Settings, parse_models
from numerai_compute.sandbox.switches import Switches
from numerai_compute.usecases.ship import put_model

from tests.fixtures.sandbox import MODELS, SMALL, ServedSandbox, wait_for
from tests.unit.usecases.test_ship import made

from .hosted_bench import HostedBench

pytestmark = [pytest.mark.docker, pytest.mark.e2e]
PYTHON = "3.13"
GOOD = """
import os
import helper


def predict(live_features, live_benchmark_models):
    print("network:", sorted(os.listdir("/sys/class/net")))
    print("folder:", os.path.exists("/numerai/work/node"))
    return helper.ranks(live_features)
"""
EAT_MEMORY = """
def predict(live_features):
    held = []
    while True:
        held.append(bytearray(16 * 1024 * 1024))
        held[-1][::4096] = b"x" * len(held[-1][::4096])
"""
CALL = """
def predict(live_features):
    import urllib.request
    urllib.request.urlopen("https://numer.ai", timeout=5)
"""


@pytest.fixture(scope="module")
def sandbox(sandbox_catalog: Catalog) -> Iterator[ServedSandbox]:
    """It does not run what is uploaded: that is for another Python than this one's."""
    settings = Settings(models=parse_models(MODELS), spec=SMALL, switches=Switches(run_pickles=False))
    with serve(settings, catalog=sandbox_catalog) as running:
        yield ServedSandbox(running)


@pytest.fixture
def bench_with(tmp_path: Path, sandbox: ServedSandbox) -> Callable[[Limits], HostedBench]:
    """A bench whose provider packs and rehearses in containers, within these limits."""

    def make(limits: Limits) -> HostedBench:
        bench = HostedBench(tmp_path, sandbox)
        bench.context = replace(bench.context, engine=DockerEngine, settings={"python": PYTHON})
        bench.provider = HostedProvider(bench.context, Packer(DockerEngine, limits), poll_seconds=0.05)
        return bench

    return make


def refusal(bench: HostedBench, script: str, code: str = "rehearsal-failed") -> str:
    """Why a model is refused; nothing is uploaded, and no container is left."""
    before = bench.uploads()
    node = bench.provider.configure(bench.node(script), bench.say)
    with pytest.raises(NumeraiError) as refused:
        bench.provider.deploy(node, force=False, report=bench.say)
    assert refused.value.code == code, refused.value.in_full
    assert bench.uploads() == before and DockerEngine().containers(LABEL) == {}
    return refused.value.message


def test_from_the_command_line_a_model_is_packed_rehearsed_uploaded_and_assigned(
    tmp_path: Path,
    sandbox: ServedSandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {**sandbox.environment, "NUMERAI_HOSTED_PYTHON": PYTHON, "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)
    bench = HostedBench(tmp_path, sandbox)
    folder = bench.node(GOOD).path

    def numerai(*arguments: str) -> str:
        code = run(["node", "-m", "alice", *arguments], Factory(tmp_path / "home"))
        printed = capsys.readouterr()
        assert code == 0, printed.out + printed.err
        return printed.out + printed.err

    numerai("config", "-P", "hosted", "-p", folder)
    said = numerai("deploy", "--yes", "--verbose")
    assert f"The rehearsal runs in python:{PYTHON}-slim with the versions that Numerai's image has" in said
    assert "1 CPU, 4 GiB, 10 minutes and no network" in said and "120 predictions" in said
    assert "network: ['lo']" in said and "folder: False" in said
    assert "Numerai runs it when a round opens" in said
    sandbox.open_round("classic")
    wait_for(lambda: sandbox.entry()["status"] == "on-time")
    assert "succeeded" in numerai("status")
    assert "nothing has changed" in numerai("deploy")
    sandbox.running.sandbox.account.change(
        sandbox.running.sandbox.account.model(sandbox.models["alice"]), pickle_id=None
    )


def test_a_model_file_runs_with_its_reader_where_nothing_else_is(bench_with: Callable[[Limits], HostedBench]) -> None:
    bench = bench_with(Limits())
    node = bench.provider.configure(bench.node("def main(node):\n    node.model()\n"), bench.say)
    live = pd.read_parquet(bench.sandbox.download("v5.3/live.parquet", bench.folder))
    features = [name for name in live.columns if name.startswith("feature_")][:2]
    put_model(made(bench.folder / "a.model", more={"features": features}), node, bench.folder, bench.say)
    bench.provider.deploy(node, force=False, report=bench.say)
    said = "\n".join(bench.said)
    assert "Packing deployed.model with its reader on Python 3.13" in said and "120 predictions" in said
    assert "lightgbm" not in said, "it is predicted by its reader"


def test_one_over_the_memory_is_refused(bench_with: Callable[[Limits], HostedBench]) -> None:
    assert "more than the 0.25 GiB of memory" in refusal(bench_with(Limits(memory_mib=256)), EAT_MEMORY)


def test_one_over_the_time_is_refused(bench_with: Callable[[Limits], HostedBench]) -> None:
    slow = "def predict(live_features):\n    import time\n    time.sleep(600)\n"
    assert "longer than the 0.1 minutes" in refusal(bench_with(Limits(seconds=6)), slow)


def test_packing_that_takes_too_much_memory_or_time_is_called_that(
    bench_with: Callable[[Limits], HostedBench],
) -> None:
    eats = f"{EAT_MEMORY}predict(None)\n"
    assert "cannot be packed: this needs more than the 0.25 GiB" in refusal(
        bench_with(Limits(memory_mib=256)), eats, "not-packed"
    )
    waits = "import time\ntime.sleep(600)\n" + GOOD
    assert "cannot be packed: this takes longer than the 0.1 minutes" in refusal(
        bench_with(Limits(seconds=6)), waits, "not-packed"
    )


def test_one_that_wants_the_network_is_refused(bench_with: Callable[[Limits], HostedBench]) -> None:
    assert "wants the network" in refusal(bench_with(Limits()), CALL)


def test_a_pickle_of_another_python_is_refused(bench_with: Callable[[Limits], HostedBench]) -> None:
    bench = bench_with(Limits())

    def predict(live_features: Any) -> Any:
        return live_features

    if sys.version_info[:2] == (3, 13):  # then by the first instruction of 3.12
        predict.__code__ = predict.__code__.replace(co_code=bytes([151, 0]) + predict.__code__.co_code[2:])
    node = bench.node("def main(node):\n    pass\n")
    (Path(node.path) / "model.pkl").write_bytes(cloudpickle.dumps(predict))
    assert "another Python than 3.13" in refusal(bench, (Path(node.path) / "predict.py").read_text())
