"""The event loop with what only numerauto's handlers ask for: `config`, `napi`, and the old CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..events.context import EventSettings
from ..events.datasets import RoundData
from ..events.loop import EventLoop
from ..events.surroundings import Surroundings
from .datasets import TOURNAMENT_CSV, TRAINING_CSV, CsvRoundData, RoundFolder
from .napi import RobustNumerAPI

DEFAULTS: Mapping[str, Any] = {
    # the features that the old CSV files hold
    "feature_set": "small",
    # what handlers for numerauto may read; nothing here does
    "check_validation_data": True,
    "wakeup_time": 360,
    "invalid_dataset_waittime": 600,
    "napi_wait_schedule": [60, 60, 60, 60, 60, 600, 600, 600, 3600, 3600, 3600],
    "upload_verify_wait_schedule": [10, 10, 10, 10, 10, 10, 60, 60, 60, 60, 60, 600, 3600],
}


class NumerautoLoop(EventLoop):
    """What handlers written for numerauto work with. `config` is a dictionary of the settings and of whatever else was
    given; what a handler changes in it holds from then on."""

    made_files = (TRAINING_CSV, TOURNAMENT_CSV)

    def __init__(
        self,
        surroundings: Surroundings,
        tournament_id: int = 8,
        config: Mapping[str, Any] | None = None,
        model: str | None = None,
    ):
        self.config: dict[str, Any] = {**DEFAULTS, **asdict(EventSettings()), **(config or {})}
        super().__init__(surroundings, tournament_id, model=model)
        for kind in ("data", "model", "prediction", "report"):
            folder = self.book.folder / ("data" if kind == "data" else f"{kind}s")
            self.config[f"{kind}_directory"] = Path(self.config[f"{kind}_directory"] or folder)

    @property
    def settings(self) -> EventSettings:
        """As `config` says now."""
        values = {field.name: self.config[field.name] for field in fields(EventSettings)}
        folders = {name: Path(value) for name, value in values.items() if name.endswith("_directory") and value}
        return EventSettings(**{**values, **folders})

    @property
    def napi(self) -> RobustNumerAPI:
        """What numerauto's handlers know as `napi`."""
        return RobustNumerAPI(daemon=self)

    def get_dataset_path(self, round_number: int) -> Path:
        """The folder of a round's data. For the current round, `folder / "numerai_training_data.csv"` and
        `folder / "numerai_tournament_data.csv"` are written when they are asked for."""
        path = super().get_dataset_path(round_number)
        current = self._data is not None and round_number == self.round_number
        return RoundFolder.at(path, self.provide) if current else path

    def round_data(self, number: int) -> RoundData:
        """The folder of a round that begins, and what fills it."""
        name = self.tournaments[self.tournament_id]
        return CsvRoundData(self.data_folder, number, self.node, self.config["feature_set"], name)
