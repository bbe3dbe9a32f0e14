"""The model file: what `numerai train` makes and a node predicts with, read without pickle.

A `.model` file is a zip with `model.json` and LightGBM's text models. Its prediction for one era: the ranks of each
member's prediction, their weighted mean, where wanted less what features explain of it, and the ranks of that.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .forest import Boosted, Forest, predictor
from .ranking import rank_percentile
from .settings import CLASSIC, CRYPTO, SIGNALS, VERSION
from .threads import usable_threads

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Matrix = npt.NDArray[Any]
    Floats = npt.NDArray[np.float64]

FORMAT = 1
DESCRIPTION = "model.json"
DEPLOYED = "deployed.model"
"""The model file beside a node's code that `numerai node deploy --model-file` puts there."""
LSTSQ_RCOND = 1e-6
"""As in numerai-tools' `neutralize` (0.7.2, scoring.py)."""


@dataclass(frozen=True)
class Member:
    """One LightGBM model of a model file. `features` are places in the model's features; None is all of them."""

    file: str
    features: tuple[int, ...] | None
    weight: float
    target: str


@dataclass(frozen=True)
class Neutralization:
    """Subtract `proportion` of what the features in these places explain."""

    features: tuple[int, ...]
    proportion: float


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read. Predicting unpacks its members when they are first needed, and keeps them."""

    path: Path
    tournament: int
    data_version: str
    features: tuple[str, ...]
    members: tuple[Member, ...]
    neutralization: Neutralization | None
    about: dict[str, Any]
    """All of model.json."""
    _loaded: list[Forest | Boosted] = field(default_factory=list, repr=False, compare=False)

    def predict(
        self,
        rows: Matrix | pd.DataFrame,
        eras: Sequence[str] | None = None,
        *,
        threads: int | None = None,
        keep: bool = True,
    ) -> Floats:
        """A float64 inside (0, 1) for each row: a matrix with the features as its columns, or a frame that has them.

        `eras` says which era each row is of; without it all are of one. `threads` are as many as the container may use
        when None. With `keep`, packed forests are kept beside the file. `ConfigurationError` names columns that are
        missing, and what a member predicts that is no number.
        """
        return self.combine(self.raw(rows, threads=threads, keep=keep), rows, eras)

    def raw(self, rows: Matrix | pd.DataFrame, *, threads: int | None = None, keep: bool = True) -> list[Floats]:
        """What each member predicts, before it is ranked."""
        matrix = self.matrix(rows)
        return [
            model.predict(matrix, threads or usable_threads(), member.features)
            for member, model in zip(self.members, self._models(keep), strict=True)
        ]

    def combine(self, raw: Sequence[Floats], rows: Matrix | pd.DataFrame, eras: Sequence[str] | None = None) -> Floats:
        """The members' predictions as one, era by era."""
        import numpy as np

        weights = [member.weight for member in self.members]
        neutralization = self.neutralization
        explain = None if neutralization is None else self.matrix(rows)[:, list(neutralization.features)]
        proportion = 0.0 if neutralization is None else neutralization.proportion
        result = np.empty(len(raw[0]))
        for era in _rows_of_eras(eras, len(result)):
            part = None if explain is None else explain[era]
            try:
                result[era] = combine([column[era] for column in raw], weights, part, proportion)
            except ValueError as error:
                raise ConfigurationError(f"{self.path.name} cannot predict these rows: {error}.") from error
        return result

    def matrix(self, rows: Matrix | pd.DataFrame) -> Matrix:
        """The features as a matrix; `ConfigurationError` names those that are missing."""
        import numpy as np

        if isinstance(rows, np.ndarray):
            if rows.shape[1:] != (len(self.features),):
                shape = " x ".join(map(str, rows.shape))
                raise ConfigurationError(
                    f"{self.path.name} needs {len(self.features)} features; the matrix is {shape}."
                )
            return rows
        known = set(rows.columns)
        absent = [name for name in self.features if name not in known]
        if absent:
            some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            raise ConfigurationError(
                f"{self.path.name} needs {len(absent)} columns that the data lack: {some}. It was trained on"
                f" {self.data_version}: use that version of the data, or train the model again."
            )
        frame = rows[list(self.features)]
        one_byte = all(kind == np.int8 for kind in frame.dtypes)
        try:
            return frame.to_numpy(np.int8 if one_byte else np.result_type(np.float32, *frame.dtypes))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.path.name} needs features that are numbers: {error}.") from error

    def needs_lightgbm(self) -> bool:
        """Whether a member does not pack, so that LightGBM itself predicts it. `ConfigurationError` where that is not
        installed."""
        return any(isinstance(model, Boosted) for model in self._models(keep=True))

    def _models(self, keep: bool) -> list[Forest | Boosted]:
        """What predicts each member."""
        if not self._loaded:
            digest = file_digest(self.path)
            self._loaded.extend([self._model(number, digest, keep) for number in range(len(self.members))])
        return self._loaded

    def _model(self, number: int, digest: str, keep: bool) -> Forest | Boosted:
        member = self.members[number]
        cache = self.path.with_name(f"{self.path.name}.{number}.forest") if keep else None
        model = predictor(lambda: _read(self.path, member.file), f"{member.file} {digest}", cache)
        needed = len(self.features) if member.features is None else len(member.features)
        if model.features != needed:
            raise _damaged(self.path, f"{member.file} has {model.features} features, and not {needed}")
        return model


def read_model(path: Path) -> ModelFile:
    """Read a model file's description; `ConfigurationError` where it is none, is damaged, or is of another format."""
    raw = _read(path, DESCRIPTION)
    try:
        about = json.loads(raw)
        if not isinstance(about, dict):
            raise TypeError("it is no object")
        if about.get("format") != FORMAT or about.get("combine") != "rank":
            raise ConfigurationError(
                f"{path} is a model file of format {about.get('format')!r} that combines by {about.get('combine')!r};"
                f" this numerai_node reads format {FORMAT} and 'rank'. Update the node's numerai_node (`numerai node"
                " deploy --runtime replace`), or train the model again."
            )
        return _described(path, about)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{DESCRIPTION} cannot be understood ({error!r})") from error


def _described(path: Path, about: dict[str, Any]) -> ModelFile:
    features = tuple(str(name) for name in about["features"])
    places = {name: place for place, name in enumerate(features)}
    if not features or len(places) != len(features):
        raise ValueError("there are no features, or two of one name")
    members = tuple(_member(entry, len(features)) for entry in about["members"])
    if not sum(member.weight for member in members) > 0:
        raise ValueError("no member has a weight")
    neutralize, tournament, version = about["neutralize"], int(about["tournament"]), str(about["data_version"])
    if tournament not in (CLASSIC, SIGNALS, CRYPTO):
        raise ValueError(f"there is no tournament {tournament}")
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is no version of the data")
    if not isinstance(about.get("drift") or {}, dict):
        raise TypeError("drift is no table")
    return ModelFile(
        path,
        tournament,
        version,
        features,
        members,
        neutralize
        and Neutralization(
            tuple(places[name] for name in neutralize["features"]), _between(0, float(neutralize["proportion"]), 1)
        ),
        about,
    )


def _member(entry: dict[str, Any], features: int) -> Member:
    chosen = entry["features"]
    if chosen is not None:
        chosen = tuple(int(_between(0, place, features - 1)) for place in chosen)
    weight = float(entry["weight"])
    return Member(str(entry["file"]), chosen, _between(0, weight, math.inf), str(entry["target"]))


def _between(low: float, value: float, high: float) -> float:
    if not low <= value <= high or math.isinf(value):
        raise ValueError(f"{value} is not between {low} and {high}")
    return value


def _read(path: Path, name: str) -> bytes:
    """One file of the zip, whole; zipfile compares its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise _damaged(path, str(error).strip("'\"")) from error


def _damaged(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged, or is no model file: {why}. Copy it again, or make it anew with `numerai train`."
    )


def file_digest(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _rows_of_eras(eras: Sequence[str] | None, rows: int) -> Iterator[Any]:
    """For each era which rows it has."""
    import numpy as np

    if eras is None:
        yield slice(None)
        return
    if len(eras) != rows:
        raise ValueError(f"there are {rows} rows, and eras for {len(eras)}")
    _, era = np.unique(np.asarray(eras), return_inverse=True)
    order = np.argsort(era, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(era[order])) + 1)


def combine(
    raw: Sequence[Floats], weights: Sequence[float], explain: Matrix | None = None, proportion: float = 0.0
) -> Floats:
    """One era's predictions of several members as one: a float64 inside (0, 1) for each row.

    Ranks, weighted mean, less `proportion` of what the columns of `explain` explain of it, ranks. `ValueError` where a
    prediction is no number, or the weights add up to nothing.
    """
    import numpy as np

    if not sum(weights) > 0:
        raise ValueError("the weights of the members add up to nothing")
    mean = np.zeros(len(raw[0]))
    for weight, column in zip(weights, raw, strict=True):
        mean += weight / sum(weights) * rank_percentile(column)
    if explain is not None and proportion:
        mean = neutralize(mean, explain, proportion)
    return rank_percentile(mean)


def neutralize(values: Floats, features: Matrix, proportion: float = 1.0) -> Floats:
    """The standardised values less `proportion` of their least-squares projection onto the features and a constant.

    As numerai-tools 0.7.2 computes it (scoring.py: neutralize), which leaves nothing of equal values; they stay here.
    """
    import numpy as np

    deviation = values.std()
    if not deviation > 0:
        return values
    standard = (values - values.mean()) / deviation
    known = np.column_stack([features, np.ones(len(values))]).astype(np.float64)
    if np.isnan(known).any():
        raise ValueError("a feature to neutralise by has missing values")
    weights = np.linalg.lstsq(known, standard, rcond=LSTSQ_RCOND)[0]
    left: Floats = standard - proportion * (known @ weights)
    return left
