"""How this tool was installed, and so how more of it is: hints must name what pip can find."""

from __future__ import annotations

import json
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import EnvironmentNotReady

DISTRIBUTION = "numerai-compute"
COMMAND = "numerai"
OFFICIAL_DISTRIBUTION = "numerai-cli"
EXTRAS = {
    "aws": ("boto3", "botocore"),
    "sandbox": ("graphql", "numerai_tools", "pyarrow", "pandas", "numpy"),
    "models": ("lightgbm", "scipy", "tomli", "matplotlib"),
}
"""The optional parts of the tool by the packages that only they need (setup.py); `models` needs those of the sandbox's
data as well, so who needs `models` says so."""


def install_command(extra: str | None = None) -> str:
    """The command that installs the tool's newest version from where it came from, with an extra.

    By the record that pip leaves (PEP 610, direct_url.json): of a folder, or a repository; a registry leaves none.
    """
    from urllib.request import url2pathname  # it takes an HTTP client along, which cheap commands do not need

    wanted = f"[{extra}]" if extra else ""
    origin = _origin()
    if origin is None:
        return f"pip install --upgrade '{DISTRIBUTION}{wanted}'"
    url = str(origin.get("url", ""))
    vcs = origin.get("vcs_info")
    if isinstance(vcs, dict):
        return f"pip install --upgrade '{DISTRIBUTION}{wanted} @ {vcs.get('vcs', 'git')}+{url}'"
    folder = Path(url2pathname(urlsplit(url).path))
    if urlsplit(url).scheme == "file" and (folder / "setup.py").is_file():
        editable = "-e " if (origin.get("dir_info") or {}).get("editable") else ""
        return f"pip install {editable}'{folder}{wanted}'"
    return f"pip install '.{wanted}' in a clone of its repository"


def folder_to_add() -> Path | None:
    """The folder of this installation's command `numerai`, where PATH leads to none or to another tool's."""
    folder = Path(sysconfig.get_path("scripts"))
    own, found = shutil.which(COMMAND, path=str(folder)), shutil.which(COMMAND)
    if own is None or (found is not None and Path(own).samefile(found)):
        return None
    return folder


def beside_official() -> tuple[str, str] | None:
    """What is wrong where the official numerai-cli is installed beside this tool, and what to do; None without it.

    Both have the command `numerai`, and the one that was installed last has it. pip removes it with either, so this
    tool has to be installed once more after the other is gone, with force: else pip finds it there and does nothing.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version(OFFICIAL_DISTRIBUTION)
    except PackageNotFoundError:
        return None
    again = install_command().replace(" --upgrade", "").replace("install", "install --force-reinstall --no-deps", 1)
    beside = f"{OFFICIAL_DISTRIBUTION} {found} is installed beside this tool"
    why = f"{beside}: both are called `{COMMAND}`, the later one wins"
    return why, f"pip uninstall {OFFICIAL_DISTRIBUTION}, then {again}"


def missing_part(error: ImportError, wanted: str | None = None) -> EnvironmentNotReady | None:
    """The error for a package that an optional part of the tool needs, `wanted` where that is known; None when no part
    is known to need it."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return EnvironmentNotReady(
                f"This needs the optional part '{wanted or extra}' of numerai, which is not installed ({package} is"
                " missing).",
                f"Run `{install_command(wanted or extra)}`.",
                code="extra-missing",
            )
    return None


@contextmanager
def extra_needed(wanted: str | None = None) -> Iterator[None]:
    """Turn the import of a package that is not there into the error which names the extra: `wanted`, or the first that
    has it."""
    try:
        yield
    except ImportError as error:
        missing = missing_part(error, wanted)
        if missing is None:
            raise
        raise missing from error


def _origin() -> dict[str, Any] | None:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return {}
    origin = json.loads(text) if text else None
    return origin if isinstance(origin, dict) else None
