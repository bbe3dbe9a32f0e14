"""Judges models on rows whose targets are known: what each scores, era by era, beside the others.

The features of a few eras at a time are in memory, and the predictions of every model. What it returns is what
`numerai validate --json` writes (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..counting import counted
from ..errors import NumeraiError
from .alignment import DataRows, Source, eras_of
from .dataset import OTHER_FILE, RoundsFile, matrix_blocks
from .eras import era_number
from .prediction_files import check_values, read_table, texts
from .scoring import (
    LEAST_OVERLAP,
    Column,
    EraFeatures,
    Eras,
    Scorer,
    churn,
    mean_of_last,
    neutral_weights,
    pearson,
    percentile_ranks,
    summary,
    turnover,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FORMAT = 1
WINDOWS = (20, 60, 200)
"""Of so many last eras the means are given."""
BINS = 50
CONTRIBUTIONS = {"meta_model": "mmc", "benchmark": "bmc"}


class Predictor(Protocol):
    """A model that predicts from features: `runtime.ModelFile` is one."""

    @property
    def features(self) -> Sequence[str]:
        """The names of the columns that it takes, in order."""
        ...

    def predict(self, rows: NDArray[np.int8], eras: Sequence[str]) -> Floats:
        """One value a row, for rows of whole eras; `eras` says which each is of. Shape of rows: (rows, features)."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A model to judge: what predicts it, or the predictions that it made. `source` says where it is from, `training`
    how it was trained, as far as that is known."""

    name: str
    source: str
    predictor: Predictor | None = None
    rows: Source | None = None
    values: Floats | None = None
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rival:
    """What a contribution is measured against: the meta model or a benchmark."""

    name: str
    rows: Source
    values: Floats


@dataclass(frozen=True)
class Task:
    """What to judge on: a file of rows, the target, the eras (None: all), and the features to be neutral to."""

    file: RoundsFile
    version: str
    target: str
    eras: Sequence[str] | None
    features: Sequence[str]
    rivals: Mapping[str, Rival]


@dataclass
class _Judged:
    """One model's predictions and what is known of them so far."""

    candidate: Candidate
    column: Column
    fnc: Floats
    exposure: Floats
    exposures: list[Floats] = field(default_factory=list)


def validate(task: Task, candidates: Sequence[Candidate], against: str | None = None) -> dict[str, Any]:
    """Judge the models; `against` names the one that is deployed, which the others are compared with.

    Raises `NumeraiError` for what cannot be scored: data without the target, ids that do not match, predictions that
    are all the same. What can be scored in a part of the eras only is, and `notes` says so.
    """
    rows, target, notes = _known_rows(task)
    judged = [_start(one, rows, notes) for one in candidates]
    _with_features(task, rows, target, judged)
    for one in judged:
        check_values(one.column.values, one.candidate.name)
    rivals = {key: _column(rival.rows, rows, rival.values) for key, rival in task.rivals.items()}
    for key, rival in task.rivals.items():
        _note_missing(rival.name, CONTRIBUTIONS[key].upper(), rivals[key], rows, notes)
    for key in [key for key in CONTRIBUTIONS if key not in task.rivals]:
        notes.append(f"{CONTRIBUTIONS[key].upper()} is not computed: the data have no {key.replace('_', ' ')}.")
    scorer = Scorer(rows.eras, target, {CONTRIBUTIONS[key]: column for key, column in rivals.items()})
    deployed = next((one.column for one in judged if one.candidate.name == against), None)
    likened = {**rivals, **({} if deployed is None else {"deployed": deployed})}
    models = []
    for one in judged:
        scores = scorer.scores(one.column) | {"fnc": one.fnc, "exposure": one.exposure}
        if rows.per_era:
            scores |= _changes(rows, one.column.values)
        _note_unscored(one, rows, scores["corr"], notes)
        models.append(_described(one, scores, task.features, _similarities(rows, one.column, likened)))
    caveats = ["Turnover is of weights without Numerai's neutralizers and sample weights: the data have none."]
    data = {"version": task.version, "file": task.file.path.name, "eras": list(rows.eras.names), "target": task.target}
    found = {"format": FORMAT, "data": data, "models": models}
    found |= {"caveats": caveats if rows.per_era else [], "notes": list(dict.fromkeys(notes))}
    if task.rivals:
        found["rivals"] = {key: rival.name for key, rival in task.rivals.items()}
    if against is not None:
        found["against"] = against
    return found


def _known_rows(task: Task) -> tuple[DataRows, Floats, list[str]]:
    """The rows of the eras that have a target, and their targets."""
    file = task.file
    file.need([task.target])
    asked = list(task.eras if task.eras is not None else file.eras)
    codes, names = file.era_codes(asked)
    target = file.read([task.target], asked)[task.target]
    if target.dtype.kind not in "iuf":
        raise NumeraiError(f"{file.path.name}: the target {task.target} holds no numbers.", code="data-values")
    if np.isinf(target.astype(np.float64)).any():
        raise NumeraiError(
            f"{file.path.name}: the target {task.target} holds infinite values.", OTHER_FILE, code="data-values"
        )
    known = np.bincount(codes[~np.isnan(target)], minlength=len(names)) > 0
    labelled = [name for name in asked if known[names.index(name)]]
    if not labelled:
        raise NumeraiError(
            f"No row of {file.path.name} has a value of {task.target} in these eras.",
            "Targets are known some weeks after an era: give earlier eras, or another target.",
            code="no-targets",
        )
    notes = []
    if len(labelled) < len(asked):
        left = [name for name in asked if name not in set(labelled)]
        notes.append(f"{counted(len(left), 'era')} without {task.target} left out: {_range(left)}.")
    rows = rows_of(file, labelled)
    target = file.read([task.target], labelled)[task.target].astype(np.float64)
    return rows, target, notes


def rows_of(file: RoundsFile, eras: Sequence[str]) -> DataRows:
    """The rows of these eras; ids other than `id` come back in each era."""
    return DataRows(file.path.name, *_ids(file, eras), per_era=file.id_column != "id")


def _ids(file: RoundsFile, eras: Sequence[str]) -> tuple[Any, Eras]:
    """The ids of these eras, and where in them each era begins."""
    import pyarrow as pa

    if file.id_column is None:
        raise NumeraiError(f"{file.path.name} has no column of ids.", code="data-column-missing")
    codes, names = file.era_codes(eras)
    grouped = eras_of(pa.array(names).take(pa.array(codes)), file.path.name)
    numbers = [era_number(name) for name in grouped.names if name != "X"]
    if numbers != sorted(numbers):
        raise NumeraiError(f"{file.path.name} is not sorted by era.", "Sort it by era.", code="unsorted")
    column = read_table(file.path, [file.id_column]).column(file.id_column)
    if len(eras) < len(file.eras):
        column = column.filter(pa.array(file.mask(eras)))
    return texts(column, f"{file.path.name}: {file.id_column}"), grouped


def _start(candidate: Candidate, rows: DataRows, notes: list[str]) -> _Judged:
    """A model with its predictions in the order of the rows; NaN for those that are still to be predicted."""
    if candidate.rows is None or candidate.values is None:
        column = Column(np.full(len(rows.ids), np.nan), np.diff(rows.eras.starts))
    else:
        column = _column(candidate.rows, rows, candidate.values)
        _note_missing(candidate.name, "Every score", column, rows, notes)
        _refuse_gaps(candidate.name, column, rows)
    nothing = np.full(len(rows.eras), np.nan)
    return _Judged(candidate, column, nothing.copy(), nothing.copy())


def _column(source: Source, rows: DataRows, values: Floats) -> Column:
    return source.column(rows, source.places(rows), values)


def _coverage(column: Column, rows: DataRows) -> Floats:
    """The share of each era's rows that have a value."""
    counts = np.bincount(rows.era_of[~np.isnan(column.values)], minlength=len(rows.eras))
    shares: Floats = counts / np.diff(rows.eras.starts)
    return shares


def _note_missing(name: str, what: str, column: Column, rows: DataRows, notes: list[str]) -> None:
    """Say from which era on there are values, and in which later ones there are too few."""
    enough = _coverage(column, rows) >= LEAST_OVERLAP
    if enough.all() or not enough.any():
        if not enough.any():
            notes.append(f"{what} is not computed with {name}: it has none of these eras.")
        return
    names = np.asarray(rows.eras.names)
    first = int(np.argmax(enough))
    if first:
        notes.append(f"{what} of {name} begins with era {names[first]}.")
    later = names[first:][~enough[first:]].tolist()
    if later:
        notes.append(f"{what} of {name} lacks {counted(len(later), 'later era')}: {_range(later)}.")


def _note_unscored(one: _Judged, rows: DataRows, corr: Floats, notes: list[str]) -> None:
    """Say where a model has predictions and no score: they, or the targets, are all the same, or too few."""
    missing = np.flatnonzero(np.isnan(corr) & (_coverage(one.column, rows) >= LEAST_OVERLAP))
    if len(missing):
        eras = [rows.eras.names[era] for era in missing]
        notes.append(
            f"{one.candidate.name} has no CORR in {counted(len(eras), 'era')}, {_range(eras)}: its predictions there"
            " are all the same, or too few rows have a target."
        )


def _refuse_gaps(name: str, column: Column, rows: DataRows) -> None:
    """numerai-tools scores an era only where both sides have 80 % of their rows in common; an era may lack whole."""
    shares = _coverage(column, rows)
    partly = np.flatnonzero((shares > 0) & (shares < LEAST_OVERLAP))
    if len(partly):
        era = rows.eras.names[int(partly[0])]
        raise NumeraiError(
            f"{name} has a value for {shares[partly[0]]:.0%} of the rows of era {era}"
            f" ({counted(len(partly), 'such era')}); Numerai scores none with less than {LEAST_OVERLAP:.0%}.",
            "Predict whole eras.",
            code="rows-missing",
        )
    known = np.bincount(rows.era_of[~np.isnan(column.values)], minlength=len(rows.eras))
    strangers = np.flatnonzero((known > 0) & (known < LEAST_OVERLAP * column.rows))
    if len(strangers):
        era = rows.eras.names[int(strangers[0])]
        raise NumeraiError(
            f"Of the {column.rows[strangers[0]]} rows of {name} in era {era} only {known[strangers[0]]} are in"
            f" {rows.name} with a value; Numerai scores none with less than {LEAST_OVERLAP:.0%}.",
            "Is it of another data version?",
            code="ids-do-not-match",
        )


def _with_features(task: Task, rows: DataRows, target: Floats, judged: Sequence[_Judged]) -> None:
    """Go through the features once: predict with the models, and score all against the features."""
    wanted = dict.fromkeys(task.features)
    for one in judged:
        if one.candidate.predictor is not None:
            wanted |= dict.fromkeys(one.candidate.predictor.features)
    if not wanted:
        return
    place = {name: number for number, name in enumerate(wanted)}
    own = [
        None if (model := one.candidate.predictor) is None else [place[name] for name in model.features]
        for one in judged
    ]
    neutral = [place[name] for name in task.features]
    era = 0
    for names, matrix in era_blocks(task.file, list(wanted), rows.eras.names):
        start = int(rows.eras.starts[era])
        for one, columns in zip(judged, own, strict=True):
            if one.candidate.predictor is not None and columns is not None:
                predicted = one.candidate.predictor.predict(_chosen(matrix, columns), names.tolist())
                one.column.values[start : start + len(matrix)] = predicted
        while era < len(rows.eras) and rows.eras.starts[era] < start + len(matrix):
            block = slice(int(rows.eras.starts[era]), int(rows.eras.starts[era + 1]))
            if neutral:
                here = _chosen(matrix[block.start - start : block.stop - start], neutral)
                _score_features(EraFeatures(here, target[block]), era, block, judged)
            era += 1


def _score_features(features: EraFeatures, era: int, block: slice, judged: Sequence[_Judged]) -> None:
    for one in judged:
        found = features.scores(one.column.values[block])
        one.fnc[era], one.exposure[era] = found.fnc, found.exposure
        one.exposures.append(np.abs(found.exposures))


def _chosen(matrix: NDArray[np.int8], columns: Sequence[int]) -> NDArray[np.int8]:
    return matrix if list(columns) == list(range(matrix.shape[1])) else matrix[:, list(columns)]


def era_blocks(
    file: RoundsFile, features: Sequence[str], eras: Sequence[str]
) -> Iterator[tuple[NDArray[np.str_], NDArray[np.int8]]]:
    """The features of whole eras, a few at a time: the era of each row, and a matrix (rows, features). The file is
    sorted by era."""
    names, matrix = np.empty(0, dtype=np.str_), np.empty((0, len(features)), dtype=np.int8)
    for part in matrix_blocks(file, features, eras):
        names = np.concatenate([names, part.eras])
        matrix = np.concatenate([matrix, part.matrix]) if len(matrix) else part.matrix
        whole = int(np.argmax(names == names[-1]))  # where the last era, which may go on, begins
        if whole:
            yield names[:whole], matrix[:whole]
            names, matrix = names[whole:], matrix[whole:]
    if len(names):
        yield names, matrix


def _changes(rows: DataRows, values: Floats) -> dict[str, Floats]:
    """Churn and turnover from the era before, as numerai-tools' diagnostics do: over the era's universe, ranked, with
    0.5 where the model says nothing (signals.py, calculate_max_churn_and_turnover)."""
    import pyarrow.compute as pc

    found = {"churn": np.full(len(rows.eras), np.nan), "turnover": np.full(len(rows.eras), np.nan)}
    before: tuple[Any, Floats, Floats] | None = None
    for era, block in enumerate(rows.eras):
        tickers, own = rows.ids.slice(block.start, block.stop - block.start), values[block]
        if np.isnan(own).all():
            before = None
            continue
        ranks = np.full(len(own), 0.5)
        ranks[~np.isnan(own)] = percentile_ranks(own[~np.isnan(own)])
        weights = neutral_weights(ranks, np.zeros((len(own), 0)), np.ones(len(own)))
        if before is not None:
            at = pc.index_in(tickers, value_set=before[0]).fill_null(-1).to_numpy(zero_copy_only=False)
            both, sizes = at >= 0, (len(before[0]), len(tickers))
            found["churn"][era] = np.abs(churn(before[1][at[both]], ranks[both], sizes))
            found["turnover"][era] = turnover(before[2][at[both]], weights[both], sizes)
        before = tickers, ranks, weights
    return found


def _similarities(rows: DataRows, own: Column, others: Mapping[str, Column]) -> dict[str, float | None]:
    """The mean over the eras of Spearman's correlation with each other one."""
    found: dict[str, float | None] = {}
    for name, other in others.items():
        values = []
        for block in rows.eras:
            left, right = own.values[block], other.values[block]
            both = ~np.isnan(left) & ~np.isnan(right)
            values.append(pearson(percentile_ranks(left[both]), percentile_ranks(right[both])))
        found[name] = mean_of_last(np.array(values), len(values))
    return found


def _of_last(values: Floats, eras: int) -> float | None:
    """The mean over the last so many eras, None where there are fewer."""
    return mean_of_last(values, eras) if np.count_nonzero(~np.isnan(values)) >= eras else None


def _described(
    one: _Judged, scores: Mapping[str, Floats], features: Sequence[str], similar: Mapping[str, float | None]
) -> dict[str, Any]:
    exposures = np.array(one.exposures) if one.exposures else np.zeros((0, len(features)))
    known = one.column.values[~np.isnan(one.column.values)]
    counts, edges = np.histogram(known, bins=BINS)
    return {
        "name": one.candidate.name,
        "source": one.candidate.source,
        "training": dict(one.candidate.training),
        "metrics": {name: summary(values) for name, values in scores.items()},
        "windows": {
            str(window): {name: _of_last(values, window) for name, values in scores.items()} for window in WINDOWS
        },
        "per_era": {
            name: [None if np.isnan(value) else float(value) for value in values] for name, values in scores.items()
        },
        "exposures": {
            name: float(each[~np.isnan(each)].mean()) if (~np.isnan(each)).any() else None
            for name, each in zip(features, exposures.T, strict=True)
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "similarity": dict(similar),
    }


def _range(eras: Sequence[str]) -> str:
    """`0001`, `0001 and 0002`, `0001 to 0009`."""
    return eras[0] if len(eras) == 1 else f"{eras[0]} {'and' if len(eras) == 2 else 'to'} {eras[-1]}"
