"""Numerai's rules for a submission, checked before anything is sent.

They are those of numerai-tools 0.7.2 (submissions.py: validate_headers_*, validate_ids_*, validate_values), which takes
0.8 s of CPU to import. Tests hold these to it: the same predictions pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .data import ID_COLUMNS
from .errors import BadPredictions
from .log import log
from .settings import CLASSIC, CRYPTO, SIGNALS

if TYPE_CHECKING:
    import pandas as pd

    Predictions = pd.DataFrame | pd.Series[Any] | Path | str

VALUE_COLUMNS = {
    CLASSIC: ("prediction", "probability"),
    SIGNALS: ("prediction", "signal"),
    CRYPTO: ("prediction", "signal"),
}
IGNORED_COLUMNS = {CLASSIC: (), SIGNALS: ("friday_date", "date", "data_type"), CRYPTO: ()}
MIN_ROWS = 100
"""Signals and Crypto want at least so many ids of today's universe (numerai-tools: SIGNALS_MIN_TICKERS)."""
NO_NUMBER = ["", "NA", "NaN", "nan", "null"]
NAMED = 5


def check_predictions(predictions: Predictions, universe: pd.DataFrame, tournament: int) -> pd.DataFrame:
    """The submission as a frame of two columns, id and value, if it keeps every rule; else `BadPredictions`.

    Takes a frame with the ids in a column or in its index, a series indexed by id, or the path of a CSV file.
    `universe` is `Dataset.ids(live file)`. Ids outside the universe are dropped with a warning, as Numerai does.
    """
    frame = _two_columns(_as_frame(predictions, tournament), tournament)
    id_column, value_column = frame.columns
    live_ids = universe[id_column].astype(str) if id_column in universe else frame[id_column]
    known = frame[id_column].isin(live_ids)
    problems = _id_problems(frame, known, universe, tournament)
    problems += _value_problems(frame[known], id_column, value_column)
    if problems:
        raise BadPredictions(f"The predictions break {len(problems)} of Numerai's rules.", problems)
    if not known.all():
        strangers = frame.loc[~known, id_column]
        log("warning", what="ids outside today's universe are left out", ids=len(strangers), first=_first(strangers))
    checked: pd.DataFrame = frame[known].reset_index(drop=True)
    return checked


def _as_frame(predictions: Predictions, tournament: int) -> pd.DataFrame:
    import pandas as pd

    if isinstance(predictions, (str, Path)):
        return _read_csv(Path(predictions), tournament)
    if isinstance(predictions, pd.Series):
        name = predictions.name if predictions.name in VALUE_COLUMNS[tournament] else "prediction"
        predictions = predictions.to_frame(name)
    if not isinstance(predictions, pd.DataFrame):
        kind = type(predictions).__name__
        raise BadPredictions(f"Predictions must be a DataFrame, a Series or the path of a CSV file, not {kind}.")
    frame = predictions.copy()
    id_columns = ID_COLUMNS[tournament]
    if any(name in frame.columns for name in id_columns):
        return frame.reset_index(drop=True)
    if frame.index.name in id_columns:
        return frame.reset_index()
    if frame.index.name is None and not isinstance(frame.index, pd.RangeIndex):
        return frame.rename_axis(id_columns[0]).reset_index()
    return frame.reset_index(drop=True)


def _read_csv(path: Path, tournament: int) -> pd.DataFrame:
    import pandas as pd

    texts: dict[str, type] = dict.fromkeys(ID_COLUMNS[tournament], str)
    try:
        # ids such as the ticker "NA" are text, whatever they look like
        return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=dict.fromkeys(_numbers(), NO_NUMBER))
    except OSError as error:
        raise BadPredictions(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise BadPredictions(f"{path} is not a CSV file with a header: {error}.") from error


def _numbers() -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in VALUE_COLUMNS.values() for name in names))


def _two_columns(frame: pd.DataFrame, tournament: int) -> pd.DataFrame:
    import pandas as pd

    frame = frame.drop(columns=[name for name in IGNORED_COLUMNS[tournament] if name in frame.columns])
    ids = [name for name in ID_COLUMNS[tournament] if name in frame.columns]
    values = [name for name in VALUE_COLUMNS[tournament] if name in frame.columns]
    if len(ids) != 1 or len(values) != 1 or len(frame.columns) != 2:
        raise BadPredictions(
            f"The columns are {', '.join(map(str, frame.columns)) or 'none'}; there must be two:"
            f" {_either(ID_COLUMNS[tournament])}, and {_either(VALUE_COLUMNS[tournament])}."
        )
    id_column, value_column = ids[0], values[0]
    numbers = pd.to_numeric(frame[value_column], errors="coerce")
    wrong = numbers.isna() & frame[value_column].notna()
    if wrong.any():
        raise BadPredictions(
            f"{_count(wrong.sum(), 'value is not a number', 'values are not numbers')}"
            f" (ids {_first(frame.loc[wrong, id_column])})."
        )
    text_ids = frame[id_column].where(frame[id_column].isna(), frame[id_column].astype(str))
    return pd.DataFrame({id_column: text_ids, value_column: numbers.astype(float)})


def _id_problems(frame: pd.DataFrame, known: pd.Series[bool], universe: pd.DataFrame, tournament: int) -> list[str]:
    problems = []
    id_column = frame.columns[0]
    ids = frame[id_column]
    empty = ids.isna() | (ids == "")
    if empty.any():
        rows = ", ".join(str(row) for row in frame.index[empty][:NAMED])
        problems.append(f"{_count(empty.sum(), 'row has', 'rows have')} no {id_column} (rows {rows}, counted from 0).")
    twice = ids[ids.duplicated() & known & ~empty].drop_duplicates()
    if len(twice):
        problems.append(f"{_count(len(twice), f'{id_column} appears', f'{id_column}s appear')} twice: {_first(twice)}.")
    if id_column not in universe:
        return problems if len(frame) >= MIN_ROWS else [*problems, _too_few(len(frame), id_column)]
    live = universe[id_column].dropna().astype(str)
    if tournament == CLASSIC:
        missing = live[~live.isin(ids)]
        if len(missing):
            problems.append(
                f"{len(missing)} of today's {len(live)} ids have no prediction: {_first(missing)}."
                " Are these today's live data?"
            )
    elif (found := int(ids.isin(live).sum())) < MIN_ROWS:
        problems.append(_too_few(found, id_column))
    return problems


def _too_few(found: int, id_column: str) -> str:
    return f"Only {found} rows have a {id_column} of today's universe; at least {MIN_ROWS} must."


def outside(values: Any) -> Any:
    """Which of these values (a NumPy array or a series of pandas) do not lie between 0 and 1."""
    import numpy as np

    return ((values < 0) & ~np.isclose(values, 0)) | ((values > 1) & ~np.isclose(values, 1))


def _value_problems(frame: pd.DataFrame, id_column: str, value_column: str) -> list[str]:
    import numpy as np

    problems = []
    ids, values = frame[id_column], frame[value_column]
    empty = values.isna()
    if empty.any():
        problems.append(f"{_count(empty.sum(), 'value is', 'values are')} missing: {_first(ids[empty])}.")
    if (out := outside(values)).any():
        wrong = ids[out]
        problems.append(
            f"{_count(len(wrong), 'value is', 'values are')} not between 0 and 1"
            f" (lowest {values.min():.6g}, highest {values.max():.6g}): {_first(wrong)}."
        )
    if len(values) > 1 and not problems and np.isclose(0, values.std()):
        problems.append(f"All values are the same ({values.iloc[0]:.6g}), so they rank nothing.")
    return problems


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _first(ids: pd.Series[Any]) -> str:
    return ", ".join(str(value) for value in ids[:NAMED]) + (", ..." if len(ids) > NAMED else "")


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
