"""Predicts with an artifact, era by era."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..errors import NumeraiError
from .scoring import percentile_ranks

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Artifact:
    """A model that was read from its file. `about` is its model.json."""

    about: Mapping[str, Any]
    boosters: Sequence[Any]

    @property
    def features(self) -> Sequence[str]:
        """The names of the columns that it takes, in order."""
        return list(self.about["features"])

    def predict(self, matrix: NDArray[np.int8]) -> NDArray[np.float64]:
        """One era's predictions: the weighted mean of the members' percentile ranks, ranked again."""
        members = self.about["members"]
        weights = np.array([float(member["weight"]) for member in members])
        ranks = np.empty((len(members), len(matrix)))
        for place, (member, booster) in enumerate(zip(members, self.boosters, strict=True)):
            columns = member["features"]
            ranks[place] = percentile_ranks(booster.predict(matrix if columns is None else matrix[:, columns]))
        return percentile_ranks(weights @ ranks / weights.sum())


def read_artifact(path: Path) -> Artifact:
    """The model of an artifact; `NumeraiError` where it is none."""
    import lightgbm as lgb

    try:
        with ZipFile(path) as archive:
            about = json.loads(archive.read("model.json"))
            texts = [archive.read(member["file"]).decode() for member in about["members"]]
        if about.get("neutralize"):
            raise NumeraiError(f"{path} is neutralized, which this version cannot predict with.", code="neutralized")
        return Artifact(about, [lgb.Booster(model_str=text) for text in texts])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, lgb.basic.LightGBMError) as error:
        raise NumeraiError(f"{path} is no artifact of a trained model.", code="unreadable") from error
