"""Whether a node's code trains its model again by its age (`retrain_days`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NOT_RETRAINED = (
    "No Python file in the folder calls `node.retrain`, so nothing is trained again: the example tournament-python3"
    " shows where it goes."
)


def calls_retrain(files: Iterable[Path]) -> bool:
    """Whether one of the Python files asks numerai_node to train again."""
    return any(
        b".retrain(" in path.read_bytes() for path in files if path.suffix == ".py" and "numerai_node" not in path.parts
    )
