"""`numerai train --on NODE`: the node's own train.py, run by its provider, where there is more memory than here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import NumeraiError, UsageError
from ..files.private import make_private_folder
from ..models import NOT_SUBMITTED_CODE, LogLine, Node, Run, RunState
from ..ports import KeepsArtifacts, Provider, Report, TrainsModels
from ..watching.training import RECORD
from .inspect import require_provider
from .sent import write_output
from .withholding import withholding

PROGRAM = "train.py"
_IMPORTS = re.compile(r"^\s*(?:import|from)\s+(lightgbm|pyarrow|numerai_compute)\b", re.MULTILINE)
_WITHOUT_LIGHTGBM = re.compile(r"^ARG\s+LIGHTGBM=no\b", re.MULTILINE)
_ON_PYTHON = re.compile(r"^(?:FROM|ARG\s+\w+=)\s*(?:docker\.io/)?(?:library/)?python:", re.MULTILINE)
DOCS = "docs/models.md of the tool says how."


@dataclass(frozen=True)
class TrainedOn:
    """A training that has ended well: the run, what it has made among the node's artifacts, and what of that was
    brought here."""

    node: str
    run: Run
    files: tuple[str, ...]
    here: tuple[Path, ...] = ()


@dataclass
class TrainingRun:
    """Starts a training on a node's provider, follows it, and brings its files here if wanted. `run` is known once it
    was started, for whoever interrupts it."""

    node: Node
    provider: Provider
    report: Report
    on_log: Callable[[LogLine], None]
    run: Run | None = field(default=None, init=False)

    def train(self, output: Path | None = None) -> TrainedOn:
        """Train to the end. Raises before anything is started where the provider or the image cannot train, and
        `NumeraiError` with code `training-failed` with the run's own reason; the old model stays then."""
        trainer = check_trains(self.node, self.provider)
        self.provider.wake(self.report)
        self.run = trainer.train(self.node)
        self.report(f"Run {self.run.id} of {self.node.name} trains on {self.provider.name}")
        for line in self.provider.logs(self.run.id, follow=True):
            self.on_log(line)
        run = self.provider.run(self.run.id)
        if run.state is not RunState.SUCCEEDED or run.exit_code == NOT_SUBMITTED_CODE:
            raise self._failed(run)
        files = self._made(run)
        here = tuple(self._bring(name, output) for name in files) if output is not None else ()
        return TrainedOn(self.node.name, run, files, here)

    def _failed(self, run: Run) -> NumeraiError:
        if run.exit_code == NOT_SUBMITTED_CODE:
            why = "What is deployed predicted instead of training: its numerai_node cannot train by itself."
            hint = f"Run `numerai node -m {self.node.name} deploy --runtime replace`."
        else:
            why = f"The training ended as {run.state.value}. {run.message or ''}".rstrip()
            hint = f"`numerai node -m {self.node.name} logs --run {run.id}` shows it all. The model is as it was."
        return NumeraiError(why, hint, code="training-failed")

    def _made(self, run: Run) -> tuple[str, ...]:
        """The files that the run remembers to have made; none where that cannot be read from here."""
        if not isinstance(self.provider, KeepsArtifacts):
            return ()
        try:
            record = json.loads(self.provider.artifact(self.node.name, RECORD) or b"{}")
            mine = record.get("run") == run.id
            return tuple(str(name) for name in record.get("files") or ()) if mine else ()
        except (ValueError, AttributeError, TypeError):
            return ()

    def _bring(self, name: str, output: Path) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or any(part in ("..", "/") or "\\" in part or ":" in part for part in parts):
            raise NumeraiError(f"{name!r} is not brought here: it names no file inside a folder.", code="bad-artifact")
        content = self.provider.artifact(self.node.name, name) if isinstance(self.provider, KeepsArtifacts) else None
        if content is None:
            raise NumeraiError(f"{name} is no longer among the artifacts of {self.node.name}.", code="bad-artifact")
        path = output.joinpath(*parts)
        make_private_folder(path.parent)
        write_output(content, path, "Give another folder with --output.")
        return path


def check_trains(node: Node, provider: Provider) -> TrainsModels:
    """The provider, for a run that only trains. `UsageError` where it has none; `NumeraiError` with code `cannot-train`
    where the folder has no train.py or its image would lack what that imports, or `not-deployed`, and as `withholding`
    raises it."""
    require_provider(node, provider)
    if not isinstance(provider, TrainsModels):
        raise UsageError(
            f"The provider {provider.name} cannot start a run that only trains.",
            "Train here with `numerai train FOLDER`, and deploy the file: `numerai node deploy --model-file FILE`.",
            code="not-supported",
        )
    folder = Path(node.path)
    program = folder / PROGRAM
    if not program.is_file():
        raise _cannot(
            f"{folder} has no {PROGRAM}, which is what is run there.",
            f"Train here with `numerai train FOLDER`, and deploy the file: `numerai node -m {node.name} deploy"
            f" --model-file FILE`. To train there: the example tournament-python3 has a {PROGRAM}; for a model.toml, "
            f"one that calls `train_folder`: {DOCS}",
        )
    if missing := _missing(folder):
        raise _cannot(
            f"The image of {node.name} lacks {' and '.join(missing)}, which {PROGRAM} imports.",
            "Put it into requirements.txt (and no LIGHTGBM=no into the Dockerfile), and deploy.",
        )
    if provider.deployment(node.name) is None:
        hint = f"Run `numerai node -m {node.name} deploy` first."
        raise NumeraiError(f"{node.name} is not deployed.", hint, code="not-deployed")
    withholding(node, provider)
    return provider


def _missing(folder: Path) -> list[str]:
    """What train.py imports and the image certainly lacks: one on Python's own image, in which nothing installs it."""
    imports = set(_IMPORTS.findall(_text(folder / PROGRAM)))
    dockerfile = _text(folder / "Dockerfile")
    if not _ON_PYTHON.search(dockerfile):
        return []
    steps = [line for line in dockerfile.splitlines() if not line.lstrip().startswith(("#", "ARG"))]
    named = "\n".join([_text(folder / "requirements.txt"), *steps]).lower().replace("-", "_")
    left_out = {"lightgbm"} if _WITHOUT_LIGHTGBM.search(dockerfile) else set[str]()
    return sorted(name for name in imports if name not in named or name in left_out)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _cannot(why: str, hint: str) -> NumeraiError:
    return NumeraiError(why, hint, code="cannot-train")
