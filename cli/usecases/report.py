"""Writing a validation down as a page and as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.private import write_result

FORMAT = 1
"""The shape of the validations that this version reads."""
NEXT = "`numerai validate MODEL --output FILE` writes one."


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
    if not isinstance(content["data"], dict) or not content["models"] or not content["data"].get("eras"):
        raise UsageError(f"{path} holds no scores.", NEXT)
    return content


def write_page(validation: Mapping[str, Any], to: Path) -> None:
    """Write the page; a report that was there is replaced whole or not at all."""
    from ..modelling.report import page

    with _as_drawn():
        content = page(validation).encode("utf-8")
    write_result(to, content)


def write_pictures(validation: Mapping[str, Any], folder: Path, *, dark: bool = False) -> list[Path]:
    """Write each figure as a PNG of 1080 pixels' width into a folder; returns their paths."""
    from ..modelling.figures import DARK, LIGHT
    from ..modelling.report import pictures

    written = []
    with _as_drawn():
        drawn = pictures(validation, DARK if dark else LIGHT)
    for name, content in drawn.items():
        write_result(folder / name, content)
        written.append(folder / name)
    return written


@contextmanager
def _as_drawn() -> Iterator[None]:
    """What is no validation inside, which somebody has changed by hand, is one message."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UsageError(f"The validation cannot be drawn: {type(error).__name__}: {error}.", NEXT) from error
