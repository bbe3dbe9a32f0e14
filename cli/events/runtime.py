"""The node runtime, under the one name that this package imports it by (it loads `requests`: import it when needed)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerai_node import Node, NodeError, Score, score
    from numerai_node.api import Submission
    from numerai_node.errors import ConfigurationError, Late
    from numerai_node.log import hide
    from numerai_node.settings import from_environment
else:
    from numerai_compute.node_template.numerai_node import Node, NodeError, Score, score
    from numerai_compute.node_template.numerai_node.api import Submission
    from numerai_compute.node_template.numerai_node.errors import ConfigurationError, Late
    from numerai_compute.node_template.numerai_node.log import hide
    from numerai_compute.node_template.numerai_node.settings import from_environment

__all__ = [
    "ConfigurationError",
    "Late",
    "Node",
    "NodeError",
    "Score",
    "Submission",
    "from_environment",
    "hide",
    "score",
]
