"""The one file that a training ends in: `<name>.model`, a zip of LightGBM's text models and what is known of them.

It holds no pickle and no times: the same training gives the same bytes. `model.json` says which member is what, in
which order the features are and how the members become one prediction; docs/models.md has all of it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from .. import __version__
from ..files.private import folder_unwritable, replacing
from .boosters import write_forest
from .runtime import DESCRIPTION, MODEL_FORMAT

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can hold."""
_UNIX = 3


@dataclass(frozen=True)
class ForestMember:
    """A forest of the model: the files of its blocks, and which of the model's features its columns are (None: all)."""

    blocks: Sequence[Path]
    features: Sequence[int] | None
    target: str
    seed: int
    weight: float = 1.0


@dataclass(frozen=True)
class About:
    """What an artifact says of the model. `drift` has, for each feature, the share of each value 0..4 in training."""

    tournament: int
    data_version: str
    features: Sequence[str]
    neutralize: Mapping[str, object] | None
    training: Mapping[str, object]
    metrics: Mapping[str, object]
    drift: Mapping[str, Sequence[float]] | None


def write_artifact(path: Path, about: About, members: Sequence[ForestMember]) -> None:
    """Write the artifact: it appears whole or not at all. `EnvironmentNotReady` where the folder takes no file."""
    try:
        with replacing(path, mode=0o666) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
            described = []
            for number, member in enumerate(members):
                name = f"members/{number:03}.txt"
                with archive.open(_entry(name), "w", force_zip64=True) as entry:
                    trees = write_forest(member.blocks, entry)  # type: ignore[arg-type]
                described.append(
                    {
                        "file": name,
                        "features": None if member.features is None else list(member.features),
                        "target": member.target,
                        "seed": member.seed,
                        "trees": trees,
                        "weight": member.weight,
                    }
                )
            content = {"format": MODEL_FORMAT, **vars(about), "members": described, "combine": "rank"}
            text = json.dumps(content | {"environment": environment()}, indent=1, sort_keys=True, ensure_ascii=False)
            with archive.open(_entry(DESCRIPTION), "w") as entry:
                entry.write(text.encode())
    except OSError as error:
        raise folder_unwritable(path, error) from error


def read_about(path: Path) -> dict[str, object] | None:
    """What an artifact says of its model, None where there is none that can be read."""
    try:
        with ZipFile(path) as archive:
            content = json.loads(archive.read(DESCRIPTION))
    except (OSError, ValueError, KeyError, RuntimeError, BadZipFile):
        return None
    return content if isinstance(content, dict) else None


def environment() -> dict[str, str]:
    """The versions that a training was done with."""
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "lightgbm": version("lightgbm"),
        "numpy": version("numpy"),
        "numerai_compute": __version__,
    }


def _entry(name: str) -> ZipInfo:
    """A member with nothing in it that another day or another machine would write differently."""
    entry = ZipInfo(name, _EPOCH)
    entry.compress_type = ZIP_DEFLATED  # at zlib's default level, which is 6
    entry.create_system = _UNIX
    entry.external_attr = 0o644 << 16
    return entry
