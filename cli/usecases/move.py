"""Moves a node to another provider: the old side serves until the new one is deployed, and goes last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import NumeraiError, UsageError
from ..models import Deployment, Model, Node
from ..ports import (
    ChecksDeploys,
    HandsOverArtifacts,
    LimitsDisk,
    NotHere,
    NumeraiApi,
    PreviewsChanges,
    Provider,
    Report,
    RunByNumerai,
    StateStore,
)
from ..source import check_source, source_of
from .configure import (
    NOT_REACHED,
    PICKLE_ASSIGNED,
    Configured,
    NodeRequest,
    also_called,
    check_provider,
    decide_node,
    ends_at,
    official_cluster,
    pinned,
    plan_source,
    registers,
    taken_from,
    takes,
)
from .deploy import check_runtime, deploy_locked, how_it_runs, refuse_credentials
from .destroy import official_note, refuse_while_active
from .hosting import ONE_WAY, RUNS_IT, TAKES_AWAY, assign_upload, fitted, needs_dockerfile
from .inspect import (
    called_officially,
    changed_since_deploy,
    finish_move,
    half_moved,
    is_own_webhook,
    move_command,
    places,
    runs_officially,
)
from .kept_files import kept_by
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
        """Bring a node, which the caller has locked, to the provider that is asked for.

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
        _refuse_while_numerai_runs(old, model, again=move_command(existing, name))
        check_provider(node, new)
        if not request.example:
            check_source(source_of(node), home=self.store.home, dockerfile=needs_dockerfile(new))
        node = pinned(request, node, self.digest_of)
        change = _Change(self, request, existing, node, model, new, old)
        if change.deploys:
            _check_build(node, new)
            check_runtime(node)
            refuse_credentials(source_of(node), self.store, f"{existing.name} stays on {old.name} until then.")
        if existing.also_on is None:
            refuse_while_active(old, node)
        plan = change.plan()
        if self.dry_run:
            return plan
        if model.pickle is not None and not isinstance(new, RunByNumerai):
            self.insist(f"{model.name}: {PICKLE_ASSIGNED}.")
        if (ends := change.ends()) is not None:
            self.take_over(ends)
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
        self.official = runs_officially(node, old)
        unassigned = isinstance(old, RunByNumerai)  # by hand, which had to come first: it ran until then
        runs = self.official or unassigned or old.deployment(node.name) is not None
        found = new.deployment(node.name)  # without a source hash Numerai runs an upload there that is not this home's
        self.deploys = runs and (found is None or not found.source_hash or self._is_older(found))
        self.own = is_own_webhook(model.webhook, existing, old.webhook_url(node.name))
        self.other = None if self.own else taken_from(node, model, new)
        self.kept = kept_by(node, old, new)
        self.made = replace(node, webhook_url=None, also_on=old.name)
        self.deployed: Deployment  # what `_deploy` has put in place
        self.hosted = isinstance(new, RunByNumerai)

    def _is_older(self, found: Deployment) -> bool:
        """Whether the side that the node is recorded with was deployed after the one that a move has begun to make."""
        current = self.old.deployment(self.node.name)
        begun = self.existing.also_on == self.new.name
        return begun and current is not None and current.deployed_at.timestamp() > found.deployed_at.timestamp()

    def plan(self) -> Plan:
        """The steps, each of which can be done again, and what should be known before."""
        steps, notes = plan_source(self.request, self.node, self.by.store, self.new)
        name, new, old = self.node.name, self.new.name, self.old.name
        what = f"{self.node.cpu:g} vCPU, {self.node.memory_mib / 1024:g} GiB"
        steps += [
            (f"record in {self.by.store.nodes_path} that {name} moves to {new}", self._begin),
            (f"provision {name} on {new}: {what}", lambda: self._provision(cron=None)),
        ]
        if self.deploys:
            until = ""
            called = self.model.webhook is not None and self.model.webhook == self.new.webhook_url(name)
            if not called and not isinstance(self.old, (NotHere, RunByNumerai)):
                until = f"; until then {official_cluster(self.old) if self.official else old} runs it"
            build = f"build {source_of(self.node)} and deploy it on {new}"
            if self.hosted:
                build = f"pack and rehearse {source_of(self.node)}, upload it and let Numerai validate it"
            steps.append((build + until, self._deploy))
        if self.kept.files:
            steps.append((f"bring {self.kept.in_words} from {old} to {new}", self._carry))
        if not self.hosted:
            steps.append((f"see that {new} can start it", lambda: self.new.wake(self.by.report)))
        if self.node.cron:
            schedule = f"start its schedule '{self.node.cron}' (UTC) on {new}"
            steps.append((schedule, lambda: self._provision(cron=self.node.cron)))
        steps += self._webhook()
        steps.append((f"record that {name} is on {new}", lambda: self.by.store.save_node(self.made)))
        if not isinstance(self.old, NotHere):
            what = "what this tool has made of" if self.official else "everything that"
            held = f"remove {what} {name} on {old}" if self.official else f"remove {what} {old} holds for {name}"
            steps.append((f"{held} (the folder {self.node.path} stays)", self._clear))
        steps.append((f"record that {name} is on {new} alone", self._end))
        preview = self.new.preview(self.node) if isinstance(self.new, PreviewsChanges) else []
        return Plan(tuple(steps), (*preview, *notes, *self._before()))

    def ends(self) -> str | None:
        """What a person has to agree to beside the plan: that calls end which this tool did not let begin."""
        deploys = self.deploys or self.new.deployment(self.node.name) is not None
        if self.called and self.other is not None:
            return takes(self.model, self.other, deployed=deploys)
        if self.official and called_officially(self.model, self.node):
            return ends_at(self.node, f"in {official_cluster(self.old)}", called=self.called, deployed=deploys)
        return None

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
            instead = "" if self.model.pickle is None else ", in place of the one that it runs now"
            return [(f"{off}let Numerai run the upload from then on{instead}", self._assign)]
        if self.called:
            ends = f", and not {self.other} any more" if self.other else ""
            let = f"let Numerai call {model} on {self.new.name} from now on{ends}"
            return [(let, lambda: api.set_webhook(self.node.model_id, self.made.webhook_url))]
        if self.own or called_officially(self.model, self.node):
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
        if self.other and not self.called:
            notes.append(also_called(self.node))
        if self.hosted:
            notes.append(f"{ONE_WAY} To have it back elsewhere then, {TAKES_AWAY}.")
        if self.official:
            goes_on = "Its schedule goes on starting it there until that is removed." if self.node.cron else ""
            return [*notes, *official_note(replace(self.node, provider=self.old.name)), *([goes_on] if goes_on else [])]
        if isinstance(self.old, RunByNumerai):
            return [*notes, "Uploads stay at Numerai, with the runs so far and their logs."]
        if isinstance(self.old, NotHere):
            return [*notes, f"What {self.old.name} holds stays there, and costs what it did: {self.old.not_here}."]
        return [
            *notes,
            f"Not taken along, and removed on {self.old.name}: its images and the runs so far with their logs.",
            *([self.kept.stays] if self.kept.stays else []),
            f"The settings of {self.old.name}, the Numerai keys of this home and the rounds in `numerai history` stay.",
        ]

    def _begin(self) -> None:
        self.by.store.save_node(replace(self.existing, also_on=self._other()))

    def _other(self) -> str:
        """The provider that the record of the node does not name as its own."""
        return self.new.name if self.existing.provider != self.new.name else self.old.name

    def _provision(self, cron: str | None) -> None:
        made = self.new.configure(replace(self.made, cron=cron), self.by.report)
        self.made = replace(made, cron=self.node.cron)

    def _deploy(self) -> None:
        self.deployed = deploy_locked(self.made, self.new, self.by.store, self.by.report)

    def _carry(self) -> None:
        """What the new side has trained itself meanwhile is newer, and stays."""
        name = self.node.name
        if self.new.runs(name, limit=1):
            self.by.report(f"  {name} has run on {self.new.name} already: what that has left there stays")
        elif isinstance(self.old, HandsOverArtifacts) and isinstance(self.new, HandsOverArtifacts):
            self.new.put_artifacts(name, self.old.artifacts(name))

    def _assign(self) -> None:
        """Raises unless Numerai runs what was deployed then, so that the old side stays."""
        assign_upload(
            self.made, self.deployed, self.by.provider_named, lambda: self.by.api, lambda question: True, self.by.report
        )

    def _clear(self) -> None:
        name = self.node.name
        try:
            self.old.destroy(name, force=False, report=self.by.report)
        except NumeraiError as error:
            again = move_command(self.node, self.new.name)
            error.hint = (
                f"{name} is on {self.new.name} already, and what {self.old.name} holds is still there. Wait for the end"
                f" of what runs there, or see to what is said above; then {again} removes it."
            )
            raise

    def _end(self) -> None:
        self.by.store.save_node(replace(self.made, also_on=None))


def _check_build(node: Node, new: Provider) -> None:
    """Raise what a deploy on the new side would be refused for, once it is configured there."""
    try:
        if isinstance(new, ChecksDeploys):
            new.check_deploy(node, force=True)
    except NumeraiError as error:
        if error.code != "not-configured":
            raise


def _refuse_while_numerai_runs(old: Provider, model: Model, again: str) -> None:
    """`NumeraiError` with code `still-assigned` for a node that Numerai still runs: only its website ends that."""
    if isinstance(old, RunByNumerai) and model.pickle is not None:
        raise NumeraiError(
            f"Numerai runs an upload for {model.name}, and only its website takes that away: until then Numerai calls"
            " no webhook for it, and takes no submission of it.",
            f"First, {TAKES_AWAY}; then {again}.",
            code="still-assigned",
        )


def _target(request: NodeRequest, existing: Node, provider_named: Callable[[str], Provider]) -> str:
    """The provider that the node is to be on. `UsageError` while it is left between two, unless one of them is named:
    what Numerai calls depends on it."""
    if existing.also_on is not None and request.provider not in places(existing):
        first = f"First, {finish_move(existing, provider_named)}"
        raise UsageError(half_moved(existing), first, code="half-moved")
    return request.provider or existing.provider
