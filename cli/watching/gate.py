"""What the gate of a run has found in its predictions, as the run's log says it, and telling people of that."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import NumeraiError
from ..models import LogLine, Node, Notice, NoticeKind, Round
from ..ports import Provider
from .delivery import tells_itself

if TYPE_CHECKING:
    from .ledger import Ledger

_LINE = re.compile(r'^\+ *[\d.]+s gate check=\S+ what=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
"""A line of numerai_node (log.py writes it, guard.py says it)."""
SENT = "They were sent, and count. Where they are meant so, NUMERAI_GATE=off in the Dockerfile ends this."

log = logging.getLogger(__name__)


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


def tell_of_gate(ledger: Ledger, node: Node, round_: Round, run_id: str, provider: Provider, now: datetime) -> None:
    """Decide what is to be told of the run that has submitted for a round, where it does not tell by itself: once a
    round. Nothing is raised: no round may depend on it."""
    try:
        if tells_itself(provider) or not (found := gate_findings(provider.logs(run_id))):
            return
        title = f"{node.name}: the predictions of round {round_.number} do not look right"
        text = "\n".join([*found, f"{SENT} `numerai node -m {node.name} logs --run {run_id}` shows the run."])
        ledger.decide_notice(Notice(NoticeKind.GATE, title, text, node.name, round_.number), now)
    except Exception as error:  # noqa: BLE001  it may be a plugin, and no round may depend on this
        log.warning("what the gate of run %s has found is not known: %r", run_id, error)
