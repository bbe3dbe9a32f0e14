"""Moves the nodes of the official tool's AWS cluster to this tool's, then removes the old cluster.

Numerai holds one address per model, so that a node has one webhook at any moment. It stays the old one until the new
node has run; what is old is removed once Numerai calls none of it. Each step can be done again, and is kept when it is
done: a move that was interrupted goes on with the step that it was in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from ..addresses import origin
from ..counting import counted
from ..errors import EnvironmentNotReady, NumeraiError, UsageError
from ..models import MOVE_AWS, LogLine, Model, Node, RunState, node_name
from ..ports import (
    Clock,
    ForeignImage,
    MakesTogether,
    MoveRecord,
    NumeraiApi,
    OfficialCloud,
    OfficialCluster,
    OfficialHome,
    PreviewsChanges,
    Provider,
    Report,
    StateStore,
    TakesImages,
    Undone,
)
from .configure import PICKLE_ASSIGNED
from .deploy import deploy_node
from .inspect import KEYS_OF_ACCOUNT, not_in_account, refuse_half_moved
from .upgrade import AWS_PROFILE
from .verify import Fact, Verdict, Verifier
from .withholding import check_withholds

PROVIDER = "aws"
LOCK = "move-aws"
BEGUN, DESTROY = "destroy-begun", "destroy"
"""The steps behind which there is no way back."""
COMMAND = MOVE_AWS
ANSWER_SECONDS = 60.0
"""How long a new address may take until it answers. AWS does not say; function URLs were seen to take some seconds."""
POLL_SECONDS = 2.0
OLD, NEW, NOBODY, ELSEWHERE = "the old cluster", "the new cluster", "nobody", "another address"


@dataclass(frozen=True)
class MoveStep:
    """One step in words. It need not be done again when it was done and `holds`."""

    key: str
    words: str
    do: Callable[[], object]
    holds: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class MovePlan:
    """What was found, which steps there are and which of them are still to be done, what should be known before, which
    of that has to be agreed to by itself, and what this tool cannot remove."""

    found: tuple[str, ...]
    steps: tuple[MoveStep, ...]
    pending: tuple[MoveStep, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    by_hand: tuple[str, ...]


# long: a step each for the cluster, the image, the first run, the webhook and the removal, and what each must know
@dataclass
class Move:
    """The move of one home. `answers` says why an address does not serve a node's webhook, None where it does;
    `on_done` hears of each step that is done, `on_fact` and `on_log` of first runs."""

    cluster: OfficialCluster
    cloud: OfficialCloud
    store: StateStore
    provider: Provider
    provider_named: Callable[[str], Provider]
    api: NumeraiApi
    clock: Clock
    record: MoveRecord
    answers: Callable[[str], str | None]
    report: Report
    warn: Report
    on_done: Callable[[MoveStep], None] = lambda step: None
    on_fact: Callable[[Fact], None] = lambda fact: None
    on_log: Callable[[LogLine], None] = lambda line: None

    def plan(self) -> MovePlan:
        """Look at everything and change nothing, without a word with AWS. Raises where the move could not be brought
        to its end, but for images that are missing: `previews` and `carry_out` look for those."""
        nodes = self._nodes()
        refuse_half_moved(nodes, self.provider_named)
        models = self._models()
        steps = tuple(self._steps(nodes, models))
        done = self.record.done()
        doubts = tuple(self._doubts(nodes, models))
        return MovePlan(
            found=tuple(self._found(nodes, models)),
            steps=steps,
            pending=tuple(step for step in steps if step.key not in done or not step.holds()),
            notes=(*self._notes(nodes, models), *doubts),
            doubts=doubts,
            by_hand=self.cluster.by_hand,
        )

    def previews(self) -> list[str]:
        """What AWS is about to be asked for, and what that costs, each line once. `NumeraiError` with code
        `nothing-to-run` for a node that has neither a folder nor an image."""
        self._check_images()
        lines = dict[str, None]()
        for node in self._nodes():
            if self.provider.webhook_url(node.name) is None and isinstance(self.provider, PreviewsChanges):
                lines |= dict.fromkeys(self.provider.preview(node))
        return list(lines)

    def carry_out(self, plan: MovePlan) -> None:
        """Do what is still to be done; `NumeraiError` with code `busy` while another command does, and as by
        `previews`, before anything is made."""
        with self.store.node_lock(LOCK):
            self._check_images()
            for step in plan.pending:
                self.report(f"{plan.steps.index(step) + 1}/{len(plan.steps)} {step.words}")
                step.do()
                self.record.add(step.key)
                self.on_done(step)

    # the plan

    def _steps(self, nodes: list[Node], models: Mapping[str, Model]) -> Iterator[MoveStep]:
        for node in nodes:
            name = node.name
            words = f"make what {name} needs in the new cluster"
            yield MoveStep(
                f"configure:{name}", words, partial(self._configure, name), partial(self._is_configured, name)
            )
        for node in nodes:
            what = f"build {node.path} for {node.name}" if _has_folder(node) else f"copy the image of {node.name}"
            do, holds = partial(self._put_image, node.name), partial(self._is_deployed, node.name)
            yield MoveStep(f"image:{node.name}", f"{what}, and put it in place there", do, holds)
        for node in nodes:
            model = models[node.model_id]
            calls = self._calls(node, model)
            if model.pickle is None and not (calls == NEW and node.webhook_url == model.webhook):
                stays = calls in (NEW, ELSEWHERE) or (calls == NOBODY and node.cron)
                yield from self._last_steps(node, calls, stays=stays)
            if node.cron:
                words = f"start the schedule of {node.name} in the new cluster"
                do, holds = partial(self._schedule, node.name), partial(self._is_configured, node.name)
                yield MoveStep(f"schedule:{node.name}", words, do, holds)
        if self.cluster.resources:
            count = counted(len(self.cluster.resources), "resource")
            words = f"make sure that Numerai calls none of the old cluster, then remove it: {count}"
            yield MoveStep(DESTROY, words, self._destroy)

    def _last_steps(self, node: Node, calls: str, *, stays: object) -> Iterator[MoveStep]:
        """The first run, and the webhook unless that stays as it is."""
        if calls != NEW:
            run = "which submits nothing" if _withholds(node) else "whose code submits, so that this is a submission"
            words = f"run {node.name} once in the new cluster, {run}"
            yield MoveStep(f"run:{node.name}", words, partial(self._run, node.name), partial(self._has_run, node.name))
        words = f"let Numerai call {node.name} in the new cluster instead of {calls}"
        if stays:
            words = f"record where {node.name} is served now; what Numerai calls stays as it is"
        yield MoveStep(f"switch:{node.name}", words, partial(self._switch, node.name))

    def _found(self, nodes: list[Node], models: Mapping[str, Model]) -> Iterator[str]:
        count = counted(len(self.cluster.resources), "resource")
        yield f"The official tool's cluster on AWS ({self.cluster.where or 'already removed'}): {count}"
        for node in nodes:
            image = f"its image is built from {node.path}"
            if not _has_folder(node):
                image = f"{node.path or 'its folder'} holds no Dockerfile, so its image is copied"
            calls, model = self._calls(node, models[node.model_id]), models[node.model_id]
            yield f"  {node.name}: Numerai calls {origin(str(model.webhook)) if calls == ELSEWHERE else calls}; {image}"
        for name in sorted(set(self.cluster.nodes) - {node.name for node in nodes}):
            yield f"  {name}: no node on AWS here, so nothing of it is moved"
        for name, node in sorted(self.store.nodes().items()):
            if node.provider == PROVIDER and node.legacy and name not in self.cluster.nodes:
                mend = f"numerai node -m {name} config"
                yield f"  {name}: the old cluster records nothing of it; it is not moved: {mend}"

    def _notes(self, nodes: list[Node], models: Mapping[str, Model]) -> Iterator[str]:
        for node in nodes:
            model = models[node.model_id]
            if model.pickle is not None:
                yield f"{node.name}: {PICKLE_ASSIGNED}. Its webhook is left as it is."
            if self.cluster.nodes[node.name].scheduled:
                end = "you remove the old cluster by hand" if self.cluster.unusable else "the old cluster is removed"
                yield (
                    f"Until {end}, it goes on running {node.name} by its schedule, beside the new one: from the switch"
                    " on both submit."
                )
            if not _has_folder(node):
                yield (
                    f"The image of {node.name} may hold your Numerai keys, if the official tool built it: deploy it"
                    " from a folder when you can."
                )
        if self.cluster.unusable:
            yield f"The old cluster cannot be removed from here: {self.cluster.unusable}. It costs what it did."

    def _doubts(self, nodes: list[Node], models: Mapping[str, Model]) -> Iterator[str]:
        """The addresses that are neither cluster's. Whoever has them knows where they lead."""
        for node in nodes:
            model = models[node.model_id]
            if self._calls(node, model) == ELSEWHERE and model.pickle is None and self.cluster.resources:
                yield (
                    f"For {node.name} Numerai calls {origin(str(model.webhook))}, which is neither cluster's. That"
                    " stays as it is; if it leads on to the old cluster, its calls end with that."
                )

    def _calls(self, node: Node, model: Model) -> str:
        """Whom Numerai calls for a node."""
        served = self.provider.webhook_url(node.name)
        if model.webhook is None:
            return NOBODY
        if served is not None and model.webhook == served:
            return NEW
        return OLD if model.webhook in {*self._old_addresses, node.webhook_url} else ELSEWHERE

    @cached_property
    def _old_addresses(self) -> frozenset[str]:
        return frozenset(node.webhook_url for node in self.cluster.nodes.values() if node.webhook_url)

    def _nodes(self) -> list[Node]:
        """The nodes that are moved: those of the old cluster that this home has on AWS."""
        names = sorted(name for name, node in self.store.nodes().items() if node.provider == PROVIDER)
        return [self._node(name) for name in names if name in self.cluster.nodes]

    def _node(self, name: str) -> Node:
        """A node, with the id of its model, which numerai-cli 0.3 did not record."""
        node = self.store.nodes()[name]
        if node.model_id:
            return node
        named = (
            each for each in self.api.models() if (each.name, each.tournament) == (node.model_name, node.tournament)
        )
        return replace(node, model_id=next((model.id for model in named), ""))

    def _models(self) -> dict[str, Model]:
        """The account's models by id, all those of the nodes among them."""
        models = {model.id: model for model in self.api.models()}
        for node in self._nodes():
            if node.model_id not in models:
                raise NumeraiError(f"T{not_in_account(node)[1:]}.", KEYS_OF_ACCOUNT, code="not-in-account")
        return models

    # the steps

    def _is_configured(self, name: str) -> bool:
        return self.provider.webhook_url(name) is not None

    def _configure(self, name: str) -> None:
        """The address that is recorded stays the one that Numerai calls, and no schedule begins that has nothing to
        run."""
        node = self._node(name)
        if isinstance(self.provider, MakesTogether):
            self.provider.expect(map(self._unscheduled, self._nodes()), self.report)
        done = self.provider.configure(self._unscheduled(node), self.report)
        self.store.save_node(replace(done, webhook_url=node.webhook_url, cron=node.cron))

    def _unscheduled(self, node: Node) -> Node:
        return node if self._is_deployed(node.name) else replace(node, cron=None)

    def _schedule(self, name: str) -> None:
        node = self._node(name)
        self.store.save_node(replace(self.provider.configure(node, self.report), webhook_url=node.webhook_url))

    def _is_deployed(self, name: str) -> bool:
        return self.provider.deployment(name) is not None

    def _has_run(self, name: str) -> bool:
        """Whether it was what is deployed now that has run: another image may have taken its place since."""
        deployment, runs = self.provider.deployment(name), self.provider.runs(name)
        good = [run for run in runs if run.state is RunState.SUCCEEDED]
        return deployment is not None and any(run.created_at >= deployment.deployed_at for run in good)

    def _put_image(self, name: str) -> None:
        node = self._node(name)
        if _has_folder(node):
            deploy_node(node, self.provider, self.store, self.report, warn=self.warn, force=False)
            return
        image = self._old_image(node)
        if not isinstance(self.provider, TakesImages):
            raise UsageError(f"The provider {self.provider.name} takes no images.", code="not-supported")
        self.provider.take_image(node, image, self.report)

    def _check_images(self) -> None:
        for node in self._nodes():
            there = f"image:{node.name}" in self.record.done() and self._is_deployed(node.name)
            if not there and not _has_folder(node):
                self._old_image(node)

    def _old_image(self, node: Node) -> ForeignImage:
        repository = self.cluster.nodes[node.name].repository
        image = self.cloud.image(repository) if repository else None
        if image is None:
            raise NumeraiError(
                f"There is nothing that {node.name} could run: {node.path or 'its folder'} holds no Dockerfile, and the"
                " old cluster no image of it.",
                f"`numerai node -m {node.name} config --path FOLDER` gives it a folder, `numerai node forget"
                f" {node.name}` leaves it out. Then run `{COMMAND}` again.",
                code="nothing-to-run",
            )
        return image

    def _run(self, name: str) -> None:
        node = self._node(name)
        done = Verifier(
            node,
            lambda name: self.provider,
            self.api,
            self.clock,
            on_fact=self.on_fact,
            on_log=self.on_log,
            report=self.report,
            submits=not _withholds(node),
            on_warning=self.warn,
            before_switch=True,
        ).verify()
        if done.verdict is Verdict.FAILS:
            self.record.take_back(f"image:{name}")
            failed = done.facts[-1]
            cause = f"\n{failed.cause}" if failed.cause else ""
            raise NumeraiError(
                f"The first run of {name} in the new cluster failed: {failed.detail.rstrip('.')}. Numerai calls what it"
                f" called before.{cause}",
                f"{failed.mend or 'Mend the code'}; then run `{COMMAND}` again: it goes on here.",
                code="first-run-failed",
            )

    def _switch(self, name: str) -> None:
        node, served = self._node(name), self.provider.webhook_url(name)
        model = self._models()[node.model_id]
        calls = self._calls(node, model)
        if served is None:
            raise NumeraiError(
                f"{name} has no address in the new cluster.", f"Run `{COMMAND}` again.", code="no-address"
            )
        if calls == OLD or (calls == NOBODY and not node.cron):
            self._wait_for_an_answer(name, served)
            self.api.set_webhook(node.model_id, served)
            if self._models()[node.model_id].webhook != served:
                raise NumeraiError(
                    f"Numerai does not hold the new address of {name}.", f"Run `{COMMAND}` again.", code="not-switched"
                )
        self.store.save_node(replace(node, webhook_url=served))

    def _wait_for_an_answer(self, name: str, served: str) -> None:
        give_up = self.clock.monotonic() + ANSWER_SECONDS
        while (why := self.answers(served)) is not None:
            if self.clock.monotonic() >= give_up:
                raise NumeraiError(
                    f"The new address of {name} does not answer: {why}. Numerai calls what it called before.",
                    f"`numerai doctor` looks at the cluster; then run `{COMMAND}` again.",
                    code="no-answer",
                )
            self.clock.sleep(POLL_SECONDS)

    def _destroy(self) -> None:
        models = {node_name(model.tournament, model.name): model for model in self.api.models() if model.pickle is None}
        if called := sorted(name for name, model in models.items() if model.webhook in self._old_addresses):
            raise NumeraiError(
                f"Numerai still calls the old cluster for {', '.join(called)}, so it was not removed.",
                f"{self._ends_calls(called[0], models[called[0]].name)}. Then run `{COMMAND}` again.",
                code="still-called",
            )
        if runs := self.cloud.active_runs():
            raise NumeraiError(
                f"In the old cluster still runs: {', '.join(runs)}. Nothing was removed.",
                f"When it has ended, run `{COMMAND}` again.",
                code="run-active",
            )
        self.record.add(BEGUN)
        self.cloud.destroy(self.report)

    def _ends_calls(self, name: str, model: str) -> str:
        """What lets Numerai call the old cluster no more for a node, or a model, that the move does not bring over."""
        command, node = f"`numerai node -m {name}", self.store.nodes().get(name)
        website = f"Clear the webhook of {model} on https://numer.ai"
        if node is None:
            more = f"or bring it to this tool's cluster: {command} config -P {PROVIDER} --path FOLDER`, then its deploy"
            return f"{website}, {more}"
        provider = self.provider_named(node.provider)
        if not node.cron and not provider.reachable_by(self.api.url):  # `config` registers nothing then
            return f"{website}: Numerai cannot call the node where it is, on {node.provider}"
        deploy = "" if provider.deployment(name) else f"{command} deploy`, then "
        return f"{deploy}{command} config` ends these calls"


def with_hint(error: EnvironmentNotReady, keys: tuple[str, str] | None) -> EnvironmentNotReady:
    """The error, with the way to use the keys that the official tool has kept where there are no others."""
    if error.code == "no-aws-credentials" and keys is not None:
        error.hint = f"The official tool has kept keys: `{COMMAND} --aws-profile {AWS_PROFILE}` uses them."
    return error


def undo_upgrade(official: OfficialHome, store: StateStore, record: MoveRecord) -> Undone | None:
    """Put the official tool's files back, and forget what was moved; None where there was no upgrade. Errors as by
    `refuse_undo`; `NumeraiError` with code `busy` while a move goes on."""
    refuse_undo(record)
    undone = official.undo(_no_move(store, record))
    if undone is not None or official.found() is not None:  # an undo that was killed may have left the record
        record.forget()
    return undone


@contextmanager
def _no_move(store: StateStore, record: MoveRecord) -> Iterator[None]:
    with store.node_lock(LOCK):
        refuse_undo(record)
        yield


def refuse_undo(record: MoveRecord) -> None:
    """`UsageError` with code `no-way-back` once the removal of the old cluster has begun."""
    if {BEGUN, DESTROY} & record.done():
        raise UsageError(
            "The official tool's cluster was removed, or begun to be, so that its files describe nothing any more.",
            "They are in the backup (official-...) in the home folder.",
            code="no-way-back",
        )


def _has_folder(node: Node) -> bool:
    return bool(node.path) and (Path(node.path) / "Dockerfile").is_file()


def _withholds(node: Node) -> bool:
    """Whether a run of the node can be told not to submit."""
    try:
        check_withholds(node)
    except NumeraiError:
        return False
    return _has_folder(node)
