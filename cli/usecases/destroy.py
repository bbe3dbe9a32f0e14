"""Takes a node out of service: Numerai stops calling it, the provider removes what it holds, then it is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import ApiError, ProviderError
from ..models import Node
from ..ports import NumeraiApi, Provider, Report, StateStore
from .configure import refuse_legacy
from .plan import Plan


def destroy_node(
    node: Node,
    *,
    api: Callable[[], NumeraiApi],
    store: StateStore,
    provider: Provider,
    report: Report,
    warn: Report,
    force: bool = False,
    keep_config: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Remove a node and return the plan that was carried out (with `dry_run`: that would be).

    The order loses nothing: what fails stays recorded, and the next call goes on from there. With `force` an active
    run is ended and an unreachable Numerai is no obstacle. The user's folder is never touched.
    """
    refuse_legacy(store)
    held = f"remove everything {node.provider} holds for {node.name} (the folder {node.path} stays)"
    plan = Plan(
        (
            (f"clear the webhook of {node.model_name} at Numerai", lambda: _clear(node, api, force, warn)),
            (held, lambda: provider.destroy(node.name, force=force, report=report)),
            (
                f"record {node.name} in {store.nodes_path}",
                lambda: store.save_node(replace(node, webhook_url=None)),
            )
            if keep_config
            else (f"remove {node.name} from {store.nodes_path}", lambda: store.forget_node(node.name)),
        )
    )
    if dry_run:
        return plan
    with store.node_lock(node.name):
        if not force:
            refuse_while_active(provider, node)
        plan.carry_out(report)
    return plan


def refuse_while_active(provider: Provider, node: Node) -> None:
    """Raise before anything is changed when a run of the node is active."""
    for run in provider.runs(node.name, limit=5):
        if not run.state.final:
            raise ProviderError(
                f"Run {run.id} of {node.name} is {run.state.value}.",
                "Wait for its end, or add --force to stop it and destroy the node.",
                code="run-active",
            )


def _clear(node: Node, api: Callable[[], NumeraiApi], force: bool, warn: Report) -> None:
    if node.webhook_url is None:
        return
    try:
        client = api()
        registered = {model.id: model.webhook for model in client.models()}
        if registered.get(node.model_id) == node.webhook_url:
            client.set_webhook(node.model_id, None)
    except ApiError as error:
        if not force:
            error.hint = f"{error.hint or ''} With --force the node is destroyed without telling Numerai.".strip()
            raise
        warn(f"The webhook stays registered with Numerai: {error.message}")
