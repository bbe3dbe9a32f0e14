"""What the gate of a run has found in its predictions, as the run's log says it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import NumeraiError
from ..models import LogLine
from ..ports import Provider

_LINE = re.compile(r'^\+ *[\d.]+s gate check=\S+ what=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
"""A line of numerai_node (log.py writes it, guard.py says it)."""


def gate_findings(lines: Iterable[LogLine]) -> tuple[str, ...]:
    """What a run says that its gate has found, in its own words; each thing once."""
    found = (match for line in lines if (match := _LINE.match(line.text)) is not None)
    return tuple(dict.fromkeys(re.sub(r"\\(.)", r"\1", match[1] or match[2] or "") for match in found))


def findings_of(provider: Provider, run_id: str) -> tuple[str, ...]:
    """What the gate of a run has found; nothing where its log cannot be read."""
    try:
        return gate_findings(provider.logs(run_id))
    except (NumeraiError, OSError):
        return ()
