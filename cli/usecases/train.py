"""Trains what a folder's model.toml says and writes `<name>.model` beside it; goes on where an interrupted one stopped.

`train_folder` is what `numerai train` calls, and what a train.py of one's own can call, in a container as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..counting import counted
from ..errors import NumeraiError, UsageError
from ..files.private import make_folder
from ..modelling.artifact import About, ForestMember, read_about, write_artifact
from ..modelling.checkpoint import fingerprint, is_begun, open_checkpoint
from ..modelling.dataset import RoundsFile, build, open_file, read_matrix
from ..modelling.eras import Split, every, in_order, purge_of, split
from ..modelling.feature_sets import read_feature_sets
from ..modelling.held_out import HeldOutEras
from ..modelling.memory import check_disk, check_memory
from ..modelling.model_toml import ModelToml, read_model_toml
from ..modelling.runtime import usable_threads
from ..modelling.training import MemberData, Report, Trained, Trainer, members_of
from ..models import MODEL_SUFFIX, Tournament
from ..ports import DataFiles, Watch
from .data import DATA_VERSION, FEATURES, download, named_place

if TYPE_CHECKING:
    from ..modelling.dataset import Built

CLASSIC = Tournament.CLASSIC.value
SCORED = "target"
"""The target that Numerai scores on (docs.numer.ai/numerai-tournament/data), so the one that CORR is measured on, where
the data have it."""
DEFAULT_LEAVES = 31
"""LightGBM's own."""
BYTES_PER_LEAF, DEFLATED = 160, 0.4
"""Of a tree in LightGBM's text, and what share of it is left in the artifact."""
BYTES_PER_SCORE = 16
"""A held-out row has two: the last and the best."""
_FOOTER_SIZE = 8
"""Bytes at the end of a Parquet file: the length of its footer, and PAR1 (parquet.apache.org, File Format)."""
_SHARE_HELD_OUT, _MOST_HELD_OUT = 10, 100


@dataclass(frozen=True)
class Training:
    """What a training came to. `corr` sums up the held-out eras' CORR of the whole model, or has None without them;
    `up_to_date` says that the artifact was there already, of the same model.toml and data."""

    artifact: Path
    name: str
    data_version: str
    members: tuple[Mapping[str, object], ...]
    metrics: Mapping[str, object]
    up_to_date: bool = False


@dataclass(frozen=True)
class Work:
    """What is to be trained, checked against the data before any long work."""

    plan: ModelToml
    data_version: str
    files: tuple[RoundsFile, ...]
    by_set: Mapping[str, tuple[str, ...]]
    set_sizes: Mapping[str, int]
    neutralizers: tuple[str, ...]
    split: Split
    identity: Mapping[str, object]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Every feature that the model takes, each once."""
        sets = (*self.by_set.values(), self.neutralizers)
        return tuple(dict.fromkeys(feature for features in sets for feature in features))

    @property
    def targets(self) -> tuple[str, ...]:
        """What is read beside the features: the targets to train on, and the one that CORR is measured on."""
        scored = (SCORED,) if all(SCORED in file.columns for file in self.files) else ()
        return tuple(dict.fromkeys((*self.plan.data.targets, *scored)))

    @property
    def scored(self) -> str:
        """The target that CORR is measured on."""
        return SCORED if SCORED in self.targets else self.plan.data.targets[0]


def train_folder(
    folder: Path,
    data: Path,
    *,
    threads: int | None = None,
    again: bool = False,
    say: Callable[[str], None] = lambda _: None,
    report: Report = lambda _: None,
) -> Training:
    """Train the model of a folder on the files of a data version, which `data` is the folder of.

    `threads` are as many as this process may use unless they are given; they do not change a byte. `again` trains what
    is trained already, and throws an interrupted training away. Raises `NumeraiError` for whatever a user can mend.
    """
    work = prepare(read_model_toml(folder), data)
    path = folder / f"{work.plan.name}{MODEL_SUFFIX}"
    known = fingerprint(work.identity)
    if not again and not is_begun(folder) and (about := read_about(path)) is not None and _identity_of(about) == known:
        return _training(path, about, up_to_date=True)
    make_folder(folder)
    check_room(work, folder)
    with open_checkpoint(folder, work.identity, again=again) as checkpoint:
        trainer = Trainer(work.plan, checkpoint, threads or usable_threads(), report)
        whole = _all_members(work, trainer, say)
        write_artifact(path, _about(work, whole, known), [_member(work, each) for each in whole.forests])
        checkpoint.finish()
    return _training(path, read_about(path) or {}, up_to_date=False)


@dataclass(frozen=True)
class _Whole:
    """All members, what measures them (None where no era is held out), and how often each feature has each value."""

    forests: tuple[Trained, ...]
    held_out: HeldOutEras | None
    drift: Mapping[str, Sequence[float]]


def data_folder(
    data: DataFiles,
    folder: Path,
    given: str | None,
    watch: Callable[[str], Watch],
    say: Callable[[str], None],
) -> Path:
    """The folder of the data for the model.toml in `folder`: `given`, or of the version that it names (by default that
    of model.toml, or the newest), downloaded where they are not here yet.

    What is here is trained on as it is, so that an interrupted training goes on although Numerai adds eras each week;
    `numerai data download` brings what is new. Raises as `download` and `read_model_toml` do.
    """
    plan = read_model_toml(folder)
    path = None if given is None else named_place(given)
    if path is not None:
        if path.is_file():
            raise UsageError(f"{path} is a file.", "Give the folder of the data.", code="data-missing")
        return path
    chosen = given or plan.data.version or data.listing(CLASSIC).newest
    names = (FEATURES, *(f"{name}.parquet" for name in plan.data.files))
    if chosen is not None and all((data.folder(CLASSIC, chosen) / name).is_file() for name in names):
        say(f"The data are here: {data.folder(CLASSIC, chosen)}")
        return data.folder(CLASSIC, chosen)
    chosen, _ = download(data, CLASSIC, names, version=chosen, folder=None, watch=watch)
    return data.folder(CLASSIC, chosen)


def prepare(plan: ModelToml, data: Path) -> Work:
    """Look at everything that can be wrong before the long work begins."""
    version = _version(plan, data)
    sets = read_feature_sets(data / FEATURES)
    by_set = {name: tuple(sets.features(name)) for name in plan.data.feature_sets}
    neutralizers: tuple[str, ...] = ()
    if plan.neutralize is not None:
        named = plan.neutralize.features
        neutralizers = tuple(sets.features(*([named] if isinstance(named, str) else named)))
    files = tuple(open_file(data / f"{name}.parquet") for name in plan.data.files)
    set_sizes = {name: len(features) for name, features in sets.sets.items()}
    work = Work(plan, version, files, by_set, set_sizes, neutralizers, Split((), (), 0), {})
    for file in files:
        file.need([*work.targets, *work.features])
        file.refuse_twice()
    divided = _split(plan, files, work.targets)
    return replace(work, split=divided, identity=_identity(plan, version, data, work.features))


def check_room(work: Work, folder: Path) -> None:
    """`EnvironmentNotReady` where the memory or the disk does not suffice, with what would."""
    plan = work.plan
    eras = {*work.split.train, *work.split.validation}
    rows = sum(file.rows(eras & set(file.eras)) for file in work.files)
    widest = max(map(len, work.by_set.values()))
    leaves = int(plan.parameters.get("num_leaves", DEFAULT_LEAVES))
    check_memory(rows, widest, work.set_sizes, targets=len(work.targets), leaves=leaves)
    forests = len(members_of(plan)) * plan.trees * leaves * BYTES_PER_LEAF
    check_disk(folder, round(forests * (1 + DEFLATED)) + 2 * BYTES_PER_SCORE * rows, "The training")


def _version(plan: ModelToml, data: Path) -> str:
    name = data.absolute().name
    wanted = plan.data.version
    if wanted and not DATA_VERSION.fullmatch(wanted):
        raise UsageError(
            f"model.toml asks for the data version {wanted!r}, which is none.",
            'Say `version = "v5.3"` under [data], say.',
            code="other-data-version",
        )
    if wanted and DATA_VERSION.fullmatch(name) and name != wanted:
        raise UsageError(
            f"model.toml asks for the data version {wanted}, and {data} holds {name}.",
            "Give the folder of that version, or change model.toml.",
            code="other-data-version",
        )
    if not wanted and not DATA_VERSION.fullmatch(name):
        raise UsageError(
            f"Which version of the data does {data} hold? Its name does not say it, and the node needs to know.",
            'Say `version = "v5.3"` under [data] in model.toml.',
            code="data-version-missing",
        )
    return wanted or name


def _split(plan: ModelToml, files: Sequence[RoundsFile], targets: Sequence[str]) -> Split:
    """The eras to train on and those held out, of all in which every target is known."""
    labelled: list[str] = []
    for file in files:
        codes, names = file.era_codes()
        known = _known(file, targets)
        labelled += [names[code] for code in np.unique(codes[known])]
    twice = {era for era in labelled if labelled.count(era) > 1} if len(files) > 1 else set()
    if twice:
        raise UsageError(
            f"Era {min(twice)} is in {files[0].path.name} and in {files[1].path.name}: its rows would count twice.",
            "Take both files from one data version.",
            code="era-twice",
        )
    eras = in_order(labelled)
    if not eras:
        raise UsageError(
            f"No row of {' and '.join(file.path.name for file in files)} has a value of {', '.join(targets)}.",
            "Give the training data of a version: `numerai data download train`.",
            code="no-targets",
        )
    step, purge = plan.data.every, purge_of(*plan.data.targets)
    held = plan.held_out.eras
    if held is None:
        held = min(_MOST_HELD_OUT, max(1, len(eras) // _SHARE_HELD_OUT))
    if not held:
        return Split(tuple(every(eras, step)), (), purge)
    whole = split(eras, held, purge)
    return Split(tuple(every(whole.train, step)), tuple(every(whole.validation, step)), purge)


def _known(file: RoundsFile, targets: Sequence[str], eras: set[str] | None = None) -> Any:
    """Which rows have every target."""
    unknown = []
    for target, values in file.read(targets, eras).items():
        if values.dtype.kind not in "iuf" or np.isinf(values.astype(np.float64)).any():
            raise NumeraiError(
                f"{file.path.name}: the target {target} holds something else than finite numbers and gaps.",
                "Name another target in model.toml, or download the file again.",
                code="data-values",
            )
        unknown.append(np.isnan(values.astype(np.float32)))
    return ~np.any(unknown, axis=0)


def _identity(plan: ModelToml, version: str, data: Path, features: Sequence[str]) -> dict[str, object]:
    """All that decides which bytes a training gives."""
    from importlib.metadata import version as installed

    content = plan.plain()
    del content["name"]
    return {
        "model.toml": content,
        "data version": version,
        "files": {f"{name}.parquet": _of_parquet(data / f"{name}.parquet") for name in plan.data.files},
        "features": hashlib.sha256("\n".join(features).encode()).hexdigest()[:16],
        "lightgbm": installed("lightgbm"),
    }


def _of_parquet(path: Path) -> str:
    """A Parquet file by its size and its footer, which has the place, size and bounds of each column's parts."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _FOOTER_SIZE))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, size - _FOOTER_SIZE - length))
        return f"{size} bytes, {hashlib.sha256(file.read()).hexdigest()[:16]}"


def _all_members(work: Work, trainer: Trainer, say: Callable[[str], None]) -> _Whole:
    """Train every member. The data of a feature set are binned once, and freed before those of the next."""
    forests: list[Trained] = []
    held_out: HeldOutEras | None = None
    drift: dict[str, Sequence[float]] = {}
    for name, features in work.by_set.items():
        members = [member for member in members_of(work.plan) if member.feature_set == name]
        eras = counted(len(work.split.train) + len(work.split.validation), "era")
        say(f"Reading {eras} of {counted(len(features), 'feature')} ({name})...")
        built = build(work.files, features, work.split.train, work.targets, held_out=work.split.validation)
        say(f"{built.rows:,} rows to train on" + (f", {built.held_out.rows:,} held out" if built.held_out else ""))
        drift |= {
            feature: [round(share, 6) for share in row]
            for feature, row in zip(features, built.shares.tolist(), strict=True)
        }
        if built.held_out is not None and held_out is None:
            held_out = HeldOutEras(
                built.held_out.era_names, built.held_out.era_codes, built.held_out.targets[work.scored]
            )
        for member in members:
            forests.append(trainer.train(member, _data_of(built, member.target, held_out)))
        del built
    return _Whole(tuple(forests), held_out, drift)


def _data_of(built: Built, target: str, held_out: HeldOutEras | None) -> MemberData:
    built.dataset.set_label(built.targets[target])
    held = None if built.held_out is None else built.held_out.dataset
    return MemberData(built.dataset, held, built.parameters, None if held_out is None else held_out.mean_corr)


def _member(work: Work, forest: Trained) -> ForestMember:
    features = work.by_set[forest.member.feature_set]
    place = {feature: number for number, feature in enumerate(work.features)}
    columns = None if features == work.features else [place[feature] for feature in features]
    return ForestMember(forest.blocks, columns, forest.member.target, forest.member.seed)


def _metrics(work: Work, whole: _Whole) -> dict[str, object]:
    members = [
        {"label": each.member.label, "trees": each.trees, "corr": each.corr, "stopped": each.stopped}
        for each in whole.forests
    ]
    raw = [each.held_out for each in whole.forests if each.held_out is not None]
    if whole.held_out is None or not raw:
        return {"members": members, "corr": None}
    neutralize = work.plan.neutralize
    proportion = 0.0 if neutralize is None else neutralize.proportion
    combined = whole.held_out.combined(raw, _explain(work) if proportion else None, proportion)
    return {"members": members, "corr": whole.held_out.summary(combined), "target": work.scored}


def _explain(work: Work) -> Any:
    """The features to neutralize against, of the held-out rows that have every target, as the data set has them."""
    parts = []
    for file in work.files:
        eras = set(file.eras) & set(work.split.validation)
        if eras:
            parts.append(read_matrix(file, work.neutralizers, eras)[_known(file, work.targets, eras)])
    return np.concatenate(parts)


def _about(work: Work, whole: _Whole, known: str) -> About:
    plan = work.plan
    neutralize = None
    if plan.neutralize is not None:
        neutralize = {"features": list(work.neutralizers), "proportion": plan.neutralize.proportion}
    training = {
        "preset": plan.preset,
        "parameters": {**plan.parameters, "trees": plan.trees, "block": plan.block},
        "files": list(plan.data.files),
        "eras": [work.split.train[0], work.split.train[-1]],
        "every": plan.data.every,
        "held_out": [work.split.validation[0], work.split.validation[-1]] if work.split.validation else None,
        "patience": plan.held_out.patience,
        "purge": work.split.purge,
        "stopped": [each.stopped for each in whole.forests],
        "curves": [[list(point) for point in each.curve] for each in whole.forests],
        "identity": known,
    }
    return About(CLASSIC, work.data_version, work.features, neutralize, training, _metrics(work, whole), whole.drift)


def _identity_of(about: Mapping[str, Any]) -> object:
    training = about.get("training")
    return training.get("identity") if isinstance(training, dict) else None


def _training(path: Path, about: Mapping[str, Any], *, up_to_date: bool) -> Training:
    metrics = about.get("metrics") or {}
    members = tuple(metrics.get("members") or ())
    return Training(path, path.stem, str(about.get("data_version")), members, metrics, up_to_date)
