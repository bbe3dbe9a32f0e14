"""Tells people of trainings that have failed after a submission, where the runs do not tell by themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..models import Node, Notice, NoticeKind
from ..ports import Provider
from .delivery import tells_itself
from .questions import Questions
from .training import training_of

if TYPE_CHECKING:
    from .ledger import Ledger

log = logging.getLogger(__name__)


@dataclass
class FailedTrainings:
    """Each is told once. A node's record is read once after each run, for that may take the provider a container."""

    ledger: Ledger
    provider_named: Callable[[str], Provider]
    _read: dict[str, str] = field(default_factory=dict, init=False)

    def look(self, questions: Questions, nodes: Iterable[Node]) -> None:
        """Decide what is to be told. Nothing is raised: no round may depend on it."""
        for node in nodes:
            if node.retrain_days is not None:
                try:
                    self._look(questions, node)
                except Exception as error:  # noqa: BLE001  it may be a plugin, and no round may depend on this
                    log.warning("whether %s was trained again is not known: %r", node.name, error)

    def _look(self, questions: Questions, node: Node) -> None:
        provider = self.provider_named(node.provider)
        ended = next((run.id for run in questions.runs(provider, node) if run.state.final), None)
        if ended is None or self._read.get(node.name) == ended or tells_itself(provider):
            return
        training = training_of(node, provider)
        if training is None:
            return
        if training.failed_at is not None:
            text = f"{training.why}\nThe old model stays; each run tries again after it has submitted."
            title = f"{node.name}: its model is not trained again"
            notice = Notice(NoticeKind.TRAINING, title, text, node.name)
            self.ledger.decide_notice(notice, questions.now, f"{node.name}/training/{training.failed_at.isoformat()}")
        self._read[node.name] = ended
