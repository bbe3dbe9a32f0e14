"""Writing a validation down as a page and as pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.private import replacing, unwritable

FORMAT = 1
"""The shape of the validations that this version reads."""
NEXT = "`numerai validate MODEL --output FILE` writes one."
READABLE = 0o644
"""A report may be shown: it holds scores and no keys."""


def read_validation(path: Path) -> Mapping[str, Any]:
    """A validation that `numerai validate --output` wrote.

    Raises `UsageError` when the file is not there or is not one.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", NEXT) from error
    except ValueError as error:
        raise UsageError(f"{path} is not a validation: it is not JSON.", NEXT) from error
    if not isinstance(content, dict) or "models" not in content or "data" not in content:
        raise UsageError(f"{path} is not a validation: it names no models and no data.", NEXT)
    if content.get("format") != FORMAT:
        raise UsageError(
            f"{path} is a validation of format {content.get('format')}; this version reads {FORMAT}.",
            "Upgrade the tool, or make it again: " + NEXT,
        )
    if not content["models"] or not content["data"].get("eras"):
        raise UsageError(f"{path} holds no scores.", NEXT)
    return content


def write_page(validation: Mapping[str, Any], to: Path) -> None:
    """Write the page; a report that was there is replaced whole or not at all."""
    from ..modelling.report import page

    _write(to, page(validation).encode("utf-8"))


def write_pictures(validation: Mapping[str, Any], folder: Path, *, dark: bool = False) -> list[Path]:
    """Write each figure as a PNG of 1080 pixels' width into a folder; returns their paths."""
    from ..modelling.figures import DARK, LIGHT
    from ..modelling.report import pictures

    written = []
    for name, content in pictures(validation, DARK if dark else LIGHT).items():
        _write(folder / name, content)
        written.append(folder / name)
    return written


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, READABLE) as file:
            file.write(content)
    except OSError as error:
        raise unwritable(path, error) from error
