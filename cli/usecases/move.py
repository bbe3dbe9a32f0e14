"""Moves a node to another provider: the old side serves until the new one is deployed, and goes last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import NumeraiError, UsageError
from ..models import Model, Node
from ..ports import LimitsDisk, NotHere, NumeraiApi, PreviewsChanges, Provider, Report, RunByNumerai, StateStore
from ..source import check_source, source_of
from .base_digests import present_digests
from .configure import (
    NOT_REACHED,
    PICKLE_ASSIGNED,
    Configured,
    NodeRequest,
    check_capabilities,
    check_disk,
    decide_node,
    plan_source,
    registers,
    taken_from,
    takes,
)
from .deploy import deploy_locked, how_it_runs, refuse_credentials
from .destroy import refuse_while_active
from .hosting import ONE_WAY, RUNS_IT, TAKES_AWAY, assign_upload, fitted, needs_dockerfile
from .inspect import changed_since_deploy, finish_move, half_moved, is_own_webhook
from .plan import Plan, Step


@dataclass(frozen=True)
class Mover:
    """What a move takes; `agree` is given the plan, `insist` and `take_over` are those of `configure_node`. Each raises
    when the person does not want to go on, and nothing has been touched then. With `dry_run` nothing is."""

    api: NumeraiApi
    store: StateStore
    provider_named: Callable[[str], Provider]
    digest_of: Callable[[str], str | None]
    report: Report
    agree: Callable[[Plan], None]
    insist: Callable[[str], None]
    take_over: Callable[[str], None]
    dry_run: bool = False

    def move(self, request: NodeRequest, model: Model, existing: Node) -> Plan | Configured:
        """Bring a node, which the caller has locked, to the provider that is asked for, or that it is recorded with.

        Numerai has one webhook for a model, so it calls one side all the time: the old one until the new one is
        configured and deployed, then the new one. What the old one holds is removed last. Ended at any point, the same
        command goes on: nodes.json says on which two providers the node is.
        """
        name = _target(request, existing, self.provider_named)
        node = decide_node(request, model, replace(existing, provider=name))
        new = self.provider_named(name)
        old = self.provider_named(existing.provider if name != existing.provider else str(existing.also_on))
        if request.disk is None and node.disk_gib is not None and not isinstance(new, LimitsDisk):
            node = replace(node, disk_gib=None)
        node = fitted(node, new, sized=request.sized, timed=request.timeout_minutes is not None)
        _refuse_while_numerai_runs(old, model, again=f"numerai node -m {model.name} config -P {name}")
        check_capabilities(node, new)
        check_disk(node, new)
        check_source(source_of(node), home=self.store.home, dockerfile=needs_dockerfile(new))
        change = _Change(self, request, existing, node, model, new, old)
        if change.deploys:
            refuse_credentials(source_of(node), self.store, f"{existing.name} stays on {old.name} until then.")
        plan = change.plan()
        if self.dry_run:
            return plan
        if existing.also_on is None:
            refuse_while_active(old, node)
        if model.pickle is not None and not isinstance(new, RunByNumerai):
            self.insist(f"{model.name}: {PICKLE_ASSIGNED}.")
        ours = is_own_webhook(model.webhook, existing, old.webhook_url(node.name))
        if change.called and not ours and (other := taken_from(node, model, new)) is not None:
            self.take_over(takes(model, other))
        self.agree(plan)
        plan.carry_out(self.report)
        done = self.store.nodes()[node.name]
        return Configured(done, change.called, change.afterwards(), deployed=new.deployment(node.name) is not None)


class _Change:
    """One move: the `node` as it will be, on the providers `new` and `old`."""

    def __init__(
        self, by: Mover, request: NodeRequest, existing: Node, node: Node, model: Model, new: Provider, old: Provider
    ):
        self.by, self.request, self.existing, self.model = by, request, existing, model
        self.new, self.old, self.node = new, old, node
        self.called = registers(request, node, model, new, by.api)
        self.deploys = new.deployment(node.name) is None and old.deployment(node.name) is not None
        self.made = replace(node, webhook_url=None, also_on=old.name)
        self.hosted = isinstance(new, RunByNumerai)

    def plan(self) -> Plan:
        """The steps, each of which can be done again, and what should be known before."""
        steps, notes = plan_source(self.request, self.node, self.by.store, dockerfile=needs_dockerfile(self.new))
        name, new, old = self.node.name, self.new.name, self.old.name
        what = f"{self.node.cpu:g} vCPU, {self.node.memory_mib / 1024:g} GiB"
        steps += [
            (f"record in {self.by.store.nodes_path} that {name} moves to {new}", self._begin),
            (f"provision {name} on {new}: {what}", lambda: self._provision(cron=None)),
        ]
        if self.deploys:
            until = "" if isinstance(self.old, NotHere) else f"; until then {old} runs it"
            build = f"build {source_of(self.node)} and deploy it on {new}"
            if self.hosted:
                build = f"pack and rehearse {source_of(self.node)}, upload it and let Numerai validate it"
            steps.append((build + until, self._deploy))
        if not self.hosted:
            steps.append((f"see that {new} can start it", lambda: self.new.wake(self.by.report)))
        if self.node.cron:
            schedule = f"start its schedule '{self.node.cron}' (UTC) on {new}"
            steps.append((schedule, lambda: self._provision(cron=self.node.cron)))
        steps += self._webhook()
        steps.append((f"record that {name} is on {new}", lambda: self.by.store.save_node(self.made)))
        if not isinstance(self.old, NotHere):
            steps.append(
                (f"remove everything that {old} holds for {name} (the folder {self.node.path} stays)", self._clear)
            )
        steps.append((f"record that {name} is on {new} alone", self._end))
        preview = self.new.preview(self.node) if isinstance(self.new, PreviewsChanges) else []
        return Plan(tuple(steps), (*preview, *notes, *self._before()))

    def afterwards(self) -> tuple[str, ...]:
        """What to know of the node as it is now."""
        if self.hosted:
            return () if self.deploys else (RUNS_IT,)
        return () if self.called or self.node.cron or self.model.pickle is not None else (NOT_REACHED,)

    def _webhook(self) -> list[Step]:
        """The step that changes whom Numerai calls; none where it calls nobody before and after."""
        model, api = self.node.model_name, self.by.api
        if self.hosted and self.deploys:
            off = "" if self.model.webhook is None else f"take the webhook of {model} off Numerai, and "
            return [(f"{off}let Numerai run the upload from then on", self._assign)]
        if self.called:
            let = f"let Numerai call {model} on {self.new.name} from now on"
            return [(let, lambda: api.set_webhook(self.node.model_id, self.made.webhook_url))]
        if is_own_webhook(self.model.webhook, self.existing, self.old.webhook_url(self.node.name)):
            starts = "its schedule starts" if self.node.cron else "this machine's daemon starts"
            off = f"take the webhook of {model} off Numerai"
            if not self.hosted:
                off += f": {starts} it on {self.new.name}"
            return [(off, lambda: api.set_webhook(self.node.model_id, None))]
        return []

    def _before(self) -> list[str]:
        notes = list[str]()
        if self.node.disk_gib != self.existing.disk_gib and self.request.disk is None:
            notes.append(f"Its disk of {self.existing.disk_gib} GiB is not taken along: {self.new.name} sets no size.")
        if self.deploys and changed_since_deploy(self.existing, self.old):
            notes.append(f"The folder has changed since it was deployed: {self.new.name} gets it as it is now.")
        if self.deploys and (how := how_it_runs(self.node, self.new)).what:
            notes.append(f"On {self.new.name} it runs {how.what}.")
        if not self.deploys and self.new.deployment(self.node.name) is None:
            notes.append("It was never deployed, and so is not now.")
        if self.hosted:
            notes.append(f"{ONE_WAY} To have it back elsewhere then, {TAKES_AWAY}.")
        if isinstance(self.old, RunByNumerai):
            return [*notes, "Uploads stay at Numerai, with the runs so far and their logs."]
        if isinstance(self.old, NotHere):
            return [*notes, f"What {self.old.name} holds stays there, and costs what it did: {self.old.not_here}."]
        return [
            *notes,
            f"Not taken along, and removed on {self.old.name}: its images, the runs so far with their logs, and models"
            f" that its runs have trained and kept there. What is not in the folder is trained again on"
            f" {self.new.name}: `numerai node -m {self.node.model_name} test` does that before a round does.",
            f"The settings of {self.old.name}, the Numerai keys of this home and the rounds in `numerai history` stay.",
        ]

    def _begin(self) -> None:
        self.by.store.save_node(replace(self.existing, also_on=self._other()))

    def _other(self) -> str:
        """The provider that the record of the node does not name as its own."""
        return self.new.name if self.existing.provider != self.new.name else self.old.name

    def _provision(self, cron: str | None) -> None:
        if self.request.pin_base and self.made.base_digests is None:
            self.made = replace(self.made, base_digests=present_digests(self.made, self.by.digest_of))
        made = self.new.configure(replace(self.made, cron=cron), self.by.report)
        self.made = replace(made, cron=self.node.cron)

    def _deploy(self) -> None:
        deploy_locked(self.made, self.new, self.by.store, self.by.report)

    def _assign(self) -> None:
        assign_upload(self.made, self.new, lambda: self.by.api, lambda question: True, self.by.report)

    def _clear(self) -> None:
        name = self.node.name
        try:
            self.old.destroy(name, force=False, report=self.by.report)
        except NumeraiError as error:
            again = f"numerai node -m {self.node.model_name} config -P {self.new.name}"
            error.hint = (
                f"{name} is on {self.new.name} already, and what {self.old.name} holds is still there. Wait for the end"
                f" of what runs there, or see to what is said above; then `{again}` removes it."
            )
            raise

    def _end(self) -> None:
        self.by.store.save_node(replace(self.made, also_on=None))


def _refuse_while_numerai_runs(old: Provider, model: Model, again: str) -> None:
    """`NumeraiError` with code `still-assigned` for a node that Numerai still runs: only its website ends that."""
    if isinstance(old, RunByNumerai) and model.pickle is not None:
        raise NumeraiError(
            f"Numerai runs an upload for {model.name}, and only its website takes that away: until then Numerai calls"
            " no webhook for it, and takes no submission of it.",
            f"First, {TAKES_AWAY}; then `{again}`.",
            code="still-assigned",
        )


def _target(request: NodeRequest, existing: Node, provider_named: Callable[[str], Provider]) -> str:
    """The provider that the node is to be on. `UsageError` for a third one while it is left between two."""
    name = request.provider or existing.provider
    if existing.also_on is not None and name not in (existing.provider, existing.also_on):
        raise UsageError(half_moved(existing), finish_move(existing, provider_named), code="half-moved")
    return name
