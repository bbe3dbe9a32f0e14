"""The runtime of a prediction node: data in, predictions checked, submitted and confirmed.

from numerai_node import Node, run_and_submit

def main(node: Node) -> None:
    node.submit(my_model(node.live(node.features("small"))))

run_and_submit(main)
"""

from .errors import BadPredictions, ConfigurationError, Late, NodeError, TemporaryFailure
from .log import log
from .node import Node
from .running import run, run_and_submit
from .scores import Score, score

__all__ = [
    "BadPredictions",
    "ConfigurationError",
    "Late",
    "Node",
    "NodeError",
    "Score",
    "TemporaryFailure",
    "log",
    "run",
    "run_and_submit",
    "score",
]
