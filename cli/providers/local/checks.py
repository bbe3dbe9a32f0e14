"""What `numerai doctor` finds out about nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from ...errors import NumeraiError
from ...files.database import DatabaseUnusable
from ...models import Check, CheckStatus, Node
from ..checks import deployment_check, last_run_check
from .daemon import RESTART, daemon_differs, daemon_status, how_to_end
from .executor import Executor
from .parts import LocalParts
from .process_executor import home_disk

OVERDUE = timedelta(minutes=5)
"""How long after its deadline a run that still goes on counts as stuck."""


def local_checks(parts: LocalParts, nodes: Iterable[Node], hash_of: Callable[[Node], str]) -> Iterator[Check]:
    """The daemon, the database, the executor in use, and every node's deployment and runs."""
    from .service import service_check

    nodes, used = list(nodes), []
    if parts.paths.database.exists():  # looking must not make one
        try:
            used = parts.used_executors()
        except NumeraiError as error:
            yield Check("local database", CheckStatus.FAILED, error.message, error.hint)
            if isinstance(error, DatabaseUnusable):  # its disk may be full
                yield home_disk(parts.paths)
            return
        yield Check("local database", CheckStatus.OK, f"{parts.paths.database} is readable")
    yield _daemon(parts, needed=bool(nodes))
    yield service_check(parts.context.home, needed=bool(nodes))
    try:
        chosen = parts.choice.for_new_nodes()
    except NumeraiError as error:
        yield Check("executor", CheckStatus.FAILED, error.message, error.hint)
        return
    for executor in {chosen.name: chosen, **{executor.name: executor for executor in used}}.values():
        yield from executor.checks()
    yield from _rehearsals(parts, used)
    for node in nodes:
        yield _deployment(parts, node, hash_of)
        yield last_run_check(node, parts.store.runs(node.name, 20), parts.context.clock.now())
        yield from _stuck(parts, node)


def _daemon(parts: LocalParts, *, needed: bool) -> Check:
    name, status = "daemon", daemon_status(parts.context)
    if status.answering and needed and urlsplit(status.url or "").port != parts.port:
        why = f"answers on {status.url}, but by the settings as they are now it is to serve port {parts.port}"
        return Check(name, CheckStatus.FAILED, why, "numerai doctor --fix", safe_fix="restart-daemon")
    if status.answering and (differs := daemon_differs(parts)):
        severity = CheckStatus.FAILED if needed else CheckStatus.WARNING
        return Check(name, severity, f"answers on {status.url}, but {'; '.join(differs)}", RESTART)
    if status.answering:
        return Check(name, CheckStatus.OK, f"answers on {status.url} (pid {status.pid})")
    if status.running:
        return Check(name, CheckStatus.FAILED, f"runs (pid {status.pid}), but does not answer", how_to_end(status))
    if not needed:
        return Check(name, CheckStatus.OK, "does not run, and need not: no node is configured here")
    return Check(
        name,
        CheckStatus.FAILED,
        "does not run: no webhook answers and no run starts",
        "numerai daemon start",
        safe_fix="start-daemon",
    )


def _rehearsals(parts: LocalParts, used: Iterable[Executor]) -> Iterator[Check]:
    """Removes what killed runs in the foreground have left: containers hold keys in their configuration."""
    name = "killed tests"
    try:
        removed = parts.rehearsals.remove_abandoned(used)
    except NumeraiError as error:
        yield Check(name, CheckStatus.WARNING, f"what they left cannot be removed: {error.message}", error.hint)
        return
    if removed:
        yield Check(name, CheckStatus.OK, f"what {len(removed)} of them left is removed: {', '.join(removed)}")


def _deployment(parts: LocalParts, node: Node, hash_of: Callable[[Node], str]) -> Check:
    stored = parts.store.deployment(node.name)
    try:
        return deployment_check(
            node,
            stored.deployment if stored else None,
            lambda: stored is not None and parts.executor(stored.executor).present(stored.reference),
            hash_of,
        )
    except NumeraiError as error:
        return Check("deployment", CheckStatus.FAILED, error.message, error.hint, node.name)


def _stuck(parts: LocalParts, node: Node) -> Iterator[Check]:
    now = parts.context.clock.now()
    for job in parts.store.active(node.name):
        if job.deadline is not None and now - job.deadline > OVERDUE:
            why = f"run {job.run.id} should have ended {now - job.deadline} ago"
            yield Check("stuck run", CheckStatus.FAILED, why, "numerai daemon start", node.name)
