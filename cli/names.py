"""Which names of models and nodes are taken in: they become folders, labels and parts of addresses."""

from __future__ import annotations

import re

from .errors import NumeraiError

LONGEST = 80
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{LONGEST}}}")


def is_name(name: object) -> bool:
    """Whether this can be the name of a model or a node: ASCII letters, digits, `_` and `-`, at most 80 of them. With a
    tournament's prefix before it, it is a harmless name of a file, a container and an address on every system."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_name(name: object, what: str) -> str:
    """The name; `NumeraiError` with code `bad-name` when it can be none."""
    if not isinstance(name, str) or not is_name(name):
        raise NumeraiError(
            f"{what} has the name {shown(name)}, which this tool does not take in.",
            f"Names hold letters, digits, _ and -, and at most {LONGEST} of them.",
            code="bad-name",
        )
    return name


def shown(name: object) -> str:
    """A name that came from outside, safe to print and short."""
    text = ascii(name)
    return text if len(text) <= LONGEST + 2 else f"{text[:LONGEST]}...'"
