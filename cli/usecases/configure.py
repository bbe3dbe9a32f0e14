"""Configures a node: decides what it is, plans the change, and carries it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..counting import counted
from ..errors import NumeraiError, UsageError
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
from ..ports import NumeraiApi, PreviewsChanges, Provider, Report, StateStore
from ..schedule import validate_cron
from ..source import check_place, check_source
from .plan import Plan
from .resolve import resolve_model
from .scaffold import check_tournament, plan_scaffold, scaffold

MAX_TIMEOUT_MINUTES = 24 * 60
NEWEST_DATA, TRAINED_DATA = "newest", "trained"
"""What --data-version takes besides a version: the newest complete one, or the one that the model was trained on."""
_DATA_VERSION = re.compile(r"v\d{1,4}(\.\d{1,4})?")
PICKLE_ASSIGNED = (
    "a model upload (pickle) is assigned to the model: Numerai runs that, and will neither call the node nor accept "
    "what it submits"
)
UNASSIGN_PICKLE = "at numer.ai (Submissions, Settings of the model) unassign the upload, then numerai node config"
"""What to do about it. The API has no call for that (numerapi 3.1.1, the API's introspection)."""
_MIB_FROM = 256
_MILLI_CPU_FROM = 128


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


@dataclass(frozen=True)
class Configured:
    """A node as it was configured. `registered` tells whether Numerai calls its webhook."""

    node: Node
    registered: bool
    notes: tuple[str, ...]


def configure_node(
    request: NodeRequest,
    model_name: str | None,
    tournament: int | None,
    *,
    api: NumeraiApi,
    store: StateStore,
    provider_named: Callable[[str], Provider],
    report: Report,
    agree: Callable[[list[str]], None],
    insist: Callable[[str], None],
    dry_run: bool = False,
) -> Plan | Configured:
    """Make a node what the request says and return it, or with `dry_run` only the plan.

    `agree` is given what a provider says before it makes things that are billed, `insist` why the node cannot work yet
    (its model has an assigned pickle); each raises when the person does not want to go on, and nothing has been touched
    then. One command at a time changes a node: `NumeraiError` with code `busy` otherwise.
    """
    refuse_legacy(store)
    model = resolve_model(api, model_name, tournament)
    node = decide_node(request, model, None)
    if request.data_version is not None and node.data_version not in (None, NEWEST_DATA):
        _check_served(node.data_version, api.data_versions(model.tournament))
    with store.node_lock(node.name):
        node = decide_node(request, model, store.nodes().get(node.name))
        provider = provider_named(node.provider)
        plan = plan_configure(request, node, model, provider, api, store, report)
        preview = provider.preview(node) if isinstance(provider, PreviewsChanges) else []
        if dry_run:
            return replace(plan, notes=(*preview, *plan.notes))
        if model.pickle is not None:
            insist(f"{model.name}: {PICKLE_ASSIGNED}.")
        if preview:
            agree(preview)
        plan.carry_out(report)
        return Configured(store.nodes()[node.name], _registers(request, node, model, provider, api), plan.notes)


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
            f"Run `numerai node -m {model.name} destroy` before you move it to {provider}.",
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
    return Node(
        name=name,
        model_name=model.name,
        model_id=model.id,
        tournament=Tournament(model.tournament).value,
        provider=provider,
        path=str(_folder(request, existing)),
        cpu=cpu,
        memory_mib=memory_mib,
        timeout_minutes=timeout,
        cron=cron,
        webhook_url=existing.webhook_url if existing else None,
        data_version=_data_version(request.data_version, existing),
    )


def plan_configure(
    request: NodeRequest,
    node: Node,
    model: Model,
    provider: Provider,
    api: NumeraiApi,
    store: StateStore,
    report: Report,
) -> Plan:
    """The steps that make the node what it should be. Checks everything that can be checked before. Can be carried out
    again: what an interrupted call has done is found and finished."""
    folder, provisioned = Path(node.path), [node]

    def provision() -> None:
        check_source(folder, home=store.home)
        if node.name not in store.nodes():  # so that `destroy` knows it whatever ends this call
            store.save_node(node)
        provisioned[0] = provider.configure(node, report)

    steps: list[tuple[str, Callable[[], object]]] = []
    notes: list[str] = []
    if request.example:
        check_place(folder, home=store.home)
        check_tournament(request.example, node.tournament)
        example = plan_scaffold(request.example, folder)
        copy = f"copy the example {example.example} to {folder} ({counted(len(example.new), 'file')})"
        steps.append((copy, lambda: scaffold(example)))
    else:
        check_source(folder, home=store.home)
    what = f"{node.cpu:g} vCPU, {node.memory_mib / 1024:g} GiB, at most {counted(node.timeout_minutes, 'minute')}"
    when = f", cron '{node.cron}' (UTC)" if node.cron else ""
    steps.append((f"provision {node.name} on {node.provider}: {what}{when}", provision))
    steps.append((f"record {node.name} in {store.nodes_path}", lambda: store.save_node(provisioned[0])))
    if _registers(request, node, model, provider, api):
        register = f"register the webhook of {node.model_name} with Numerai"
        steps.append((register, lambda: api.set_webhook(node.model_id, provisioned[0].webhook_url)))
    elif model.pickle is not None:
        notes.append(f"{model.name}: {PICKLE_ASSIGNED}. No webhook is registered. To change that: {UNASSIGN_PICKLE}.")
    elif node.cron:
        notes.append("It runs by its schedule; the webhook is not registered (--register-webhook does it).")
        if model.webhook is not None and model.webhook in (node.webhook_url, provider.webhook_url(node.name)):
            steps.append(
                (f"take the webhook of {node.model_name} off Numerai", lambda: api.set_webhook(node.model_id, None))
            )
        elif model.webhook is not None:
            notes.append(f"Numerai also calls another address for {node.model_name}: look at it on https://numer.ai.")
    else:
        notes.append(
            "Numerai cannot reach this machine, so no webhook is registered. The daemon starts the node when a round "
            "opens (`numerai daemon start`), or --cron at a time of yours; with a tunnel to this machine, "
            "`numerai setup --public-url URL` and config again."
        )
    return Plan(tuple(steps), tuple(notes))


def _registers(request: NodeRequest, node: Node, model: Model, provider: Provider, api: NumeraiApi) -> bool:
    """Whether Numerai is to call the node's webhook."""
    if model.pickle is not None:
        return False
    return request.register_webhook or (not node.cron and provider.reachable_by(api.url))


def _data_version(wanted: str | None, existing: Node | None) -> str | None:
    if wanted is None:
        return existing.data_version if existing else None
    if wanted not in (NEWEST_DATA, TRAINED_DATA) and not _DATA_VERSION.fullmatch(wanted):
        raise UsageError(
            f"--data-version must be a version such as v5.3, or {NEWEST_DATA} or {TRAINED_DATA}, not '{wanted}'."
        )
    return None if wanted == TRAINED_DATA else wanted


def _check_served(version: str | None, data: DataVersions) -> None:
    if version not in data.served:
        raise UsageError(
            f"Numerai serves no data version {version} for this tournament.", f"There are: {', '.join(data.served)}."
        )


def _folder(request: NodeRequest, existing: Node | None) -> Path:
    if request.path is not None:
        return request.path.expanduser().resolve()
    if existing:  # an example goes into its folder: a node is moved by --path only
        return Path(existing.path)
    if request.example:
        return (Path.cwd() / request.example).resolve()
    return Path.cwd().resolve()


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
        if not 0.1 <= cpu <= 192:
            raise UsageError(f"--cpu must be from 0.1 to 192 vCPUs, not {request.cpu:g}.")
    if request.memory is not None:
        memory_mib = int(request.memory if request.memory >= _MIB_FROM else request.memory * 1024)
        if memory_mib < 64:
            raise UsageError(f"--memory must be at least 64 MiB, not {request.memory:g}.")
    return cpu, memory_mib


def refuse_legacy(store: StateStore) -> None:
    """Raise before anything is touched when the home folder still belongs to the official tool."""
    if store.is_legacy():
        raise NumeraiError(
            f"{store.home} holds nodes or keys of the official numerai-cli.",
            "Run `numerai upgrade` first: it converts them and keeps a backup.",
            code="needs-upgrade",
        )
