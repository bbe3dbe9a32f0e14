"""What every test gets: a home folder of its own, an environment without Numerai's variables, and honest skips."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.sandbox"] if (Path(__file__).parent / "fixtures" / "sandbox.py").exists() else []

REQUIRED = tuple(os.environ.get("NUMERAI_TEST_REQUIRE", "").split(","))
"""What may not be missing: with `docker` a container test that cannot run fails instead of being skipped."""
_KEPT = ("NUMERAI_REAL_DATA", "NUMERAI_TEST_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty NUMERAI_HOME, and nothing of the machine's own Numerai or cloud settings."""
    for name in list(os.environ):
        if name.startswith(("NUMERAI_", "AWS_")) and not name.startswith(_KEPT):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("NUMERAI_HOME", str(folder))
    return folder


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
    if item.get_closest_marker("docker") is None:
        return
    missing = missing_docker()
    if missing is None:
        return
    if "docker" in REQUIRED:
        pytest.fail(f"{missing}; it is required here", pytrace=False)
    pytest.skip(missing)
