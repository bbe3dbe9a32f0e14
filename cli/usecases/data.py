"""Numerai's data on this machine: which versions and files there are, and the ones that a model needs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files.places import place
from ..models import DataFile, DataListing, Tournament
from ..ports import DataFiles, Watch

FEATURES = "features.json"
DATA_VERSION = re.compile(r"v\d{1,4}(\.\d{1,4})?")
"""What a version of the data is called."""
SETS: Mapping[str, tuple[str, ...]] = {
    "train": ("train.parquet", "train_benchmark_models.parquet"),
    "validation": ("validation.parquet", "validation_benchmark_models.parquet", "meta_model.parquet"),
    "live": ("live.parquet", "live_benchmark_models.parquet"),
}
"""What each set is made of: the first file must be there, the others come along where the tournament has them, and so
does features.json."""
ALL = "all"
DEFAULT = ("train", "validation")


@dataclass(frozen=True)
class VersionGlance:
    """A version of the data: how many files are listed, how many of them are here, and whether more are to come."""

    version: str
    files: int
    here: int
    coming: bool
    newest: bool


@dataclass(frozen=True)
class FileGlance:
    """A file of a version, and where it is when it is here."""

    name: str
    path: Path | None
    size: int | None


def named_place(given: str) -> Path | None:
    """The folder, or the file in one, that `--data` names; None where it is a version.

    `UsageError` with code `data-missing` for what is none of them.
    """
    path = place(given)
    if path.exists():
        return path
    if DATA_VERSION.fullmatch(given):
        return None
    raise UsageError(
        f"There is no folder {path}.",
        near_here(path) or "Name a folder of data, or a version such as v5.3; `numerai data download` fetches them.",
        code="data-missing",
    )


def near_here(path: Path) -> str:
    """Names a file or folder that was probably meant; empty where none beside it is called nearly so."""
    try:
        beside = [each.name for each in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, beside, 1)
    return f"Did you mean {path.with_name(close[0])}?" if close else ""


def versions(data: DataFiles, tournament: int) -> list[VersionGlance]:
    """The versions of a tournament's data, the oldest first. `ApiError` where Numerai cannot be asked."""
    listing = data.listing(tournament)
    return [
        VersionGlance(
            version,
            len(names),
            sum(_size(data.folder(tournament, version) / name) is not None for name in names),
            _coming(listing, version),
            version == listing.newest,
        )
        for version, names in listing.versions.items()
    ]


def files(data: DataFiles, tournament: int, version: str) -> list[FileGlance]:
    """The files of a version. `UsageError` with code `unknown-data-version`."""
    names = _names(data.listing(tournament), tournament, version)
    paths = {name: data.folder(tournament, version) / name for name in names}
    return [
        FileGlance(name, None if _size(path) is None else path, _size(path)) for name, path in sorted(paths.items())
    ]


def download(
    data: DataFiles,
    tournament: int,
    wanted: Sequence[str],
    *,
    version: str | None,
    folder: Path | None,
    watch: Callable[[str], Watch],
) -> tuple[str, list[DataFile]]:
    """Download files, given by name or as the sets train, validation, live and all; the version, and the files.

    Without `version` it is the newest complete one. `watch` makes, for each file, what hears how it arrives.
    `UsageError` with code `unknown-data-version` or `unknown-data-file`, else as `DataFiles.download` raises.
    """
    listing = data.listing(tournament)
    chosen = version or listing.newest or next(reversed(list(listing.versions)), None)
    if chosen is None:
        raise UsageError(f"Numerai lists no data for {Tournament(tournament).title}.", code="unknown-data-version")
    names = _chosen(listing, tournament, chosen, wanted or DEFAULT)
    return chosen, [data.download(tournament, chosen, name, folder, watch(name)) for name in names]


def _names(listing: DataListing, tournament: int, version: str) -> tuple[str, ...]:
    names = listing.versions.get(version)
    if names is None:
        known, meant = ", ".join(listing.versions) or "none", f"v{version.lstrip('vV')}"
        raise UsageError(
            f"There is no version {version} of the data of {Tournament(tournament).title}.",
            f"{f'Did you mean {meant}? ' if meant in listing.versions else ''}Numerai serves: {known}.",
            code="unknown-data-version",
        )
    return names


def _chosen(listing: DataListing, tournament: int, version: str, wanted: Iterable[str]) -> list[str]:
    """The names of the files, each once."""
    names = _names(listing, tournament, version)
    chosen: dict[str, None] = {}
    for word in wanted:
        if word == ALL:
            chosen |= dict.fromkeys(names)
        elif word in names:
            chosen[word] = None
        elif word in SETS and SETS[word][0] in names:
            chosen |= dict.fromkeys(name for name in (FEATURES, *SETS[word]) if name in names)
        else:
            raise _unknown(listing, tournament, version, word)
    return list(chosen)


def _unknown(listing: DataListing, tournament: int, version: str, word: str) -> UsageError:
    names = listing.versions[version]
    file = SETS[word][0] if word in SETS else word
    title = Tournament(tournament).title
    if _coming(listing, version) and any(file in others for others in listing.versions.values()):
        return UsageError(
            f"Version {version} of {title} is coming out file by file, and {file} is not there yet.",
            f"Take --version {listing.newest}, which is complete, or try again later.",
            code="unknown-data-file",
        )
    near = "" if word in SETS else _near(word, [*names, *SETS])
    return UsageError(
        f"Version {version} of {title} has no file {file}.",
        f"{near}There are: {', '.join(names)}.",
        code="unknown-data-file",
    )


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), 3)
    return f"Did you mean {' or '.join(close)}? " if close else ""


def _coming(listing: DataListing, version: str) -> bool:
    """Whether a version is newer than the newest complete one."""
    order = list(listing.versions)
    return listing.newest is not None and order.index(version) > order.index(listing.newest)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
