"""What `numerai doctor` finds out about nodes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from ...errors import NumeraiError, UsageError
from ...models import Check, CheckStatus, Node
from ...translation import EXPECTED, as_error
from ..checks import deployment_check, last_run_check
from .choice import ExecutorChoice
from .daemon import RESTART, daemon_differs, daemon_status, how_to_end
from .executor import Executor, home_disk_check, writable_check
from .parts import LocalParts

OVERDUE = timedelta(minutes=5)
"""How long after its deadline a run that still goes on counts as stuck."""
_COMPARED = (
    "model_id",
    "path",
    "cpu",
    "memory_mib",
    "timeout_minutes",
    "cron",
    "data_version",
    "capabilities",
    "retrain_days",
)
"""What the database holds of a node that nodes.json holds, too."""


def local_checks(parts: LocalParts, nodes: Iterable[Node], hash_of: Callable[[Node], str]) -> Iterator[Check]:
    """The daemon, the database, the executor in use, and every node's deployment and runs."""
    from .service import service_check

    nodes, used = list(nodes), []
    try:
        choice = parts.choice
    except UsageError as error:  # without settings nothing else can be looked at
        yield Check("settings", CheckStatus.FAILED, error.message, error.hint)
        return
    if parts.paths.database.exists():  # looking must not make one
        try:
            used = parts.used_executors()
        except NumeraiError as error:
            yield Check("local database", CheckStatus.FAILED, error.message, error.hint)
            yield from _room(parts, needed=False)
            return
        yield Check("local database", CheckStatus.OK, f"{parts.paths.database} is readable")
    yield _daemon(parts, needed=bool(nodes))
    yield service_check(parts.context.home, needed=bool(nodes))
    for executor in used:
        yield from executor.checks()
    yield from _of_new_nodes(parts, choice, nodes, {executor.name for executor in used})
    yield from writable_check("logs", [parts.paths.log("").parent], status=CheckStatus.WARNING)
    yield from _room(parts, needed=any(executor.name == "process" for executor in used))
    yield from _rehearsals(parts, used)
    yield from _drift(parts, nodes)
    for node in nodes:
        yield _deployment(parts, node, hash_of)
        yield last_run_check(node, parts.store.runs(node.name, 20), parts.context.clock.now())
        yield from _stuck(parts, node)


def _of_new_nodes(parts: LocalParts, choice: ExecutorChoice, nodes: Sequence[Node], used: set[str]) -> Iterator[Check]:
    """What the next deploy runs nodes with, unless deployed ones use it already. No node that is deployed needs it, so
    it fails only where one is still to be deployed."""
    try:
        chosen = choice.for_new_nodes()
        found = [] if chosen.name in used else list(chosen.checks())
    except NumeraiError as error:
        found = [Check("executor", CheckStatus.FAILED, error.message, error.hint)]
    waiting = not nodes or any(parts.store.deployment(node.name) is None for node in nodes)
    for check in found:
        harmless = check.status is CheckStatus.FAILED and not waiting
        unused = f"{check.why} No deployed node uses it; a deploy would."
        yield replace(check, status=CheckStatus.WARNING, why=unused) if harmless else check


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


def _room(parts: LocalParts, *, needed: bool) -> Iterator[Check]:
    """Whether there is room in the home folder: for what process runs need, else to write anything at all."""
    if parts.paths.home.exists():
        room = home_disk_check(parts.paths.home)
        if needed or room.status is CheckStatus.FAILED:
            yield room


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


def _drift(parts: LocalParts, nodes: list[Node]) -> Iterator[Check]:
    """Nodes that run here otherwise than nodes.json has them: runs know the database only."""
    if not parts.paths.database.exists():
        return
    recorded = {node.name: node for node in nodes}
    for stored in parts.store.nodes():
        node, wanted = stored.node, recorded.get(stored.node.name)
        mend = f"numerai node -m {node.name} config"
        if wanted is None:
            status = CheckStatus.WARNING if nodes else CheckStatus.FAILED
            why = "this machine runs it when it is called, but nodes.json does not know it"
            yield Check("drift", status, why, f"{mend}, then destroy it if it is not wanted", node.name)
        elif differs := [
            f"{field} {_shown(value)} and not {_shown(wish)}"
            for field in _COMPARED
            if (value := getattr(node, field)) != (wish := getattr(wanted, field))
        ]:
            why = f"it runs otherwise than nodes.json says: {', '.join(differs)}"
            yield Check("drift", CheckStatus.FAILED, why, mend, node.name)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _deployment(parts: LocalParts, node: Node, hash_of: Callable[[Node], str]) -> Check:
    stored = parts.store.deployment(node.name)
    try:
        return deployment_check(
            node,
            stored.deployment if stored else None,
            lambda: stored is not None and parts.executor(stored.executor).present(stored.reference),
            hash_of,
        )
    except EXPECTED as error:
        known = as_error(error)
        return Check("deployment", CheckStatus.FAILED, known.message, known.hint, node.name)


def _stuck(parts: LocalParts, node: Node) -> Iterator[Check]:
    now = parts.context.clock.now()
    for job in parts.store.active(node.name):
        if job.deadline is not None and now - job.deadline > OVERDUE:
            why = f"run {job.run.id} should have ended {now - job.deadline} ago"
            yield Check("stuck run", CheckStatus.FAILED, why, "numerai daemon start", node.name)
