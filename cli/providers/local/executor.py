"""What executes runs: the contract that containers and processes share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ...counting import sized
from ...errors import NumeraiError
from ...files.private import unwritable
from ...models import Check, CheckStatus, Node, RunFailure
from ...ports import Artifact, Report
from ..outcomes import Outcome

LITTLE_DISK = 5 * 1024**3
NO_DISK = 16 * 1024**2
"""With less than this free, the database and the logs cannot be written for long."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to execute a run. `reference` names what it runs; `environment` holds the keys and is empty
    when an attempt that was started for certain is taken over. A `command` replaces what was built to be run."""

    run_id: str
    number: int
    node: Node
    reference: str
    deadline: datetime
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: tuple[str, ...] = ()


class Control(Protocol):
    """What the one who waits for an attempt listens to."""

    @property
    def cancelled(self) -> bool:
        """Somebody asked to stop the run."""

    @property
    def leaving(self) -> bool:
        """The daemon ends: leave the attempt running and return."""

    def wait(self, seconds: float) -> None:
        """Return after that many seconds, or at once when anything of the above has changed or `wake` is called."""

    def wake(self) -> None:
        """Let `wait` return."""


class StartFailed(NumeraiError):
    """An attempt could not be started, and trying it again would not help."""

    def __init__(self, failure: RunFailure, message: str):
        super().__init__(message)
        self.failure = failure


class Executor(Protocol):
    """Builds what a node runs and executes attempts. `EnvironmentNotReady` when what it stands on is not there."""

    name: str

    def build(self, node: Node, source_hash: str, report: Report, *, force: bool = False) -> tuple[str, str]:
        """Make what the node runs: its name for people, and the reference that attempts are given. With `force` what
        was made before, and may be damaged, is made anew."""

    def present(self, reference: str) -> bool:
        """Whether what was built is still there."""

    def environment_places(self, node: Node) -> tuple[str, str]:
        """The artifacts folder and the cache as a run sees them."""

    def artifacts(self, node_name: str, reference: str) -> Iterator[Artifact]:
        """What the runs of a node have left in their artifacts folder. `reference` is what it runs."""

    def put_artifacts(self, node_name: str, reference: str, artifacts: Iterable[Artifact]) -> None:
        """Write files into the artifacts folder of a node."""

    def artifact(self, node_name: str, reference: str, name: str) -> bytes | None:
        """A file in the artifacts folder of a node that runs what `reference` names; None where there is none."""

    def start(self, attempt: Attempt) -> None:
        """Start the attempt, unless it was started before. `StartFailed` when it cannot be."""

    def wait(self, attempt: Attempt, control: Control) -> Outcome | None:
        """Keep its output until it ends, its time is up, or it is cancelled; None when the daemon leaves first."""

    def discard(self, attempt: Attempt) -> None:
        """Remove what an attempt that has ended leaves behind; ends one that has not."""

    def leftovers(self) -> dict[str, str]:
        """Attempts of this home that something is left of: a handle for `discard_leftover` -> run id."""

    def discard_leftover(self, handle: str) -> None:
        """Remove what is left of an attempt that nobody knows any more."""

    def forget_old(self, node_name: str, keep: set[str]) -> None:
        """Remove what the node ran before, apart from these references, so that deploying does not fill the disk."""

    def destroy(self, node_name: str, report: Report) -> None:
        """Remove everything of a node, and check that it is gone."""

    def destroy_shared(self) -> None:
        """Remove what nodes share, once there is no node left."""

    def checks(self) -> Iterator[Check]:
        """Whether what it stands on is there."""


def writable_check(name: str, folders: Iterable[Path], *, status: CheckStatus = CheckStatus.FAILED) -> Iterator[Check]:
    """What is wrong with folders that runs write to, by writing to them; one that is not there will be made."""
    for folder in folders:
        if not os.path.lexists(folder):
            continue
        try:
            with tempfile.TemporaryFile(dir=folder, prefix=".probe-", buffering=0) as probe:
                probe.write(b"\0")
        except OSError as error:
            refused = unwritable(folder, error)
            yield Check(name, status, refused.message, refused.hint)


def disk_check(name: str, folder: Path, mend: str) -> Check:
    """Whether there is room where builds and logs go."""
    free = shutil.disk_usage(folder).free
    why = f"{sized(free)} are free in {folder}"
    if free < NO_DISK:
        return Check(name, CheckStatus.FAILED, f"{why}: nothing can be written, and no run can begin", mend)
    if free < LITTLE_DISK:
        return Check(name, CheckStatus.WARNING, f"{why}: too little for a build, perhaps", mend)
    return Check(name, CheckStatus.OK, why)


def home_disk_check(home: Path) -> Check:
    """Whether there is room where the tool keeps what it knows, and process runs work."""
    return disk_check("disk of the home folder", home, f"Free some space for {home}.")
