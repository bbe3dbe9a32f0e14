"""Configures a node: decides what it is, plans the change, and carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..addresses import origin
from ..capabilities import WANTED, read_capabilities
from ..counting import counted
from ..dockerignore import IGNORE_FILE, SPECIFIC_IGNORE_FILE, ignore_file, included_files
from ..errors import ApiError, NumeraiError, UsageError
from ..files.places import place
from ..models import (
    DEFAULT_PROVIDER,
    DEFAULT_SIZE,
    DEFAULT_TIMEOUT_MINUTES,
    SIZES,
    DataVersions,
    Model,
    Node,
    Tournament,
    node_name,
)
from ..names import check_distinct
from ..ports import (
    KnowsCapabilities,
    LimitsDisk,
    NotHere,
    NumeraiApi,
    PreviewsChanges,
    Provider,
    Report,
    RunByNumerai,
    StateStore,
)
from ..schedule import validate_cron
from ..source import check_place, check_source, source_of
from .base_digests import present_digests
from .data import DATA_VERSION
from .hosting import RUNS_IT, check_example, fitted, needs_dockerfile
from .inspect import called_officially, is_own_webhook, require_provider
from .plan import Plan, Step
from .resolve import resolve_model
from .retraining import NOT_RETRAINED, calls_retrain, refuse_retraining
from .scaffold import check_tournament, example_dockerfile, plan_scaffold, scaffold
from .timetable import timetable

MAX_TIMEOUT_MINUTES = 24 * 60
NEWEST_DATA, TRAINED_DATA = "newest", "trained"
"""What --data-version takes besides a version: the newest complete one, or the one that the model was trained on."""
NOT_REACHED = (
    "Numerai cannot reach this machine, so no webhook is registered. The daemon starts the node when a round opens "
    "(`numerai daemon start`), or --cron at a time of yours; with a tunnel to this machine, "
    "`numerai setup --public-url URL` and config again."
)
PICKLE_ASSIGNED = (
    "a model upload (pickle) is assigned to the model: Numerai runs that, and will neither call the node nor accept "
    "what it submits"
)
UNASSIGN_PICKLE = "at numer.ai (Submissions, Settings of the model) unassign the upload, then numerai node config"
"""What to do about it. The API has no call for that (numerapi 3.1.1, the API's introspection)."""
_MIB_FROM = 256
_MILLI_CPU_FROM = 256
_MAX_CPU, _MAX_MIB = 192, 1536 * 1024
"""No more can be had of the machines that providers offer: the largest common ones, such as AWS's r7i.48xlarge."""


@dataclass(frozen=True)
class NodeRequest:
    """What the user asked for; None where nothing was said, so that an existing node keeps what it has."""

    provider: str | None = None
    size: str | None = None
    cpu: float | None = None
    memory: float | None = None
    path: Path | None = None
    example: str | None = None
    cron: str | None = None
    timeout_minutes: int | None = None
    register_webhook: bool = False
    data_version: str | None = None
    context: str | None = None
    pin_base: bool | None = None
    capabilities: tuple[str, ...] = ()
    disk: int | None = None
    retrain_days: int | None = None

    @property
    def sized(self) -> bool:
        """Whether it says how big the node is to be."""
        return (self.size, self.cpu, self.memory) != (None, None, None)


@dataclass(frozen=True)
class Configured:
    """A node as it was configured. `registered` tells whether Numerai calls its webhook, `deployed` whether a move to
    another provider has deployed it there."""

    node: Node
    registered: bool
    notes: tuple[str, ...]
    deployed: bool = False


Move = Callable[[NodeRequest, Model, Node], "Plan | Configured"]
"""Moves a node that exists to another provider; it is called while the node is locked."""


def refuse_to_take_over(why: str) -> None:
    """Leave a webhook where it is."""
    raise NumeraiError(why, "`numerai node config` asks, and takes it over.", code="webhook-elsewhere")


def configure_node(
    request: NodeRequest,
    model_name: str | None,
    tournament: int | None,
    *,
    api: NumeraiApi,
    store: StateStore,
    provider_named: Callable[[str], Provider],
    digest_of: Callable[[str], str | None],
    report: Report,
    agree: Callable[[list[str]], None],
    insist: Callable[[str], None],
    take_over: Callable[[str], None] = refuse_to_take_over,
    move: Move | None = None,
    dry_run: bool = False,
) -> Plan | Configured:
    """Make a node what the request says and return it, or with `dry_run` only the plan.

    `digest_of` gives an image's digest (`ports.ContainerEngine.digest`). `agree` is given what a provider says before
    it makes things that are billed, `insist` why the node cannot work yet (its model has an assigned pickle),
    `take_over` asks whether what Numerai calls for the model until now may end; each raises when the person does
    not want to go on, and nothing has been touched then. `move` does it where the node is on another provider; without
    it that is a `UsageError`. One command at a time changes a node: `NumeraiError` with code
    `busy` otherwise.
    """
    refuse_legacy(store)
    if request.provider is not None:
        provider_named(request.provider)  # there must be one before a node is moved to it
    model = resolve_model(api, model_name, tournament)
    node = decide_node(request, model, None)
    if request.data_version is not None and node.data_version not in (None, NEWEST_DATA):
        _check_served(node.data_version, api.data_versions(model.tournament))
    check_distinct(node.name, store.nodes())
    with store.node_lock(node.name):
        existing = store.nodes().get(node.name)
        if move is not None and existing and _is_move(request, existing, provider_named):
            return move(request, model, existing)
        if existing and request.provider and isinstance(provider_named(existing.provider), NotHere):
            existing = replace(existing, provider=request.provider)  # there is nothing that could be destroyed before
        node = decide_node(request, model, existing)
        provider = provider_named(node.provider)
        node = fitted(node, provider, sized=request.sized, timed=request.timeout_minutes is not None)
        check_provider(node, provider)
        plan = plan_configure(request, node, model, provider, api, store, digest_of, report)
        preview = provider.preview(node) if isinstance(provider, PreviewsChanges) else []
        if dry_run:
            return replace(plan, notes=(*preview, *plan.notes))
        if model.pickle is not None and not isinstance(provider, RunByNumerai):
            insist(f"{model.name}: {PICKLE_ASSIGNED}.")
        called = registers(request, node, model, provider, api) and not _stays_called(node, model, provider, store)
        ends = _ends(node, model, provider, store, called=called)
        if ends is not None:
            take_over(ends)
        if preview:
            agree(preview)
        plan.carry_out(report)
        return Configured(store.nodes()[node.name], called, plan.notes)


def _is_move(request: NodeRequest, existing: Node, provider_named: Callable[[str], Provider]) -> bool:
    """Whether the node is on another provider than the one that is asked for, or was left between two."""
    if existing.also_on is not None:
        return True
    elsewhere = request.provider not in (None, existing.provider)
    return elsewhere and not isinstance(provider_named(existing.provider), NotHere)


def decide_node(request: NodeRequest, model: Model, existing: Node | None) -> Node:
    """The node that the request describes, with what an existing node already had.

    Raises `UsageError` naming the option that is wrong; nothing has been touched then.
    """
    cpu, memory_mib = _size(request, existing)
    timeout = request.timeout_minutes
    if timeout is None:
        timeout = existing.timeout_minutes if existing else DEFAULT_TIMEOUT_MINUTES
    if not 1 <= timeout <= MAX_TIMEOUT_MINUTES:
        raise UsageError(f"--timeout-minutes must be from 1 to {MAX_TIMEOUT_MINUTES}, not {timeout}.")
    provider = request.provider or (existing.provider if existing else DEFAULT_PROVIDER)
    if existing and existing.provider != provider:
        raise UsageError(
            f"{existing.name} runs on {existing.provider}.",
            f"Run `numerai node -m {existing.name} destroy` before you move it to {provider}.",
            code="provider-change",
        )
    cron = existing.cron if existing else None
    if request.cron is not None:
        cron = request.cron.strip() or None
        if cron:
            validate_cron(cron)
    try:
        name = node_name(model.tournament, model.name)
    except ValueError as error:
        raise UsageError(f"Tournament {model.tournament} of {model.name} is not known to this version.") from error
    folder = _folder(request, existing)
    return Node(
        name=name,
        model_name=model.name,
        model_id=model.id,
        tournament=Tournament(model.tournament).value,
        provider=provider,
        path=str(folder),
        cpu=cpu,
        memory_mib=memory_mib,
        timeout_minutes=timeout,
        cron=cron,
        webhook_url=existing.webhook_url if existing else None,
        data_version=_data_version(request.data_version, existing),
        context=_context(request.context, existing, folder),
        base_digests=existing.base_digests if existing and request.pin_base is not False else None,
        capabilities=_capabilities(request.capabilities, existing),
        disk_gib=request.disk if request.disk is not None or existing is None else existing.disk_gib,
        also_on=existing.also_on if existing else None,
        legacy=existing.legacy if existing else None,
        retrain_days=_retrain_days(request.retrain_days, existing),
    )


def plan_configure(
    request: NodeRequest,
    node: Node,
    model: Model,
    provider: Provider,
    api: NumeraiApi,
    store: StateStore,
    digest_of: Callable[[str], str | None],
    report: Report,
) -> Plan:
    """The steps that make the node what it should be. Checks everything that can be checked before. Can be carried out
    again: what an interrupted call has done is found and finished."""
    source = source_of(node)
    steps, notes = plan_source(request, node, store, provider)
    if request.pin_base:
        node = pinned(request, node, digest_of)
        steps.append((f"pin what {source.dockerfile} builds on: {_in_words(node.base_digests)}", lambda: None))
    provisioned, moved_from = [node], _moved_from(node, store)
    stays = _stays_called(node, model, provider, store)

    def provision() -> None:
        check_source(source, home=store.home, dockerfile=needs_dockerfile(provider))
        if node.name not in store.nodes():  # so that `destroy` knows it whatever ends this call
            store.save_node(node)
        made = provider.configure(node, report)
        provisioned[0] = replace(made, webhook_url=node.webhook_url) if stays else made

    what = f"{node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB, at most {counted(node.timeout_minutes, 'minute')}"
    when = f", cron '{node.cron}' (UTC)" if node.cron else ""
    steps.append((f"provision {node.name} on {node.provider}: {what}{when}", provision))
    record = (f"record {node.name} in {store.nodes_path}", lambda: store.save_node(provisioned[0]))
    before, after, more = _plan_calls(request, node, model, provider, api, moved_from, lambda: provisioned[0])
    if stays:
        before, after, more = [], [], [_goes_on(node)]
    steps += [*before, record, *after]
    notes += more
    if moved_from is not None:
        notes.append(f"What {moved_from} holds for {node.name} stays there, and costs what it did.")
    return Plan(tuple(steps), tuple(notes))


def _plan_calls(
    request: NodeRequest,
    node: Node,
    model: Model,
    provider: Provider,
    api: NumeraiApi,
    moved_from: str | None,
    provisioned: Callable[[], Node],
) -> tuple[list[Step], list[Step], list[str]]:
    """Whom Numerai calls from now on: the steps before the node is recorded, those after that, and what to know of it.

    What is called on a provider that the node leaves ends before the new record: that forgets the address."""
    other = taken_from(node, model, provider)
    notes = list[str]()
    own = model.webhook is not None and other is None
    calls = f", which calls it on {moved_from} until now" if own and moved_from is not None else ""
    if registers(request, node, model, provider, api):
        ends = f", which calls {other} until now: that ends" if other else calls and f"{calls}: that ends"
        register = f"register the webhook of {node.model_name} with Numerai{ends}"
        return [], [(register, lambda: api.set_webhook(node.model_id, provisioned().webhook_url))], notes
    if isinstance(provider, RunByNumerai):
        return [], [], [RUNS_IT]
    if model.pickle is not None:
        notes.append(f"{model.name}: {PICKLE_ASSIGNED}. No webhook is registered. To change that: {UNASSIGN_PICKLE}.")
        return [], [], notes
    if node.cron:
        by_schedule = "It runs by its schedule; the webhook is not registered (--register-webhook does it)."
        notes += [by_schedule, *times(node, api)]
    else:
        notes.append(NOT_REACHED)
    if other is not None:
        notes.append(also_called(node))
    off = (f"take the webhook of {node.model_name} off Numerai{calls}", lambda: api.set_webhook(node.model_id, None))
    if own and moved_from is not None:
        return [off], [], notes
    return [], [off] if own and node.cron else [], notes


def plan_source(
    request: NodeRequest, node: Node, store: StateStore, provider: Provider
) -> tuple[list[Step], list[str]]:
    """The steps that make the node's folder what a build needs, and what to know of it."""
    source, steps, notes = source_of(node), list[Step](), list[str]()
    if request.example:
        check_place(source, home=store.home)
        check_tournament(request.example, node.tournament)
        check_example(request.example, node.tournament, provider)
        example = plan_scaffold(request.example, source.folder)
        copy = f"copy the example {example.example} to {source.folder} ({counted(len(example.new), 'file')})"
        steps.append((copy, lambda: scaffold(example)))
        files = [new for new, _ in example.new] + list(example.same)
    else:
        check_source(source, home=store.home, dockerfile=needs_dockerfile(provider))
        names = included_files(source.folder, source.folder) if node.retrain_days else ()
        files = [source.folder / name for name in names]
    read, unread = ignore_file(source.context, source.folder), source.folder / IGNORE_FILE
    if read.parent != source.folder and (request.example or unread.is_file()):
        notes.append(
            f"Docker does not read {unread} for this context, but {read}, or a {SPECIFIC_IGNORE_FILE} beside the"
            " Dockerfile."
        )
    if node.retrain_days and not calls_retrain(files):
        if request.retrain_days and node.context is None:  # else the code may be outside of the folder
            raise refuse_retraining(node, files)
        notes.append(NOT_RETRAINED)
    return steps, notes


def times(node: Node, api: NumeraiApi) -> list[str]:
    """When the schedule starts the node, and for which rounds that is not on time; nothing where Numerai is silent."""
    try:
        times = timetable(str(node.cron), node.tournament, api)
    except ApiError:
        return []
    makes_up = " A watcher (`numerai daemon start`) starts the runs that are missing." if times.misses else ""
    return [f"By it, {times.words}.{makes_up}"]


def registers(request: NodeRequest, node: Node, model: Model, provider: Provider, api: NumeraiApi) -> bool:
    """Whether Numerai is to call the node's webhook."""
    if model.pickle is not None or isinstance(provider, RunByNumerai):
        return False
    return request.register_webhook or (not node.cron and provider.reachable_by(api.url))


def _moved_from(node: Node, store: StateStore) -> str | None:
    """The provider that a node is recorded with, where it is to be another's."""
    recorded = store.nodes().get(node.name, node)
    return recorded.provider if recorded.provider != node.provider else None


def _ends(node: Node, model: Model, provider: Provider, store: StateStore, *, called: bool) -> str | None:
    """What Numerai calls for the model until now and would not call any more, where a person has to agree to that."""
    if model.webhook is None or model.pickle is not None:
        return None
    if _stays_called(node, model, provider, store):
        return None
    other, moved_from = taken_from(node, model, provider), _moved_from(node, store)
    deployed = provider.deployment(node.name) is not None
    if other is not None:
        return takes(model, other, deployed=deployed) if called else None
    if moved_from is not None:
        return ends_at(node, f"on {moved_from}", called=called, deployed=deployed)
    if called_officially(model, node) and (called or node.cron):
        return ends_at(node, f"in {official_cluster(provider)}", called=called, deployed=deployed)
    return None


def _stays_called(node: Node, model: Model, provider: Provider, store: StateStore) -> bool:
    """Whether Numerai goes on calling what the official tool has made for the node: on the provider that it is
    recorded with, this tool has nothing yet that could run."""
    here = _moved_from(node, store) is None and provider.deployment(node.name) is None
    return here and model.pickle is None and called_officially(model, node)


def _goes_on(node: Node) -> str:
    again = f"numerai node -m {node.name}"
    return (
        f"Numerai goes on calling what the official tool has made for {node.name}: nothing is deployed here yet."
        f" `{again} deploy` and then `{again} config` let it call the node here; `numerai upgrade --move-aws` does all"
        " of that for every node on AWS, and removes the old cluster."
    )


def ends_at(node: Node, where: str, *, called: bool, deployed: bool) -> str:
    """Asks whether Numerai's calls of a node somewhere else may end."""
    then = "call it here instead" if called else "not call it any more (this machine starts it)"
    return f"Numerai calls {node.name} {where} until now.{_nothing_here(deployed)} Let Numerai {then}?"


def takes(model: Model, other: str, *, deployed: bool) -> str:
    """Asks whether Numerai is to call a node instead of an address that is not known here."""
    why = f"For {model.name} Numerai calls another address, {other}, that this home did not register."
    return f"{why}{_nothing_here(deployed)} Let it call this node instead?"


def official_cluster(provider: Provider) -> str:
    """What the official tool has made on a provider, as a sentence has it."""
    return f"the official tool's cluster on {provider.name}"


def _nothing_here(deployed: bool) -> str:
    return "" if deployed else " Nothing is deployed here yet: no round runs it before `numerai node deploy`."


def also_called(node: Node) -> str:
    """That Numerai calls an address for a node's model that is not the node's."""
    return f"Numerai also calls another address for {node.model_name}: look at it on https://numer.ai."


def taken_from(node: Node, model: Model, provider: Provider) -> str | None:
    """Where the address leads that Numerai calls for the model, if it is not one of this home's own."""
    if model.webhook is None or called_officially(model, node):
        return None
    if is_own_webhook(model.webhook, node, provider.webhook_url(node.name)):
        return None
    return origin(model.webhook)


def _data_version(wanted: str | None, existing: Node | None) -> str | None:
    if wanted is None:
        return existing.data_version if existing else None
    if wanted not in (NEWEST_DATA, TRAINED_DATA) and not DATA_VERSION.fullmatch(wanted):
        raise UsageError(
            f"--data-version must be a version such as v5.3, or {NEWEST_DATA} or {TRAINED_DATA}, not '{wanted}'."
        )
    return None if wanted == TRAINED_DATA else wanted


def _retrain_days(wanted: int | None, existing: Node | None) -> int | None:
    """0 ends it."""
    if wanted is None:
        return existing.retrain_days if existing else None
    return wanted or None


def _capabilities(wanted: tuple[str, ...], existing: Node | None) -> tuple[str, ...]:
    """What is given replaces what there was."""
    given = ",".join(wanted) if wanted else ",".join(existing.capabilities if existing else ())
    try:
        return read_capabilities(given)
    except ValueError as error:
        raise UsageError(f"There is no capability '{error}'.", f"--capability takes {WANTED}.") from error


def pinned(request: NodeRequest, node: Node, digest_of: Callable[[str], str | None]) -> Node:
    """The node with the digests that its base images have now, where the request asks for that. Raises as
    `present_digests`."""
    if not request.pin_base:
        return node
    example = example_dockerfile(request.example) if request.example else None
    return replace(node, base_digests=present_digests(node, digest_of, example))


def _in_words(digests: Mapping[str, str] | None) -> str:
    return ", ".join(f"{image} is {digest}" for image, digest in (digests or {}).items()) or "every FROM has a digest"


def check_provider(node: Node, provider: Provider) -> None:
    """Raise before anything is touched where a provider is not there, or cannot give a node what it asks for."""
    require_provider(node, provider)
    check_capabilities(node, provider)
    check_disk(node, provider)


def check_disk(node: Node, provider: Provider) -> None:
    """Raise `UsageError` where the provider cannot give a run such a disk."""
    if node.disk_gib is None:
        return
    if not isinstance(provider, LimitsDisk):
        raise UsageError(f"A run on {node.provider} has the disk of its machine: there --disk says nothing.")
    smallest, largest = provider.disk_gib
    if not smallest <= node.disk_gib <= largest:
        raise UsageError(f"--disk must be from {smallest} to {largest} GiB on {node.provider}, not {node.disk_gib}.")


def check_capabilities(node: Node, provider: Provider) -> None:
    why = f"the provider {provider.name} does not know them"
    if isinstance(provider, KnowsCapabilities):
        why = provider.no_capabilities or ""
    if node.capabilities and why:
        raise UsageError(
            f"{node.name} cannot be given the capabilities {', '.join(node.capabilities)}: {why}.",
            "Leave out --capability; --capability '' takes back what was recorded earlier.",
            code="no-capabilities",
        )


def _check_served(version: str | None, data: DataVersions) -> None:
    if version not in data.served:
        raise UsageError(
            f"Numerai serves no data version {version} for this tournament.", f"There are: {', '.join(data.served)}."
        )


def _folder(request: NodeRequest, existing: Node | None) -> Path:
    if request.path is not None:
        return request.path.resolve()
    if existing:  # an example goes into its folder: a node is moved by --path only
        return Path(existing.path)
    if request.example:
        return (Path.cwd() / request.example).resolve()
    return Path.cwd().resolve()


def _context(wanted: str | None, existing: Node | None, folder: Path) -> str | None:
    """The folder that a build is given; None for the node's own."""
    if wanted is None:
        return existing.context if existing else None
    context = place(wanted).resolve() if wanted.strip() else folder
    return None if context == folder else str(context)


def _size(request: NodeRequest, existing: Node | None) -> tuple[float, int]:
    if request.size is not None and request.size not in SIZES:
        raise UsageError(
            f"There is no size '{request.size}'.", f"Choose one of: {', '.join(SIZES)}.", code="unknown-size"
        )
    if request.size is not None or existing is None:
        size = SIZES[request.size or DEFAULT_SIZE]
        cpu, memory_mib = size.cpu, size.memory_mib
    else:
        cpu, memory_mib = existing.cpu, existing.memory_mib
    if request.cpu is not None:
        cpu = request.cpu / 1024 if request.cpu >= _MILLI_CPU_FROM else request.cpu
        if not 0.1 <= cpu <= _MAX_CPU:
            raise UsageError(
                f"--cpu must be from 0.1 to {_MAX_CPU} vCPUs (from {_MILLI_CPU_FROM} on: in 1024ths of one), not"
                f" {request.cpu:g}."
            )
    if request.memory is not None:
        memory = request.memory if request.memory >= _MIB_FROM else request.memory * 1024
        if not 64 <= memory <= _MAX_MIB:
            raise UsageError(
                f"--memory must be from 64 MiB (0.0625) to {_MAX_MIB // 1024} GiB (from {_MIB_FROM} on: in MiB), not"
                f" {request.memory:g}."
            )
        memory_mib = int(memory)
    return cpu, memory_mib


def refuse_legacy(store: StateStore) -> None:
    """Raise before anything is touched when the home folder still belongs to the official tool."""
    if store.is_legacy():
        raise NumeraiError(
            f"{store.home} holds nodes or keys of the official numerai-cli.",
            "Run `numerai upgrade` first: it converts them and keeps a backup.",
            code="needs-upgrade",
        )
