"""Puts a trained model beside a node's code, so that the next image carries it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ..dockerignore import included_files
from ..errors import NumeraiError, UsageError
from ..files.private import folder_unwritable, make_private_folder, replacing
from ..modelling.runtime import DEPLOYED
from ..models import MODEL_SUFFIX, Node, Tournament
from ..ports import Provider, Report, RunByNumerai
from ..slim_images import CODE, RUNTIME, asks_for_lightgbm
from .validate import as_the_runtime_says, check_before_deploy, read_artifact

KEPT_MODELS = 5
REFUSE, WARN, OFF = "refuse", "warn", "off"
GATES = (REFUSE, WARN, OFF)
READERS = (".model(", "read_model(", DEPLOYED)
"""What stands in code that reads a model file."""
READ_IT = "Call `node.model()`, as the example model-python3 does (`numerai copy-example -e model-python3`)."
READ_HOSTED = (
    "Read it in predict.py (`numerai_node.model_file.read_model`), or leave out its function predict: then the"
    " model file itself runs."
)


def how_to_read(node: Node, provider: Provider) -> str | None:
    """How the node's code reads a model file; None where that is done for it."""
    if not isinstance(provider, RunByNumerai):
        return READ_IT
    return None if provider.reads_models(node) else READ_HOSTED


def check_model(
    model: Path,
    node: Node,
    data_of: Callable[[int, str], Path],
    gate: str,
    warn: Report,
    how_to_read: str | None = READ_IT,
) -> None:
    """Whether a model can be deployed to a node: its file is whole, of the node's tournament, the node's code reads it,
    and its predictions pass the gate. `data_of` gives the folder of a version's data, and brings the live rows there.
    `how_to_read` says how code reads a model file; None where it needs no code.

    Raises `UsageError` for a model of another tournament, `NumeraiError` with code `model-unusable`; and with `gate`
    where something is found, or cannot be looked at. With the gate `warn` that is only said, with `off` not even that.
    """
    read = read_artifact(model)
    if read.tournament != node.tournament:
        theirs, own = Tournament(read.tournament).title, Tournament(node.tournament).title
        raise UsageError(f"{model} predicts {theirs}, and {node.name} is in {own}.", code="wrong-model")
    if gate == OFF:
        return
    if how_to_read is not None and not any(call in text for text in _code(Path(node.path)) for call in READERS):
        _object(
            gate,
            warn,
            f"Nothing in {node.path} reads {DEPLOYED}: the node would go on without the model.",
            how_to_read,
        )
    requirements = Path(node.path) / "requirements.txt"
    with as_the_runtime_says():
        lacking = read.needs_lightgbm() and requirements.is_file() and not asks_for_lightgbm(requirements)
    if lacking:
        _object(
            gate,
            warn,
            f"{model.name} does not pack, so LightGBM has to predict it, and {requirements} does not ask for that.",
            "Add lightgbm there.",
        )
    deployed = Path(node.path) / DEPLOYED
    try:
        data = data_of(read.tournament, read.data_version)
        look = check_before_deploy(model, data, deployed if deployed.is_file() else None, refuse=False)
    except NumeraiError as error:
        _object(gate, warn, f"What {model.name} predicts cannot be looked at: {error.message}", error.hint or "")
        return
    for note in look.notes:
        warn(note)
    if look.findings:
        found = "; ".join(one.message for one in look.findings)
        mend = f"`numerai validate {model}` shows its scores."
        checks = {one.check for one in look.findings}
        if "previous" in checks and "benchmark" not in checks:
            mend += " If it is the deployed model that is wrong, go on:"
        _object(gate, warn, f"{model.name} does not look right: {found}.", mend)


def _object(gate: str, warn: Report, why: str, mend: str) -> None:
    if gate == REFUSE:
        raise NumeraiError(why, f"{mend} `--gate warn` deploys it all the same.".lstrip(), code="gate")
    warn(why)


def put_model(model: Path, node: Node, home: Path, report: Report) -> None:
    """Copy a model into the node's folder, packed as a node predicts it. The one that was there is kept in the home
    folder, the last few of a node. Interrupted, the folder has one of the two whole."""
    target = Path(node.path) / DEPLOYED
    try:
        content = model.read_bytes()
        if target.is_file() and target.read_bytes() == content:
            return
        if target.is_file():
            report(f"keep the model that was deployed before in {_keep(target, home / 'models' / node.name)}")
        with replacing(target, 0o644) as file:
            file.write(content)
        for packed in target.parent.glob(f"{DEPLOYED}.*.forest"):
            packed.unlink()
    except OSError as error:
        raise folder_unwritable(target, error) from error
    _pack(target, report)


def plan_model(model: Path, node: Node) -> str:
    """What `put_model` would do, in words."""
    return f"put {model} into {node.path} as {DEPLOYED}"


def _pack(target: Path, report: Report) -> None:
    """Pack its forests here, once, so that no run has to."""
    import numpy as np

    read = read_artifact(target)
    try:
        with as_the_runtime_says():
            read.raw(np.zeros((1, len(read.features)), np.int8))
    except NumeraiError as error:  # one that does not fit is predicted by LightGBM
        report(error.message)


def _keep(model: Path, folder: Path) -> Path:
    make_private_folder(folder)
    kept = folder / _kept_name(model)
    shutil.copyfile(model, kept)
    for old in _newest_first(folder)[KEPT_MODELS:]:
        old.unlink()
    return kept


def kept_models(node: Node, home: Path) -> list[Path]:
    """The models that were deployed to a node before the present one, newest first."""
    target = Path(node.path) / DEPLOYED
    present = _kept_name(target) if target.is_file() else None
    return [path for path in _newest_first(home / "models" / node.name) if path.name != present]


def _kept_name(model: Path) -> str:
    return f"{hashlib.sha256(model.read_bytes()).hexdigest()[:12]}{MODEL_SUFFIX}"


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{MODEL_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)


def _code(folder: Path) -> list[str]:
    """The files of a folder that may be its code: the runtime, which every example carries, is none."""
    names = [name for name in included_files(folder, folder) if not name.startswith(RUNTIME) and name.endswith(CODE)]
    try:
        return [(folder / name).read_text(encoding="utf-8", errors="replace") for name in names]
    except OSError as error:
        raise folder_unwritable(folder, error) from error
