"""The gate finds predictions that a working model would hardly make, and a gate never costs a round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_node import Node, guard
from numerai_node.errors import EXIT_BAD_PREDICTIONS, BadPredictions, ConfigurationError, NotSubmitted
from numerai_node.gate import Facts, Limits, look, shares_of, stability_index
from numerai_node.settings import from_environment

from .conftest import Stub, a_round, parquet, status

MakeNode = Callable[..., Node]
RANDOM = np.random.default_rng(1)
FINE = RANDOM.random(500)
LIKE = (FINE, FINE + 0.2 * RANDOM.normal(size=500))
EVEN = (0.2, 0.2, 0.2, 0.2, 0.2)
BENCHMARKS = "v5.10/live_benchmark_models.parquet"


def checks(facts: Facts, limits: Limits | None = None) -> list[str]:
    return [finding.check for finding in look(facts, limits)]


def test_a_working_model_is_let_through() -> None:
    drift = {f"feature_{number}": (EVEN, (0.22, 0.18, 0.2, 0.21, 0.19)) for number in range(40)}
    assert checks(Facts(FINE, expected_rows=500, benchmark=LIKE, previous=LIKE, drift=drift)) == []
    assert checks(Facts(0.5 + 0.002 * FINE, expected_rows=600)) == []  # the raw values of a forest


@pytest.mark.parametrize(
    ("facts", "check", "words"),
    [
        (Facts(FINE[:390], expected_rows=500), "rows", "390 rows, and 500 were expected"),
        (Facts(0.5 + 1e-6 * FINE), "dispersion", "hardly differ"),
        (Facts(np.where(FINE < 0.15, 0.4, FINE)), "ties", "of the rows have one value, 0.4"),
        (Facts(np.minimum(FINE, 0.95)), "tails", "have the highest value, 0.95"),
        (Facts(np.maximum(FINE, 0.05)), "tails", "have the lowest value, 0.05"),
        (Facts(FINE, benchmark=(FINE, 1 - LIKE[1])), "benchmark", "as if they were upside down"),
        (Facts(FINE, previous=(FINE, RANDOM.random(500))), "previous", "rank correlation with the last ones is"),
        (Facts(FINE, previous=(FINE, 2 * FINE)), "repeated", "the last ones again"),
        (Facts(FINE, drift={"a": (EVEN, (0, 0, 1, 0, 0)), "b": (EVEN, EVEN)}), "drift", "trained on: a ("),
    ],
)
def test_each_check_finds_its_own_thing(facts: Facts, check: str, words: str) -> None:
    (finding,) = look(facts)
    assert finding.check == check
    assert words in finding.message
    assert finding.value != finding.limit


def test_limits_can_be_others() -> None:
    assert checks(Facts(FINE, previous=(FINE, 2 * FINE)), Limits(repeated=2.0)) == []
    assert checks(Facts(FINE, benchmark=LIKE), Limits(benchmark=0.99, chance=0)) == ["benchmark"]
    assert checks(Facts(FINE, drift={"a": (EVEN, (0, 0, 1, 0, 0)), "b": (EVEN, EVEN)}), Limits(drifted=0.5)) == []


@pytest.mark.parametrize(("shift", "found"), [(0.0, []), (0.05, []), (-0.4, ["benchmark"])])
def test_a_model_that_has_nothing_to_do_with_the_benchmark_is_not_upside_down(shift: float, found: list[str]) -> None:
    random = np.random.default_rng(3)
    for rows in (120, 6900):
        theirs = random.normal(size=rows)
        ours = shift * theirs + random.normal(size=rows)
        assert checks(Facts(FINE, benchmark=(ours, theirs))) == found


def test_nothing_is_said_of_what_cannot_be_compared() -> None:
    few, constant = (FINE[:9], 1 - FINE[:9]), (FINE, np.full(500, 0.5))
    assert checks(Facts(FINE, benchmark=few, previous=few)) == []
    assert checks(Facts(FINE, benchmark=constant, previous=constant)) == []
    assert checks(Facts(np.array([0.3, 0.6]))) == ["ties"]
    assert checks(Facts(np.empty(0))) == ["dispersion"]


@pytest.mark.slow
@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_a_shift_counts_the_same_both_ways(one: list[float], other: list[float]) -> None:
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, other) >= 0
    assert stability_index(one, one) == 0


def test_the_shares_of_a_features_values() -> None:
    matrix = np.array([[0, 2], [4, 2], [4, 2], [1, 2]], dtype=np.int8)
    assert shares_of(matrix, ["a", "b"]) == {"a": [0.25, 0.25, 0, 0, 0.5], "b": [0, 0, 1, 0, 0]}


def predictions(node: Node, change: Callable[[Any], Any] = lambda values: values) -> pd.Series[Any]:
    ids = node.live().index
    return pd.Series(change(np.linspace(0.1, 0.9, len(ids))), index=ids)


def clipped(values: Any) -> Any:
    return np.maximum(values, 0.2)


@pytest.mark.slow
def test_a_finding_is_said_and_the_round_is_not_missed(
    node: Node, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    node.submit(predictions(node, clipped))
    assert len(stub.created) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if " gate " in line]
    assert ["check=ties" in said[0], "check=tails" in said[1]] == [True, True]


@pytest.mark.slow
def test_with_the_setting_refuse_nothing_is_sent(make_node: MakeNode, stub: Stub) -> None:
    node = make_node(NUMERAI_GATE="refuse")
    with pytest.raises(BadPredictions, match="NUMERAI_GATE is refuse") as caught:
        node.submit(predictions(node, clipped))
    assert caught.value.exit_code == EXIT_BAD_PREDICTIONS
    assert len(caught.value.problems) == 2
    assert not stub.asked("upload")
    node.submit(predictions(node))
    assert len(stub.created) == 1


def test_a_test_without_submitting_hears_of_it_too(make_node: MakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    node = make_node(NUMERAI_NO_SUBMIT="1")
    with pytest.raises(NotSubmitted):
        node.submit(predictions(node, clipped))
    assert "check=ties" in capsys.readouterr().out


def test_the_gate_can_be_off(make_node: MakeNode, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub.files[BENCHMARKS] = b"none"
    node = make_node(NUMERAI_GATE="off")
    node.submit(predictions(node, clipped))
    assert " gate " not in capsys.readouterr().out
    assert not any(name == BENCHMARKS for _, name, _ in stub.requests)


def test_another_word_is_no_setting() -> None:
    assert from_environment({}).gate == "warn"
    with pytest.raises(ConfigurationError, match="NUMERAI_GATE must be warn, refuse or off"):
        from_environment({"NUMERAI_GATE": "yes"})


def benchmark(node: Node, order: int) -> bytes:
    ids = node.live().index
    return parquet(pd.DataFrame({"v510_lgbm_ender20": np.arange(len(ids))[::order]}, index=ids))


@pytest.mark.parametrize(("order", "found"), [(1, False), (-1, True)])
def test_the_benchmark_shows_what_is_upside_down(
    node: Node, stub: Stub, order: int, found: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.files[BENCHMARKS] = benchmark(node, order)
    node.dataset.forget_names()
    node.submit(predictions(node))
    assert ("check=benchmark" in capsys.readouterr().out) == found
    assert len(stub.created) == 1


@pytest.mark.parametrize(
    "content", [b"no parquet", parquet(pd.DataFrame({"other": [1.0]}, index=pd.Index(["a"], name="id")))]
)
def test_a_benchmark_that_cannot_be_read_costs_nothing(
    node: Node, stub: Stub, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.files[BENCHMARKS] = content
    node.submit(predictions(node))
    assert len(stub.created) == 1
    assert ("not compared with the benchmark" in capsys.readouterr().out) == (content == b"no parquet")


def test_a_benchmark_that_does_not_come_is_not_waited_for(
    node: Node, stub: Stub, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """The live data are tried until the deadline; this is given up after three tries that take ten seconds at most."""
    stub.files[BENCHMARKS] = benchmark(node, -1)
    node.dataset.forget_names()
    made = predictions(node)
    stub.script["download"] = [status(503)] * 50
    node.submit(made)
    assert len(stub.script["download"]) == 47
    assert sum(waits) <= 10
    assert "not compared with the benchmark" in capsys.readouterr().out
    assert len(stub.created) == 1


def test_shortly_before_the_deadline_the_benchmark_is_not_asked_for(make_node: MakeNode, stub: Stub) -> None:
    stub.round = a_round(closes=4)
    node = make_node()
    stub.files[BENCHMARKS] = benchmark(node, -1)
    node.dataset.forget_names()
    node.submit(predictions(node))
    assert not any(name == BENCHMARKS for _, name, _ in stub.requests)


@pytest.mark.parametrize("setting", ["warn", "refuse"])
def test_a_mistake_in_the_gate_costs_nothing(
    make_node: MakeNode,
    stub: Stub,
    setting: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(facts: Facts) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(guard, "look", broken)
    node = make_node(NUMERAI_GATE=setting)
    node.submit(predictions(node))
    assert len(stub.created) == 1
    assert "the gate could not look at the predictions" in capsys.readouterr().out


@pytest.fixture
def stocks(make_node: MakeNode, stub: Stub) -> Callable[..., Node]:
    """Makes a Signals node whose universe has 120 tickers."""
    universe = pd.DataFrame({"numerai_ticker": [f"T{number:03d} US" for number in range(120)], "feature_0": 1})
    stub.files = {"signals/v2.1/live.parquet": parquet(universe)}
    return lambda **changes: make_node(NUMERAI_TOURNAMENT="11", **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "check"),
    [(np.flip, "previous"), (lambda values: values, "repeated"), (lambda values: values[:90], "rows")],
)
def test_signals_are_compared_with_the_last_ones(
    stocks: MakeNode, stub: Stub, change: Any, check: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    node = stocks()
    ids, values = node.universe["numerai_ticker"], np.linspace(0.1, 0.9, 120)
    node.submit(pd.DataFrame({"numerai_ticker": ids, "prediction": values}))
    assert " gate " not in capsys.readouterr().out
    assert (tmp_path / "artifacts" / guard.SENT).is_file()
    assert node.trained_on is None  # what was sent is no model
    changed = change(values)
    if check == "rows":
        ids, changed = ids[:105], RANDOM.permutation(values)[:105]
        pd.DataFrame({"t": [f"O{n}" for n in range(140)], "v": 0.5}).to_csv(node.artifacts / guard.SENT, index=False)
    stocks().submit(pd.DataFrame({"numerai_ticker": ids, "prediction": changed}))
    assert f"check={check}" in capsys.readouterr().out
    assert len(stub.created) == 2


def test_live_features_are_held_to_those_of_the_training(
    make_node: MakeNode, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a data file comes with a feature that is missing throughout: 2 in all rows."""
    rows = pd.DataFrame({"a": [0, 1, 2, 3, 4] * 20, "b": 2}, dtype="int8")
    make_node().check_features({"a": EVEN, "b": EVEN, "absent": EVEN}, rows)
    assert "check=drift" in capsys.readouterr().out
    node = make_node(NUMERAI_GATE="refuse")
    with pytest.raises(BadPredictions) as caught:
        node.check_features({"a": EVEN, "b": EVEN}, rows)
    assert caught.value.problems[0].startswith("features are not what the model was trained on: b (")
    node.check_features({"a": EVEN}, rows)
    make_node(NUMERAI_GATE="off").check_features({"b": EVEN}, rows)
