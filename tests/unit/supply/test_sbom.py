"""The bill of materials' root: what setup.py says of the tool. The rest of `make sbom` installs from the registry."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from numerai_compute import __version__

tomllib = pytest.importorskip("tomllib")  # since Python 3.11
ROOT = Path(__file__).parents[3]


def test_the_bill_is_of_the_tool_with_what_it_asks_for() -> None:
    text = runpy.run_path(str(ROOT / "requirements" / "sbom.py"))["project"]()
    project = tomllib.loads(text)["project"]
    assert project["name"] == "numerai-compute"
    assert project["version"] == __version__
    assert {"click", "boto3", "numpy"} <= {need.split(">")[0] for need in project["dependencies"]}
    assert not any("pytest" in need for need in project["dependencies"])
