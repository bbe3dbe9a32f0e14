"""Where Numerai calls a node, against where the node is served now, and whether that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ..addresses import origin
from ..errors import NumeraiError
from ..models import MOVE_AWS, Check, CheckStatus, Model, Node, in_official_cluster
from ..ports import NotHere, NumeraiApi, Provider, Report, RunByNumerai, ServesWebhooks, StateStore
from .configure import PICKLE_ASSIGNED, UNASSIGN_PICKLE
from .hosting import upload_check
from .inspect import (
    KEYS_OF_ACCOUNT,
    finish_move,
    half_moved,
    has_moved,
    is_own_webhook,
    not_in_account,
)

FIX_WEBHOOK, FIX_RESTART = "webhook", "restart-daemon"
"""What `doctor --fix` may do by itself (see doctor.py)."""


def webhook_check(
    node: Node,
    model: Model | None,
    provider_named: Callable[[str], Provider],
    api_url: str,
    followed: Callable[[], bool],
) -> Check:
    """How it stands with what starts the node's runs. `followed` tells whether a watcher does.

    Raises `NumeraiError` where the provider cannot say what it serves.
    """
    provider = provider_named(node.provider)
    if model is None:
        end = f"forget {node.name}" if isinstance(provider, NotHere) else f"-m {node.name} destroy --force"
        mend = f"{KEYS_OF_ACCOUNT} Only if it was deleted: numerai node {end}"
        return Check("webhook", CheckStatus.FAILED, not_in_account(node), mend)
    if isinstance(provider, RunByNumerai):
        return upload_check(node, model, provider)
    if model.pickle is not None:
        return Check("model upload", CheckStatus.FAILED, PICKLE_ASSIGNED, UNASSIGN_PICKLE)
    if isinstance(provider, NotHere):
        calls = "Numerai calls it there" if model.webhook == node.webhook_url else "Numerai does not call it there"
        why = f"{calls}; whether it answers cannot be seen here"
        return Check("webhook", CheckStatus.WARNING, why if model.webhook else "Numerai calls nobody")
    served, not_yet = provider.webhook_url(node.name), why_not_called(node, provider_named)
    if not_yet is not None and in_official_cluster(node):
        return Check("webhook", CheckStatus.FAILED, *not_yet)
    if node.cron and model.webhook is None:
        return Check("webhook", CheckStatus.OK, "not registered: the node runs by its schedule")
    if node.cron and model.webhook not in (served, node.webhook_url):
        why = "the node runs by its schedule, and Numerai calls another address for the model"
        return Check("webhook", CheckStatus.WARNING, why, "look at the model's webhook on https://numer.ai")
    if not_yet is not None and (served is None or node.webhook_url is None):
        return Check("webhook", CheckStatus.FAILED, *not_yet)
    if not provider.reachable_by(api_url):
        why = f"{api_url} cannot call this machine"
        if followed():
            return Check("webhook", CheckStatus.OK, f"{why}; the watcher starts the node when a round opens")
        mend = "numerai daemon start, or numerai setup --public-url URL"
        return Check("webhook", CheckStatus.WARNING, why, mend)
    if model.webhook != served:
        return _other_address(node, model.webhook, str(served), not_yet)
    silence = provider.silence() if isinstance(provider, ServesWebhooks) else None
    if silence is None:
        answers = ", and it answers" if isinstance(provider, ServesWebhooks) else ""
        return Check("webhook", CheckStatus.OK, f"Numerai calls it{answers}")
    fix = FIX_RESTART if silence.elsewhere else None
    mend = "numerai doctor --fix" if fix else silence.mend
    return Check("webhook", CheckStatus.FAILED, f"Numerai calls it, but {silence.why}", mend, None, fix)


def why_not_called(node: Node, provider_named: Callable[[str], Provider]) -> tuple[str, str] | None:
    """Why Numerai must not be given the address at which the node is served now, and the command to run instead; None
    where it may. A round in which Numerai calls what cannot run yet is a missed one."""
    provider = provider_named(node.provider)
    if node.also_on is not None:
        return half_moved(node).rstrip("."), finish_move(node, provider_named)
    if in_official_cluster(node):
        return f"the move of {node.name} from the official tool's cluster is not finished", MOVE_AWS
    if node.webhook_url is None or provider.webhook_url(node.name) is None:
        return "the node was never provisioned to its end", f"numerai node -m {node.name} config"
    if provider.deployment(node.name) is None:
        return f"{node.name} is not deployed", f"numerai node -m {node.name} deploy"
    return None


def register(
    node: Node, provider_named: Callable[[str], Provider], api: NumeraiApi, store: StateStore, report: Report
) -> None:
    """Let Numerai call the node where it is served now, and let it be served there. `NumeraiError` with code
    `not-to-be-called` where it could not run."""
    provider = provider_named(node.provider)
    if (not_yet := why_not_called(node, provider_named)) is not None:
        why, mend = not_yet
        raise NumeraiError(
            f"Its webhook is left as it is: {why}.", f"Run this instead: {mend}", code="not-to-be-called"
        )
    served = provider.webhook_url(node.name)
    api.set_webhook(node.model_id, served)
    store.save_node(replace(node, webhook_url=served))
    restart_if_elsewhere(provider, report)


def restart_if_elsewhere(provider: Provider, report: Report) -> None:
    """Start again what serves the webhooks, where it serves another address than the one that counts now."""
    if isinstance(provider, ServesWebhooks) and (silence := provider.silence()) is not None and silence.elsewhere:
        provider.restart(report)


def moved(nodes: Iterable[Node], provider: Provider) -> list[str]:
    """The nodes that Numerai was given another address for than they are served at by the settings as they are."""
    return [node.name for node in nodes if node.provider == provider.name and has_moved(node, provider)]


def moved_note(nodes: Iterable[Node], provider: Provider) -> str | None:
    """What to do when a setting has changed the address of webhooks that are registered; None when none has moved."""
    names = moved(nodes, provider)
    if not names:
        return None
    return (
        f"The webhooks have another address now, and must be registered again: Numerai still calls the old one of"
        f" {', '.join(names)}. Run `numerai doctor --fix`: it starts the daemon again and registers them."
    )


def elsewhere_note(provider: Provider) -> str | None:
    """What to do when a webhook was registered that is not served yet; None where it is, or only has to be started."""
    silence = provider.silence() if isinstance(provider, ServesWebhooks) else None
    if silence is None or not silence.elsewhere:
        return None
    return (
        f"Numerai's calls will not arrive yet: {silence.why}. Run `numerai doctor --fix`: it starts the daemon again."
    )


def _other_address(node: Node, called: str | None, served: str, not_yet: tuple[str, str] | None) -> Check:
    """That Numerai does not call a node where it is served, and what leads out."""
    why = _differs(called, served) if called else "Numerai calls nobody"
    if not_yet is not None:
        return Check("webhook", CheckStatus.FAILED, f"{why}; {not_yet[0]}", not_yet[1])
    if called is not None and not is_own_webhook(called, node, served):
        mend = f"numerai node -m {node.name} config, which asks before it takes the webhook from there"
        return Check("webhook", CheckStatus.FAILED, why, mend)
    return Check("webhook", CheckStatus.FAILED, why, "numerai doctor --fix", None, FIX_WEBHOOK)


def _differs(called: str, served: str) -> str:
    before, now = origin(called), origin(served)
    if before == now:
        return f"Numerai calls another address at {now} than the node's own: one of another home or an earlier node"
    return f"Numerai calls another address ({before}) than the one that the node is served at ({now})"
