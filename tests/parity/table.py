"""docs/parity.md, as it follows from the rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.parity import features
from tests.parity.features import BEFORE, FEATURES, Feature
from tests.parity.rows import LATER, OTHER, REFUSED, ROWS, SAME, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "parity.md"
STATES = (SAME, OTHER, REFUSED, LATER)
STANDINGS = (features.DONE, features.PARTLY, features.OPEN, features.REFUSED)
_FEATURES = """
## Features, not only names

An audit of November 2026 held 492 features of the tools and pages that came before against this tool, and ran what
could be run. Below is each that was partly there or missing then, and how it stands now; tests/parity/features.tsv
has them.

*there*: the same can be done. *partly*, *missing*: not yet, and why. *not wanted*: deliberately not, or others do it.
"""
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
    return "\n".join([*lines, *_features()]) + "\n"


def now(tool: str) -> tuple[int, ...]:
    """How many features of a tool there are, partly are, are missing, and are not wanted, as `BEFORE` has it."""
    there, _, _, unwanted = BEFORE[tool]
    since = Counter(feature.now for feature in FEATURES if feature.tool == tool)
    first, partly, missing, last = (since[standing] for standing in STANDINGS)
    return there + first, partly, missing, unwanted + last


def _features() -> list[str]:
    titles = " | ".join(f"{standing}, then | now" for standing in STANDINGS)
    lines = [_FEATURES, f"| tool | {titles} |", f"| --- |{' ---: |' * (2 * len(STANDINGS))}"]
    for tool, before in BEFORE.items():
        pairs = [figure for both in zip(before, now(tool), strict=True) for figure in both]
        lines.append(f"| {tool} | {' | '.join(map(str, pairs))} |")
    for tool in BEFORE:
        lines += [
            "",
            f"### {tool}: what was partly there or missing",
            "",
            "| feature | then | now | |",
            "| --- | --- | --- | --- |",
        ]
        lines += [_feature(feature) for feature in FEATURES if feature.tool == tool]
    return lines


def _feature(feature: Feature) -> str:
    path = feature.where.partition("#")[0]
    if not feature.where:
        where = ""
    elif path.startswith("docs/"):
        where = f"[{feature.where.removeprefix('docs/')}]({feature.where.removeprefix('docs/')})"
    elif "/" in path or path.endswith(".md"):
        where = f"[{path}](../{feature.where})"
    else:
        where = f"`numerai {feature.where}`"
    said = ": ".join(part for part in (where, feature.note) if part).replace("|", "\\|")
    return f"| {feature.what} | {feature.before} | {feature.now} | {said} |"


def _line(row: Row) -> str:
    here = f"`numerai {row.ours}`" if row.ours else "-"
    note = row.note.replace("|", "\\|")
    return f"| `{row.theirs}` | {row.state} | {here} | {note} |"
