"""Puts a trained model beside a node's code, so that the next image carries it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..files.private import make_private_folder, replacing, unwritable
from ..models import Node, Tournament
from ..ports import Report
from .validate import as_the_runtime_says, check_before_deploy, read_artifact

DEPLOYED = "deployed.model"
"""Its name in the node's folder (`numerai_node.model_file.DEPLOYED`)."""
KEPT_MODELS = 5
REFUSE, WARN, OFF = "refuse", "warn", "off"
GATES = (REFUSE, WARN, OFF)


def check_model(model: Path, node: Node, data_of: Callable[[int, str], Path], gate: str, warn: Report) -> None:
    """Whether a model can be deployed to a node: its file is whole, of the node's tournament, and its predictions of
    the data that are here pass the gate. What cannot be looked at is said.

    Raises `UsageError` for a model of another tournament, `NumeraiError` with code `model-unusable`, or `gate` where
    something is found and `gate` is `refuse`.
    """
    read = read_artifact(model)
    if read.tournament != node.tournament:
        theirs, own = Tournament(read.tournament).title, Tournament(node.tournament).title
        raise UsageError(f"{model} predicts {theirs}, and {node.name} is in {own}.", code="wrong-model")
    if not any(".model(" in text for text in _code(Path(node.path))):
        warn(
            f"Nothing in {node.path} calls `node.model()`, which reads {DEPLOYED}: the example model-python3 does"
            " (`numerai copy-example -e model-python3`)."
        )
    if gate == OFF:
        return
    data = data_of(read.tournament, read.data_version)
    try:
        deployed = Path(node.path) / DEPLOYED
        look = check_before_deploy(model, data, deployed if deployed.is_file() else None, refuse=gate == REFUSE)
    except NumeraiError as error:
        if error.code not in ("data-missing", "data-file-missing", "extra-missing"):
            raise
        fetch = f"`numerai data download live --version {read.data_version}` fetches what it is looked at with."
        warn(f"What {model.name} predicts was not looked at: {error.message} {fetch}")
        return
    for found in look.findings:
        warn(f"{model.name}: {found.message}.")
    for note in look.notes:
        warn(note)


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
        raise unwritable(target, error) from error
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
    kept = folder / f"{hashlib.sha256(model.read_bytes()).hexdigest()[:12]}.model"
    shutil.copyfile(model, kept)
    for old in sorted(folder.glob("*.model"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_MODELS:]:
        old.unlink()
    return kept


def _code(folder: Path) -> list[str]:
    """The Python files of a folder itself."""
    try:
        return [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.py")]
    except OSError as error:
        raise unwritable(folder, error) from error
