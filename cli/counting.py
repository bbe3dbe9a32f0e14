"""How many of a thing there are, and how large it is, as one says it."""

from __future__ import annotations


def counted(number: float, thing: str) -> str:
    """A number with its thing: `1 node`, `2 nodes`."""
    written = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{written} {thing}" if number == 1 else f"{written} {thing}s"


def sized(count: float) -> str:
    """A number of bytes: `512 B`, `3.2 MiB`, `1.5 GiB`, in the largest unit that there is one of."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if round(count / size, 1) >= 1:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"
