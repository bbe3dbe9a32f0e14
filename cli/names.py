"""Which names of models and nodes are taken in: they become folders, labels and parts of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import NumeraiError

LONGEST = 80
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_-]{{0,{LONGEST - 1}}}")
_DEVICES = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.I)
"""What is no name of a file on Windows (learn.microsoft.com, Naming Files, Paths, and Namespaces)."""


def is_name(name: object) -> bool:
    """Whether this can be the name of a model or a node: ASCII letters, digits, `_` and `-`, at most 80 of them, which
    neither look like an option nor are a device of Windows. It is a harmless name of a file, a label and a part of an
    address on every system; what the engine and AWS want of names beyond that, their providers see to."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and _DEVICES.fullmatch(name) is None


def check_name(name: object, what: str) -> str:
    """The name; `NumeraiError` with code `bad-name` when it can be none."""
    if not isinstance(name, str) or not is_name(name):
        raise NumeraiError(
            f"{what} has the name {shown(name)}, which this tool does not take in.",
            f"Names hold letters, digits, _ and -, at most {LONGEST} of them, do not begin with -, and are no "
            "device of Windows such as CON.",
            code="bad-name",
        )
    return name


def check_distinct(name: str, others: Iterable[str]) -> None:
    """Raise `NumeraiError` with code `bad-name` where another name differs from it only in upper and lower case: the
    file systems of Windows and macOS, and every registry of images, take the two for one."""
    for other in others:
        if other != name and other.casefold() == name.casefold():
            raise NumeraiError(
                f"{name} and {other} differ only in upper and lower case, which many systems do not tell apart.",
                "Rename one of the two models at numer.ai.",
                code="bad-name",
            )


def shown(name: object) -> str:
    """A name that came from outside, safe to print and short."""
    text = ascii(name)
    return text if len(text) <= LONGEST + 2 else f"{text[:LONGEST]}...'"


def plainly(name: str) -> str:
    """A name as it is where it can be one of this tool's, and else as `shown` has it."""
    return name if is_name(name) else shown(name)
