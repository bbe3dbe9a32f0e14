"""What is known of a node whose model is trained again by its age (`retrain_days`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..errors import NumeraiError
from ..models import Node
from ..ports import KeepsArtifacts, Provider

RECORD = "training.json"
"""Where numerai_node (retraining.py) remembers it in the artifacts folder."""


@dataclass(frozen=True)
class Training:
    """When a node's model was trained, None where that is not known, and since when, and why, it could not be trained
    again."""

    trained_at: datetime | None = None
    failed_at: datetime | None = None
    why: str | None = None


def training_of(node: Node, provider: Provider) -> Training | None:
    """What the node's runs remember; None where its model is not trained again, or that cannot be asked now."""
    if node.retrain_days is None or not isinstance(provider, KeepsArtifacts):
        return None
    try:
        content = json.loads(provider.artifact(node.name, RECORD) or b"{}")
        trained_at, failed_at = _moment(content.get("trained_at")), _moment(content.get("failed_at"))
        why = content.get("why")
    except (NumeraiError, ValueError, AttributeError):
        return None
    return Training(trained_at, failed_at, None if why is None else str(why))


def _moment(text: Any) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
