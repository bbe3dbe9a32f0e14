"""What the cluster is made of, as recorded in the home folder: its nodes, their tokens, and what was applied last."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Protocol

import msgspec

from ...errors import NumeraiError, ProviderError
from ...files.locks import FOREVER, holding, is_held
from ...files.private import unwritable, write_private
from ...models import Deployment, Node, in_official_cluster
from ...ports import Report
from .settings import AwsPaths

VERSION = 1
LOCK_SECONDS = 1800
"""How long a command waits for another one that changes the cluster: a first apply takes minutes."""
TOKEN_BYTES = 32
WRITES = 5
"""How often a change is tried when other machines are faster."""


class StackNode(msgspec.Struct, frozen=True):
    """A node of the cluster: `cpu` in vCPUs, `cron` as EventBridge reads it, `since` when it was configured. One that
    is `moving` ran elsewhere then: the watcher follows it once Numerai calls it here.

    One that is `leaving` is being destroyed: it is in no plan any more, but not everything of it is gone yet.
    """

    model_id: str
    model_name: str
    tournament: int
    cpu: float
    memory_mib: int
    timeout_minutes: float
    token: str
    since: datetime
    cron: str | None = None
    leaving: bool = False
    deployment: Deployment | None = None
    data_version: str | None = None
    disk_gib: int | None = None
    retrain_days: int | None = None
    moving: bool = False

    @property
    def token_sha256(self) -> str:
        """What AWS knows of the token."""
        return hashlib.sha256(self.token.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"StackNode({self.model_id!r})"


class Stack(msgspec.Struct, frozen=True):
    """The cluster. `applied` is the fingerprint of the variables that were applied last, None while a change is under
    way; `outputs` is what that apply gave; `begun` tells whether anything may exist in AWS. `id` is random, made once,
    and on everything in AWS: what bears it was made from this record and from no other."""

    version: int = VERSION
    id: str | None = None
    cluster: str | None = None
    account: str | None = None
    region: str | None = None
    begun: bool = False
    applied: str | None = None
    outputs: dict[str, Any] = {}
    nodes: dict[str, StackNode] = {}

    @property
    def staying(self) -> dict[str, StackNode]:
        """The nodes that are not being destroyed."""
        return {name: node for name, node in self.nodes.items() if not node.leaving}

    @property
    def unfinished(self) -> bool:
        """Whether a change was begun and not brought to its end."""
        return self.begun and self.applied is None


class Record(Protocol):
    """Where the record is kept instead of the home folder: an object that several machines see."""

    def read(self) -> tuple[bytes | None, str | None]:
        """The record and its version; None and None when there is none yet."""

    def write(self, content: bytes, version: str | None) -> bool:
        """Replace that version (None: there was none); False when another machine was faster."""

    def remove(self) -> None:
        """Forget the record."""


class StackFile:
    """The record of the cluster, read strictly and replaced atomically: a file, or a `Record` elsewhere."""

    def __init__(self, paths: AwsPaths, elsewhere: Callable[[], Record] | None = None):
        self._paths = paths
        self._elsewhere = elsewhere

    def read(self) -> Stack:
        """The cluster as recorded; an empty one when nothing was. `ProviderError` with code `state-corrupt`."""
        return self._read()[0]

    def _read(self) -> tuple[Stack, str | None]:
        """The cluster and the version of its record, where that has one."""
        path = self._paths.stack
        if self._elsewhere:
            content, version = self._elsewhere().read()
            return (Stack() if content is None else self._parsed(content)), version
        try:
            return self._parsed(path.read_bytes()), None
        except FileNotFoundError:
            return Stack(), None
        except OSError as error:
            raise unwritable(path, error) from error

    def _parsed(self, content: bytes) -> Stack:
        path = self._paths.stack
        try:
            stack = msgspec.json.decode(content, type=Stack)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise ProviderError(
                f"{path} cannot be read: {error}.",
                f"Put the version before it back: copy {path.name}.previous over it.",
                code="state-corrupt",
            ) from error
        if stack.version != VERSION:
            raise ProviderError(
                f"{path} was written by another version of numerai ({stack.version}).",
                "Upgrade numerai-compute.",
                code="state-corrupt",
            )
        return stack

    def change(self, change: Callable[[Stack], Stack]) -> Stack:
        """Replace what is recorded and return it; `change` may be called again when another one was faster."""
        with self._short_lock():
            for _ in range(WRITES):
                before, version = self._read()
                stack = change(before)
                content = msgspec.json.format(msgspec.json.encode(stack))
                if not self._elsewhere:
                    write_private(self._paths.stack, content)
                    return stack
                if self._elsewhere().write(content, version):
                    return stack
        raise NumeraiError("Another machine is changing the cluster.", "Try again when it has ended.", code="busy")

    def set_node(self, name: str, node: StackNode | None) -> Stack:
        """Record one node, or forget it. Only for the holder of the lock."""

        def changed(stack: Stack) -> Stack:
            others = {other: kept for other, kept in stack.nodes.items() if other != name}
            return msgspec.structs.replace(stack, nodes=others if node is None else {**others, name: node})

        return self.change(changed)

    def forget(self) -> None:
        """Remove the record of a cluster that is gone."""
        if self._elsewhere:
            self._elsewhere().remove()
        for path in (self._paths.stack, self._paths.stack.with_name(self._paths.stack.name + ".previous")):
            path.unlink(missing_ok=True)

    def _short_lock(self) -> contextlib.AbstractContextManager[None]:
        """Held while the record is read and replaced, so that a deploy and a change of the cluster can go together."""
        return holding(self._paths.stack.with_suffix(".json.lock"), seconds=FOREVER)

    @contextlib.contextmanager
    def lock(self, report: Report, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Held by the one command that changes the cluster; others wait. `NumeraiError` with code `busy`."""
        busy = NumeraiError(
            "Another numerai command is changing the cluster.", "Try again when it has ended.", code="busy"
        )
        if is_held(self._paths.lock):
            report("Waiting for another numerai command that changes the cluster")
        with holding(self._paths.lock, busy=busy, seconds=seconds):
            yield


def new_stack_id() -> str:
    """128 random bits in letters that a tag can hold."""
    return secrets.token_hex(16)


def new_token() -> str:
    """256 random bits in letters that an address can hold."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def stack_node(node: Node, cron: str | None, existing: StackNode | None, now: datetime) -> StackNode:
    """The record of a node, keeping the token, the age and the deployment that it already has."""
    kept = existing if existing and not existing.leaving else None
    return StackNode(
        model_id=node.model_id,
        model_name=node.model_name,
        tournament=int(node.tournament),
        cpu=node.cpu,
        memory_mib=node.memory_mib,
        timeout_minutes=node.timeout_minutes,
        token=kept.token if kept else new_token(),
        since=kept.since if kept else now,
        cron=cron,
        deployment=kept.deployment if kept else None,
        data_version=node.data_version,
        disk_gib=node.disk_gib,
        retrain_days=node.retrain_days,
        moving=node.also_on is not None or in_official_cluster(node),
    )
