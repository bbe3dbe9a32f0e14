"""Which version of the data a run uses: the pinned one, the one the model was trained on, or the newest complete one.

Pure, and standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .settings import CLASSIC, CRYPTO, NEWEST, SIGNALS, VERSION

PREFIX = {CLASSIC: "", SIGNALS: "signals/", CRYPTO: "crypto/"}
LIVE_FILES = ("live.parquet", "live_universe.parquet")
NEEDED = frozenset(
    {
        "features.json",
        "live.parquet",
        "live_benchmark_models.parquet",
        "meta_model.parquet",
        "train.parquet",
        "train_benchmark_models.parquet",
        "validation.parquet",
        "validation_benchmark_models.parquet",
    }
)
"""What a model may be trained on or predict from. A version that lacks one of them, and whose predecessor has it, is
still coming out: Numerai lists a version file by file. Example predictions and CSV copies are not waited for, and
neither is a file of another name: a release may drop it for good (v5 has no `live_int8.parquet`, which v4 had).
"""


@dataclass(frozen=True)
class Choice:
    """The version that a run uses, e.g. `v5.3`, and what is to be said about it.

    `why` says in words how it was chosen. `gone` is the version that was asked for and is no longer served, `newer` the
    newest complete version where that is newer than the one in use, `coming` a version that is only partly listed.
    `live` tells whether a live file is listed; without one the choice is not final.
    """

    version: str
    why: str
    live: bool = True
    gone: str | None = None
    newer: str | None = None
    coming: str | None = None


def version_key(name: str) -> tuple[int, int] | None:
    """`v5.10` -> (5, 10), so that versions sort as numbers; None for what is no version."""
    match = VERSION.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def listed_versions(names: Iterable[str], tournament: int) -> dict[str, frozenset[str]]:
    """The files of each version in Numerai's listing, the oldest version first.

    `signals/v2.1/live.parquet` belongs to `v2.1` of tournament 11. Other names are left out.
    """
    prefix = PREFIX[tournament]
    files: dict[str, set[str]] = {}
    for name in names:
        version, _, short = name.removeprefix(prefix).partition("/")
        if name.startswith(prefix) and version_key(version) is not None and short:
            files.setdefault(version, set()).add(short)
    return {version: frozenset(files[version]) for version in sorted(files, key=lambda name: version_key(name) or ())}


def complete_versions(files: Mapping[str, frozenset[str]]) -> list[str]:
    """The versions, the oldest first, that have a live file and every file of `NEEDED` that the version before has."""
    complete: list[str] = []
    needed: frozenset[str] = frozenset()
    for version in served_versions(files):
        if needed <= files[version]:
            complete.append(version)
            needed = files[version] & NEEDED
    return complete


def served_versions(files: Mapping[str, frozenset[str]]) -> list[str]:
    """The versions that a run can use: those with a live file, the oldest first."""
    return [version for version, own in files.items() if not own.isdisjoint(LIVE_FILES)]


def choose(files: Mapping[str, frozenset[str]], pinned: str | None, trained_on: str | None) -> Choice:
    """The version that a run uses; `files` must hold at least one.

    `pinned` is a version, `newest`, or None: then it is the one that the model was `trained_on`. A version that is no
    longer served is replaced by the newest complete one, because a round that is predicted from other data is better
    than a round that is missed.
    """
    complete = complete_versions(files)
    latest = list(files)[-1]
    newest = complete[-1] if complete else latest
    coming = latest if _later(latest, newest) else None
    wanted = trained_on if pinned is None else pinned
    if wanted is None or wanted == NEWEST:
        return Choice(newest, "the newest complete version", live=bool(complete), coming=coming)
    why = "the model was trained on it" if pinned is None else "NUMERAI_DATA_VERSION pins it"
    if wanted in served_versions(files):
        return Choice(wanted, why, newer=newest if _later(newest, wanted) else None, coming=coming)
    return Choice(
        newest, "the newest complete version", live=bool(complete), gone=wanted if complete else None, coming=coming
    )


def _later(version: str, than: str) -> bool:
    return (version_key(version) or (0, 0)) > (version_key(than) or (0, 0))
