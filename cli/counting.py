"""How many of a thing there are, as one says it."""

from __future__ import annotations


def counted(number: float, thing: str) -> str:
    """A number with its thing: `1 node`, `2 nodes`."""
    written = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{written} {thing}" if number == 1 else f"{written} {thing}s"
