"""What others wrote (APIs, file names, logs, plug-ins), as it may stand within a sentence of ours."""

from __future__ import annotations

MOST = 300
"""Characters of it: enough for a reason, too few to hide what follows it."""


def one_line(text: str, most: int = MOST) -> str:
    """The text as one short line, so that it forges none of ours: what a terminal obeys, what cannot be seen and what
    reorders other text (controls, zero-width and bidirectional marks) is replaced."""
    plain = " ".join(text[: 20 * most].split())
    line = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in plain)
    return line if len(line) <= most else f"{line[: most - 3]}..."
