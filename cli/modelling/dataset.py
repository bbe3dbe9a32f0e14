"""Rounds files (Parquet) read by blocks of columns, straight into what LightGBM bins.

A feature value is a byte while it is read and half a byte once it is binned; nothing holds all of them in between.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..counting import counted
from ..errors import NumeraiError, UsageError
from ..foreign import one_line
from .eras import check_apart, in_order
from .feature_sets import near
from .footer import large_footer
from .memory import free_at_once

MISSING = 2
"""What Numerai writes for a missing feature value since v5.3, and the middle bin too: a 2 stays a 2, and what older
files leave empty becomes one."""
LARGEST = 4
"""Features are the whole numbers 0..4. Source: docs.numer.ai/numerai-tournament/data."""
BLOCK_BYTES = 32 << 20
"""Bytes of feature values, one each, that are read at once."""
BINNED_BYTES = 32 << 20
"""Bytes of float32, the smallest that LightGBM takes, that a part of such a block becomes to be binned."""
SAMPLE = 50_000
"""Rows that LightGBM looks at to find a feature's values. A value that 1 row of 5,000 has is then missed with a
probability below 1 in 10,000; a rarer one may share its neighbour's bin. The default, 200,000, does the same for values
a quarter as frequent, and takes four times the memory and time for it."""
ERA_COLUMNS = ("era", "date")
"""Classic and Crypto have eras; the eras of Signals are dates."""
ID_COLUMNS = ("id", "numerai_ticker", "symbol", "composite_figi", "bloomberg_ticker", "sedol", "ticker")

Bytes = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.float32]

DATASET_PARAMETERS: Mapping[str, Any] = {
    "bin_construct_sample_cnt": SAMPLE,
    "enable_bundle": False,
    "feature_pre_filter": False,
    "force_col_wise": True,
    "max_bin": LARGEST + 1,
    "min_data_in_bin": 1,
}
"""How the data are binned: a bin for each of the five values; each feature by itself, at four bits (which features
share a bundle would depend on the blocks); and no second copy by rows for the training."""


@dataclass(frozen=True)
class Built:
    """Data to train on.

    `dataset` is LightGBM's, with the first target as its label. Row i of it has the era `era_names[era_codes[i]]` and
    the values `targets[name][i]`. `dropped` counts, for each target, the rows that it was null in: they are left out.
    `shares` (features, 5) has how often each value 0..4 is among the rows to train on. `held_out` is of the eras that
    were held out, and binned as the others are.
    `parameters` are the ones to give to `lightgbm.train`, those of `build` included.
    """

    dataset: Any
    features: tuple[str, ...]
    targets: Mapping[str, Numbers]
    era_codes: npt.NDArray[np.int32]
    era_names: tuple[str, ...]
    rows: int
    dropped: Mapping[str, int]
    parameters: dict[str, Any]
    shares: npt.NDArray[np.float64]
    held_out: Built | None = None

    @property
    def eras(self) -> npt.NDArray[np.str_]:
        """The era of each row."""
        return np.asarray(self.era_names)[self.era_codes]


@dataclass(frozen=True)
class Part:
    """Rows that follow each other in a file: their eras, and their features (rows, features)."""

    eras: npt.NDArray[np.str_]
    matrix: Bytes


class RoundsFile:
    """A Parquet file of rows with ids, eras, features and perhaps targets. Nothing but its eras is kept."""

    def __init__(self, path: Path):
        self.path = path
        with self._readable():
            self._footer = large_footer(path)
            self._whole: Any = None if self._footer else pq.ParquetFile(path, pre_buffer=False)
            sizes, self.columns = _sizes_and_names(self._whole) if self._footer is None else self._footer.shape
        self.id_column = next((name for name in ID_COLUMNS if name in self.columns), None)
        era_column = next((name for name in ERA_COLUMNS if name in self.columns), None)
        if era_column is None:
            raise self._lacks(["era"])
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self._codes, self._names = self._read_eras(era_column)
        self.eras: tuple[str, ...] = tuple(self._names[code] for code in np.unique(self._codes))

    def feature_columns(self) -> list[str]:
        """The columns called feature* that hold numbers, for tournaments without a features.json."""
        names = [name for name in self.columns if name.startswith("feature")]
        with self._readable():
            schema = self._parquet(names, [])[0].schema_arrow
        kinds = {name: schema.field(name).type for name in names}
        return [name for name, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]

    def rows(self, eras: Collection[str] | None = None) -> int:
        """How many rows these eras have; all rows without them."""
        return int(self._starts[-1]) if eras is None else int(self.mask(eras).sum())

    def era_codes(self, eras: Collection[str] | None = None) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
        """The era of each row of these eras, as an index into the names that follow."""
        codes = self._codes if eras is None else self._codes[self.mask(eras)]
        return codes, self._names

    def read(self, columns: Sequence[str], eras: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
        """Columns that are no features, e.g. targets, ids, predictions: numbers as they are and NaN for null, text as
        str objects. `NumeraiError` with code `data-column-missing` or `data-unreadable`."""
        self.need(columns)
        mask = None if eras is None else self.mask(eras)
        values: dict[str, npt.NDArray[Any]] = {}
        for name in columns:
            column = self._column(name)
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            array = column.to_numpy()
            values[name] = array if mask is None else array[mask]
        return values

    def refuse_twice(self) -> None:
        """`NumeraiError` with code `id-twice` where an id of Classic, whose ids do not come back, is there twice. Takes
        eight bytes a row and the ids of a batch."""
        if self.id_column != "id":
            return
        hashes = np.concatenate([np.empty(0, np.int64), *map(_hashes, self._ids())])
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        seen = set[str]()
        for ids in self._ids() if len(again) else ():
            for place in np.flatnonzero(np.isin(_hashes(ids), again)):
                if ids[place] in seen:
                    raise NumeraiError(
                        f"{self.path.name} has the id {ids[place]} twice: its rows would count twice.",
                        OTHER_FILE,
                        code="id-twice",
                    )
                seen.add(ids[place])

    def _ids(self) -> Iterator[list[str]]:
        groups = range(len(self._starts) - 1)
        with self._readable():
            parquet, places = self._parquet(["id"], groups)
            for batch in parquet.iter_batches(row_groups=list(places), columns=["id"]):
                yield batch.column("id").to_pylist()

    def need(self, columns: Sequence[str]) -> None:
        """`NumeraiError` with code `data-column-missing` unless the file has these columns."""
        known = set(self.columns)
        absent = [name for name in columns if name not in known]
        if absent:
            raise self._lacks(absent)

    def read_features(self, names: Sequence[str], mask: npt.NDArray[np.bool_], into: Bytes) -> None:
        """Read the features of the rows in `mask` into an array (features, rows)."""
        self.need(names)
        groups = self._groups(mask)
        with self._readable():
            parquet, places = self._parquet(names, groups)
        done = 0
        for group, place in zip(groups, places, strict=True):
            wanted = mask[self._starts[group] : self._starts[group + 1]]
            count = int(np.count_nonzero(wanted))
            with self._readable():
                table = parquet.read_row_group(place, columns=list(names))
            for row, name in enumerate(names):
                values = self._values(name, table.column(name))
                into[row, done : done + count] = values if count == len(wanted) else values[wanted]
            done += count

    def parts(self, names: Sequence[str], eras: Collection[str] | None, rows: int) -> Iterator[Part]:
        """The features of these eras, in the file's order, at most so many rows at once."""
        self.need(names)
        mask = np.ones(self.rows(), bool) if eras is None else self.mask(eras)
        labels = np.asarray(self._names)
        for group in self._groups(mask):
            start = self._starts[group]
            with self._readable():
                parquet, places = self._parquet(names, [group])
                for batch in parquet.iter_batches(rows, row_groups=places, columns=list(names)):
                    wanted = mask[start : start + batch.num_rows]
                    codes = self._codes[start : start + batch.num_rows][wanted]
                    start += batch.num_rows
                    if not len(codes):
                        continue
                    matrix = np.empty((len(names), len(codes)), np.int8)
                    for row, name in enumerate(names):
                        matrix[row] = self._values(name, batch.column(name))[wanted]
                    yield Part(labels[codes], matrix.T)

    def mask(self, eras: Collection[str]) -> npt.NDArray[np.bool_]:
        """Which rows are of these eras. `NumeraiError` with code `data-era-missing` for eras that the file lacks."""
        absent = set(eras) - set(self.eras)
        if absent:
            raise NumeraiError(
                f"{self.path.name} has no era {sorted(absent)[0]}.",
                f"It has {counted(len(self.eras), 'era')}, {self.eras[0]} to {self.eras[-1]}.",
                code="data-era-missing",
            )
        chosen = np.array([name in set(eras) for name in self._names], bool)
        mask: npt.NDArray[np.bool_] = chosen[self._codes]
        return mask

    def _groups(self, mask: npt.NDArray[np.bool_]) -> list[int]:
        """The row groups that hold any of these rows."""
        starts = self._starts
        return [group for group in range(len(starts) - 1) if mask[starts[group] : starts[group + 1]].any()]

    def _parquet(self, columns: Sequence[str], groups: Sequence[int]) -> tuple[Any, Sequence[int]]:
        """pyarrow's view of the file, of these columns and row groups at least, and where the row groups are in it."""
        if self._footer is None:
            return self._whole, groups
        metadata = self._footer.of(columns, groups)
        return pq.ParquetFile(self.path, metadata=metadata, pre_buffer=False), range(len(groups))

    def _column(self, name: str, **options: Any) -> Any:
        """All of one column."""
        metadata = self._whole.metadata if self._footer is None else self._footer.of([name])
        with self._readable(), pq.ParquetFile(self.path, metadata=metadata, **options) as parquet:
            return parquet.read(columns=[name]).column(name)

    def _read_eras(self, column: str) -> tuple[npt.NDArray[np.int32], tuple[str, ...]]:
        """The era of each row as an index into the names of all eras in order."""
        eras = self._column(column, read_dictionary=[column])
        if eras.null_count:
            raise self._bad(column, "has rows without an era")
        if not pa.types.is_dictionary(eras.type):
            eras = eras.cast(pa.string()).dictionary_encode()
        coded = eras.unify_dictionaries().combine_chunks()
        found = [str(name) for name in coded.dictionary.to_pylist()]
        live = [name for name in found if name == "X"]
        try:
            names = (*in_order(set(found) - set(live)), *live)
        except UsageError as error:
            raise UsageError(f"{self.path.name}: {error.message}", OTHER_FILE, code=error.code) from None
        place = {name: number for number, name in enumerate(names)}
        order = np.array([place[name] for name in found], np.int32)
        return order[coded.indices.to_numpy()], names

    def _values(self, name: str, column: Any) -> Bytes:
        """A feature's values as int8, 0..4; null and NaN are 2."""
        kind = column.type
        if pa.types.is_floating(kind):
            return self._from_floats(name, column)
        if not pa.types.is_integer(kind):
            raise self._bad(name, f"holds {kind}, no numbers")
        if column.null_count:
            column = column.fill_null(MISSING)
        values = column.to_numpy()
        if len(values) and not 0 <= values.min() <= values.max() <= LARGEST:
            raise self._bad(name, f"holds {values.min()} to {values.max()}; features are 0 to {LARGEST}")
        return values.astype(np.int8, copy=False)  # type: ignore[no-any-return]

    def _from_floats(self, name: str, column: Any) -> Bytes:
        values = column.to_numpy()
        filled = np.where(np.isnan(values), MISSING, values)
        if len(filled) and not 0 <= filled.min() <= filled.max() <= LARGEST:
            raise self._bad(name, f"holds {filled.min():g} to {filled.max():g}; features are 0 to {LARGEST}")
        whole = filled.astype(np.int8)
        if (whole == filled).all():
            return whole
        if np.nanmax(values) <= 1 and (np.isnan(values) | (4 * values % 1 == 0)).all():
            raise self._bad(name, "holds quarters, 0 to 1, as the files of v4 do that are not int8", QUARTERS)
        raise self._bad(name, f"holds fractions; features are the whole numbers 0 to {LARGEST}")

    def _lacks(self, absent: Sequence[str]) -> NumeraiError:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        return NumeraiError(
            f"{self.path.name} has no column {absent[0]}{more}.",
            near(absent[0], self.columns) or "Is it of another data version than the features come from?",
            code="data-column-missing",
        )

    def _bad(self, column: str, why: str, hint: str | None = None) -> NumeraiError:
        return NumeraiError(f"{self.path.name}: the column {column} {why}.", hint or OTHER_FILE, code="data-values")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """What pyarrow says of a damaged file, as one message."""
        if not self.path.is_file():
            raise NumeraiError(
                f"There is no file {self.path}.",
                "`numerai data list` says which files there are, `numerai data download` fetches them.",
                code="data-missing",
            )
        try:
            yield
        except PermissionError:
            raise
        except pa.ArrowMemoryError as error:
            raise MemoryError(str(error)) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise NumeraiError(
                f"{self.path} cannot be read: it is damaged, or no Parquet file ({one_line(str(error), 120)}).",
                "Delete it and run `numerai data download` again.",
                code="data-unreadable",
            ) from error


def _hashes(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, ids), np.int64, len(ids))


QUARTERS = "Use a file of whole numbers: in v4 its name ends in `_int8`; later versions have no other."
OTHER_FILE = "Use Numerai's own file: `numerai data download`."


def open_file(path: Path) -> RoundsFile:
    """A rounds file, with its columns and eras. `NumeraiError`: `data-missing` where there is none, `data-unreadable`
    where it is damaged, `data-column-missing` where it has no eras."""
    return RoundsFile(path)


def read_matrix(file: RoundsFile, features: Sequence[str], eras: Collection[str]) -> Bytes:
    """The features of these eras, (rows, features), in the file's order: for a few eras at a time."""
    mask = file.mask(eras)
    matrix = np.empty((len(features), int(mask.sum())), np.int8)
    file.read_features(features, mask, matrix)
    return matrix.T


def matrix_blocks(
    file: RoundsFile, features: Sequence[str], eras: Collection[str] | None = None, rows: int | None = None
) -> Iterator[Part]:
    """The features of these eras (all without them), in the file's order: at most `rows` rows at once, by default what
    32 MiB hold. An era may go on in the next part."""
    return file.parts(features, eras, rows or max(1, BLOCK_BYTES // max(1, len(features))))


def build(
    files: Sequence[RoundsFile],
    features: Sequence[str],
    eras: Collection[str],
    target: str | Sequence[str],
    parameters: Mapping[str, Any] | None = None,
    held_out: Collection[str] = (),
) -> Built:
    """The rows of these eras that have every target, binned for LightGBM; of the eras `held_out`, which are read along
    with them and binned alike, too.

    `parameters` are LightGBM's; those that say how data are binned, see `DATASET_PARAMETERS`, may be among them.
    `NumeraiError` as `open_file`, `RoundsFile.read` and `RoundsFile.features` raise it, `UsageError` for an era that
    two of the files have, that none has, or that is on both sides.
    """
    import lightgbm as lgb

    names = [target] if isinstance(target, str) else list(target)
    merged = {**DATASET_PARAMETERS, "verbosity": -1, **(parameters or {})}
    check_apart(eras, list(held_out), 0)
    rows = _rows(files, [*eras, *held_out], names)
    sides = [_Side.of(rows, side) for side in (eras, held_out) if side or side is eras]
    datasets: list[Any] = [None] * len(sides)
    shares = []
    free_at_once()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that raw data and categorical features are not kept
        for names_of_block, block in _blocks(files, features, rows.masks, len(rows.codes)):
            reference = None
            for number, side in enumerate(sides):
                values = block if side.wanted.all() else block[:, side.wanted]
                if reference is None:
                    shares.append(np.stack([(values == value).mean(axis=1) for value in range(LARGEST + 1)], axis=1))
                part = lgb.Dataset(
                    values.astype(np.float32).T,
                    label=side.targets[names[0]],
                    feature_name=names_of_block,
                    params=merged,
                    reference=reference,
                ).construct()
                reference = reference or part
                before = datasets[number]
                datasets[number] = part if before is None else before.add_features_from(part)
    if datasets[0] is None:
        raise UsageError("There is no feature to train on.", code="no-features")
    built = [
        Built(
            *(dataset, tuple(features), side.targets, side.codes, side.names, len(side.codes), rows.dropped, merged),
            np.concatenate(shares),
        )
        for dataset, side in zip(datasets, sides, strict=True)
    ]
    return replace(built[0], held_out=built[1] if len(built) > 1 else None)


def _sizes_and_names(parquet: Any) -> tuple[Sequence[int], tuple[str, ...]]:
    groups = range(parquet.num_row_groups)
    return [parquet.metadata.row_group(group).num_rows for group in groups], tuple(parquet.schema_arrow.names)


@dataclass(frozen=True)
class _Rows:
    masks: list[npt.NDArray[np.bool_]]
    targets: dict[str, Numbers]
    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]
    dropped: dict[str, int]


@dataclass(frozen=True)
class _Side:
    """The rows to train on, or those held out: which of all rows they are, and what else is known of them."""

    wanted: npt.NDArray[np.bool_]
    targets: dict[str, Numbers]
    codes: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @classmethod
    def of(cls, rows: _Rows, eras: Collection[str]) -> _Side:
        """`NumeraiError` with code `no-rows` where no row is left."""
        names = tuple(in_order(eras))
        place = {name: number for number, name in enumerate(names)}
        codes = np.array([place.get(name, -1) for name in rows.names], np.int32)[rows.codes]
        wanted = codes >= 0
        if not wanted.any():
            raise NumeraiError(
                f"No row of {counted(len(names), 'era')} has a value of {', '.join(rows.targets)}.",
                "Give other eras, or another target.",
                code="no-rows",
            )
        return cls(wanted, {name: values[wanted] for name, values in rows.targets.items()}, codes[wanted], names)


def _rows(files: Sequence[RoundsFile], eras: Collection[str], targets: Sequence[str]) -> _Rows:
    """Which rows of each file are of these eras and have every target."""
    owner: dict[str, RoundsFile] = {}
    for file in files:
        for era in set(file.eras) & set(eras):
            if era in owner:
                raise UsageError(
                    f"Era {era} is in {owner[era].path.name} and in {file.path.name}: its rows would count twice.",
                    "Leave one of the files out.",
                    code="era-twice",
                )
            owner[era] = file
    absent = in_order(set(eras) - set(owner))
    if absent:
        raise UsageError(
            f"No file has {len(absent)} of these eras: {absent[0]}{', ...' if len(absent) > 1 else ''}.",
            "Give other eras, or more files.",
            code="data-era-missing",
        )
    names = tuple(in_order(eras))
    place = {name: number for number, name in enumerate(names)}
    masks, codes, dropped = [], [], dict.fromkeys(targets, 0)
    values: dict[str, list[Numbers]] = {name: [] for name in targets}
    for file in files:
        own = set(file.eras) & set(eras)
        found = {name: _numbers(file, name) for name in targets}
        chosen = file.mask(own)
        mask = chosen.copy()
        for name, column in found.items():
            empty = np.isnan(column)
            dropped[name] += int((empty & chosen).sum())
            mask &= ~empty
        own_codes, own_names = file.era_codes()
        codes.append(np.array([place.get(name, -1) for name in own_names], np.int32)[own_codes[mask]])
        for name, column in found.items():
            values[name].append(column[mask])
        masks.append(mask)
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    return _Rows(masks, joined, np.concatenate(codes), names, dropped)


def _numbers(file: RoundsFile, name: str) -> Numbers:
    column = file.read([name])[name]
    if column.dtype.kind not in "iuf":
        raise NumeraiError(
            f"{file.path.name}: the target {name} holds no numbers.", "Give the name of a target.", code="data-values"
        )
    return column.astype(np.float32, copy=False)


def _blocks(
    files: Sequence[RoundsFile], features: Sequence[str], masks: Sequence[npt.NDArray[np.bool_]], rows: int
) -> Iterator[tuple[list[str], Bytes]]:
    """Names and values (features, rows) of a few features at a time."""
    wide, narrow = (max(1, size // (rows * width)) for size, width in ((BLOCK_BYTES, 1), (BINNED_BYTES, 4)))
    for start in range(0, len(features), wide):
        names = features[start : start + wide]
        block = np.empty((len(names), rows), np.int8)
        done = 0
        for file, mask in zip(files, masks, strict=True):
            count = int(mask.sum())
            file.read_features(names, mask, block[:, done : done + count])
            done += count
        for place in range(0, len(names), narrow):
            yield list(names[place : place + narrow]), block[place : place + narrow]
