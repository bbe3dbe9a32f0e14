"""The node runtime's part in models, under the one name that modelling imports it by: a model file predicts here as it
does in a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numerai_node import gate
    from numerai_node.errors import ConfigurationError, NodeError
    from numerai_node.forest import Boosted, Forest, NotPackable, predictor
    from numerai_node.gate import Finding
    from numerai_node.model_file import DEPLOYED, DESCRIPTION, ModelFile, combine, neutralize, read_model
    from numerai_node.model_file import FORMAT as MODEL_FORMAT
    from numerai_node.ranking import rank_percentile
    from numerai_node.rules import outside
    from numerai_node.threads import usable_threads
else:
    from numerai_compute.node_template.numerai_node import gate
    from numerai_compute.node_template.numerai_node.errors import ConfigurationError, NodeError
    from numerai_compute.node_template.numerai_node.forest import Boosted, Forest, NotPackable, predictor
    from numerai_compute.node_template.numerai_node.gate import Finding
    from numerai_compute.node_template.numerai_node.model_file import (
        DEPLOYED,
        DESCRIPTION,
        ModelFile,
        combine,
        neutralize,
        read_model,
    )
    from numerai_compute.node_template.numerai_node.model_file import FORMAT as MODEL_FORMAT
    from numerai_compute.node_template.numerai_node.ranking import rank_percentile
    from numerai_compute.node_template.numerai_node.rules import outside
    from numerai_compute.node_template.numerai_node.threads import usable_threads

__all__ = [
    "DEPLOYED",
    "DESCRIPTION",
    "MODEL_FORMAT",
    "Boosted",
    "ConfigurationError",
    "Finding",
    "Forest",
    "ModelFile",
    "NodeError",
    "NotPackable",
    "combine",
    "gate",
    "neutralize",
    "outside",
    "predictor",
    "rank_percentile",
    "read_model",
    "usable_threads",
]
