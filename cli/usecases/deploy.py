"""Builds what a node runs and puts it in place."""

from __future__ import annotations

from pathlib import Path

from ..models import Deployment, Node
from ..ports import Provider, Report, StateStore
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
