"""What is taken out of an image: never what a node, or a package that somebody asked for, uses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numerai_node.slim as slim
import pytest

SITE = (
    "pandas/tests/x.py",
    "pandas/core/frame.py",
    "pyarrow/lib.so",
    "pyarrow/include/api.h",
    "pyarrow/_flight.so",
    "pyarrow/libarrow_flight.so.2600",
    "pyarrow/libarrow_s3.so.2600",
    "pyarrow/_s3fs.so",
    "pyarrow/libarrow_python.so",
    "pyarrow/libarrow_python.so.2600",
    "pyarrow/libarrow_python.so.2600.1.0",
    "pyarrow/libarrow.so.2600",
    "scipy/__init__.py",
    "scipy/sparse/__init__.py",
    "scipy/stats/__init__.py",
    "scipy.libs/blas.so",
)
"""Files of installed packages, as their wheels have them."""


def install(site: Path, needs: dict[str, list[str]]) -> None:
    """Packages with what each requires; importing lightgbm loads scipy.sparse."""
    for name in SITE:
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name, requires in needs.items():
        about = site / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        lines = [f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {need}" for need in requires)]
        (about / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    if "lightgbm" in needs:
        (site / "lightgbm").mkdir()
        (site / "lightgbm" / "__init__.py").write_text("import scipy.sparse\n")


def left(site: Path, requirements: str) -> set[str]:
    """The files that are left after the script ran, as an image runs it, with nothing but these packages."""
    (site.parent / "requirements.txt").write_text(requirements)
    script = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv[1:] = ['requirements.txt'];"
    script += f"import runpy; runpy.run_path({slim.__file__!r}, run_name='__main__')"
    environment = {"PYTHONPATH": str(site), "PATH": ""}
    subprocess.run([sys.executable, "-S", "-c", script], cwd=site.parent, check=True, env=environment)
    return {name for name in SITE if (site / name).exists()}


NEEDED = {"pandas/core/frame.py", "pyarrow/lib.so", "pyarrow/libarrow_python.so.2600", "pyarrow/libarrow.so.2600"}
ALL_OF_SCIPY = {name for name in SITE if name.startswith("scipy")}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="images are Linux's")
@pytest.mark.parametrize(
    ("needs", "requirements", "scipy"),
    [
        ({"lightgbm": ["scipy"]}, "lightgbm==4\n", {"scipy/__init__.py", "scipy/sparse/__init__.py"}),
        ({"lightgbm": ["scipy"]}, "lightgbm==4\nScipy>=1 ; python_version > '3'\n", ALL_OF_SCIPY),
        ({"lightgbm": ["scipy"], "scikit-learn": ["numpy", "scipy (>=1.8)"]}, "lightgbm\n", ALL_OF_SCIPY),
        (
            {"lightgbm": ["scipy"], "x": ['scipy ; extra == "all"']},
            "x\n",
            {"scipy/__init__.py", "scipy/sparse/__init__.py"},
        ),
        ({}, "pandas\n", ALL_OF_SCIPY),
    ],
)
def test_only_what_nobody_asks_for_goes(
    tmp_path: Path, needs: dict[str, list[str]], requirements: str, scipy: set[str]
) -> None:
    site = tmp_path / "site"
    install(site, {"numpy": [], "scipy": []} | needs)
    assert left(site, requirements) == NEEDED | scipy
