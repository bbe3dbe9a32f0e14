"""Builds what a node runs and puts it in place, or puts an earlier one back."""

from __future__ import annotations

from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..models import Deployment, Node
from ..ports import Provider, Report, RollsBack, StateStore
from ..source import check_source


def deploy_node(node: Node, provider: Provider, store: StateStore, report: Report, *, force: bool) -> Deployment:
    """Build and put in place. Nothing is built when nothing has changed, unless forced; a failed build leaves what is
    deployed as it was. One command at a time changes a node."""
    check_source(Path(node.path), home=store.home)
    with store.node_lock(node.name):
        return provider.deploy(node, force=force, report=report)


def plan_deploy(node: Node, provider: Provider, store: StateStore, *, force: bool) -> list[str]:
    """What a deploy would do, in words."""
    check_source(Path(node.path), home=store.home)
    current = provider.deployment(node.name)
    if current and not force and current.source_hash == provider.source_hash(node):
        return [f"nothing: {node.path} has not changed since the last deploy"]
    return [f"build {node.path} for {node.provider}", f"replace {current.image}" if current else "deploy it"]


def choose_earlier(node: Node, provider: Provider, tag: str | None) -> str:
    """The tag to go back to: the given one, which must be known, or the latest one that does not run now."""
    if not isinstance(provider, RollsBack):
        raise NumeraiError(
            f"The provider {provider.name} keeps no earlier images to go back to.",
            "Deploy the earlier source instead.",
            code="not-supported",
        )
    known = provider.history(node.name)
    current = provider.deployment(node.name)
    earlier = [other for other in known if current is None or not current.image.endswith(f":{other}")]
    if tag is None:
        if not earlier:
            raise NumeraiError(f"{node.name} has no earlier image to go back to.", code="no-earlier-image")
        return earlier[0]
    if tag not in known:
        raise UsageError(
            f"{node.name} has no image {tag}.", f"It has: {', '.join(known) or 'none'}.", code="no-such-image"
        )
    return tag


def roll_back(node: Node, provider: Provider, store: StateStore, tag: str) -> Deployment:
    """Let the image of that tag run again. One command at a time changes a node."""
    if not isinstance(provider, RollsBack):
        raise NumeraiError(f"The provider {provider.name} cannot go back.", code="not-supported")
    with store.node_lock(node.name):
        return provider.roll_back(node.name, tag)
