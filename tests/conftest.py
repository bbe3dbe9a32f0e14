"""What every test gets: a home folder of its own, an environment without Numerai's variables, and honest skips."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from numerai_compute import redaction

pytest_plugins = ["tests.fixtures.sandbox", "tests.fixtures.official"]

REQUIRED = tuple(os.environ.get("NUMERAI_TEST_REQUIRE", "").split(","))
"""Marks (`docker`, `aws`) whose tests fail here instead of being skipped."""
_KEPT = ("NUMERAI_REAL_DATA", "NUMERAI_TEST_")
_ASKED_FOR = ("NUMERAI_REAL_DATA", "NUMERAI_TEST_R ")
"""What tests that need more than an engine are asked for by: without it they are skipped everywhere."""

# Nothing depends on the time that an example takes; in CI nothing on chance either, elsewhere each run tries others.
hypothesis.settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
    derandomize=any(REQUIRED),
)
hypothesis.settings.load_profile("patient")

# In the background, and under nohup, these are ignored, by every process that a test starts, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty NUMERAI_HOME, and nothing of the machine's own Numerai or cloud settings."""
    for name in list(os.environ):
        if name.startswith(("NUMERAI_", "AWS_")) and not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    monkeypatch.setattr(redaction, "_known", set())
    folder = tmp_path / "home"
    monkeypatch.setenv("NUMERAI_HOME", str(folder))
    return folder


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes, 400,000 objects, stays until the end: the garbage collector need not look at it, which
    took a tenth of the CPU of the unit tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(20_000, 20, 50)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are numbered, not printed: what is packed a second later differs, and two workers must name alike."""
    return argname if isinstance(val, bytes) else None


@cache
def missing_docker() -> str | None:
    """Why no container can run here, None when one can."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=10)
        client.ping()
        client.images.get("python:3.13-slim")
    except DockerException as error:
        return f"no Docker engine with the image python:3.13-slim: {error}"
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") is not None and (missing := missing_docker()):
        pytest.skip(missing)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip of what is required here is a failure."""
    report = yield
    required = any(item.get_closest_marker(name) for name in REQUIRED if name)
    if report.skipped and required and not any(name in str(report.longrepr) for name in _ASKED_FOR):
        report.outcome = "failed"
        report.longrepr = f"it is required here, but was skipped: {report.longrepr}"
    return report
