"""Tells people what the gate has found in what was submitted, where the runs do not tell by themselves."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from ..models import Node, Notice, NoticeKind, Round
from ..ports import Provider
from .delivery import tells_itself
from .gate import gate_findings

if TYPE_CHECKING:
    from .ledger import Ledger

SENT = "They were sent, and count. Where they are meant so, NUMERAI_GATE=off in the Dockerfile ends this."

log = logging.getLogger(__name__)


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
