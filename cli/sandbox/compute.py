"""Model uploads (pickles), the slots they are assigned to, and the two lists that say what they may run on.

Source: docs.numer.ai model-uploads; numerapi 3.1.1 model_upload.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from .journal import Journal, Table
from .records import ModelRecord, PickleRecord
from .refusal import Refusal

_SPACE = uuid.UUID("0d9e5d0a-52a5-4c0e-8f0c-0f9b6d1e7c44")


def _identity(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))


DATA_VERSIONS = [
    {
        "id": _identity(name),
        "name": name,
        "version": name,
        "default": default,
        "deprecated": False,
        "experimental": False,
        "type": kind,
    }
    for name, kind, default in (
        ("v5.3", "classic", True),
        ("v5.2", "classic", False),
        ("signals/v2.1", "signals", False),
        ("crypto/v2.0", "crypto", False),
    )
]
DOCKER_IMAGES = [
    {
        "id": _identity(name),
        "name": name,
        "image": "numerai-sandbox/predict",
        "tag": name.rpartition(" ")[2],
        "default": name == "Python 3.13",
        "deprecated": False,
        "experimental": False,
        "insertedAt": None,
    }
    for name in ("Python 3.10", "Python 3.11", "Python 3.12", "Python 3.13")
]


RUN_BY_NUMERAI = "This model has an assigned pickle and is run by Numerai"
"""Numerai neither calls the webhook of such a model nor takes its submissions. Its words for that are not known.

Source: docs.numer.ai model-uploads.
"""


def require_own_runs(model: ModelRecord) -> ModelRecord:
    """The model; `Refusal` when a pickle is assigned to it, so that Numerai runs it."""
    if model.pickle_id is not None:
        raise Refusal(RUN_BY_NUMERAI)
    return model


class ComputeUploads:
    """The uploaded models. They are kept, listed and assigned, never run; each counts as validated at once."""

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self.pickles = Table(journal, "pickles", PickleRecord)
        self._now = now

    def create(
        self,
        filename: str,
        tournament: int,
        model_id: str | None,
        data_version_id: str | None,
        docker_image_id: str | None,
    ) -> PickleRecord:
        """Record an uploaded model; `Refusal` when it names an unknown data version or image."""
        if data_version_id and data_version_id not in {each["id"] for each in DATA_VERSIONS}:
            raise Refusal("Data version not found")
        if docker_image_id and docker_image_id not in {each["id"] for each in DOCKER_IMAGES}:
            raise Refusal("Docker image not found")
        identity = str(uuid.uuid4())
        return self.pickles.put(
            PickleRecord(identity, filename, tournament, model_id, data_version_id, docker_image_id, self._now())
        )
