"""What a run printed as the reason of its end, for the message that is shown wherever the run is."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..foreign import one_line

_RUNTIME = re.compile(r"\+ *[0-9.]+s (?:failed|interrupted) .*?reason=(?P<reason>\".*\"|\S+)\s*$")
"""How numerai_node ends a run that failed (docs/node.md, What a run logs)."""
_PROBLEM = re.compile(r"\+ *[0-9.]+s problem what=(?P<what>\".*\"|\S+)\s*$")


def reason_in(lines: Sequence[str]) -> str | None:
    """The reason that numerai_node gives, with the first rule that is broken, else the last line; one short line.

    None where nothing was printed.
    """
    for number in range(len(lines) - 1, -1, -1):
        said = _RUNTIME.match(lines[number])
        if said is not None:
            problems = (problem for line in lines[:number] if (problem := _PROBLEM.match(line)) is not None)
            first = next(problems, None)
            reason = _plain(said["reason"])
            return one_line(reason if first is None else f"{reason} {_plain(first['what'])}")
    last = next((line for line in reversed(lines) if line.strip()), None)
    return None if last is None else one_line(last)


def _plain(value: str) -> str:
    """A logfmt value without its quotes and escapes."""
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", lambda escaped: {"n": " ", "r": " "}.get(escaped[1], escaped[1]), value[1:-1])
