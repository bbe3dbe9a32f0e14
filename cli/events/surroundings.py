"""What a daemon works with: the home folder, Numerai's API, time, keys, and somebody to tell. Given from above."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..models import Keys, Model, Tournament
from ..ports import Clock, Notifier, NumeraiApi

if TYPE_CHECKING:
    from .runtime import Node


@dataclass(frozen=True)
class Surroundings:
    """The collaborators of a daemon; nothing is contacted before it is needed.

    `keys` raises `EnvironmentNotReady` when there are none; `api_with` makes Numerai's API with given keys.
    """

    home: Path
    clock: Clock
    notifier: Notifier
    keys: Callable[[], Keys]
    api_with: Callable[[Keys], NumeraiApi]

    @property
    def folder(self) -> Path:
        """Where everything about event handlers is kept."""
        return self.home / "events"


def find_model(api: NumeraiApi, tournament: int, name: str | None) -> Model:
    """The account's model of that name or id; without one the model of MODEL_ID, or the only one of the tournament.

    `UsageError` when there is none or it is not clear which one is meant.
    """
    name = name or os.environ.get("MODEL_ID") or None
    models = [model for model in api.models() if model.tournament == tournament]
    listed = ", ".join(sorted(model.name for model in models)) or "none"
    if name is not None:
        for model in models:
            if name in (model.name, model.id, f"{Tournament(tournament).prefix}-{model.name}"):
                return model
        raise UsageError(
            f"The account has no model '{name}' in tournament {tournament}. It has: {listed}.", code="unknown-model"
        )
    if len(models) != 1:
        raise UsageError(
            f"It is not clear which model to submit to. The account's models in tournament {tournament}: {listed}.",
            "Say which with -m MODEL, with MODEL_ID, or with `model=` where the handler is made.",
            code="model-missing",
        )
    return models[0]


def make_node(folder: Path, keys: Keys, tournament: int, model: Model | None) -> Node:
    """The node runtime for these keys and this model, with its cache and artifacts below `folder`."""
    from .runtime import Node, from_environment

    given = {
        "NUMERAI_PUBLIC_ID": keys.public_id,
        "NUMERAI_SECRET_KEY": keys.secret_key,
        "NUMERAI_API_URL": keys.api_url,
        "NUMERAI_TOURNAMENT": str(tournament),
        "NUMERAI_NODE": "events",
        "NUMERAI_CACHE": os.environ.get("NUMERAI_CACHE") or str(folder / "cache"),
        "NUMERAI_ARTIFACTS": os.environ.get("NUMERAI_ARTIFACTS") or str(folder / "artifacts"),
        "NUMERAI_CPU": os.environ.get("NUMERAI_CPU", ""),
        "NUMERAI_DATA_VERSION": os.environ.get("NUMERAI_DATA_VERSION", ""),
        "MODEL_ID": model.id if model else "",
    }
    return Node(from_environment(given))
