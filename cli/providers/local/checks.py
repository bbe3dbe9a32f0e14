"""What `numerai doctor` finds out about nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from ...errors import NumeraiError
from ...models import Check, CheckStatus, Node, RunState
from .daemon import daemon_status
from .parts import LocalParts

OVERDUE = timedelta(minutes=5)
"""How long after its deadline a run that still goes on counts as stuck."""


def local_checks(parts: LocalParts, nodes: Iterable[Node], hash_of: Callable[[Node], str]) -> Iterator[Check]:
    """The daemon, the database, the executor in use, and every node's deployment and runs."""
    nodes, used = list(nodes), []
    if parts.paths.database.exists():  # looking must not make one
        try:
            used = parts.used_executors()
        except NumeraiError as error:
            yield Check("local database", CheckStatus.FAILED, error.message, error.hint)
            return
        yield Check("local database", CheckStatus.OK, f"{parts.paths.database} is readable")
    yield _daemon(parts, needed=bool(nodes))
    try:
        chosen = parts.choice.for_new_nodes()
    except NumeraiError as error:
        yield Check("executor", CheckStatus.FAILED, error.message, error.hint)
        return
    for executor in {chosen.name: chosen, **{executor.name: executor for executor in used}}.values():
        yield from executor.checks()
    for node in nodes:
        yield _deployment(parts, node, hash_of)
        yield _last_run(parts, node)
        yield from _stuck(parts, node)


def _daemon(parts: LocalParts, *, needed: bool) -> Check:
    name, status = "daemon", daemon_status(parts.context)
    if status.answering and needed and urlsplit(status.url or "").port != parts.port:
        why = f"answers on {status.url}, but by the settings as they are now it is to serve port {parts.port}"
        return Check(name, CheckStatus.FAILED, why, "numerai doctor --fix", safe_fix="restart-daemon")
    if status.answering:
        return Check(name, CheckStatus.OK, f"answers on {status.url} (pid {status.pid})")
    if status.running:
        return Check(name, CheckStatus.FAILED, "runs, but does not answer", "numerai daemon stop; numerai daemon start")
    if not needed:
        return Check(name, CheckStatus.OK, "does not run, and need not: no node is configured here")
    return Check(
        name,
        CheckStatus.FAILED,
        "does not run: no webhook answers and no run starts",
        "numerai daemon start",
        safe_fix="start-daemon",
    )


def _deployment(parts: LocalParts, node: Node, hash_of: Callable[[Node], str]) -> Check:
    name, mend = "deployment", f"numerai node -m {node.model_name} deploy"
    stored = parts.store.deployment(node.name)
    if stored is None:
        return Check(name, CheckStatus.FAILED, "was never deployed", mend, node.name)
    try:
        if not parts.executor(stored.executor).present(stored.reference):
            return Check(name, CheckStatus.FAILED, f"{stored.deployment.image} is gone", mend, node.name)
    except NumeraiError as error:
        return Check(name, CheckStatus.FAILED, error.message, error.hint, node.name)
    if not Path(node.path).is_dir():
        return Check(name, CheckStatus.WARNING, f"the folder {node.path} is gone", None, node.name)
    if hash_of(node) != stored.deployment.source_hash:
        return Check(name, CheckStatus.WARNING, "the source has changed since the last deploy", mend, node.name)
    return Check(name, CheckStatus.OK, f"{stored.deployment.image} is built from the current source", None, node.name)


def _last_run(parts: LocalParts, node: Node) -> Check:
    name, runs = "last run", parts.store.runs(node.name, 1)
    if not runs:
        return Check(name, CheckStatus.OK, "there was none yet", None, node.name)
    run = runs[0]
    if run.state is RunState.FAILED:
        why = f"run {run.id} failed: {run.message}"
        return Check(name, CheckStatus.WARNING, why, f"numerai node -m {node.model_name} logs", node.name)
    return Check(name, CheckStatus.OK, f"run {run.id}: {run.state.value}", None, node.name)


def _stuck(parts: LocalParts, node: Node) -> Iterator[Check]:
    now = parts.context.clock.now()
    for job in parts.store.active(node.name):
        if job.deadline is not None and now - job.deadline > OVERDUE:
            why = f"run {job.run.id} should have ended {now - job.deadline} ago"
            yield Check("stuck run", CheckStatus.FAILED, why, "numerai daemon start", node.name)
