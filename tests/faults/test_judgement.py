"""What judges a submission in the matrix: it finds what is wrong, so that no wrong file passes for right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.held import LIVE, MODEL, assert_submitted, entry, held, wrong_with
from tests.faults.model import difference, predict
from tests.fixtures.sandbox import ServedSandbox

SPOILED: dict[str, Callable[[pd.Series[float]], pd.Series[float]]] = {
    "another number in one row": lambda right: right.where(right.index != right.index[3], 0.123456),
    "upside down": lambda right: 1 - right,
    "in another order of ids": lambda right: pd.Series(right.to_numpy()[::-1], right.index, name=right.name),
}


@pytest.mark.parametrize("how", ["", *SPOILED])
def test_every_wrong_number_is_found(sandbox: ServedSandbox, tmp_path: Path, how: str) -> None:
    right = predict(pd.read_parquet(sandbox.download(LIVE, tmp_path)))
    sent = SPOILED[how](right) if how else right
    sandbox.submit(sent.rename_axis("id").reset_index().to_csv(index=False), MODEL)
    (submission,) = held(sandbox)
    wrong = wrong_with(sandbox, submission)
    assert wrong is None if not how else "predictions differ" in (wrong or "")


def test_another_trigger_is_found(sandbox: ServedSandbox, tmp_path: Path) -> None:
    right = predict(pd.read_parquet(sandbox.download(LIVE, tmp_path))).rename_axis("id").reset_index()
    sandbox.submit(right.to_csv(index=False), MODEL, trigger_id="one")
    assert_submitted(sandbox, trigger_id="one")
    for wrong in (None, "another"):
        with pytest.raises(AssertionError):
            assert_submitted(sandbox, trigger_id=wrong)


def test_a_clone_does_not_pass_for_a_submission(sandbox: ServedSandbox, tmp_path: Path) -> None:
    right = predict(pd.read_parquet(sandbox.download(LIVE, tmp_path))).rename_axis("id").reset_index()
    sandbox.clock(advance=86_400 + 60)
    sandbox.submit(right.to_csv(index=False), MODEL)
    assert_submitted(sandbox, trigger_id=None, late=True)
    sandbox.open_round(8)
    assert entry(sandbox)["status"] == "on-time" and not held(sandbox)
    with pytest.raises(AssertionError):
        assert_submitted(sandbox, trigger_id=None, made=0)


def test_nothing_passes_for_nothing() -> None:
    assert difference({"a": float("nan")}, {"a": 0.5}) == "1 of 1 predictions differ"
    assert difference({"a": 0.5}, {"a": float("nan")}) == "1 of 1 predictions differ"
    assert difference({"a": 0.5}, {"b": 0.5}) == "2 ids differ"
    with pytest.raises(AssertionError, match="no features"):
        predict(pd.DataFrame({"id": ["a"]}))
