"""The rows of the matrix as data: what strikes where, what must come of it, and what plain numerapi does then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.proxy import Rule


@dataclass(frozen=True)
class Outcome:
    """How a run must end: its exit code, the words it must say, and what Numerai must hold for the round then.

    `held` is how many submissions were made, `right` whether the one that counts holds the right predictions, `late`
    whether it came after the deadline; `entry` is Numerai's word for the model where none was made.
    """

    text: str
    exit: int | None
    words: tuple[str, ...] = ()
    held: int = 1
    right: bool = True
    late: bool = False
    entry: str = "none"


def submitted(*words: str) -> Outcome:
    """One submission, in time, of the right predictions."""
    return Outcome("submitted once, right", 0, words)


def once(more: str = "", *, exit: int = 0, late: bool = False) -> Outcome:
    """One submission of the right predictions in a scene, which asserts what `more` says."""
    return Outcome(f"submitted once, right{more}", exit, late=late)


def nothing(text: str, exit: int | None, *, entry: str = "none") -> Outcome:
    """No submission in a scene, and what becomes of it instead; no exit code for a last run that never began."""
    return Outcome(text, exit, held=0, right=False, entry=entry)


def late(*words: str) -> Outcome:
    """One submission of the right predictions, after the deadline, and the exit code that has somebody told."""
    return Outcome("submitted once, right, late and queued; exit 69", 69, words, late=True)


def fails(code: int, *words: str, held: int = 0) -> Outcome:
    """Nothing that counts, and a message."""
    said = f": “{words[0]}”" if words else ""
    return Outcome(f"exit {code}{said}", code, words, held=held, right=False)


@dataclass(frozen=True)
class Order:
    """A fault that the sandbox is asked for (docs/sandbox.md). Of the target `data` are `publish` and `remove`, of the
    target `model` is `assign`, which gives the model a pickle."""

    target: str
    kind: str
    options: Mapping[str, Any]


def sandbox(target: str, kind: str, **options: Any) -> Order:
    """A fault of the sandbox's own."""
    return Order(target, kind, options)


def proxy(kind: str, match: str = "", **options: Any) -> Rule:
    """A fault on the way."""
    return Rule(kind, match, **options)


@dataclass(frozen=True)
class Fault:
    """One row.

    `numerapi` is what plain numerapi does in the same fault (None: it has no such part, `without` may say why).
    `spoil` names a way to spoil the predictions, `settings` change the sandbox, `environment` the child's variables,
    `patches` shorten time limits of the runtime that a test cannot wait for, `skew` is how many seconds the machine's
    clock is wrong. With `yesterday` a run in the round before comes first, in the same folders; `nodes` is how many
    models there are at once; `disk_kib` makes their folder a disk of that size. A run that is `at_once` waits for
    nothing, and `also_told` are words of notices besides the one of how it ended. `signal` is sent once the proxy has
    reached its stall, and a second run as the provider's retry must then end as `again` says. `scene` names a scene of
    its own instead of a single run, which is given the `options`; with `docker` it needs an engine.
    """

    name: str
    group: str
    what: str
    outcome: Outcome
    orders: tuple[Order | Rule, ...] = ()
    numerapi: str | None = None
    without: str = ""
    spoil: str = ""
    program: bool = False
    yesterday: bool = False
    signal: str = ""
    again: Outcome | None = None
    round: str = "open"
    skew: float = 0.0
    tls: bool = False
    nodes: int = 1
    at_once: bool = False
    also_told: tuple[str, ...] = ()
    disk_kib: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    patches: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 60.0
    scene: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    docker: bool = False


def scene(
    name: str,
    what: str,
    outcome: Outcome,
    which: str,
    *,
    docker: bool = False,
    disk_kib: int = 0,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Fault:
    """A row with a whole home folder. The outcome is its last run's; what else the text says the scene asserts."""
    group, without = "nodes, daemon and watcher", "has neither daemon nor watcher"
    return Fault(
        name,
        group,
        what,
        outcome,
        scene=which,
        options=options,
        docker=docker,
        disk_kib=disk_kib,
        settings=settings or {},
        without=without,
    )
