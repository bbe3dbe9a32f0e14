"""Takes out of an image what no node needs of the installed packages. The examples' Dockerfiles run it as a script.

Half of what pip installs is never used by a node: the packages' own tests, pyarrow's Flight and S3 clients with their
libraries, and almost all of scipy, of which LightGBM imports the sparse matrices. scipy stays whole where anything but
LightGBM asks for it, requirements.txt included. With LIGHTGBM=no in the environment LightGBM goes as well: a node that
only predicts with packed forests needs none.

Standard library only: it runs before the rest of the runtime is in the image.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

NEVER_USED = (
    "**/tests",
    "pyarrow/include",
    "pyarrow/*flight*",  # clients of Arrow Flight
    "pyarrow/*arrow_s3.*",  # pyarrow's own S3 client: pyarrow.fs says that it is not there
    "pyarrow/_s3fs*",
    "pyarrow/libarrow_python*.so",  # other names of libraries that are there by the name that is loaded
    "pyarrow/libarrow_python*.so.*.*.*",
)
LOADED = "import lightgbm, sys; print(*{name.split('.')[1] for name in sys.modules if name.startswith('scipy.')})"


def main() -> None:
    """Clean the packages of the Python that runs this; the first argument is the requirements.txt."""
    site = Path(str(metadata.distribution("numpy").locate_file("")))
    asked = _names(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
    if os.environ.get("LIGHTGBM") == "no":
        _uninstall([name for name in ("lightgbm", "scipy", "narwhals") if _only_for_lightgbm(name, asked)])
    remove(path for pattern in NEVER_USED for path in site.glob(pattern))
    if (site / "scipy").is_dir() and (site / "lightgbm").is_dir() and _only_for_lightgbm("scipy", asked):
        loaded = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True)
        remove(unused_of_scipy(site, set(loaded.stdout.split())))


def unused_of_scipy(site: Path, loaded: set[str]) -> list[Path]:
    """The packages of scipy that are not loaded, and its libraries for linear algebra when that is among them."""
    unused = [folder for folder in (site / "scipy").iterdir() if folder.is_dir() and folder.name not in loaded]
    return unused if "linalg" in loaded else [*unused, site / "scipy.libs"]


def remove(paths: Iterable[Path]) -> None:
    """Remove files and folders."""
    for path in list(paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _only_for_lightgbm(name: str, asked: set[str]) -> bool:
    """Whether neither requirements.txt nor any other package asks for this one; LightGBM itself may be asked for."""
    if name != "lightgbm" and name in asked:
        return False
    askers = {
        asker.metadata["Name"].lower()
        for asker in metadata.distributions()
        if name in _names(need for need in asker.requires or () if "extra ==" not in need)
    }
    return askers <= {"lightgbm"}


def _names(requirements: Iterable[str]) -> set[str]:
    """The packages that requirements name, in lower case."""
    found = (re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line) for line in requirements)
    return {match[1].lower() for match in found if match}


def _uninstall(names: list[str]) -> None:
    installed = [name for name in names if any(metadata.distributions(name=name))]
    if installed:
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *installed], check=True)


if __name__ == "__main__":
    main()
