"""The node runtime, under the one name that this package imports it by (it loads urllib3: import it when needed)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerai_node import Node, score
    from numerai_node.errors import NodeError, Submitted
    from numerai_node.settings import from_environment
else:
    from numerai_compute.node_template.numerai_node import Node, score
    from numerai_compute.node_template.numerai_node.errors import NodeError, Submitted
    from numerai_compute.node_template.numerai_node.settings import from_environment

__all__ = ["Node", "NodeError", "Submitted", "from_environment", "score"]
