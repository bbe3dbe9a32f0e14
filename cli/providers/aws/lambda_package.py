"""Packs the functions for Lambda: the same source gives the same bytes, on every machine and at every time.

A zip holds the function's own modules and, under `numerai_compute/`, the modules that it shares with the tool. Their
names are those of the installed package, so a handler imports them in the same way everywhere. The `__init__.py` files
in the zip are empty: the real ones may import what a function does not have.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePosixPath

from ...files.private import write_private

_TRIGGERS = (
    "triggers.py",
    "providers/aws/trigger_table.py",
    "providers/webhooks/calls.py",
    "providers/webhooks/claims.py",
)
_CLIENT_MODULES = (
    "addresses",
    "client",
    "clock",
    "connections",
    "errors",
    "kinds",
    "log",
    "queries",
    "transport",
    "trust",
)
_CLIENT = tuple(f"node_template/numerai_node/{name}.py" for name in _CLIENT_MODULES)
SHARED: Mapping[str, tuple[str, ...]] = {
    "webhook": _TRIGGERS,
    "watcher": (
        *_TRIGGERS,
        "providers/aws/node_keys.py",
        "providers/aws/occurrences.py",
        "watching/policy.py",
        *_CLIENT,
    ),
}
"""The modules that each function shares with the tool."""
FUNCTIONS = tuple(SHARED)
_PACKAGE = __package__.partition(".")[0]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def package_functions(folder: Path) -> Mapping[str, str]:
    """Write the zips of all functions into a folder; returns their places and hashes, as Terraform's variables."""
    variables = {}
    for function in FUNCTIONS:
        path = folder / f"{function}.zip"
        variables[f"{function}_package_sha256"] = package_function(function, path)
        variables[f"{function}_package_path"] = str(path)
    return variables


def package_function(function: str, target: Path, source: Path | None = None) -> str:
    """Write a function's zip to `target`; returns its SHA-256 in base64, the form that Lambda and Terraform use.

    `source` is the folder of its own modules; without it the one that came with this package. The file is left
    untouched when it is already there with the same content.
    """
    files = {path.name: path for path in (source or source_folder(function)).glob("*.py")}
    files |= {f"{_PACKAGE}/{name}": shared_file(name) for name in SHARED[function]}
    content = _zipped({name: path.read_bytes().replace(b"\r\n", b"\n") for name, path in files.items()})
    if not target.exists() or target.read_bytes() != content:
        write_private(target, content, keep_previous=False)
    return base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")


def source_folder(function: str) -> Path:
    """Where a function's source is installed."""
    return Path(str(resources.files(f"{_PACKAGE}.terraform") / "aws" / function))


def shared_file(name: str) -> Path:
    """Where a shared module is installed."""
    top, _, rest = name.partition("/")
    return Path(str(resources.files(f"{_PACKAGE}.{top}" if rest else _PACKAGE))).joinpath(rest or top)


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packages = {f"{parent}/__init__.py": b"" for name in files for parent in PurePosixPath(name).parents if parent.name}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, code in sorted({**packages, **files}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = _MODE << 16
            entry.create_system = 3  # what zipfile writes on Linux; it would differ on Windows
            entry.compress_type = zipfile.ZIP_STORED  # compressed bytes depend on the version of zlib
            archive.writestr(entry, code)
    return packed.getvalue()
