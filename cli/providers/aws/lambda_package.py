"""Packs the functions for Lambda: the same source gives the same bytes, on every machine and at every time."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from ...adapters.private_files import write_private

FUNCTIONS = ("webhook", "watcher")
SOURCE = "handler.py"
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

    `source` is the folder that holds `handler.py`; without it the one that came with this package. The file is left
    untouched when it is already there with the same content.
    """
    code = ((source or source_folder(function)) / SOURCE).read_bytes().replace(b"\r\n", b"\n")
    content = _zipped(code)
    if not target.exists() or target.read_bytes() != content:
        write_private(target, content, keep_previous=False)
    return base64.b64encode(hashlib.sha256(content).digest()).decode("ascii")


def source_folder(function: str) -> Path:
    """Where a function's source is installed."""
    return Path(str(resources.files(f"{__package__.rpartition('.providers')[0]}.terraform") / "aws" / function))


def _zipped(code: bytes) -> bytes:
    import io

    entry = zipfile.ZipInfo(SOURCE, _EPOCH)
    entry.external_attr = _MODE << 16
    entry.create_system = 3  # what zipfile writes on Linux; it would differ on Windows
    entry.compress_type = zipfile.ZIP_STORED  # compressed bytes depend on the version of zlib
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(entry, code)
    return packed.getvalue()
