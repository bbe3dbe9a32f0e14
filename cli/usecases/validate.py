"""Judges trained models on rows whose targets are known, beside each other and the deployed one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..counting import counted
from ..errors import NumeraiError, UsageError
from ..files.places import place
from ..models import MODEL_SUFFIX, Tournament
from .data import DATA_VERSION, FEATURES, named_place, near_here

if TYPE_CHECKING:
    from ..modelling.dataset import Bytes, RoundsFile
    from ..modelling.feature_sets import FeatureSets
    from ..modelling.prediction_files import Predictions
    from ..modelling.runtime import Finding, ModelFile, gate
    from ..modelling.scoring import Floats
    from ..modelling.validation import Candidate, Predictor, Rival

META_MODEL = "numerai_meta_model"
"""The column of meta_model.parquet. Source: Numerai's v5 files."""
LIVE = "live.parquet"
BENCHMARK = "benchmark"
"""The source of a candidate that is a column of Numerai's benchmark models."""
_ERAS = re.compile(r"([^:]*):([^:]*)")


@dataclass(frozen=True)
class Judgement:
    """What to judge. `data` is a folder as `numerai data download` fills it, or one Parquet file in such a folder;
    `eras` is `A:B`, either side of which may be empty; `features` names the set to be neutral to. `node` is the name of
    the node that runs the model file `against`: it is left out, and `notes` say so, where it cannot be compared."""

    models: Sequence[str]
    data: Path
    target: str = "target"
    eras: str | None = None
    benchmark: str | None = None
    against: str | None = None
    features: str = "small"
    node: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """What the gate found, and what it could not look at."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def validate_models(asked: Judgement, open_model: Callable[[Path], Predictor] | None = None) -> dict[str, Any]:
    """The validation (docs/models.md says what it holds).

    Raises `NumeraiError` and `UsageError` for models, data and eras that are not there or do not fit each other.
    """
    from ..modelling.dataset import open_file
    from ..modelling.validation import Task, validate

    file = open_file(_rows_file(asked.data))
    folder = file.path.parent
    benchmarks = _optional(folder / f"{file.path.stem}_benchmark_models.parquet")
    open_, against = open_model or read_artifact, asked.against
    if asked.node and against and _comparable(file, Path(against), open_, asked.notes) is None:
        against = None
    names = list(dict.fromkeys([*asked.models, *([against] if against else [])]))
    candidates = _candidates(names, benchmarks, open_, {against: asked.node} if against and asked.node else {})
    called = dict(zip(names, candidates, strict=True))
    task = Task(
        file=file,
        version=folder.name,
        target=_target(file, asked.target),
        eras=_eras(file, asked.eras),
        features=_features(asked, folder, file),
        rivals=_rivals(folder, benchmarks, asked.benchmark),
    )
    with as_the_runtime_says():
        found = validate(task, candidates, called[against].name if against else None)
    seen = [note for one in candidates for note in (*_refused(one), *_seen(one, found["data"]["eras"]))]
    return {**found, "caveats": [*seen, *found["caveats"]], "notes": [*asked.notes, *found["notes"]]}


def _refused(candidate: Candidate) -> Iterator[str]:
    """For which values Numerai would take no submission of a file of predictions."""
    import numpy as np

    from ..modelling.runtime import outside

    values = candidate.values
    if values is None or candidate.source == BENCHMARK:
        return
    missing, out = int(np.isnan(values).sum()), int(outside(values).sum())
    if missing:
        yield (
            f"{candidate.name} has no prediction in {counted(missing, 'row')} of its file: they are left out here, and"
            " Numerai refuses such a file."
        )
    if out:
        lowest, highest = np.nanmin(values), np.nanmax(values)
        yield (
            f"{candidate.name} has {counted(out, 'prediction')} not between 0 and 1 (lowest {lowest:.6g}, highest"
            f" {highest:.6g}): ranks are scored here, and Numerai refuses such a file."
        )


def _seen(candidate: Candidate, eras: Sequence[str]) -> Iterator[str]:
    """What of these eras is no proof of a model, because its training has seen it or is closer than its purge."""
    from ..modelling.eras import era_number

    training = candidate.training
    try:
        first, last = (era_number(name) for name in training["eras"])
        held = [era_number(name) for name in training.get("held_out") or ()]
        purge = int(training.get("purge", 0))
    except (KeyError, TypeError, ValueError, NumeraiError):  # not said, or not by this tool
        return
    numbers = [era_number(name) for name in eras]
    inside = sum(first <= number <= last + purge for number in numbers)
    if inside:
        yield (
            f"{candidate.name} was trained on {counted(inside, 'era')} of these, or within {purge} eras before them: it"
            " scores too high there. Give --eras that its training has not seen."
        )
    stopped = sum(held[0] <= number <= held[-1] for number in numbers) if held else 0
    if stopped:
        eras_of_these = f"{counted(stopped, 'era')} of these"
        yield f"{candidate.name} was stopped by its CORR on {eras_of_these}: it scores a little too high there."


def check_before_deploy(
    model: Path,
    data: Path,
    deployed: Path | None = None,
    *,
    refuse: bool = True,
    open_model: Callable[[Path], Predictor] | None = None,
) -> Look:
    """Hold to the gate what a model predicts of the live rows in a folder of data, or of the last era of validation.

    Compared are the benchmark, the `deployed` model, and the features with those of its training. Raises `NumeraiError`
    with code `gate` where something is found, unless `refuse` is off.
    """
    from ..modelling.dataset import open_file
    from ..modelling.runtime import gate

    file = open_file(data / LIVE if (data / LIVE).is_file() else _rows_file(data))
    open_, notes = open_model or read_artifact, list[str]()
    with as_the_runtime_says():
        opened = open_(model)
        matrix, values = _last_era(file, opened)
        previous = None if deployed is None else _deployed(file, deployed, open_, values, notes)
    trained = getattr(opened, "about", {}).get("drift")
    if trained is None:
        notes.append(f"{model.name} does not say what its features were in training, so drift is not looked at.")
    now = gate.shares_of(matrix, opened.features)
    facts = gate.Facts(
        values,
        benchmark=_beside(file, values, notes),
        previous=previous,
        drift={name: (shares, now[name]) for name, shares in (trained or {}).items() if name in now},
    )
    if previous is not None and deployed is not None:
        facts = _way_back(facts, _beside(file, previous[1], []), model.name, deployed.name, notes)
    found = gate.look(facts, gate.Limits(previous=0.0, repeated=2.0))  # a new model may differ, or be the same
    if found and refuse:
        raise NumeraiError(
            f"{model.name} does not look right: {'; '.join(one.message for one in found)}.",
            f"`numerai validate {model}` shows how it scores.",
            code="gate",
        )
    return Look(tuple(found), tuple(notes))


def _way_back(
    facts: gate.Facts, last: tuple[Floats, Floats] | None, new: str, old: str, notes: list[str]
) -> gate.Facts:
    """The facts without the comparison with the deployed model where that is the one that is upside down: a good model
    has to get past a bad one. `last` is what the deployed one and the benchmark predict; the notes say it."""
    from ..modelling.runtime import gate

    own, theirs = gate.likeness(facts.benchmark), gate.likeness(last)
    if own is None or theirs is None or not theirs < 0 < own:
        return facts
    notes.append(
        f"{old} looks upside down: its rank correlation with the benchmark is {theirs:.2f}, and that of {new} {own:.2f}"
        ". So the new one need not agree with it."
    )
    return replace(facts, previous=None)


def _last_era(file: RoundsFile, model: Predictor) -> tuple[Bytes, Floats]:
    """The features of a file's last era and what a model predicts of them."""
    from ..modelling.dataset import read_matrix

    matrix = read_matrix(file, model.features, file.eras[-1:])
    return matrix, model.predict(matrix, list(file.eras[-1:]) * len(matrix))


def _deployed(
    file: RoundsFile, path: Path, open_model: Callable[[Path], Predictor], values: Floats, notes: list[str]
) -> tuple[Floats, Floats] | None:
    """What a model and the deployed one predict of the same rows; None where the deployed one cannot."""
    deployed = _comparable(file, path, open_model, notes)
    return None if deployed is None else (values, _last_era(file, deployed)[1])


def _comparable(
    file: RoundsFile, path: Path, open_model: Callable[[Path], Predictor], notes: list[str]
) -> Predictor | None:
    """A deployed model, None where it cannot be read or needs other data; the notes say so."""
    try:
        deployed = open_model(path)
    except NumeraiError as error:
        notes.append(f"It is not compared with what is deployed. {error.message}")
        return None
    absent = set(deployed.features) - set(file.columns)
    if absent:
        notes.append(f"{path.name} is not compared: {file.path.name} lacks {counted(len(absent), 'feature')} of it.")
        return None
    return deployed


def _beside(file: RoundsFile, values: Floats, notes: list[str]) -> tuple[Floats, Floats] | None:
    """What a model and the benchmark predict of the rows of the last era that both have."""
    import numpy as np

    from ..modelling.validation import rows_of

    benchmarks = _optional(file.path.with_name(f"{file.path.stem}_benchmark_models.parquet"))
    name = None if benchmarks is None else _standard(benchmarks)
    if benchmarks is None or name is None:
        notes.append(f"There are no benchmark models beside {file.path.name} to compare with.")
        return None
    rows = rows_of(file, file.eras[-1:])
    theirs = benchmarks.source.column(rows, benchmarks.source.places(rows), benchmarks.columns[name]).values
    both = ~np.isnan(theirs)
    return values[both], theirs[both]


def _standard(benchmarks: Predictions) -> str | None:
    """The benchmark to compare with unless one is named."""
    from ..modelling.runtime import gate

    standard = next((name for name in benchmarks.columns if name.endswith(gate.BENCHMARK)), None)
    return standard or next(iter(benchmarks.columns), None)


def data_place(given: str | None, models: Sequence[str], folder_of: Callable[[int, str], Path]) -> Path:
    """The folder, or the file, of the data to judge on: what is given, which may be a version as `v5.3`, else the
    version that the first model file was trained on. `folder_of` says where a tournament's version is kept."""
    if given is not None and (path := named_place(given)) is not None:
        return path
    first = next((Path(name) for name in models if Path(name).suffix == MODEL_SUFFIX and Path(name).is_file()), None)
    if first is not None:
        described = read_artifact(first)
        return folder_of(described.tournament, given or described.data_version)
    if given is not None:
        return folder_of(Tournament.CLASSIC, given)
    missing = next((name for name in models if Path(name).suffix and not Path(name).exists()), None)
    if missing is not None:
        raise UsageError(f"There is no file {missing}.", near_here(place(missing)) or None, code="unknown-model")
    raise UsageError(
        "Which data are these predictions of?", "Name a folder or a version: --data v5.3.", code="data-missing"
    )


def _rows_file(data: Path) -> Path:
    if data.is_dir():
        path = data / "validation.parquet"
        if not path.is_file():
            to = f"--version {data.name}" if DATA_VERSION.fullmatch(data.name) else f"--to {data}"
            raise NumeraiError(
                f"There is no {path.name} in {data}.",
                f"`numerai data download validation {to}` fetches it.",
                code="data-missing",
            )
        return path
    if data.suffix == ".parquet":
        return data
    raise UsageError(
        f"{data} is no Parquet file." if data.exists() else f"There is no folder {data}.",
        "Name the folder of the data, or one of its Parquet files: `numerai data download` fetches them.",
        code="data-missing",
    )


def _optional(path: Path) -> Predictions | None:
    from ..modelling.prediction_files import read_predictions

    return read_predictions(path) if path.is_file() else None


def read_artifact(path: Path) -> ModelFile:
    """A model file as a node reads it; `NumeraiError` with code `model-unusable` where a node could not."""
    from ..modelling.runtime import read_model

    with as_the_runtime_says():
        return read_model(path)


@contextmanager
def as_the_runtime_says() -> Iterator[None]:
    """What the node's runtime refuses to read, or to predict with, as an error of this tool."""
    from ..modelling.runtime import NodeError

    try:
        yield
    except NodeError as error:
        raise NumeraiError(str(error), code="model-unusable") from error


def _candidates(
    names: Sequence[str],
    benchmarks: Predictions | None,
    open_model: Callable[[Path], Predictor],
    called: Mapping[str, str],
) -> list[Candidate]:
    """The models; they are called as `called` says, else by the names of their files, as far as these differ."""
    short = {name: called.get(name) or Path(name).stem for name in names}
    count = Counter(short.values())
    return [
        _candidate(name, short[name] if count[short[name]] == 1 else name, benchmarks, open_model) for name in names
    ]


_OF_A_MEMBER = {"target": "{}", "seed": "seed {}", "trees": "{} trees"}


def _training(about: Mapping[str, Any]) -> dict[str, Any]:
    """How a model was trained, of all that its file says of it."""
    members = about.get("members", ())
    training = {key: value for key, value in (about.get("training") or {}).items() if key not in ("curves", "identity")}
    told = {
        "data": about.get("data_version"),
        "features": len(about.get("features", ())) or None,
        "members": [
            ", ".join(words.format(member[key]) for key, words in _OF_A_MEMBER.items() if key in member)
            for member in members
        ],
        "neutralized": (about.get("neutralize") or {}).get("proportion"),
        **training,
    }
    return {name: value for name, value in told.items() if value not in (None, [], {})}


def _candidate(
    name: str, called: str, benchmarks: Predictions | None, open_model: Callable[[Path], Predictor]
) -> Candidate:
    from ..modelling.prediction_files import read_predictions
    from ..modelling.validation import Candidate

    path = place(name)
    if path.is_file() and path.suffix.lower() == MODEL_SUFFIX:
        predictor = open_model(path)
        about = getattr(predictor, "about", {})
        return Candidate(called, name, predictor=predictor, training=_training(about))
    if path.is_file():
        read = read_predictions(path)
        return Candidate(called, name, rows=read.source, values=read.columns[read.only()])
    if benchmarks is not None and name in benchmarks.columns:
        return Candidate(name, BENCHMARK, rows=benchmarks.source, values=benchmarks.columns[name])
    known = f" The benchmarks are {', '.join(benchmarks.columns)}." if benchmarks is not None else ""
    folder = path.is_dir()
    why = "it is a folder" if folder else "no file is called so, and no benchmark"
    raise UsageError(
        f"There is no model {name}: {why}.",
        ("" if folder else near_here(path))
        or f"Name a {MODEL_SUFFIX} file, or a CSV or Parquet file of predictions.{known}",
        code="unknown-model",
    )


def _target(file: RoundsFile, name: str) -> str:
    from ..modelling.feature_sets import near

    if name not in file.columns:
        targets = [column for column in file.columns if column.startswith("target")]
        raise UsageError(
            f"{file.path.name} has no target {name}.",
            near(name, targets) or f"It has {', '.join(targets[:8]) or 'none: live rows have none'}.",
            code="unknown-target",
        )
    return name


def _eras(file: RoundsFile, given: str | None) -> list[str]:
    """The eras of a file from A to B, both included; `X`, the era of live rows, is none."""
    from ..modelling.eras import era_number

    eras = [name for name in file.eras if name != "X"]
    if not given:
        return eras
    match = _ERAS.fullmatch(given)
    if match is None:
        raise UsageError(f"{given!r} is no range of eras.", "Give it as 0601:0700, 0601: or :0700.", code="bad-era")
    first, last = (era_number(side) if side else None for side in match.groups())
    chosen = [
        name
        for name in eras
        if (first is None or era_number(name) >= first) and (last is None or era_number(name) <= last)
    ]
    if not chosen:
        raise UsageError(
            f"{file.path.name} has no era of {given}.",
            f"It has {eras[0]} to {eras[-1]}." if eras else "It has none.",
            code="no-eras",
        )
    return chosen


def _features(asked: Judgement, folder: Path, file: RoundsFile) -> list[str]:
    from ..modelling.feature_sets import read_feature_sets

    path = folder / FEATURES
    if path.is_file():
        sets: FeatureSets = read_feature_sets(path)
        return sets.features(asked.features)
    if file.id_column == "id":
        asked.notes.append("FNC and exposure are not computed: the data have no features.json.")
        return []
    return [name for name in file.columns if name.startswith("feature_") and name != "feature_country"]


def _rivals(folder: Path, benchmarks: Predictions | None, benchmark: str | None) -> Mapping[str, Rival]:
    from ..modelling.validation import Rival

    rivals = {}
    meta = _optional(folder / "meta_model.parquet")
    if meta is not None:
        rivals["meta_model"] = Rival(META_MODEL, meta.source, meta.one(META_MODEL))
    if benchmarks is not None and benchmarks.columns:
        name = benchmark or str(_standard(benchmarks))
        rivals["benchmark"] = Rival(name, benchmarks.source, benchmarks.one(name))
    elif benchmark:
        raise NumeraiError(
            f"There are no benchmark models in {folder}.",
            "`numerai data download validation_benchmark_models.parquet`",
            code="data-missing",
        )
    return rivals
