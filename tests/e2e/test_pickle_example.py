"""The example that runs a Model Upload's pickle as a node: the file that Numerai runs, here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from tests.fixtures.sandbox import ServedSandbox

from .test_node_template import Runner, accepted, runner_for, trigger_id

__all__ = ["runner_for", "trigger_id"]
pytestmark = pytest.mark.e2e


def uploaded(*, benchmarks: bool) -> bytes:
    """A pickle as a user uploads it."""

    def predict(live_features: Any) -> Any:
        features = [name for name in live_features.columns if name.startswith("feature_")]
        return live_features[features].mean(axis=1).rank(method="first", pct=True).to_frame("prediction")

    def with_benchmarks(live_features: Any, live_benchmark_models: Any) -> Any:
        assert (live_features.index == live_benchmark_models.index).all()
        return live_benchmark_models.iloc[:, -1].rank(pct=True).to_frame("prediction")

    return bytes(cloudpickle.dumps(with_benchmarks if benchmarks else predict))


@pytest.mark.parametrize("benchmarks", [False, True])
def test_the_pickle_predicts_and_its_predictions_are_on_time(
    runner_for: Callable[..., Runner], sandbox: ServedSandbox, trigger_id: str, benchmarks: bool
) -> None:
    runner = runner_for().copy("pickle-python3")
    (runner.folder / "model.pkl").write_bytes(uploaded(benchmarks=benchmarks))
    code, out = runner("predict.py")
    assert code == 0, out
    assert accepted(sandbox, trigger_id)


def test_without_the_pickle_it_says_where_it_belongs(runner_for: Callable[..., Runner]) -> None:
    code, out = runner_for().copy("pickle-python3")("predict.py")
    assert code == 78 and "copy the file that you uploaded there" in out, out
