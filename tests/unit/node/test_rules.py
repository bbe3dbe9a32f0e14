"""Predictions that break a rule are refused with words that say which, and in which rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_node.errors import EXIT_BAD_PREDICTIONS, BadPredictions
from numerai_node.rules import check_predictions
from numerai_tools import submissions as reference

IDS = [f"n{number:03d}" for number in range(150)]
VALUES = np.linspace(0.01, 0.99, 150)
CLASSIC = pd.DataFrame({"id": IDS})
SIGNALS = pd.DataFrame({"numerai_ticker": [f"T{n} US" for n in range(150)], "sedol": [f"B{n}" for n in range(150)]})
CRYPTO = pd.DataFrame({"symbol": ["NA", "NULL", *(f"C{number}" for number in range(148))]})


def good() -> pd.DataFrame:
    return pd.DataFrame({"id": IDS, "prediction": VALUES})


def problems_of(predictions: object, universe: pd.DataFrame = CLASSIC, tournament: int = 8) -> str:
    with pytest.raises(BadPredictions) as caught:
        check_predictions(predictions, universe, tournament)  # type: ignore[arg-type]
    assert caught.value.exit_code == EXIT_BAD_PREDICTIONS
    return " ".join([str(caught.value), *caught.value.problems])


@pytest.mark.parametrize(
    "shape",
    [
        lambda frame: frame,
        lambda frame: frame.set_index("id"),
        lambda frame: frame.set_index("id").rename_axis(None),
        lambda frame: frame.set_index("id")["prediction"],
        lambda frame: frame.set_index("id")["prediction"].rename("something else"),
        lambda frame: frame.set_index("id")["prediction"].rename(None),
        lambda frame: frame.rename(columns={"prediction": "probability"}),
        lambda frame: frame[["prediction", "id"]],
        lambda frame: frame.astype({"prediction": "float32"}),
        lambda frame: frame.sample(frac=1.0, random_state=1),
    ],
)
def test_every_shape_of_good_predictions_is_taken(shape: object) -> None:
    checked = check_predictions(shape(good()), CLASSIC, 8)  # type: ignore[operator]
    assert checked.columns[0] == "id"
    assert dict(zip(checked["id"], checked.iloc[:, 1], strict=True)) == pytest.approx(
        dict(zip(IDS, VALUES, strict=True)), abs=1e-6
    )


def test_the_callers_frame_is_not_changed() -> None:
    frame = good()
    before = frame.copy()
    check_predictions(frame, CLASSIC, 8)
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_csv_file_is_taken(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "predictions.csv"
    good().to_csv(path, index=False)
    assert len(check_predictions(str(path) if as_text else path, CLASSIC, 8)) == 150


def test_ids_that_look_like_something_else_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    pd.DataFrame({"symbol": CRYPTO["symbol"], "signal": VALUES}).to_csv(path, index=False)
    assert set(check_predictions(path, CRYPTO, 12)["symbol"]) == set(CRYPTO["symbol"])


def test_a_missing_number_in_a_csv_file_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(good().to_csv(index=False).replace("n003,", "n003,NA\nx,", 1), encoding="utf-8")
    assert "1 value is missing: n003." in problems_of(path)


def test_missing_ids_are_counted_and_named() -> None:
    words = problems_of(good().iloc[7:])
    assert "7 of today's 150 ids have no prediction: n000, n001, n002, n003, n004, ..." in words


def test_several_broken_rules_are_told_at_once() -> None:
    frame = good()
    frame.loc[3, "prediction"] = np.nan
    frame.loc[[5, 6], "prediction"] = [1.5, -0.2]
    frame.loc[8, "id"] = "n009"
    with pytest.raises(BadPredictions, match="break 4 of Numerai's rules") as caught:
        check_predictions(frame, CLASSIC, 8)
    twice, missing, empty, outside = caught.value.problems
    assert twice == "1 id appears twice: n009."
    assert missing.startswith("1 of today's 150 ids have no prediction: n008.")
    assert empty == "1 value is missing: n003."
    assert outside == "2 values are not between 0 and 1 (lowest -0.2, highest 1.5): n005, n006."


def test_infinity_is_not_between_0_and_1() -> None:
    frame = good()
    frame.loc[0, "prediction"] = np.inf
    assert "1 value is not between 0 and 1" in problems_of(frame)


def test_values_at_the_edges_are_fine() -> None:
    frame = good()
    frame.loc[[0, 149], "prediction"] = [0.0, 1.0]
    check_predictions(frame, CLASSIC, 8)


def test_equal_values_rank_nothing() -> None:
    assert "All values are the same (0.5)" in problems_of(good().assign(prediction=0.5))


def test_rows_without_an_id() -> None:
    frame = good()
    frame.loc[2, "id"] = None
    assert "1 row has no id (rows 2, counted from 0)." in problems_of(frame)


def test_text_where_numbers_belong() -> None:
    frame = good().astype({"prediction": object})
    frame.loc[4, "prediction"] = "high"
    assert "1 value is not a number (ids n004)" in problems_of(frame)


@pytest.mark.parametrize(
    "frame",
    [
        good().assign(extra=1),
        good()[["id"]],
        good()[["prediction"]],
        good().rename(columns={"prediction": "target"}),
        pd.DataFrame(),
    ],
)
def test_wrong_columns_are_named(frame: pd.DataFrame) -> None:
    words = problems_of(frame)
    assert "there must be two: id, and prediction or probability" in words
    for name in frame.columns:
        assert name in words


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    assert "not list" in problems_of([0.1, 0.2])
    assert "cannot be read" in problems_of(tmp_path / "absent.csv")
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert "is not a CSV file" in problems_of(empty)


def test_strangers_are_left_out_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.concat([good(), pd.DataFrame({"id": ["stranger"], "prediction": [7.0]})])
    assert len(check_predictions(frame, CLASSIC, 8)) == 150
    assert "ids=1 first=stranger" in capsys.readouterr().out


def test_signals_take_any_kind_of_ticker_and_a_date() -> None:
    frame = pd.DataFrame({"sedol": SIGNALS["sedol"], "signal": VALUES, "friday_date": "2026-11-20"})
    assert list(check_predictions(frame, SIGNALS, 11).columns) == ["sedol", "signal"]


def test_a_kind_of_ticker_that_is_not_served_is_only_counted() -> None:
    frame = pd.DataFrame({"bloomberg_ticker": [f"X{n}" for n in range(150)], "prediction": VALUES})
    assert len(check_predictions(frame, SIGNALS, 11)) == 150
    assert "Only 50 rows" in problems_of(frame.iloc[:50], SIGNALS, 11)


def test_too_few_known_tickers() -> None:
    frame = pd.DataFrame({"symbol": CRYPTO["symbol"], "prediction": VALUES}).iloc[:99]
    assert "Only 99 rows have a symbol of today's universe; at least 100 must." in problems_of(frame, CRYPTO, 12)


def test_strangers_may_appear_twice_as_they_are_left_out() -> None:
    frame = pd.concat([good(), pd.DataFrame({"id": ["stranger"] * 2, "prediction": [0.1, 0.2]})])
    assert len(check_predictions(frame, CLASSIC, 8)) == 150


EDGES = [0.0, 1.0, 0.5, -1e-9, -1e-8, -1.1e-8, 1 + 1e-9, 1 + 1.0009e-5, 1 + 1.1e-5, np.nan, np.inf, -np.inf]
"""Values at the limits of what np.isclose takes for 0 and 1."""
TOURNAMENTS = {8: ("numerai", CLASSIC), 11: ("signals", SIGNALS), 12: ("crypto", CRYPTO)}


@st.composite
def submissions(draw: st.DrawFn) -> tuple[int, str, pd.DataFrame]:
    """A tournament, its kind of id, and predictions that break any of the rules, or none."""
    tournament = draw(st.sampled_from(sorted(TOURNAMENTS)))
    universe = TOURNAMENTS[tournament][1]
    id_column = draw(st.sampled_from(list(universe.columns)))
    spread = draw(st.sampled_from([1.0, 1e-3, 3e-8, 1e-9, 0.0]))
    values = dict(zip(universe[id_column], 0.5 + (VALUES - 0.5) * spread, strict=True))
    for place in draw(st.lists(st.integers(0, 149), max_size=3)):
        values[universe[id_column][place]] = draw(st.sampled_from(EDGES))
    rows: list[tuple[str | None, float]] = list(values.items())[draw(st.sampled_from([0, 0, 0, 1, 50, 51, 150])) :]
    rows += draw(st.lists(st.sampled_from([*rows[:2], ("stranger", 7.0), ("other", np.nan), (None, 0.5)]), max_size=2))
    value_column = draw(st.sampled_from(["prediction", "probability" if tournament == 8 else "signal"]))
    return tournament, id_column, pd.DataFrame(rows, columns=[id_column, value_column]).astype({id_column: object})


@pytest.mark.slow
@settings(max_examples=100)
@given(submissions())
def test_the_verdict_is_that_of_numerai_tools(made: tuple[int, str, pd.DataFrame]) -> None:
    tournament, id_column, frame = made
    kind, universe = TOURNAMENTS[tournament]
    theirs = frame.copy()
    try:
        value_column = getattr(reference, f"validate_headers_{kind}")(theirs)[1]
        known, _ = getattr(reference, f"validate_ids_{kind}")(universe[id_column], theirs, id_column)
        reference.validate_values(known, value_column)
    except AssertionError as error:
        assert problems_of(frame, universe, tournament), error
    else:
        checked = check_predictions(frame, universe, tournament).sort_values(id_column).reset_index(drop=True)
        pd.testing.assert_frame_equal(checked, known.reset_index(drop=True), check_dtype=False)
