"""Our scores against numerai-tools': the same numbers to 1e-8, and none where it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numerai_compute.modelling.alignment import DataRows, Source, eras_of
from numerai_compute.modelling.scoring import (
    Column,
    EraFeatures,
    Eras,
    Scorer,
    churn,
    gaussian_ranks,
    mean_of_last,
    neutral_weights,
    percentile_ranks,
    summary,
    turnover,
)
from numerai_tools import scoring as theirs
from numerai_tools import signals as their_signals

CLOSE = 1e-8
some = settings(max_examples=60)
KINDS = ("as is", "constant", "copied", "gaps")
TARGETS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Case:
    """One era: the data's targets by id, and what others have for some of these ids, in any order."""

    target: pd.Series
    predictions: pd.Series
    rival: pd.Series


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Eras of 1 to 40 rows with ties, gaps, strangers, missing and reordered ids, and constant columns."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(1, 40))
    ids = [f"n{number:015x}" for number in random.permutation(10_000)[: rows + 10]]
    target = pd.Series(random.choice(TARGETS, rows), index=ids[:rows], name="target")
    if draw(st.booleans()):
        target = target.mask(random.random(rows) < draw(st.sampled_from([0.05, 0.3])))

    def column(name: str, strangers_at: int) -> pd.Series:
        missing = draw(st.sampled_from([0, 0, 1, 3, 12]))
        strangers = draw(st.sampled_from([0, 0, 1, 4]))
        extra = ids[strangers_at : strangers_at + strangers]
        chosen = random.permutation(np.array([*ids[min(missing, rows - 1) : rows], *extra]))
        kind = draw(st.sampled_from(["fine", "fine", "tied", "two", "constant"]))
        values = {
            "fine": random.normal(size=len(chosen)),
            "tied": random.integers(0, 5, len(chosen)) / 7,
            "two": random.choice([0.1, 0.9], len(chosen), p=[0.95, 0.05]),
            "constant": np.full(len(chosen), 0.3),
        }[kind]
        values = np.where(random.random(len(chosen)) < draw(st.sampled_from([0.0, 0.0, 0.1])), np.nan, values)
        return pd.Series(values, index=chosen, name=name)

    return Case(target, column("prediction", rows), column("meta", rows + 5))


def aligned(case: Case) -> tuple[Scorer, Column]:
    """Ours of a case, by the same alignment as in `numerai validate`."""
    rows = DataRows(
        "data", pa.array(case.target.index, pa.large_string()), eras_of(pa.array(["1"] * len(case.target)), "")
    )

    def column(series: pd.Series) -> Column:
        eras = pa.array(["1"] * len(series), pa.large_string())
        source = Source("file", pa.array(series.index, pa.large_string()), eras)
        return source.column(rows, source.places(rows), series.to_numpy())

    return Scorer(rows.eras, case.target.to_numpy(), {"mmc": column(case.rival)}), column(case.predictions)


def reference(score: Callable[[], pd.Series]) -> float:
    """What numerai-tools answers; NaN where it refuses."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return float(score().iloc[0])
        except (AssertionError, ZeroDivisionError):
            return float("nan")


def same(ours: float, other: float) -> bool:
    return bool(np.isclose(ours, other, rtol=0, atol=CLOSE, equal_nan=True))


@pytest.mark.slow
@some
@given(cases())
def test_corr_and_contribution_are_numerai_tools(case: Case) -> None:
    scorer, predictions = aligned(case)
    ours = scorer.scores(predictions)
    frame = case.predictions.to_frame()
    corr = reference(lambda: theirs.numerai_corr(frame, case.target))
    mmc = reference(lambda: theirs.correlation_contribution(frame, case.rival, case.target))
    assert same(ours["corr"][0], corr), (ours["corr"][0], corr)
    assert same(ours["mmc"][0], mmc), (ours["mmc"][0], mmc)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_smallest_eras_are_scored_as_numerai_tools_does(rows: int) -> None:
    target = pd.Series([0.25, 0.75, 0.5][:rows], index=list("abc")[:rows], name="target")
    predictions, rival = pd.Series([0.2, 0.3, 0.1][:rows], index=target.index), pd.Series(0.5, index=target.index)
    case = Case(target, predictions.rename("prediction"), rival.rename("meta"))
    scorer, column = aligned(case)
    expected = reference(lambda: theirs.numerai_corr(case.predictions.to_frame(), target))
    assert same(scorer.scores(column)["corr"][0], expected)
    assert np.isnan(expected) == (rows == 1)


@pytest.mark.slow
@some
@given(
    st.integers(0, 2**32),
    st.integers(2, 150),
    st.integers(1, 12),
    st.sampled_from(["as is", "constant", "copied", "gaps"]),
)
def test_neutral_corr_and_exposure_are_numerai_tools(seed: int, rows: int, count: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    features = random.integers(0, 5, (rows, count), dtype=np.int8)
    predictions, target = random.normal(size=rows), random.choice(TARGETS, rows)
    if kind == "constant":
        features[:, 0] = 2
    elif kind == "copied":
        features[:, -1] = features[:, 0]
    elif kind == "gaps":
        predictions[1:][random.random(rows - 1) < 0.1] = np.nan  # numerai-tools stumbles where nothing is predicted
    ours = EraFeatures(features, target).scores(predictions)
    index = pd.Index([f"{number:04d}" for number in range(rows)])
    known = ~np.isnan(predictions)
    series = pd.Series(predictions, index=index, name="p")[known]
    frame = pd.DataFrame(features, index=index, columns=[f"f{number}" for number in range(count)])[known]
    if tells_apart(series, frame):
        frames = series.to_frame(), frame, pd.Series(target, index, name="t")
        fnc = reference(lambda: theirs.feature_neutral_corr(*frames))
        assert same(ours.fnc, fnc), (ours.fnc, fnc)
    with np.errstate(all="ignore"):
        each = frame.apply(lambda column: theirs.pearson_correlation(column, theirs.tie_kept_rank(series)))
    assert np.allclose(ours.exposures, each, rtol=0, atol=CLOSE, equal_nan=True)
    if each.notna().any():
        assert same(ours.exposure, theirs.max_feature_correlation(theirs.tie_kept_rank(series), frame)[1])


def tells_apart(predictions: pd.Series, features: pd.DataFrame) -> bool:
    """Whether more than rounding says which of two rows is above the other, once they are neutral."""
    if len(predictions) < 2:
        return True
    neutral = theirs.neutralize(theirs.gaussian(theirs.tie_kept_rank(predictions.to_frame())), features)
    return bool(np.diff(np.sort(neutral["p"])).min() > 1e-10)


@pytest.mark.slow
def test_both_ways_to_neutralize_agree() -> None:
    random = np.random.default_rng(3)
    features = random.integers(0, 5, (3000, 42), dtype=np.int8)
    predictions, target = random.normal(size=3000), random.choice(TARGETS, 3000)
    frame = pd.DataFrame(features, columns=[f"f{number}" for number in range(42)])
    expected = theirs.feature_neutral_corr(pd.DataFrame({"p": predictions}), frame, pd.Series(target, name="t"))["p"]
    assert same(EraFeatures(features, target).scores(predictions).fnc, expected)
    close = np.column_stack((features.astype(float), features[:, 0] + 1e-5 * random.normal(size=3000)))
    frame = pd.DataFrame(close, columns=[f"f{number}" for number in range(43)])
    expected = theirs.feature_neutral_corr(pd.DataFrame({"p": predictions}), frame, pd.Series(target, name="t"))["p"]
    assert same(EraFeatures(close, target).scores(predictions).fnc, expected)


@pytest.mark.slow
@some
@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(0, 15), st.booleans())
def test_churn_and_turnover_are_numerai_tools(seed: int, rows: int, fewer: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    index = pd.Index([f"T{number:04d}" for number in range(rows)])

    def signal(first: int) -> pd.Series:
        values = random.integers(0, 4, rows) / 3 if tied else random.random(rows)
        return pd.Series(values, index=index, name="signal").iloc[first:].sample(frac=1, random_state=1)

    earlier, later = signal(0), signal(min(fewer, rows - 1))
    common = earlier.index.intersection(later.index)
    sizes = (len(earlier), len(later))
    mine = churn(earlier[common].to_numpy(), later[common].to_numpy(), sizes)
    try:
        expected = their_signals.churn(earlier, later)
    except AssertionError:
        expected = float("nan")
    assert same(mine, expected)
    try:
        expected = their_signals.turnover(earlier, later)
    except AssertionError:
        expected = float("nan")
    assert same(turnover(earlier[common].to_numpy(), later[common].to_numpy(), sizes), expected)
    neutralizers, weights = random.normal(size=(rows, 3)) / rows, random.random(rows)
    whole = signal(0).sort_index()
    ours = neutral_weights(whole.to_numpy(), neutralizers, weights)
    expected_weights = theirs.generate_neutralized_weights(
        whole.to_frame(), pd.DataFrame(neutralizers, index), pd.Series(weights, index), center_and_normalize=True
    )
    assert np.allclose(ours, expected_weights["signal"], rtol=0, atol=CLOSE, equal_nan=True)


@pytest.mark.parametrize("values", [[3.0, 1.0, 2.0], [1.0, 1.0, 1.0, 0.0], [0.0, -0.0, np.inf, -np.inf, np.inf], [0.5]])
def test_ranks_are_numerai_tools(values: list[float]) -> None:
    series = pd.Series(values)
    assert percentile_ranks(np.array(values)) == pytest.approx(theirs.tie_kept_rank(series).to_list(), abs=1e-15)
    expected = theirs.gaussian(theirs.tie_kept_rank(series.to_frame()))[0]
    assert gaussian_ranks(np.array(values)) == pytest.approx(expected.to_list(), abs=1e-15)


def test_eras_are_scored_each_on_its_own() -> None:
    random = np.random.default_rng(1)
    sizes = np.array([30, 1, 50, 20])
    eras = Eras(("1", "2", "3", "4"), np.concatenate(([0], sizes.cumsum())))
    target, predictions = random.choice(TARGETS, sizes.sum()), random.normal(size=sizes.sum())
    predictions[81:84] = np.nan  # 3 of the 20 rows of era 4
    ours = Scorer(eras, target).scores(Column(predictions, sizes))["corr"]
    frame = pd.DataFrame({"era": np.repeat(eras.names, sizes), "p": predictions, "target": target})
    for number, (_, rows) in enumerate(frame.groupby("era")):
        expected = reference(partial(theirs.numerai_corr, rows[["p"]], rows["target"]))
        assert same(ours[number], expected)
    assert np.isnan(ours).tolist() == [False, True, False, False]


def test_a_summary_says_what_the_eras_come_to() -> None:
    scores = np.array([0.02, -0.01, np.nan, 0.03, -0.04, 0.01])
    series = pd.Series(scores).dropna()
    found = summary(scores)
    assert found["mean"] == pytest.approx(series.mean())
    assert found["std"] == pytest.approx(series.std(ddof=0))
    assert found["sharpe"] == pytest.approx(theirs.sharpe_ratio(series))
    assert found["max_drawdown"] == pytest.approx((series.cumsum().cummax() - series.cumsum()).max())
    assert found["autocorrelation"] == pytest.approx(np.corrcoef(series[:-1], series[1:])[0, 1])
    assert found["hit_rate"] == 0.6
    assert found["eras"] == 5
    assert mean_of_last(scores, 2) == pytest.approx(-0.015)
    assert mean_of_last(scores, 200) == pytest.approx(series.mean())


def test_nothing_is_said_of_no_scores() -> None:
    nothing = np.array([np.nan, np.nan])
    assert summary(nothing)["mean"] is None
    assert mean_of_last(nothing, 20) is None
    assert summary(np.array([0.1]))["sharpe"] is None


def test_a_benchmark_contributes_nothing_to_itself() -> None:
    """And what rounding would leave of that has no Sharpe."""
    random = np.random.default_rng(1)
    starts = np.arange(0, 50 * 201, 50)
    column = Column(random.random(10_000), np.diff(starts))
    target = random.choice([0, 0.25, 0.5, 0.75, 1], 10_000)
    scorer = Scorer(Eras(tuple(map(str, range(200))), starts), target, {"bmc": column})
    scores = scorer.scores(column)["bmc"]
    assert not scores.any()
    assert summary(scores)["sharpe"] is None
