"""What a child process is told to do, and the door through which it enters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a child does. `what` is `node`, `numerapi`, or `cli` with the runtime's own `arguments`."""

    what: str
    folder: str
    environment: dict[str, str]
    output: str
    arguments: tuple[str, ...] = ()
    spoil: str = ""
    sandbox: str = ""
    skew: float = 0.0
    patches: dict[str, Any] = field(default_factory=dict)


def enter(job: Job) -> None:
    """Do the job. What does it is imported here, because it changes the clock of the process that imports it."""
    from tests.faults.child import work

    work(job)
