"""What one look of a watcher asks Numerai and the providers, each thing once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from ..errors import ApiError, NumeraiError
from ..models import Model, Node, Run, Submission, SubmissionEntry
from ..ports import NumeraiApi, Provider

RUNS_BACK = 50
UNANSWERED = 2
"""How many questions in a row Numerai leaves without an answer before a look asks it nothing more."""

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


@dataclass
class Questions:
    """What one look has asked so far, each thing once. Numerai is asked no more once it has left two questions in a row
    without an answer: every further one would take as long while people wait to be told. `refused` is why the keys are
    of no use."""

    api: NumeraiApi | None
    now: datetime
    machine_now: datetime
    problems: list[str]
    refused: NumeraiError | None = None
    unanswered: list[ApiError] = field(default_factory=list)
    models: dict[str, Model] | None = None
    asked_models: bool = False
    entries_of: dict[str, list[SubmissionEntry]] = field(default_factory=dict)
    files_of: dict[str, list[Submission]] = field(default_factory=dict)
    runs_of: dict[str, list[Run] | NumeraiError] = field(default_factory=dict)

    def ask(self, question: Callable[[NumeraiApi], Answer]) -> Answer:
        """Numerai's answer to a question."""
        if self.api is None:
            why = self.refused.message if self.refused else "Numerai cannot be asked."
            raise ApiError(why, code="numerai-unreachable", temporary=True)
        if len(self.unanswered) >= UNANSWERED:
            raise self.unanswered[-1]
        try:
            answer = question(self.api)
        except ApiError as error:
            if error.temporary:
                self.unanswered.append(error)
            if error.code == "keys-refused":
                self.refused = error
            raise
        self.unanswered.clear()
        return answer

    def runs(self, provider: Provider, node: Node) -> list[Run]:
        """The node's runs, asked once a look and before `entries`: what an ended run has submitted is in those."""
        if node.name not in self.runs_of:
            try:
                self.runs_of[node.name] = provider.runs(node.name, RUNS_BACK)
            except NumeraiError as error:
                self.runs_of[node.name] = error
        runs = self.runs_of[node.name]
        if isinstance(runs, NumeraiError):
            raise runs
        return list(runs)

    def entries(self, node: Node) -> list[SubmissionEntry]:
        """What Numerai says of a node's model in its latest rounds, asked once a look."""
        if node.model_id not in self.entries_of:
            self.entries_of[node.model_id] = self.ask(lambda api: api.entries(node.model_id))
        return self.entries_of[node.model_id]

    def files(self, node: Node) -> list[Submission]:
        """The files that Numerai holds of a node's model, asked once a look."""
        if node.model_id not in self.files_of:
            self.files_of[node.model_id] = self.ask(lambda api: api.submissions(node.model_id))
        return self.files_of[node.model_id]

    def model(self, node: Node) -> Model | None:
        """The node's model; None where Numerai does not say."""
        if not self.asked_models:
            self.asked_models = True
            try:
                self.models = {model.id: model for model in self.ask(lambda api: api.models())}
            except ApiError as error:
                log.info("the models of the account cannot be asked for: %s", error.message)
        return (self.models or {}).get(node.model_id)
