"""The tournament's data: the files of one version, as frames with only the wanted columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .api import NumeraiApi
from .downloads import Accept, Cache
from .errors import ConfigurationError, TemporaryFailure
from .log import log
from .settings import CLASSIC, CRYPTO, SIGNALS
from .transport import Patience
from .versions import LIVE_FILES, PREFIX, Choice, choose, listed_versions

if TYPE_CHECKING:
    import pandas as pd

MISSING = 2
"""What Numerai writes for a missing feature value since v5.3, and the middle bin too. Files before it have nulls."""
ID_COLUMNS = {
    CLASSIC: ("id",),
    SIGNALS: ("numerai_ticker", "composite_figi", "bloomberg_ticker", "sedol", "ticker"),
    CRYPTO: ("symbol",),
}
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
T = TypeVar("T")


class Dataset:
    """One version of a tournament's data, downloaded file by file as it is needed.

    The version is chosen when it is first needed, and stays the same for all of a run: by `pinned`, else by what
    `trained_on` answers, else it is the newest complete one (`versions.choose`). `chosen` hears of it once.
    """

    def __init__(
        self,
        api: NumeraiApi,
        cache: Cache,
        tournament: int,
        *,
        pinned: str | None = None,
        trained_on: Callable[[], str | None] = lambda: None,
        chosen: Callable[[Choice], None] = lambda choice: None,
    ):
        self._api = api
        self._cache = cache
        self.tournament = tournament
        self._pinned = pinned
        self._trained_on = trained_on
        self._chosen = chosen
        self._names: list[str] | None = None
        self._choice: Choice | None = None

    @property
    def choice(self) -> Choice:
        """The version in use and why; `TemporaryFailure` when Numerai lists no data.

        While no live file is listed it is chosen anew each time.
        """
        if self._choice is not None:
            return self._choice
        files = listed_versions(self._all_names(), self.tournament)
        if not files:
            self.forget_names()
            raise TemporaryFailure(f"Numerai lists no data for tournament {self.tournament}.")
        choice = choose(files, self._pinned, None if self._pinned else self._trained_on())
        if choice.live:
            self._choice = choice
            self._chosen(choice)
        return choice

    @property
    def version(self) -> str:
        """The version in use with its folder, e.g. `v5.3`, `signals/v2.1`."""
        return PREFIX[self.tournament] + self.choice.version

    def files(self) -> list[str]:
        """The files of the version in use, without its name, e.g. `live.parquet`."""
        start = self.version + "/"
        return sorted(name.removeprefix(start) for name in self._all_names() if name.startswith(start))

    def file(self, name: str) -> Path:
        """The path of a current copy of one file of the version in use; `ConfigurationError` when there is no such."""
        if name not in self.files():
            known = ", ".join(self.files())
            raise ConfigurationError(f"There is no file {name} in {self.version}. There are: {known}.{self.advice()}")
        return self.fetch(f"{self.version}/{name}")

    def fetch(
        self,
        full_name: str,
        accept: Accept | None = None,
        *,
        wait_for_missing: bool = True,
        patience: Patience | None = None,
    ) -> Path:
        """`Cache.fetch` of a file by its name with the version; `ConfigurationError` for a name like `../file`."""
        if not SAFE_NAME.fullmatch(full_name):
            raise ConfigurationError(f"{full_name!r} is no name of a data file.")
        return self._cache.fetch(
            full_name,
            lambda left: self._api.dataset_url(full_name, left),
            accept,
            wait_for_missing=wait_for_missing,
            patience=patience,
        )

    def live_file(self) -> Path:
        """The file with today's ids, and with the features where the tournament has them."""
        name = self.live_name()
        return self.file(LIVE_FILES[0]) if name is None else self.fetch(name)

    def live_name(self) -> str | None:
        """The name, with the version, of the file with today's ids; None while none is listed."""
        try:
            files = self.files()
        except TemporaryFailure:
            return None
        return next((f"{self.version}/{name}" for name in LIVE_FILES if name in files), None)

    def forget_names(self) -> None:
        """List the files anew when they are next needed."""
        self._names = None

    def features(self, feature_set: str) -> list[str]:
        """The names of the features in a feature set of features.json, e.g. `small`, `medium`, `all`."""
        path = self.file("features.json")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["feature_sets"]
            sets = {name: [str(feature) for feature in features] for name, features in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._cache.discard(path)
            raise TemporaryFailure(
                f"{path.name} of {self.version} holds no feature sets; the next run downloads it again."
            ) from error
        if feature_set not in sets:
            raise ConfigurationError(f"There is no feature set {feature_set}. There are: {', '.join(sets)}.")
        return sets[feature_set]

    def advice(self) -> str:
        """What to do when a model does not fit the data because its version is gone; empty when it is not."""
        if self.choice.gone is None:
            return ""
        return (
            f" The version {self.choice.gone} that this model needs is no longer served. Train it on"
            f" {self.choice.version}, and unpin it if it is pinned: `numerai node config --data-version trained`."
        )

    def ids(self, path: Path) -> pd.DataFrame:
        """The ids in a live file: one row each, a column for each kind of id that it has."""
        names = self.columns(path)
        return self.read(path, [name for name in ID_COLUMNS[self.tournament] if name in names]).reset_index(drop=True)

    def columns(self, path: Path) -> list[str]:
        """The names of all columns of a file of the cache; `TemporaryFailure` when it is damaged again and again."""
        return self._undamaged(path, column_names)

    def numeric(self, path: Path) -> list[str]:
        """The names of the columns that hold numbers."""
        return self._undamaged(path, numeric_columns)

    def read(self, path: Path, columns: Sequence[str], fill: Sequence[str] = ()) -> pd.DataFrame:
        """`read_columns` of a file of the cache; `TemporaryFailure` when it is damaged again and again."""
        absent = [name for name in dict.fromkeys(columns) if name not in self.columns(path)]
        if absent:
            raise ConfigurationError(
                f"{path.name} of {self.version} lacks {len(absent)} of the columns asked for: {_some(absent)}."
                f"{self.advice()}"
            )
        return self._undamaged(path, lambda file: read_columns(file, columns, fill))

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


def column_names(path: Path) -> list[str]:
    """The names of all columns of a Parquet file, the index included."""
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def numeric_columns(path: Path) -> list[str]:
    """The names of the columns of a Parquet file that hold numbers, and not text, dates or the like."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    return [field.name for field in schema if pa.types.is_integer(field.type) or pa.types.is_floating(field.type)]


def read_columns(path: Path, columns: Sequence[str], fill: Sequence[str] = ()) -> pd.DataFrame:
    """Read only these columns of a Parquet file; `id` is the index where the file has it.

    In the columns of `fill` a null or NaN becomes 2, Numerai's own word for a missing value since v5.3. A 2 that is in
    the file stays: nobody can tell a missing value from the middle bin.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = column_names(path)
    wanted = list(dict.fromkeys([*columns, *(["id"] if "id" in names else [])]))
    table = pq.read_table(path, columns=wanted)
    if fill:
        to_fill = set(fill)
        pairs = zip(table.column_names, table.columns, strict=True)
        values = [_filled(column) if name in to_fill else column for name, column in pairs]
        table = pa.table(values, names=table.column_names)
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    if "id" in names:
        frame = frame.set_index("id", drop="id" not in columns)
    return frame[list(columns)]


def _filled(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
        column = pc.if_else(pc.is_nan(column), MISSING, column).cast(column.type)
    return column.fill_null(MISSING) if column.null_count else column


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
