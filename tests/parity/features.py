"""What an audit of November 2026 found partly there or missing beside the tools that came before, and how it stands.

It compared 492 features; those that were there, or deliberately not, are counted in `BEFORE` only. numerai-cli 1.1.7,
numerauto 0.3.1, numerapi 3.1.1, numerai-predict, numerblox 1.6.1, numerai-tools 0.7.2, and the pages that this project
began with.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

DONE, PARTLY, REFUSED, OPEN = "there", "partly", "not wanted", "missing"

BEFORE = {
    "numerai-cli": (101, 21, 36, 10),
    "numerauto": (33, 12, 4, 1),
    "numerapi, command line": (2, 7, 4, 5),
    "numerapi, methods": (13, 6, 22, 14),
    "numerai-predict": (4, 1, 6, 1),
    "numerblox": (5, 8, 3, 31),
    "numerai-tools": (9, 3, 8, 35),
    "first pages": (49, 12, 23, 3),
}
"""Of each: how many were there, partly there, missing, and deliberately not or somebody else's job."""

REASONS = {
    "azure": "no provider for Azure: it waits until people ask, as each cloud must be proven. A plug-in can be one",
    "gcp": "no provider for Google Cloud yet: planned, once AWS is proven in an account. A plug-in can be one",
    "standings": "other people's models and public standings: numerapi does it with the same keys",
    "validate": "not by `numerai validate`: numerai-tools has it",
    "hosted": "packed, tried within Numerai's limits, uploaded, validated, assigned: the provider `hosted`",
    "unused": "accepted and unused: when to wait and try again follows from the round's deadline",
    "scores": "not yet: scores of live rounds are not read anywhere; numerapi does it with the same keys",
    "tournament_data": "a node's runtime lists and downloads, resumed and checked; the version can be pinned",
}
"""What several notes say."""


@dataclass(frozen=True)
class Feature:
    """A feature of `tool` that was `before` PARTLY there or missing (OPEN) and is `now` something.

    `where` is what does it: a command of this tool with an option, a document with a heading, or a file. `note` says
    the rest; for what is not all there it is the reason.
    """

    tool: str
    what: str
    before: str
    now: str
    where: str
    note: str


def _read() -> tuple[Feature, ...]:
    text = Path(__file__).with_name("features.tsv").read_text(encoding="utf-8")
    rows = csv.reader(text.splitlines()[1:], delimiter="\t", quoting=csv.QUOTE_NONE)
    return tuple(
        Feature(tool, what, before, now, where, note.format(**REASONS)) for tool, what, before, now, where, note in rows
    )


FEATURES = _read()
