"""Trains a node's model again when it is old: after a submission, in a process of its own, beside the model in use.

Nothing of it can cost a round, nor the model: it starts once the submission counts, ends before the run's time is up,
and what it has made takes the old one's place only when it has ended well.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from .clock import moment
from .errors import EXIT_USER_CODE, Interrupted, NodeError, ProgramFailed, own_exit_code
from .log import log
from .notify import tell
from .program import child_environment, meaning, run_program
from .settings import TRAIN_VARIABLE, VERSION_VARIABLE

RECORD = "training.json"
"""Beside the model: when it was trained, and since when why that fails. `numerai node status` shows it."""
STAGING = ".training"
SPARE_SECONDS, LEAST_SECONDS = 60.0, 60.0
"""What is left of a run's time when a training is stopped, and what it is not begun without."""
NOTICE_SECONDS = 5.0


@dataclass(frozen=True)
class Record:
    """When the kept model was trained, None where that is not known, in which run, and which files that has made; and
    since when, and why, it could not be trained again."""

    trained_at: datetime | None = None
    failed_at: datetime | None = None
    why: str | None = None
    run: str | None = None
    files: tuple[str, ...] = ()

    def is_due(self, days: int, now: datetime) -> bool:
        """Whether the model is so many days old. One of an unknown age is."""
        return self.trained_at is None or now - self.trained_at >= timedelta(days=days)


def read_record(folder: Path) -> Record:
    """What is remembered in an artifacts folder; nothing where there is no record, or none that can be read."""
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        moments = moment(content.get("trained_at")), moment(content.get("failed_at"))
        return Record(*moments, content.get("why"), content.get("run"), tuple(content.get("files") or ()))
    except (OSError, ValueError, AttributeError, TypeError):
        return Record()


def write_record(folder: Path, record: Record) -> None:
    """Remember it; OSError where that cannot be."""
    moments = {"trained_at": _text(record.trained_at), "failed_at": _text(record.failed_at)}
    content = {**moments, "why": record.why, "run": record.run, "files": list(record.files)}
    draft = folder / f".{RECORD}.{os.getpid()}"
    draft.write_text(json.dumps(content, indent=1), encoding="utf-8")
    draft.replace(folder / RECORD)


@dataclass(frozen=True)
class Retraining:
    """One node's, in the run `run`: `program` is a Python script that trains and keeps a model in NUMERAI_ARTIFACTS,
    `version` that of the data to train on, `now` the time, in UTC, and `seconds_left` what is left of the run's time,
    None without a limit."""

    node: str
    run: str | None
    folder: Path
    program: Path
    version: str
    now: Callable[[], datetime]
    seconds_left: Callable[[], float | None]

    def if_due(self, days: int) -> None:
        """Train again if the model is so old. Never raises, also when the run is told to stop; what went wrong is said,
        remembered, and told to people once."""
        before = read_record(self.folder)
        if not before.is_due(days, self.now()):
            log("model", trained_at=_text(before.trained_at), retrain_days=days)
            return
        log("retraining", program=self.program, trained_at=_text(before.trained_at), retrain_days=days)
        try:
            self._train()
            return
        except Interrupted:
            why = "the run was told to stop"
        except NodeError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001  (it is submitted: whatever goes wrong here must not fail the run)
            why = f"{type(error).__name__}: {error}"
        log("warning", what="the model is not trained again, and the old one stays", why=why)
        self._remember(replace(before, failed_at=before.failed_at or self.now(), why=why))
        if before.failed_at is None:
            text = f"{why}\nThe old model stays; each run tries again after it has submitted."
            tell("training", f"{self.node}: its model is not trained again", text, seconds=NOTICE_SECONDS)

    def at_once(self) -> None:
        """Train now; `ProgramFailed` says why the model is not trained. The old one stays then."""
        log("training", program=self.program, data=self.version)
        self._train()

    def _remember(self, record: Record) -> None:
        try:
            write_record(self.folder, record)
        except OSError as error:
            log("warning", what=f"{RECORD} cannot be kept in the artifacts folder", why=error)

    def _train(self) -> None:
        left = self.seconds_left()
        if left is not None and left - SPARE_SECONDS < LEAST_SECONDS:
            raise _failed(f"{max(0, left):.0f} s of the run's time are left (`numerai node config --timeout-minutes`).")
        if not self.program.is_file():
            raise _failed(f"There is no {self.program}.")
        staging = self.folder / STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        try:
            self._run(staging, None if left is None else left - SPARE_SECONDS)
            made = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
            if not made:
                raise _failed(f"{self.program} has kept no model in NUMERAI_ARTIFACTS.")
            for name in made:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).replace(self.folder / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        files = tuple(name.as_posix() for name in made if name.as_posix() != RECORD)
        self._remember(Record(self.now(), run=self.run, files=files))
        log("retrained", program=self.program, files=len(files))

    def _run(self, staging: Path, seconds: float | None) -> None:
        environment = child_environment(os.environ, {"NUMERAI_ARTIFACTS": staging.absolute()})
        environment[VERSION_VARIABLE] = self.version
        environment.pop(TRAIN_VARIABLE, None)
        try:
            code = run_program([sys.executable, str(self.program)], Path.cwd(), environment, seconds)
        except TimeoutError:
            raise _failed("It took longer than the run may (`numerai node config --timeout-minutes`).") from None
        if code != 0:
            what = f"{self.program} ended with exit code {code}{meaning(code)}: the run's log says why."
            raise ProgramFailed(what, own_exit_code(code))


def _failed(why: str) -> ProgramFailed:
    return ProgramFailed(why, EXIT_USER_CODE)


def _text(moment_: datetime | None) -> str | None:
    return None if moment_ is None else moment_.isoformat(timespec="seconds")
