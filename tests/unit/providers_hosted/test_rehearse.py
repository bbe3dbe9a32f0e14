"""The program that runs a pickle as Numerai does, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
import pytest
from numerai_compute.providers.hosted.environments import packages_for
from numerai_compute.providers.hosted.inside import rehearse
from numerai_compute.providers.hosted.rehearsal import Limits, failed


def no_frame(live_features: Any) -> Any:
    return None


def out_of_range(live_features: Any) -> Any:
    return live_features * 9


def nothing(live_features: Any) -> Any:
    return live_features.iloc[:0]


def missing(live_features: Any) -> Any:
    return live_features * float("nan")


def other_index(live_features: Any) -> Any:
    return live_features.rank(pct=True).reset_index(drop=True)


def network(live_features: Any) -> Any:
    raise OSError("[Errno -3] Temporary failure in name resolution")


def out_of_memory(live_features: Any) -> Any:
    raise MemoryError


def three(a: Any, b: Any, c: Any) -> Any:
    return a


def good(live_features: Any) -> Any:
    return live_features.rank(pct=True)


@pytest.fixture
def found(tmp_path: Path) -> Callable[[object], dict[str, Any]]:
    """What the program says of a model, or of the bytes of a pickle."""
    live = tmp_path / "live.parquet"
    pd.DataFrame({"feature_a": [0.1, 0.2]}, index=pd.Index(["x", "y"], name="id")).to_parquet(live)

    def run(model: object) -> dict[str, Any]:
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        content = model if isinstance(model, bytes) else cloudpickle.dumps(model)
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        (tmp_path / "m.pkl").write_bytes(content)
        rehearse.model(*map(str, (tmp_path / "m.pkl", live, live, tmp_path / "out.csv", tmp_path / "r.json")))
        return dict(json.loads((tmp_path / "r.json").read_text()))

    return run


@pytest.mark.parametrize(
    ("model", "kind", "says"),
    [
        (no_frame, "rules", "returned NoneType"),
        (out_of_range, "rules", "not between 0 and 1"),
        (nothing, "rules", "0 predictions"),
        (missing, "rules", "NaN"),
        (other_index, "rules", "must be live_features.index"),
        (network, "network", "name resolution"),
        (out_of_memory, "memory", "out of memory"),
        (three, "model", "1 or 2 arguments, not 3"),
        (b"no pickle", "model", "no pickle"),
        (b"cno_such_module\nf\n.", "import", "no_such_module"),
    ],
)
def test_what_numerai_would_refuse_has_its_reason(
    found: Callable[[object], dict[str, Any]], model: object, kind: str, says: str
) -> None:
    said = found(model)
    assert said["kind"] == kind and says in said["why"], said
    error = failed(said, Limits())
    assert ".." not in error.message
    assert "Nothing was uploaded" in error.message and error.hint


def test_a_good_one_has_none(found: Callable[[object], dict[str, Any]], tmp_path: Path) -> None:
    assert "why" not in found(good)
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "id,feature_a"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="older code does not begin with RESUME")
def test_code_of_another_python_is_told_by_how_it_begins() -> None:
    assert rehearse.own_bytecode(good.__code__) and rehearse.own_bytecode(None)
    held = 1

    def closure(live: Any) -> Any:
        return held

    assert rehearse.own_bytecode(closure.__code__)
    resume = good.__code__.co_code[0]
    other = bytes([{149: 151, 151: 149}.get(resume, 149), 0])  # RESUME of 3.13 and of 3.11 and 3.12
    assert not rehearse.own_bytecode(good.__code__.replace(co_code=other + good.__code__.co_code[2:]))


def test_the_packages_of_an_image_are_those_that_are_imported(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os, xgboost\nfrom sklearn.linear_model import Ridge\nfrom . import b\n")
    (tmp_path / "m.pkl").write_bytes(b"clightgbm.basic\nBooster\n.")
    always = {"cloudpickle", "numpy", "pandas", "pyarrow", "urllib3"}
    assert set(packages_for([tmp_path / "a.py"])) == {*always, "xgboost", "scikit-learn"}
    assert set(packages_for([tmp_path / "m.pkl"])) == {*always, "lightgbm", "scipy", "scikit-learn"}


@pytest.mark.parametrize("content", [b"damaged", None])
def test_damaged_live_data_is_not_the_models_fault(tmp_path: Path, content: bytes | None) -> None:
    live = tmp_path / "live.parquet"
    pd.DataFrame({"feature_a": [0.1] * 9999}).to_parquet(live, compression="zstd")
    whole = live.read_bytes()
    live.write_bytes(
        content if content is not None else whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
    )
    (tmp_path / "m.pkl").write_bytes(cloudpickle.dumps(len))
    rehearse.model(*(str(tmp_path / name) for name in ("m.pkl", live.name, live.name, "out.csv", "r.json")))
    said = failed(json.loads((tmp_path / "r.json").read_text()), Limits())
    assert said.message.startswith("Numerai's live data cannot be read") and "model" not in said.in_full.lower()
