"""Collects what the policy goes by: from Numerai, the node's provider and the ledger."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .. import models
from ..errors import ApiError, NumeraiError, UsageError
from ..models import Node
from ..ports import NotHere, Provider, RunByNumerai
from ..schedule import next_occurrence
from . import policy
from .policy import Facts, Standing
from .questions import Questions

if TYPE_CHECKING:
    from .ledger import Ledger

OLD_CLUSTER = (
    "it runs in the official tool's cluster, which cannot be looked into from here."
    f" `{models.MOVE_AWS}` brings it to this tool's cluster."
)
"""Why nothing is started meanwhile: it would run twice, and what is new may not have been proven."""

log = logging.getLogger(__name__)


def round_facts(round_: models.Round) -> policy.Round:
    """A round as the policy knows it."""
    return policy.Round(**vars(round_))


def model_facts(
    name: str,
    entries: Iterable[models.SubmissionEntry],
    files: Iterable[models.Submission] = (),
    seen: Mapping[str, datetime] | None = None,
) -> policy.Model:
    """What Numerai says of a model, as the policy knows it."""
    said = tuple(policy.Entry(**vars(entry)) for entry in entries)
    return policy.Model(name, said, tuple(file_facts(files)), seen or {})


def file_facts(files: Iterable[models.Submission]) -> Iterator[policy.Submission]:
    """Files as the policy knows them."""
    return (policy.Submission(file.id, file.round_number, file.filename, file.inserted_at) for file in files)


def run_facts(run: models.Run, ahead: timedelta = timedelta()) -> policy.Run:
    """A run as the policy knows it; Numerai's clock is `ahead` of the one that timed it."""
    return policy.Run(
        run.id,
        run.state.value,
        run.created_at + ahead,
        run.started_at and run.started_at + ahead,
        run.ended_at and run.ended_at + ahead,
        run.exit_code,
        run.failure.value if run.failure else None,
        run.message,
    )


@dataclass
class Case:
    """A node in a round, and what a look finds out about it. `provider` is None until the node's is known; `wake`
    starts what executes its runs, and returns why it does not start."""

    node: Node
    round: models.Round
    ledger: Ledger
    questions: Questions
    provider_named: Callable[[str], Provider]
    wake: Callable[[Provider], str]
    provider: Provider | None = None

    def facts(
        self, since: datetime, now: Callable[[], datetime], unseen: ApiError | None, grace: timedelta | None
    ) -> Facts:
        """Everything the policy needs. The time is taken before anything is asked: what an answer cannot hold yet is
        not missed. Where answers fail it is the time after, as failing may take long."""
        known = self.ledger.follow(self.node.name, self.round)
        facts = Facts(
            now=now(),
            round=round_facts(self.round),
            node=self.node.name,
            command=f"numerai node -m {self.node.name}",
            models=(),
            begin=max(self.round.open_time, since),
            attempts=_attempts(known),
            grace=grace,
            outcome=known.outcome.value,
            prevented=OLD_CLUSTER if models.in_official_cluster(self.node) else "",
        )
        if policy.is_settled(facts.round, facts.outcome, facts.now):
            return facts
        try:
            if unseen is not None:
                raise unseen
            facts = self._of_provider(facts, self._runs)
            facts = replace(facts, models=(self._model(facts),))
        except ApiError as error:
            return replace(facts, now=now(), unseen=error.message)
        if facts.worst is not Standing.ON_TIME and not facts.prevented:
            facts = self._of_provider(facts, self._rest)
        return replace(facts, now=now()) if facts.prevented else facts

    def prevented(self, facts: Facts, error: Exception) -> Facts:
        """Facts of a node whose provider has failed."""
        if not isinstance(error, NumeraiError):
            log.error("%s, round %d", self.node.name, self.round.number, exc_info=error)
            return replace(facts, prevented=f"A bug: {type(error).__name__}: {error}")
        self.questions.problems.append(f"{self.node.name}: {error.message}")
        return replace(facts, prevented=error.in_full)

    def _of_provider(self, facts: Facts, ask: Callable[[Provider, Facts], Facts]) -> Facts:
        try:
            self.provider = self.provider or self.provider_named(self.node.provider)
            if isinstance(self.provider, NotHere):
                return replace(facts, prevented=self.provider.refusal(self.node).in_full)
            return ask(self.provider, facts)
        except Exception as error:  # noqa: BLE001  it may be a plugin, and whatever one does must not stop the others
            return self.prevented(facts, error)

    def _runs(self, provider: Provider, facts: Facts) -> Facts:
        runs = [run for run in self.questions.runs(provider, self.node) if not run.is_test]
        listed = {run.id for run in runs}
        runs += [
            run
            for attempt in facts.attempts
            if attempt.run_id is not None and attempt.run_id not in listed
            for run in _unlisted(provider, attempt.run_id)
        ]
        moments = [moment for run in runs for moment in (run.created_at, run.started_at, run.ended_at) if moment]
        if any(moment.tzinfo is None for moment in moments):
            raise ValueError(f"{provider.name} tells times without a time zone")
        asleep = self.wake(provider) if any(not run.state.final for run in runs) else ""
        ahead = self._ahead(provider)
        return replace(facts, runs=tuple(run_facts(run, ahead) for run in runs), asleep=asleep)

    def _model(self, facts: Facts) -> policy.Model:
        entries = self.questions.entries(self.node)
        seen = self.ledger.see_entries(self.node.name, self.round, entries, facts.now)
        model = model_facts(self.node.model_name, entries, seen=seen)
        return policy.with_files(model, facts, lambda: file_facts(self.questions.files(self.node)), ApiError)

    def _rest(self, provider: Provider, facts: Facts) -> Facts:
        """What matters only while nothing is submitted."""
        self._record_ends(facts)
        deployment = provider.deployment(self.node.name)
        deployed_at = deployment.deployed_at if deployment else None
        if deployed_at and deployed_at.tzinfo is None:
            text = f"{self.node.name}: {provider.name} tells the time of its deployment without a time zone"
            self.questions.problems.append(text)
            deployed_at = None
        return replace(
            facts,
            callable=bool(self.node.cron) or self._callable(provider),
            scheduled=self._scheduled(),
            deployed=deployment is not None,
            deployed_at=deployed_at and deployed_at + self._ahead(provider),
        )

    def _record_ends(self, facts: Facts) -> None:
        """Record how the runs of attempts ended, those of a killed watcher included."""
        runs = {run.id: run for run in facts.runs}
        for attempt in self.ledger.follow(self.node.name, self.round).attempts:
            if attempt.run_id is None or attempt.state is not None:
                continue
            lost = policy.Run("", "lost", facts.now, message="The provider does not know the run any more.")
            run = runs.get(attempt.run_id, lost)
            if not run.active:
                end = (run.state, run.exit_code, run.message)
                self.ledger.attempt_ended(self.node.name, attempt.trigger_id, *end)

    def _ahead(self, provider: Provider) -> timedelta:
        """How far Numerai's clock is ahead of the one that times the provider's runs."""
        if not provider.timed_here:
            return timedelta()
        opened = self.ledger.machine_open(self.round)
        return self.questions.now - self.questions.machine_now if opened is None else self.round.open_time - opened

    def _callable(self, provider: Provider) -> bool:
        model, api = self.questions.model(self.node), self.questions.api
        if isinstance(provider, RunByNumerai):
            return model is None or model.pickle is not None
        if self.node.also_on is not None and model is not None and model.webhook not in (None, self.node.webhook_url):
            return True  # where it is as well, as a move was not finished: the record may be one step behind
        registered = model is None or (self.node.webhook_url is not None and model.webhook == self.node.webhook_url)
        return registered and api is not None and provider.reachable_by(api.url)

    def _scheduled(self) -> datetime | None:
        try:
            return next_occurrence(self.node.cron, self.round.open_time - policy.DATE_STEP) if self.node.cron else None
        except UsageError:  # the provider and doctor report it
            return None


def _unlisted(provider: Provider, run_id: str) -> list[models.Run]:
    try:
        return [provider.run(run_id)]
    except NumeraiError as error:
        if error.code != "no-such-run":
            raise
        return []


def _attempts(known: models.RoundEntry) -> tuple[policy.Attempt, ...]:
    return tuple(policy.Attempt(each.number, each.decided_at, each.run_id, each.why) for each in known.attempts)
