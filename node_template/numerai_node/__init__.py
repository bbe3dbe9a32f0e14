"""The runtime of a prediction node: data in, predictions checked, submitted and confirmed.

from numerai_node import Node, run_and_submit

def main(node: Node) -> None:
    node.submit(my_model(node.live(node.features("small"))))

run_and_submit(main)
"""

from ._version import __version__
from .errors import (
    BadPredictions,
    ConfigurationError,
    Covered,
    Late,
    NodeError,
    NotSubmitted,
    TemporaryFailure,
    Unconfirmed,
)
from .log import log
from .node import Node
from .running import run, run_and_submit
from .scores import Score, score

__all__ = [
    "BadPredictions",
    "ConfigurationError",
    "Covered",
    "Late",
    "Node",
    "NodeError",
    "NotSubmitted",
    "Score",
    "TemporaryFailure",
    "Unconfirmed",
    "__version__",
    "log",
    "run",
    "run_and_submit",
    "score",
]
