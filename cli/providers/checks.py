"""Findings for `numerai doctor` that are the same wherever a node runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from ..models import Check, CheckStatus, Deployment, Node, Run, RunState

LONG_QUEUED = timedelta(minutes=5)
"""A run that waits longer for its start is held up by something."""


def deployment_check(
    node: Node, deployed: Deployment | None, present: Callable[[], bool], hash_of: Callable[[Node], str]
) -> Check:
    """Whether what was deployed is there, and is built from what is in the node's folder."""
    name, mend = "deployment", f"numerai node -m {node.name} deploy"
    if deployed is None:
        return Check(name, CheckStatus.FAILED, "was never deployed", mend, node.name)
    if not present():
        return Check(name, CheckStatus.FAILED, f"{deployed.image} is gone or damaged", mend, node.name)
    if not Path(node.path).is_dir():
        return Check(name, CheckStatus.WARNING, f"the folder {node.path} is gone", None, node.name)
    if hash_of(node) != deployed.source_hash:
        return Check(name, CheckStatus.WARNING, "the source has changed since the last deploy", mend, node.name)
    return Check(name, CheckStatus.OK, f"{deployed.image} is built from the current source", None, node.name)


def last_run_check(node: Node, runs: Sequence[Run], now: datetime | None = None) -> Check:
    """How the newest of these runs ended that was to submit, or what holds it up. Without `now` a long wait is none."""
    run = next((run for run in runs if not run.is_test), None)
    if run is None:
        return Check("last run", CheckStatus.OK, "there was none yet", None, node.name)
    if run.state is RunState.FAILED:
        why = f"run {run.id} failed: {run.message}"
        return Check("last run", CheckStatus.WARNING, why, f"numerai node -m {node.name} logs", node.name)
    if not run.state.final and run.message:
        why = f"run {run.id} is {run.state.value}: {run.message}"
        return Check("last run", CheckStatus.WARNING, why, None, node.name)
    if now is not None and run.state is RunState.QUEUED and now - run.created_at > LONG_QUEUED:
        why = f"run {run.id} waits for its start since {run.created_at:%Y-%m-%d %H:%M} UTC"
        return Check("last run", CheckStatus.WARNING, why, f"numerai node -m {node.name} status", node.name)
    return Check("last run", CheckStatus.OK, f"run {run.id}: {run.state.value}", None, node.name)
