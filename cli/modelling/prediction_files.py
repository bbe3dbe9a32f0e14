"""Predictions that somebody has written: ids and values of a CSV or Parquet file, checked for what nobody can score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NumeraiError
from ..foreign import one_line
from .alignment import Source
from .dataset import ERA_COLUMNS, ID_COLUMNS
from .feature_sets import near

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

VALUE_COLUMNS = ("prediction", "probability", "signal")
"""What Numerai takes for the column of a submission (numerai-tools, submissions.py)."""
UNNAMED_INDEX = "__index_level_0__"
"""What pandas calls an index without a name in a Parquet file."""


@dataclass(frozen=True)
class Predictions:
    """A file's rows and its columns of numbers."""

    source: Source
    columns: Mapping[str, NDArray[np.float64]]

    def only(self) -> str:
        """The column to score: `prediction`, or as a submission may call it, else the only one of numbers.

        `NumeraiError` when there are several, or the values rank nothing.
        """
        name = next((name for name in VALUE_COLUMNS if name in self.columns), None)
        if name is None and len(self.columns) == 1:
            name = next(iter(self.columns))
        if name is None:
            raise NumeraiError(
                f"{self.source.name} has no column `prediction`; its columns of numbers are"
                f" {', '.join(list(self.columns)[:5]) or 'none'}.",
                "Call the column of the predictions `prediction`.",
                code="column-missing",
            )
        check_values(self.columns[name], f"{self.source.name}: {name}")
        return name

    def one(self, name: str) -> NDArray[np.float64]:
        """The values of a column by its name; `NumeraiError` where there is none."""
        if name not in self.columns:
            raise NumeraiError(
                f"{self.source.name} has no column {name}.",
                near(name, self.columns) or f"It has {', '.join(self.columns) or 'no columns of numbers'}.",
                code="column-missing",
            )
        return self.columns[name]


def check_values(values: NDArray[np.float64], what: str) -> None:
    """Refuse predictions that rank nothing: none, infinite ones, or all the same."""
    known = values[~np.isnan(values)]
    if not len(known):
        raise NumeraiError(f"{what} holds no value.", code="no-predictions")
    if not np.isfinite(known).all():
        raise NumeraiError(f"{what} holds infinite values.", code="bad-predictions")
    if known.min() == known.max():
        raise NumeraiError(
            f"{what} holds one value only ({known[0]:g}), so it ranks nothing.", code="constant-predictions"
        )


def read_predictions(path: Path) -> Predictions:
    """The rows of a file; `NumeraiError` says in what way it is none of predictions."""
    if not path.is_file():
        raise NumeraiError(f"There is no file {path}.", code="file-missing")
    table = read_table(path)
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NumeraiError(f"{path.name} has the column {twice} twice.", "Write it once.", code="column-twice")
    if not table.num_rows:
        raise NumeraiError(f"{path.name} has no rows.", _mend(path), code="no-predictions")
    id_column = next((name for name in (*ID_COLUMNS, UNNAMED_INDEX) if name in names), None)
    if id_column is None:
        raise NumeraiError(
            f"{path.name} has no column of ids: it has {', '.join(names[:5]) or 'no columns'}.",
            _looks_like(path) or _ids_called(names),
            code="column-missing",
        )
    era_column = next((name for name in ERA_COLUMNS if name in names), None)
    ids = texts(table.column(id_column), f"{path.name}: {id_column}")
    eras = None if era_column is None else _eras(table.column(era_column), f"{path.name}: {era_column}")
    others = [name for name in names if name not in (id_column, era_column) and name not in ID_COLUMNS]
    columns = {name: numbers for name in others if (numbers := _numbers(table.column(name))) is not None}
    wanted = next((name for name in VALUE_COLUMNS if name in others), None)
    if wanted is not None and wanted not in columns:
        kind = table.column(wanted).type
        raise NumeraiError(f"{path.name}: the column {wanted} holds {kind}, no numbers.", code="wrong-type")
    return Predictions(Source(path.name, ids, eras), columns)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A CSV or Parquet file, ids and eras as text; `NumeraiError` with code `unreadable` where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    try:
        if path.suffix.lower() == ".parquet":
            return pq.read_table(path, columns=columns)
        kinds = dict.fromkeys((*ID_COLUMNS, *ERA_COLUMNS), pa.large_string())
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=kinds))
        table.schema.names  # noqa: B018  (the names are decoded when they are asked for)
        return table
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise NumeraiError(
            f"{path} cannot be read: it is damaged, or no {'Parquet' if path.suffix.lower() == '.parquet' else 'CSV'}"
            f" file ({one_line(str(error), 120)}).",
            _mend(path),
            code="unreadable",
        ) from error


_KINDS = (
    (b"PAR1", "It is a Parquet file: give it the ending .parquet."),
    (b"PK", "It is a zip, or of a spreadsheet: save it as CSV."),
    (b"\xff\xfe", "It is UTF-16: save it as UTF-8."),
    (b"\xfe\xff", "It is UTF-16: save it as UTF-8."),
    (b"\x80", "It is a pickle: write the predictions with to_csv or to_parquet."),
)


def _looks_like(path: Path) -> str | None:
    """What to do about a file whose beginning says what it is: something else than its name, or another kind of CSV."""
    if path.suffix.lower() == ".parquet":
        return None
    try:
        with path.open("rb") as file:
            head = file.read(4096).split(b"\n")[0]
    except OSError:
        return None
    kind = next((says for begins, says in _KINDS if head.startswith(begins)), None)
    other = next((each for each in (b";", b"\t") if each in head), None)
    if kind is None and other is not None and b"," not in head:
        return "Put commas between its columns, and points into its numbers."
    return kind


def _mend(path: Path) -> str:
    return (
        _looks_like(path) or "Write it again, in UTF-8, with a column of ids and one of predictions; or fetch it again."
    )


def _ids_called(names: Sequence[str]) -> str:
    other = next((name for name in names if name.strip().lower() in ID_COLUMNS), None)
    if other is not None:
        return f"Write {other.strip().lower()} for {other}."
    return "Call the column of the ids `id`, or `numerai_ticker` or `symbol` as in the data."


def texts(column: pa.ChunkedArray, what: str) -> pa.Array:
    """A column of texts as one array of `large_string`; `NumeraiError` when it holds others, or nothing in a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise NumeraiError(f"{what} holds {kind}, no text.", code="wrong-type")
    if column.null_count:
        raise NumeraiError(f"{what} is empty in {column.null_count} rows.", code="id-missing")
    joined = column.cast(pa.large_string()).combine_chunks()
    found = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    empty = pc.sum(pc.equal(pc.binary_length(found), 0)).as_py()
    if empty:
        raise NumeraiError(f"{what} is empty in {empty} rows.", code="id-missing")
    return found


def _eras(column: pa.ChunkedArray, what: str) -> pa.Array:
    """Eras as text: a number is written with four digits, as the data have it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type):
        column = pc.utf8_lpad(column.cast(pa.string()), 4, "0")
    elif pa.types.is_temporal(column.type):
        column = column.cast(pa.date32()).cast(pa.string())
    return texts(column, what)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64] | None:
    """A column as float64 with NaN for null; None when it holds no numbers."""
    import pyarrow as pa

    kind: Any = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return values
