"""Which runs in the foreground live, and what killed ones have left: a file each, locked by its command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import NumeraiError
from ...files.locks import is_held, take
from .executor import Executor
from .run_log import remove_log
from .settings import LocalPaths

PREFIX = "rehearsal-"
"""Begins the ids of runs in the foreground, which the daemon leaves alone while their command lives."""


class Rehearsals:
    """The runs in the foreground of one home folder. `executor` makes one by its name."""

    def __init__(self, paths: LocalPaths, executor: Callable[[str], Executor]):
        self._paths = paths
        self._executor = executor

    @contextmanager
    def going_on(self, run_id: str, executor_name: str) -> Iterator[None]:
        """Record a run within the block. Its record stays when the block fails, as something may be left then."""
        record = self._folder / f"{run_id}.{executor_name}"
        lock = take(record)
        try:
            yield
        except BaseException:
            lock.release()
            raise
        lock.release()
        record.unlink(missing_ok=True)

    def remove_abandoned(self, used: Iterable[Executor] = ()) -> list[str]:
        """Remove what killed commands have left; returns the ids of their runs. `used` are executors that are looked at
        even when no record names them: earlier versions kept none.

        Raises `NumeraiError` when what runs containers does not answer: the records stay.
        """
        dead = [record for record in self._records() if not is_held(record)]
        names = {_executor_of(record) for record in dead} | {executor.name for executor in used}
        found = [
            (executor, handle, run_id)
            for executor in map(self._executor, sorted(names))
            for handle, run_id in executor.leftovers().items()
            if run_id.startswith(PREFIX)
        ]
        alive = {_run_of(record) for record in self._records() if is_held(record)}  # after what is there: none is newer
        removed = []
        for executor, handle, run_id in found:
            if run_id not in alive:
                executor.discard_leftover(handle)
                removed.append(run_id)
        for record in dead:
            remove_log(self._paths.log(_run_of(record)), self._paths.root)
            record.unlink(missing_ok=True)
        return removed

    def try_to_remove_abandoned(self, used: Iterable[Executor] = ()) -> list[str]:
        """As `remove_abandoned`, for who has something else to do: what fails now is done next time."""
        try:
            return self.remove_abandoned(used)
        except (NumeraiError, OSError):
            return []

    @property
    def _folder(self) -> Path:
        return self._paths.root / "rehearsals"

    def _records(self) -> list[Path]:
        return sorted(self._folder.glob(f"{PREFIX}*")) if self._folder.is_dir() else []


def _run_of(record: Path) -> str:
    return record.name.partition(".")[0]


def _executor_of(record: Path) -> str:
    return record.name.partition(".")[2]
