"""docs/parity.md, as it follows from the rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.parity.rows import LATER, OTHER, REFUSED, ROWS, SAME, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "parity.md"
STATES = (SAME, OTHER, REFUSED, LATER)
_HEAD = """# Command lines that this tool takes the place of

Every command and option of the tools that it follows, beside its own. `python -m tests.parity` writes this page from
tests/parity/rows.py, and a test holds both sides against the programs.

*same*: the same name does the same. *other way*: done under another name. *refused*: deliberately not, with the reason.
*missing*: not done yet.
"""


def document() -> str:
    """The page."""
    tools = list(dict.fromkeys(row.tool for row in ROWS))
    lines = [_HEAD, f"| tool | {' | '.join(STATES)} |", f"| --- |{' ---: |' * len(STATES)}"]
    for tool in tools:
        counted = Counter(row.state for row in ROWS if row.tool == tool)
        lines.append(f"| {tool} | {' | '.join(str(counted[state]) for state in STATES)} |")
    for tool in tools:
        lines += ["", f"## {tool}", "", "| there | | here | |", "| --- | --- | --- | --- |"]
        lines += [_line(row) for row in ROWS if row.tool == tool]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    here = f"`numerai {row.ours}`" if row.ours else "-"
    note = row.note.replace("|", "\\|")
    return f"| `{row.theirs}` | {row.state} | {here} | {note} |"
