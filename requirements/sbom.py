"""Writes the bill of materials of the tool with its extras: dist/numerai-compute.cdx.json, in CycloneDX's form.

It lists what a new environment gets when the tool is installed in the locked versions, on this Python and platform.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import setuptools

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "dist" / "numerai-compute.cdx.json"
EXTRAS = ("aws", "sandbox")


def project() -> str:
    """What setup.py says of the tool, as the pyproject.toml that the bill's root is read from."""
    given: dict[str, Any] = {}
    real, setuptools.setup = setuptools.setup, given.update
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = real
    needs = [*given["install_requires"], *(one for extra in EXTRAS for one in given["extras_require"][extra])]
    fields = {name: given[name] for name in ("name", "version", "description", "license")} | {"dependencies": needs}
    return "[project]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def main() -> None:
    """The command."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        about, environment = Path(folder) / "pyproject.toml", Path(folder) / "environment"
        about.write_text(project(), encoding="utf-8")
        uv = [str(programs / "uv"), "--quiet", "--no-config"]
        subprocess.run([*uv, "venv", "--python", sys.executable, str(environment)], check=True)
        install = [*uv, "pip", "install", "--python", str(environment), "--constraint", "requirements/dev.txt"]
        subprocess.run([*install, "--requirement", str(about)], check=True, cwd=ROOT)
        OUTPUT.parent.mkdir(exist_ok=True)
        bill = [str(programs / "cyclonedx-py"), "environment", "--pyproject", str(about), "--output-reproducible"]
        subprocess.run([*bill, "--output-format", "JSON", "--output-file", str(OUTPUT), str(environment)], check=True)
    count = len(json.loads(OUTPUT.read_text(encoding="utf-8"))["components"])
    print(f"{OUTPUT.relative_to(ROOT)}: {count} packages")


if __name__ == "__main__":
    main()
