"""Which names of models and nodes are taken in: they become folders, labels and parts of addresses."""

from __future__ import annotations

import re

from .errors import NumeraiError

LONGEST = 80
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
"""What Windows takes for a device in every folder (learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file)."""
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


def check_node_name(name: object) -> str:
    """The name of a node; `NumeraiError` with code `bad-name` when it can be none. It names folders as it is, so it has
    no `-` first and is no device of Windows."""
    known = check_name(name, "A node")
    if known.startswith("-") or _DEVICE.fullmatch(known):
        raise NumeraiError(
            f"A node has the name {shown(name)}, which not every system takes for a folder's.",
            "Nodes are called as `numerai node config` does it: numerai-MODEL, signals-MODEL or crypto-MODEL.",
            code="bad-name",
        )
    return known


def shown(name: object) -> str:
    """A name that came from outside, safe to print and short."""
    text = ascii(name)
    return text if len(text) <= LONGEST + 2 else f"{text[:LONGEST]}...'"
