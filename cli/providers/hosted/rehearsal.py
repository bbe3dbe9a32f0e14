"""Packs a node's code and rehearses it in containers with Numerai's limits, before anything is uploaded.

Source of the limits: docs.numer.ai, Model Uploads (1 CPU, 4 GB of memory, 10 minutes, no internet).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import NumeraiError
from ...foreign import one_line
from ...ports import ContainerEngine, ContainerSpec, Report

if TYPE_CHECKING:
    from .environments import Environment

WORK = "/numerai/work"
PROGRAMS = Path(__file__).with_name("inside")
GRACE_SECONDS = 1
LABEL = "numerai.hosted-rehearsal"
"""Its value: from when the container is nobody's any more, in seconds since 1970."""
LEFT_AFTER_SECONDS = 3600
ALARM_AFTER_SECONDS = 60
"""How long after the limit a container ends by itself, where the command that would end it was killed."""
ELSEWHERE = "On -P local or -P aws it runs with what you give it."


@dataclass(frozen=True)
class Limits:
    """What Numerai gives an upload: vCPUs, MiB of memory, seconds."""

    cpu: float = 1.0
    memory_mib: int = 4096
    seconds: float = 600.0


@dataclass(frozen=True)
class LiveData:
    """The files of the latest round that an upload is called with."""

    live: Path
    benchmarks: Path


@dataclass(frozen=True)
class Rehearsed:
    """How a model did: rows of predictions, seconds with its start, MiB of memory at most where that is known."""

    rows: int
    seconds: float
    memory_mib: int | None


class Workbench(Protocol):
    """Packs and rehearses."""

    def pack(self, files: Mapping[str, Path], module: str, pickle: Path, report: Report) -> None:
        """Make a pickle of the `predict` of a module, which is among these files; `NumeraiError` with code
        `not-packed`."""

    def rehearse(self, pickle: Path, data: LiveData, report: Report) -> Rehearsed:
        """Run a pickle as Numerai does; `NumeraiError` with code `rehearsal-failed`."""


class ContainerWorkbench:
    """`Workbench` on a container engine, in an environment that has what Numerai's has."""

    def __init__(self, engine: ContainerEngine, environment: Environment, limits: Limits, check: Path):
        self._engine = engine
        self._environment = environment
        self._limits = limits
        self._check = check

    def pack(self, files: Mapping[str, Path], module: str, pickle: Path, report: Report) -> None:
        inside = {f"node/{name}": path for name, path in files.items()}
        command = [f"{WORK}/pack.py", f"{WORK}/node", module, f"{WORK}/model.pkl", f"{WORK}/result.json"]
        with self._ran({**inside, "pack.py": PROGRAMS / "pack.py"}, command, report) as (name, found):
            if found.get("kind") in TOO_MUCH:
                raise not_packed(*too_much("this", str(found["kind"]), self._limits))
            why = found.get("why", "it ended without saying why")
            if why or not self._engine.get_file(name, f"{WORK}/model.pkl", pickle):
                raise not_packed(str(why or "there is no pickle"))

    def rehearse(self, pickle: Path, data: LiveData, report: Report) -> Rehearsed:
        check = {f"check/numerai_node/{path.name}": path for path in self._check.glob("*.py")}
        files = {"model.pkl": pickle, "live.parquet": data.live, "benchmarks.parquet": data.benchmarks, **check}
        names = ("rehearse.py", "model.pkl", "live.parquet", "benchmarks.parquet", "out.csv", "result.json", "check")
        command = [f"{WORK}/{name}" for name in names]
        with self._ran({**files, "rehearse.py": PROGRAMS / "rehearse.py"}, command, report) as (_, found):
            return judged(found, self._limits)

    @contextmanager
    def _ran(
        self, files: Mapping[str, Path], command: list[str], report: Report
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """A container that has run Python with these arguments, and what it left in result.json."""
        engine, limits = self._engine, self._limits
        name = f"numerai-rehearsal-{secrets.token_hex(6)}"
        spec = ContainerSpec(
            name,
            self._environment.image,
            limits.cpu,
            limits.memory_mib,
            environment={
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
                "NUMERAI_ALARM": str(int(limits.seconds) + ALARM_AFTER_SECONDS),
            },
            labels={LABEL: str(int(time.time() + limits.seconds) + LEFT_AFTER_SECONDS)},
            command=("python", *command),
            network=False,
        )
        self._remove_left()
        engine.create_container(spec)
        try:
            engine.put_files(name, WORK, files)
            engine.start_container(name)
            engine.wait_container(name, limits.seconds)
            state = engine.container(name)
            in_time = state is None or state.ended
            if not in_time:
                engine.stop_container(name, GRACE_SECONDS)
            for _, piece in engine.container_output(name):
                text = piece.decode(errors="replace").partition(" ")[2]
                for line in text.splitlines():
                    report(f"  {one_line(line)}")
            killed = state is None or state.out_of_memory or state.exit_code == 137
            yield name, self._result(name, killed=killed) if in_time else {"kind": "time"}
        finally:
            engine.remove_container(name)

    def _remove_left(self) -> None:
        """Remove what a killed command has left, started or not; another command's own is younger."""
        for name, labels in self._engine.containers(LABEL).items():
            if int(labels[LABEL]) < time.time():
                self._engine.remove_container(name)

    def _result(self, name: str, *, killed: bool) -> dict[str, Any]:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "result.json"
            if self._engine.get_file(name, f"{WORK}/result.json", target):
                return dict(json.loads(target.read_text(encoding="utf-8")))
        return {"kind": "memory"} if killed else {}


def judged(found: Mapping[str, Any], limits: Limits) -> Rehearsed:
    """What a rehearsal has come to; `NumeraiError` with code `rehearsal-failed`, which says why."""
    if "rows" not in found:
        raise failed(found, limits)
    return Rehearsed(int(found["rows"]), float(found["seconds"]), found.get("memory_mib"))


def failed(found: Mapping[str, Any], limits: Limits) -> NumeraiError:
    """Why Numerai would refuse the model, and what to do."""
    kind, why = str(found.get("kind", "model")), one_line(str(found.get("why") or "it ended without saying why"))
    if kind == "data":
        return NumeraiError(
            f"Numerai's live data cannot be read, so nothing was rehearsed or uploaded: {why.rstrip('.')}.",
            "Deploy again; it is downloaded anew.",
            code="rehearsal-failed",
        )
    text, hint = {
        "memory": too_much("it", "memory", limits),
        "time": too_much("it", "time", limits),
        "network": (
            f"it wants the network, and an upload has none ({why})",
            f"Load what it needs before `predict`, so that it goes into the pickle. {ELSEWHERE}",
        ),
        "python": (why, "Make the pickle with the Python of `numerai config list -P hosted` (python), or change that."),
        "crash": (why, "Make the pickle with the Python of `numerai config list -P hosted` (python), or change that."),
        "import": (why, f"Import only what Numerai's image has. {ELSEWHERE}"),
    }.get(kind, (why, "Correct it and deploy again; --verbose shows what it printed."))
    return NumeraiError(
        f"The model fails the rehearsal: {text.rstrip('.')}. Nothing was uploaded.", hint, code="rehearsal-failed"
    )


TOO_MUCH = ("memory", "time")


def too_much(what: str, kind: str, limits: Limits) -> tuple[str, str]:
    """How something goes beyond a limit, in words, and what to do."""
    if kind == "memory":
        text = f"{what} needs more than the {limits.memory_mib / 1024:g} GiB of memory that Numerai gives"
        return text, f"Make it smaller. {ELSEWHERE}"
    text = f"{what} takes longer than the {limits.seconds / 60:g} minutes that Numerai gives"
    return text, f"Make it faster. {ELSEWHERE}"


def not_packed(why: str, hint: str = "Correct it and deploy again; --verbose shows what it printed.") -> NumeraiError:
    """Why there is no pickle."""
    if "No module named" in why:
        hint = f"Import only what Numerai's image has, or what is in the folder. {ELSEWHERE}"
    return NumeraiError(
        f"The model cannot be packed: {one_line(why).rstrip('.')}. Nothing was uploaded.", hint, code="not-packed"
    )
