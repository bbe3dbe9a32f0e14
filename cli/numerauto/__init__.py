"""Numerauto's names on this tool's event handlers: a script for numerauto runs after a change of its import lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..factory import Factory
from . import eventhandlers
from .loop import NumerautoLoop

__all__ = ["Numerauto", "__version__", "eventhandlers"]

FOLDERS = {f"{kind}_directory": f"./{kind}s" for kind in ("model", "prediction", "report")}


class Numerauto(NumerautoLoop):
    """The daemon as numerauto's scripts make it: `add_event_handler`, then `run()` or `run(single_run=True)`.

    Data, models, predictions and reports are below the current folder, as they were there; state and progress are in
    the home folder. `model` (also `config["model"]`, or MODEL_ID) names the model to submit to, which is needed where
    the account has more than one in the tournament.
    """

    def __init__(self, tournament_id: int = 8, config: Mapping[str, Any] | None = None, model: str | None = None):
        given = {"data_directory": "./data", **FOLDERS, **(config or {})}
        super().__init__(Factory().surroundings, tournament_id, given, model or given.get("model"))
