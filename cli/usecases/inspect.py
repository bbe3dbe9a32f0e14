"""What is known about nodes: how they stand, and what their runs printed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..counting import counted
from ..errors import EnvironmentNotReady, NumeraiError
from ..models import (
    OFFICIAL_PROVIDER,
    Check,
    CheckStatus,
    Deployment,
    LogLine,
    Model,
    Node,
    Run,
    WebhookCall,
    in_official_cluster,
)
from ..names import plainly
from ..ports import NotHere, Provider, StateStore
from ..watching.gate import findings_of
from ..watching.training import Training, training_of

KEYS_OF_ACCOUNT = "Run `numerai setup` with the keys of the account that has the model."


@dataclass(frozen=True)
class NodeStatus:
    """A node, what it runs, whether its folder has changed since, and its latest runs and webhook calls. `moved` tells
    that it is served at another address now than Numerai was given; `training` is there where its model is trained
    again by its age; `findings` is what the gate has found in the latest run's predictions. `not_here` is why none of
    that can be seen, where this tool does not have the provider."""

    node: Node
    deployment: Deployment | None
    changed_since_deploy: bool
    runs: tuple[Run, ...]
    webhook_calls: tuple[WebhookCall, ...]
    moved: bool = False
    training: Training | None = None
    not_here: str | None = None
    findings: tuple[str, ...] = ()


def node_status(node: Node, provider: Provider, limit: int = 5) -> NodeStatus:
    """How one node stands. Asks the provider only."""
    runs = tuple(provider.runs(node.name, limit))
    return NodeStatus(
        node,
        provider.deployment(node.name),
        changed_since_deploy(node, provider),
        runs,
        tuple(provider.webhook_calls(node.name, limit)),
        has_moved(node, provider),
        training_of(node, provider),
        provider.not_here if isinstance(provider, NotHere) else None,
        findings_of(provider, runs[0].id) if runs else (),
    )


def has_moved(node: Node, provider: Provider) -> bool:
    """Whether the node is served at another address now than Numerai was given."""
    if node.webhook_url is None or in_official_cluster(node):
        return False
    return provider.webhook_url(node.name) not in (None, node.webhook_url)


def half_moved(node: Node) -> str:
    """That a move of the node to another provider was not finished."""
    return f"{node.name} is on {node.provider} and on {node.also_on}, as a move between them was not finished."


class Placed(Protocol):
    """Whatever is on a provider, and on a second one where a move was not finished."""

    @property
    def provider(self) -> str: ...

    @property
    def also_on(self) -> str | None: ...


def places(node: Placed) -> tuple[str, ...]:
    """Every provider that may hold something of a node: its own, and the other one where a move between them was not
    finished."""
    return (node.provider,) if node.also_on is None else (node.provider, node.also_on)


def absent_places(node: Placed, provider_named: Callable[[str], Provider]) -> dict[str, str]:
    """The providers of a node that this tool does not have, by their names: why nothing of it can be seen there."""
    sides = {name: provider_named(name) for name in places(node)}
    return {name: side.not_here for name, side in sides.items() if isinstance(side, NotHere)}


def require_provider(node: Node, provider: Provider) -> Provider:
    """The node's provider. `EnvironmentNotReady` with code `not-runnable-here` where this tool does not have it."""
    if isinstance(provider, NotHere):
        raise provider.refusal(node)
    return provider


def unseen(node: Node, provider: Provider) -> str | None:
    """That nothing of a node can be seen, as this tool does not have its provider; None where it has."""
    if not isinstance(provider, NotHere):
        return None
    return f"{node.name} on {node.provider} cannot be seen from here: {provider.not_here}."


def where_it_is(node: Placed) -> str:
    """All places of a node, in words."""
    return " and ".join(places(node))


def finish_move(node: Node, provider_named: Callable[[str], Provider]) -> str:
    """The commands that finish it, one way or the other; none names a provider that this tool does not have."""
    ways = {str(node.also_on): "goes on with it or goes back", node.provider: "leaves it here"}
    absent = absent_places(node, provider_named)
    there = [f"{move_command(node, name)} {way}" for name, way in ways.items() if name not in absent]
    if not there:
        return f"{forget_command(node.name)} removes its record; what they hold stays."
    return ", ".join(there) + "."


def move_command(node: Node, provider: str) -> str:
    """The command that brings a node to a provider, as a hint has it."""
    return f"`numerai node -m {node.name} config -P {provider}`"


def refuse_half_moved(nodes: Iterable[Node], provider_named: Callable[[str], Provider]) -> None:
    """`EnvironmentNotReady` with code `half-moved` while one of these is left between two providers."""
    for node in nodes:
        if node.also_on is not None:
            raise EnvironmentNotReady(half_moved(node), finish_move(node, provider_named), code="half-moved")


def move_check(node: Node, provider_named: Callable[[str], Provider]) -> Check | None:
    """That a node is on two providers; None where it is not."""
    if node.also_on is None:
        return None
    return Check("move", CheckStatus.WARNING, half_moved(node), finish_move(node, provider_named))


def not_in_account(node: Node) -> str:
    """Why Numerai says nothing of a node's model."""
    return f"the account of these keys has no model {node.model_name}: it is another account's, or it was deleted"


def is_own_webhook(address: str | None, node: Node, *served: str | None) -> bool:
    """Whether an address is one that this home has registered for the node, or would register as it is `served` now:
    it is the recorded one, or ends in the same name and token, which are made once and kept, wherever it leads."""
    ours = [url for url in (node.webhook_url, *served) if url]
    ends = [url[url.rindex(f"/{node.name}/") :] for url in ours if f"/{node.name}/" in url]
    return address is not None and (address in ours or any(address.endswith(end) for end in ends))


def runs_officially(node: Node, provider: Provider) -> bool:
    """Whether a node is run by what the official tool has made on a provider, where this tool has deployed nothing."""
    if node.legacy is None or str(node.legacy.get("provider", OFFICIAL_PROVIDER)).strip().lower() != provider.name:
        return False
    return provider.deployment(node.name) is None


def called_officially(model: Model, node: Node) -> bool:
    """Whether Numerai calls what the official tool has made for a node."""
    return model.webhook is not None and model.webhook == (node.legacy or {}).get("webhook_url")


def changed_since_deploy(node: Node, provider: Provider) -> bool:
    """Whether what the node is built from holds something else than what was deployed."""
    deployment = provider.deployment(node.name)
    if deployment is None or not Path(node.path).is_dir():
        return False
    return provider.source_hash(node) != deployment.source_hash


def beside_the_folder(node: Node, provider_of: Callable[[Node], Provider]) -> list[str]:
    """What whoever has run the folder itself must know of what is deployed; nothing where that is the same."""
    deploy = f"numerai node -m {node.name} deploy"
    try:
        provider = require_provider(node, provider_of(node))
        if provider.deployment(node.name) is None:
            return [f"{node.name} is not deployed: no round runs it before `{deploy}`."]
        if not changed_since_deploy(node, provider):
            return []
    except NumeraiError as error:
        return [f"Whether this is what is deployed is not known: {error.message}"]
    return [f"The folder has changed: the next round runs what was deployed before. `{deploy}` takes the changes over."]


def list_nodes(store: StateStore) -> list[Node]:
    """Every configured node, by name. Touches nothing but nodes.json."""
    return [node for _, node in sorted(store.nodes().items())]


def cannot_be_used(store: StateStore) -> dict[str, str]:
    """Every record that is no node this tool can use, by its name: why, and what leads out."""
    return {
        name: f"{plainly(name)} cannot be used: {why} {forget_command(name)} removes its record."
        for name, why in sorted(store.unusable_nodes().items())
    }


def forget_command(name: str) -> str:
    """The command that removes a record, as a hint has it."""
    return f"`numerai node forget {'-- ' if name.startswith('-') else ''}{plainly(name)}`"


def unusable_note(store: StateStore) -> str | None:
    """That there are records which are no nodes; None where there are none."""
    names = sorted(store.unusable_nodes())
    if not names:
        return None
    listed = ", ".join(map(plainly, names))
    return f"{counted(len(names), 'record')} in nodes.json cannot be used: {listed}. `numerai node list` says why."


def latest_run(node: Node, provider: Provider) -> Run | None:
    """The node's latest run; None when it has not run yet."""
    return next(iter(provider.runs(node.name, limit=1)), None)


def run_log(
    node: Node, provider: Provider, *, run_id: str | None, last: int | None, follow: bool
) -> tuple[Run | None, Iterator[LogLine]]:
    """The log of a run, by default the node's latest: all lines, or the `last` ones, and with `follow` what comes
    until the run has ended. The run is None when the node has not run yet."""
    run = provider.run(run_id) if run_id is not None else latest_run(node, provider)
    if run is None:
        return None, iter(())
    if not follow:
        return run, iter(deque(provider.logs(run.id), maxlen=last))
    return run, _follow(provider, run.id, last)


def _follow(provider: Provider, run_id: str, last: int | None) -> Iterator[LogLine]:
    already = sum(1 for _ in provider.logs(run_id))
    skip = max(0, already - last) if last else 0
    for number, line in enumerate(provider.logs(run_id, follow=True)):
        if number >= skip:
            yield line
