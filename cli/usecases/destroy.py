"""Takes a node out of service: Numerai stops calling it, the provider removes what it holds, then it is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..addresses import origin
from ..errors import ApiError, NumeraiError, ProviderError
from ..models import DEFAULT_PROVIDER, MOVE_AWS, OFFICIAL_PROVIDER, Node
from ..ports import NotHere, NumeraiApi, Provider, Report, RunByNumerai, StateStore
from .configure import refuse_legacy
from .inspect import (
    KEYS_OF_ACCOUNT,
    absent_places,
    cannot_be_used,
    forget_command,
    is_own_webhook,
    list_nodes,
    not_in_account,
    places,
    where_it_is,
)
from .plan import Plan, Step

FORCED = "With --force the node is destroyed without telling Numerai."


def destroy_node(
    node: Node,
    *,
    api: Callable[[], NumeraiApi],
    store: StateStore,
    provider_named: Callable[[str], Provider],
    report: Report,
    warn: Report,
    force: bool = False,
    keep_config: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Remove a node and return the plan that was carried out (with `dry_run`: that would be).

    The order loses nothing: what fails stays recorded, and the next call goes on from there. Nothing is removed while
    Numerai cannot be told, because it is unreachable or because the keys are another account's. With `force` that is no
    obstacle, and an active run is ended. The user's folder is never touched. Of a node that a move has left on two
    providers both sides go; what a provider holds that is not there stays, and is said. One at least must be there.
    """
    refuse_legacy(store)
    absent = absent_places(node, provider_named)
    sides = [provider_named(name) for name in places(node) if name not in absent]
    if not sides and isinstance(gone := provider_named(node.provider), NotHere):
        raise gone.refusal(node)
    plan = Plan(
        (
            *_clearing(node, api, force, warn, sides),
            *(_removing(node, side, force, report) for side in sides),
            (
                f"record {node.name} in {store.nodes_path}",
                lambda: store.save_node(replace(node, webhook_url=None, also_on=None)),
            )
            if keep_config
            else (f"remove {node.name} from {store.nodes_path}", lambda: store.forget_node(node.name)),
        ),
        what_stays(node, provider_named),
    )
    if dry_run:
        return plan
    with store.node_lock(node.name):
        for side in () if force else sides:
            refuse_while_active(side, node, "add --force to stop it and destroy the node")
        plan.carry_out(report)
    for note in plan.notes:
        warn(note)
    return plan


def cannot_be_removed(store: StateStore, provider_named: Callable[[str], Provider]) -> dict[str, str]:
    """Every record of which nothing can be removed from here, by its name: why, and what leads out."""
    why = cannot_be_used(store)
    for node in list_nodes(store):
        absent = absent_places(node, provider_named)
        if len(absent) == len(places(node)):
            where = where_it_is(node)
            why[node.name] = (
                f"{node.name} on {where} cannot be removed from here: {', '.join(absent.values())}."
                f" {forget_command(node.name)} removes its record; what {where} holds stays."
            )
    return why


def what_stays(node: Node, provider_named: Callable[[str], Provider]) -> tuple[str, ...]:
    """What is to be known before a node is destroyed: that something of it stays."""
    absent = absent_places(node, provider_named)
    return (*official_note(node), *(_stays(node, name, why) for name, why in absent.items()))


def official_note(node: Node) -> tuple[str, ...]:
    """What is to be known of a node that was taken over and never configured here."""
    if node.legacy is None or node.provider == DEFAULT_PROVIDER:
        return ()
    stays = f"What the official tool made for {node.name} on {node.provider} is not touched, and costs what it did"
    if node.provider == OFFICIAL_PROVIDER:
        return (f"{stays} as long as it is there: `{MOVE_AWS}` removes it.",)
    return (f"{stays}: docs/from-numerai-cli.md says how to remove it.",)


def _stays(node: Node, provider: str, why: str) -> str:
    return f"What {provider} holds for {node.name} stays there, and costs what it did: {why}."


def refuse_while_active(provider: Provider, node: Node, otherwise: str | None = None) -> None:
    """Raise before anything is changed when a run of the node is active. `otherwise` says what to do but wait, where
    that is not to end the run."""
    for run in provider.runs(node.name, limit=5):
        if not run.state.final:
            stop = f"stop it with `numerai node -m {node.name} cancel {run.id}`"
            raise ProviderError(
                f"Run {run.id} of {node.name} is {run.state.value}.",
                f"Wait for its end, or {otherwise or stop}.",
                code="run-active",
            )


def _removing(node: Node, side: Provider, force: bool, report: Report) -> Step:
    held = f"remove everything {side.name} holds for {node.name} (the folder {node.path} stays)"
    if isinstance(side, RunByNumerai):
        held = f"ask Numerai to run no upload for {node.name} any more, which only its website may do"
    return held, lambda: side.destroy(node.name, force=force, report=report)


def _clearing(
    node: Node, api: Callable[[], NumeraiApi], force: bool, warn: Report, sides: Sequence[Provider]
) -> tuple[tuple[str, Callable[[], object]], ...]:
    """The step that ends Numerai's calls of the node; none where it has no address, recorded or on any side."""
    served = [side.webhook_url(node.name) for side in sides]
    if not any((node.webhook_url, *served)):
        return ()
    try:
        client = api()
        model = next((model for model in client.models() if model.id == node.model_id), None)
        if model is None:
            raise NumeraiError(f"T{not_in_account(node)[1:]}.", KEYS_OF_ACCOUNT, code="not-in-account")
    except NumeraiError as error:
        stays = _unless_forced(error, force)
        step = f"leave the webhook of {node.model_name} as it is at Numerai, which cannot be told"
        return ((step, lambda: warn(stays)),)
    if not is_own_webhook(model.webhook, node, *served):
        nothing = f"another address ({origin(model.webhook)})" if model.webhook else "nobody"
        return ((f"leave the webhook alone: Numerai calls {nothing} for {node.model_name}", lambda: None),)

    def clear() -> None:
        try:
            client.set_webhook(node.model_id, None)
        except ApiError as error:
            warn(_unless_forced(error, force))

    return ((f"clear the webhook of {node.model_name} at Numerai", clear),)


def _unless_forced(error: NumeraiError, force: bool) -> str:
    """What stays as it is because Numerai cannot be told; that ends a command which is not to go on all the same."""
    if not force:
        error.hint = f"{error.hint or ''} {FORCED}".strip()
        raise error
    return f"The webhook stays registered with Numerai: {error.message}"
