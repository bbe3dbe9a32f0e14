"""Model uploads (pickles): validated, assigned, and run in their slots' place whenever a round opens.

Sources: docs.numer.ai model-uploads; numerapi 3.1.1 model_upload; github.com/numerai/numerai-predict (images, words).
What a run's `type` is called is not known.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec import structs

from .data.catalog import CLASSIC, Catalog
from .data.source import Edition
from .journal import Journal, Table
from .objects import UploadStore
from .records import ModelRecord, PickleRecord, RoundRecord, TriggerRecord, TriggerStatusRecord, UploadRecord
from .refusal import Refusal
from .rounds import Rounds
from .submissions import Submissions
from .switches import Switches

PENDING, RUNNING, VALIDATING, SUCCESS, ERROR, FAILED = "pending", "running", "validating", "success", "error", "failed"
"""The states of a run: `error` is Numerai's fault, `failed` the model's. Source: the schema's header."""
VALIDATED = "validated"
VALIDATION, ROUND, MANUAL = "validation", "round", "manual"
NO_ROUND = "No currently open rounds!"
_ENDED = (SUCCESS, ERROR, FAILED)
_SPACE = uuid.UUID("0d9e5d0a-52a5-4c0e-8f0c-0f9b6d1e7c44")
_LOG = logging.getLogger(__name__)
_LINE_CHARACTERS = 2000


def _identity(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))


DATA_VERSIONS = [
    {
        "id": _identity(name),
        "name": name,
        "version": name,
        "default": default,
        "deprecated": False,
        "experimental": False,
        "type": kind,
    }
    for name, kind, default in (
        ("v5.3", "classic", True),
        ("v5.2", "classic", False),
        ("signals/v2.1", "signals", False),
        ("crypto/v2.0", "crypto", False),
    )
]
DOCKER_IMAGES = [
    {
        "id": _identity(f"Python {version}"),
        "name": f"Python {version}",
        "image": f"numerai_predict_py_{version.replace('.', '_')}",
        "tag": "sandbox",
        "default": version == "3.13",
        "deprecated": False,
        "experimental": False,
        "insertedAt": None,
    }
    for version in ("3.10", "3.11", "3.12", "3.13")
]


RUN_BY_NUMERAI = "This model has an assigned pickle and is run by Numerai"
"""Numerai neither calls the webhook of such a model nor takes its submissions. Its words for that are not known.

Source: docs.numer.ai model-uploads.
"""


def require_own_runs(model: ModelRecord) -> ModelRecord:
    """The model; `Refusal` when a pickle is assigned to it, so that Numerai runs it."""
    if model.pickle_id is not None:
        raise Refusal(RUN_BY_NUMERAI)
    return model


@dataclass
class ComputeUploads:
    """The uploaded models and their runs, two at a time, in the background."""

    journal: Journal
    rounds: Rounds
    submissions: Submissions
    catalog: Catalog
    uploads: UploadStore
    new_upload: Callable[[str, str, int, str | None], UploadRecord]
    model_named: Callable[[str], ModelRecord]
    now: Callable[[], datetime]
    switches: Switches

    def __post_init__(self) -> None:
        self.pickles = Table(self.journal, "pickles", PickleRecord)
        self.triggers = Table(self.journal, "pickle_triggers", TriggerRecord, keep=2000)
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sandbox-pickle")
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def resume(self) -> None:
        """Run again what was going on when the state was last used."""
        for trigger in self.triggers.all():
            if trigger.statuses[-1].status not in _ENDED:
                self._pool.submit(self._run, trigger.id)

    def close(self) -> None:
        """End what runs."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.kill()
        self._pool.shutdown(wait=True)

    def create(
        self,
        filename: str,
        tournament: int,
        model_id: str | None,
        data_version_id: str | None,
        docker_image_id: str | None,
    ) -> PickleRecord:
        """Record an uploaded model and validate it; `Refusal` when it names an unknown data version or image."""
        if data_version_id and data_version_id not in {each["id"] for each in DATA_VERSIONS}:
            raise Refusal("Data version not found")
        if docker_image_id and docker_image_id not in {each["id"] for each in DOCKER_IMAGES}:
            raise Refusal("Docker image not found")
        made = self.pickles.put(
            PickleRecord(
                str(uuid.uuid4()), filename, tournament, model_id, data_version_id, docker_image_id, self.now()
            )
        )
        self._begin(made, VALIDATION, model_id)
        return made

    def trigger(self, pickle: PickleRecord, model: ModelRecord | None, *, validation: bool) -> TriggerRecord:
        """Run a model now: for the slot that it is assigned to, or its validation again."""
        if validation:
            return self._begin(pickle, VALIDATION, pickle.model_id)
        return self._begin(pickle, MANUAL, model.id if model is not None else None)

    def round_opened(self, opened: RoundRecord, models: list[ModelRecord]) -> None:
        """Run what is assigned to these models, because a round has opened."""
        for model in models:
            pickle = self.pickles.get(model.pickle_id)
            if pickle is not None:
                self._begin(pickle, ROUND, model.id, opened)

    def of(self, pickle_id: str) -> list[TriggerRecord]:
        """The runs of a pickle, oldest first."""
        return self.triggers.select(lambda each: each.pickle_id == pickle_id)

    def _begin(
        self, pickle: PickleRecord, kind: str, model_id: str | None, round_: RoundRecord | None = None
    ) -> TriggerRecord:
        moment = self.now()
        first = TriggerStatusRecord(str(uuid.uuid4()), PENDING, moment)
        made = TriggerRecord(
            str(uuid.uuid4()),
            pickle.id,
            kind,
            moment,
            model_id,
            round_.id if round_ is not None else None,
            statuses=(first,),
        )
        self.triggers.put(made)
        self._pool.submit(self._run, made.id)
        return made

    def _run(self, trigger_id: str) -> None:
        trigger = self.triggers.get(trigger_id)
        pickle = self.pickles.get(trigger.pickle_id) if trigger is not None else None
        if trigger is None or pickle is None or self._closed:
            return
        try:
            self._step(trigger_id, RUNNING)
            with tempfile.TemporaryDirectory(prefix="numerai-pickle-") as folder:
                output = Path(folder) / "live_predictions.csv"
                why = self._predict(trigger_id, pickle, output)
                if self._closed:
                    return
                if why is None and trigger.type == VALIDATION:
                    self._step(trigger_id, VALIDATING)
                    self._validated(pickle.id, VALIDATED)
                    self._step(trigger_id, SUCCESS, self._no_round(pickle))
                elif why is None:
                    self._submit(trigger, pickle, output)
                else:
                    if trigger.type == VALIDATION:
                        self._validated(pickle.id, FAILED)
                    self._step(trigger_id, FAILED, why)
        except Exception:  # noqa: BLE001 a fault of the sandbox itself must end as a result, not leave the client waiting
            if not self._closed:
                _LOG.exception("the run %s of a pickle failed", trigger_id)
                self._step(trigger_id, ERROR, "the sandbox could not run this pickle")

    def _no_round(self, pickle: PickleRecord) -> str | None:
        latest = self.rounds.latest(pickle.tournament)
        return None if latest is not None and self.rounds.is_open(latest) else NO_ROUND

    def _submit(self, trigger: TriggerRecord, pickle: PickleRecord, output: Path) -> None:
        """Make a run's predictions a submission of its slot; while no round is open there is none."""
        model = self._slot(trigger)
        closed = self._no_round(pickle)
        if model is None or closed is not None:
            self._step(trigger.id, SUCCESS, closed)
            return
        upload = self.new_upload("live_predictions.csv", "submission", pickle.tournament, model.id)
        self.uploads.put(upload.id, [output.read_bytes()])
        try:
            made = self.submissions.create(upload, model, trigger.id, source="compute")
        except Refusal as refusal:
            self._step(trigger.id, FAILED, str(refusal))
            return
        with self.journal.lock:
            found = self.triggers.get(trigger.id) or trigger
            self.triggers.put(structs.replace(found, submission_id=made.id))
        self._step(trigger.id, SUCCESS)

    def _slot(self, trigger: TriggerRecord) -> ModelRecord | None:
        return None if trigger.model_id is None else self.model_named(trigger.model_id)

    def _validated(self, pickle_id: str, status: str) -> None:
        with self.journal.lock:
            found = self.pickles.get(pickle_id)
            if found is not None:
                self.pickles.put(structs.replace(found, validation_status=status))

    def _step(self, trigger_id: str, status: str, description: str | None = None) -> None:
        with self.journal.lock:
            found = self.triggers.get(trigger_id)
            if found is not None:
                step = TriggerStatusRecord(str(uuid.uuid4()), status, self.now(), description)
                self.triggers.put(structs.replace(found, statuses=(*found.statuses, step)))

    def _say(self, trigger_id: str, line: str) -> None:
        with self.journal.lock:
            found = self.triggers.get(trigger_id)
            if found is not None:
                said = (self.now(), line[:_LINE_CHARACTERS])
                self.triggers.put(structs.replace(found, logs=(*found.logs, said)))

    def _predict(self, trigger_id: str, pickle: PickleRecord, output: Path) -> str | None:
        """Let the model predict into a file; why it could not."""
        version = _named(DATA_VERSIONS, pickle.data_version_id, "version")
        python = _named(DOCKER_IMAGES, pickle.docker_image_id, "name").removeprefix("Python ")
        if not self.switches.run_pickles:
            self._say(trigger_id, f"Running numerai-predict:sandbox - Python {python} (not really run)")
            if not self.switches.pickle_validation:
                return "Pickle function is invalid (as the sandbox was told)"
            output.write_bytes(self._example(version))
            return None
        own = f"{sys.version_info.major}.{sys.version_info.minor}"
        if python != own:
            self._say(
                trigger_id,
                f"Pickle incompatible with {own}: the sandbox runs on it, not on {python} (--switch run_pickles=false)",
            )
            return f"Pickle incompatible with {own}"
        live, benchmarks = (str(self._file(f"{version}/{name}")) for name in _LIVE_FILES)
        model = str(self.uploads.path(pickle.filename))
        return self._process(trigger_id, [model, live, benchmarks, str(output)])

    def _process(self, trigger_id: str, arguments: list[str]) -> str | None:
        program = [sys.executable, "-m", f"{__package__}.run_pickle", *arguments]
        process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=Path(arguments[-1]).parent
        )
        self._processes.add(process)
        try:
            try:
                printed, late = process.communicate(timeout=self.switches.pickle_seconds)[0], False
            except subprocess.TimeoutExpired:
                process.kill()
                printed, late = process.communicate()[0], True
        finally:
            self._processes.discard(process)
        lines = printed.decode(errors="replace").splitlines()
        for line in lines:
            self._say(trigger_id, line)
        if late:
            return f"Task timed out after {self.switches.pickle_seconds:g} seconds"
        return None if process.returncode == 0 else next(iter(lines[::-1]), f"exit code {process.returncode}")

    def _edition(self) -> Edition:
        found = self.rounds.get(CLASSIC, self.rounds.newest_data(CLASSIC))
        return Edition(0, 0) if found is None else Edition(found.number, found.data_datestamp)

    def _file(self, name: str) -> Path:
        return self.catalog.file(name, self._edition()).path

    def _example(self, version: str) -> bytes:
        import pandas as pd

        frame = pd.read_parquet(self._file(f"{version}/live_example_preds.parquet"))
        return frame.reset_index()[["id", "prediction"]].to_csv(index=False).encode()


_LIVE_FILES = ("live.parquet", "live_benchmark_models.parquet")


def _named(listed: Sequence[Mapping[str, object]], wanted: str | None, field: str) -> str:
    """A field of the entry that has this id, or of the default one."""
    found = next(each for each in listed if each["id"] == wanted or (wanted is None and each["default"]))
    return str(found[field])
