"""CORR is numerai-tools' own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerai_node.scores import numerai_corr
from numerai_tools.scoring import numerai_corr as reference


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(10, 400),
    values=st.sampled_from([2, 5, 1000]),
    missing=st.booleans(),
)
def test_corr_is_numerais(seed: int, rows: int, values: int, missing: bool) -> None:
    random = np.random.default_rng(seed)
    targets = random.choice([0.0, 0.25, 0.5, 0.75, 1.0], rows, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    predictions = random.integers(0, values, rows) + targets * random.choice([0, 0.3])
    if missing:
        predictions[: rows // 10] = np.nan
    expected = reference(pd.DataFrame({"p": predictions}), pd.Series(targets, name="t"))["p"]
    assert numerai_corr(predictions, targets) == pytest.approx(0.0 if np.isnan(expected) else expected, abs=1e-10)


def test_nothing_predicted_is_worth_nothing() -> None:
    assert numerai_corr(np.full(3, np.nan), np.arange(3.0)) == 0.0
    assert numerai_corr(np.full(3, 0.5), np.arange(3.0)) == 0.0
    assert numerai_corr(np.arange(3.0), np.full(3, 0.5)) == 0.0
