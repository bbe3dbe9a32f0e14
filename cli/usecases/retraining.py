"""Whether a node's code trains its model again by its age (`retrain_days`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError
from ..models import Node
from ..slim_images import RUNTIME

NOT_RETRAINED = (
    "No Python file in the folder calls `node.retrain`, so nothing is trained again: the example tournament-python3"
    " shows where it goes."
)


def calls_retrain(files: Iterable[Path]) -> bool:
    """Whether one of the Python files asks numerai_node to train again."""
    return any(b".retrain(" in content for content in _contents(files))


def refuse_retraining(node: Node, files: Iterable[Path]) -> UsageError:
    """That such a node, with these files, would never train its model again, and what to do instead."""
    hint = 'Call `node.retrain("train.py")` after `node.submit(...)`, as the example tournament-python3 does.'
    if any(b".model(" in content or b"read_model(" in content for content in _contents(files)):
        hint = (
            "This node runs a model file, which is trained elsewhere: `numerai train FOLDER`, then `numerai node -m"
            f" {node.name} deploy --model-file FILE`. A node that trains by itself is the example tournament-python3."
        )
    why = "No Python file in the folder calls `node.retrain`, so nothing would be trained again."
    return UsageError(why, hint, code="no-retraining")


def _contents(files: Iterable[Path]) -> Iterable[bytes]:
    return (path.read_bytes() for path in files if path.suffix == ".py" and RUNTIME.strip("/") not in path.parts)
