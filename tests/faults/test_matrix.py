"""Every row of the matrix on the real path, and plain numerapi in the same fault."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numerai_compute.adapters.docker_engine import DockerEngine
from numerai_compute.sandbox.data.catalog import Catalog
from numerai_compute.sandbox.serve import LOOPBACK, serve
from numerai_compute.sandbox.settings import DataSpec, Settings, parse_models

from tests.conftest import REQUIRED
from tests.faults.bench import MORE_MODELS, Bench
from tests.faults.matrix import Fault
from tests.faults.rows import ROWS
from tests.faults.scenes import SCENES, Stage
from tests.faults.table import DOCUMENT, document
from tests.fixtures.sandbox import MODELS, ServedSandbox, wait_for

pytestmark = pytest.mark.e2e

SPEC = DataSpec(seed=3, eras=4, rows_per_era=1000, features=300)
"""Big enough that half of the live data are more than one piece of a download."""


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    """Make the folder a file system of that size, which only root can."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=700", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        why = f"no small file system can be mounted here: {mounted.stderr.strip()}"
        pytest.fail(why) if any(REQUIRED) else pytest.skip(why)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


HANGS = 4.0
"""Seconds after which a run without a time limit, whose fault would last for ten minutes, counts as hanging."""

MakeBench = Callable[[Fault], Bench]


@pytest.fixture(scope="session")
def matrix_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The data of all rows; what judges predictions is loaded before the first row is timed."""
    import numerai_tools.submissions  # noqa: F401

    return Catalog(tmp_path_factory.mktemp("matrix-data"), SPEC)


@pytest.fixture
def make_bench(matrix_catalog: Catalog, tmp_path: Path) -> Iterator[MakeBench]:
    """A bench for a row, with an open round of an hour."""
    with ExitStack() as stack:

        def make(fault: Fault) -> Bench:
            folder = tmp_path / "run"
            folder.mkdir()
            if fault.disk_kib:
                stack.enter_context(small_disk(folder, fault.disk_kib))
            models = parse_models((*MODELS, *MORE_MODELS[: fault.nodes - 1]))
            settings = Settings(models=models, spec=SPEC, window_minutes=60.0, rate_limit=100_000)
            settings = replace(settings, **fault.settings)
            hosts = [LOOPBACK, DockerEngine().gateway() or LOOPBACK] if fault.docker else [LOOPBACK]
            served = stack.enter_context(serve(settings, hosts=hosts, catalog=matrix_catalog))
            limits, clock = served.sandbox.rate_limits, served.sandbox.clock
            limits._clock = lambda: clock.now().timestamp()  # a run's waiting moves this clock
            return Bench(fault, ServedSandbox(served), folder, stack)

        yield make


def run(bench: Bench, what: str) -> list[tuple[int | None, str]]:
    """Prepare the row, run a child for each of its models in its fault, and say how they ended."""
    fault = bench.fault
    bench.prepare(what)
    children = [bench.child(what, model) for model in bench.models]
    if fault.signal:
        assert bench.proxy is not None
        wait_for(bench.proxy.reached.is_set)
        if fault.group == "download":
            wait_for(lambda: any(path.stat().st_size > 100_000 for path in bench.folder.rglob("live.parquet*")))
        children[0].terminate() if fault.signal == "SIGTERM" else children[0].kill()
    for child in children:
        wait_for(child.begun, 60)
    patience = HANGS if what == "numerapi" and (fault.numerapi or "").startswith("hangs") else fault.seconds
    codes = [child.wait(patience) for child in children]
    return [(code, child.output) for code, child in zip(codes, children, strict=True)]


def again(bench: Bench, what: str) -> tuple[int | None, str]:
    """What the provider does after a run that was ended: the same once more."""
    if "next round" in bench.fault.signal:
        bench.sandbox.open_round(8)
    child = bench.child(what)
    return child.wait(bench.fault.seconds), child.output


def test_the_document_is_current() -> None:
    assert len(ROWS) >= 40
    assert len({fault.name for fault in ROWS}) == len(ROWS)
    assert DOCUMENT.read_text(encoding="utf-8") == document(ROWS), "run `make faults`"


def rows() -> list[Any]:
    """The rows as parameters."""
    found = []
    for fault in ROWS:
        marks = [pytest.mark.docker] if fault.docker else []
        found.append(pytest.param(fault, id=fault.name, marks=marks))
    return found


@pytest.mark.parametrize("fault", rows())
def test_product(fault: Fault, make_bench: MakeBench) -> None:
    if fault.scene:
        with ExitStack() as stack:
            bench = make_bench(fault)
            stage = Stage(bench.sandbox, bench.folder, stack)
            SCENES[fault.scene](stage, **fault.options)
            stage.check(fault.outcome)
        return
    bench = make_bench(fault)
    for model, (code, output) in zip(bench.models, run(bench, "node"), strict=True):
        bench.check(fault.outcome, code, output, model)
    if fault.again is not None:
        bench.check(fault.again, *again(bench, "node"))
    bench.check_rest()


WITH_NUMERAPI = [fault for fault in ROWS if not fault.without and not fault.scene]


@pytest.mark.parametrize("fault", WITH_NUMERAPI, ids=[fault.name for fault in WITH_NUMERAPI])
def test_numerapi(fault: Fault, make_bench: MakeBench) -> None:
    bench = make_bench(fault)
    ended = run(bench, "numerapi")
    if fault.again is not None:
        ended = [again(bench, "numerapi")]
    each = [bench.numerapi_did(*end, model) for end, model in zip(ended, bench.models, strict=True)]
    did = each[0] if len(each) == 1 else f"{sum(one.startswith('submitted') for one in each)} of {len(each)} submitted"
    did += "" if bench.met() else "; it does not meet the fault"
    if learned := os.environ.get("FAULTS_LEARN"):
        with Path(learned).open("a") as file:
            file.write(f"{fault.name}\t{did}\n")
        pytest.skip("it is only written down, not compared")
    assert did == fault.numerapi
