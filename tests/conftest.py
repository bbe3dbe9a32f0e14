"""What every test gets: a home folder of its own and an environment without Numerai's variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.sandbox"] if (Path(__file__).parent / "fixtures" / "sandbox.py").exists() else []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty NUMERAI_HOME, and nothing of the machine's own Numerai or cloud settings."""
    for name in list(os.environ):
        if name.startswith(("NUMERAI_", "AWS_")) and name not in ("NUMERAI_REAL_DATA", "NUMERAI_TEST_REQUIRE"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("NUMERAI_HOME", str(folder))
    return folder
