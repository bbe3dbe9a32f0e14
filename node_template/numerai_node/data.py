"""The tournament's data: which version is newest, and its files as frames with only the wanted columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .api import NumeraiApi
from .downloads import Accept, Cache
from .errors import ConfigurationError, TemporaryFailure
from .log import log
from .settings import CLASSIC, CRYPTO, SIGNALS

if TYPE_CHECKING:
    import pandas as pd

PREFIX = {CLASSIC: "", SIGNALS: "signals/", CRYPTO: "crypto/"}
ID_COLUMNS = {
    CLASSIC: ("id",),
    SIGNALS: ("numerai_ticker", "composite_figi", "bloomberg_ticker", "sedol", "ticker"),
    CRYPTO: ("symbol",),
}
LIVE_FILES = ("live.parquet", "live_universe.parquet")
T = TypeVar("T")

VERSION = re.compile(r"v(\d+)(?:\.(\d+))?")


class Dataset:
    """The newest version of a tournament's data, downloaded file by file as it is needed."""

    def __init__(self, api: NumeraiApi, cache: Cache, tournament: int):
        self._api = api
        self._cache = cache
        self.tournament = tournament
        self._names: list[str] | None = None

    @property
    def version(self) -> str:
        """The newest version, e.g. `v5.3`, `signals/v2.1`; `ConfigurationError` when there is no data."""
        prefix = PREFIX[self.tournament]
        found = {name.rpartition("/")[0] for name in self._all_names() if name.startswith(prefix)}
        versions = [(version_key(folder.removeprefix(prefix)), folder) for folder in found]
        known = [(key, folder) for key, folder in versions if key is not None]
        if not known:
            raise ConfigurationError(f"Numerai lists no data for tournament {self.tournament}.")
        return max(known)[1]

    def files(self) -> list[str]:
        """The files of the newest version, without its name, e.g. `live.parquet`."""
        start = self.version + "/"
        return sorted(name.removeprefix(start) for name in self._all_names() if name.startswith(start))

    def file(self, name: str) -> Path:
        """The path of a current copy of one file of the newest version; `ConfigurationError` when there is no such."""
        if name not in self.files():
            known = ", ".join(self.files())
            raise ConfigurationError(f"There is no file {name} in {self.version}. There are: {known}.")
        return self.fetch(f"{self.version}/{name}")

    def fetch(self, full_name: str, accept: Accept | None = None, *, wait_for_missing: bool = True) -> Path:
        """`Cache.fetch` of a file by its name with the version."""
        return self._cache.fetch(
            full_name, lambda: self._api.dataset_url(full_name), accept, wait_for_missing=wait_for_missing
        )

    def live_file(self) -> Path:
        """The file with today's ids, and with the features where the tournament has them."""
        name = self.live_name()
        return self.file(LIVE_FILES[0]) if name is None else self.fetch(name)

    def live_name(self) -> str | None:
        """The name, with the version, of the file with today's ids; None while none is listed."""
        try:
            files = self.files()
        except ConfigurationError:
            return None
        return next((f"{self.version}/{name}" for name in LIVE_FILES if name in files), None)

    def forget_names(self) -> None:
        """List the files anew when they are next needed."""
        self._names = None

    def features(self, feature_set: str) -> list[str]:
        """The names of the features in a feature set of features.json, e.g. `small`, `medium`, `all`."""
        sets = json.loads(self.file("features.json").read_text(encoding="utf-8"))["feature_sets"]
        if feature_set not in sets:
            raise ConfigurationError(f"There is no feature set {feature_set}. There are: {', '.join(sets)}.")
        return [str(name) for name in sets[feature_set]]

    def ids(self, path: Path) -> pd.DataFrame:
        """The ids in a live file: one row each, a column for each kind of id that it has."""
        names = self.columns(path)
        return self.read(path, [name for name in ID_COLUMNS[self.tournament] if name in names]).reset_index(drop=True)

    def columns(self, path: Path) -> list[str]:
        """The names of all columns of a file of the cache; `TemporaryFailure` when it is damaged again and again."""
        return self._undamaged(path, column_names)

    def read(self, path: Path, columns: Sequence[str]) -> pd.DataFrame:
        """`read_columns` of a file of the cache; `TemporaryFailure` when it is damaged again and again."""
        return self._undamaged(path, lambda file: read_columns(file, columns))

    def _undamaged(self, path: Path, read: Callable[[Path], T]) -> T:
        try:
            return read(path)
        except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
            self._cache.discard(path)
            log("warning", what=f"{path.name} is damaged and is downloaded again", why=error)
        again = self.file(path.name)
        try:
            return read(again)
        except (OSError, ValueError) as error:
            self._cache.discard(again)
            raise TemporaryFailure(f"{path.name} is damaged ({error}); the next run downloads it again.") from error

    def _all_names(self) -> list[str]:
        if self._names is None:
            self._names = self._api.datasets()
        return self._names


def version_key(name: str) -> tuple[int, int] | None:
    """`v5.10` -> (5, 10), so that versions sort as numbers; None for what is no version."""
    match = VERSION.fullmatch(name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def column_names(path: Path) -> list[str]:
    """The names of all columns of a Parquet file, the index included."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read only these columns of a Parquet file; `id` is the index where the file has it.

    `ConfigurationError` names the columns that the file does not have.
    """
    import pandas as pd

    names = column_names(path)
    absent = [name for name in columns if name not in names]
    if absent:
        raise ConfigurationError(f"{path.name} lacks {len(absent)} of the columns asked for: {_some(absent)}.")
    wanted = list(dict.fromkeys([*columns, *(["id"] if "id" in names else [])]))
    frame: pd.DataFrame = pd.read_parquet(path, columns=wanted).reset_index()
    if "id" in names:
        frame = frame.set_index("id", drop="id" not in columns)
    return frame[list(columns)]


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
