"""Feature sets and targets by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from numerai_compute.errors import NumeraiError, UsageError
from numerai_compute.modelling.feature_sets import FeatureSets, read_feature_sets

SETS = FeatureSets(
    {"small": ("f1", "f2"), "medium": ("f1", "f2", "f3"), "quantum": ("f9", "f2")}, ("target", "target_ender_60")
)


def test_sets_are_joined_and_each_feature_comes_once() -> None:
    assert SETS.features("small") == ["f1", "f2"]
    assert SETS.features("quantum", "medium") == ["f9", "f2", "f1", "f3"]
    assert SETS.features("small", "f9") == ["f1", "f2", "f9"]


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(UsageError, match="no feature set meduim") as refused:
        SETS.features("small", "meduim")
    assert (refused.value.code, refused.value.hint) == ("unknown-feature-set", "Did you mean medium?")
    with pytest.raises(UsageError) as refused:
        SETS.features("zzz")
    assert refused.value.hint == "There are: small, medium, quantum."
    with pytest.raises(UsageError, match="no target target_ender_90") as refused:
        SETS.target("target_ender_90")
    assert refused.value.hint == "Did you mean target_ender_60?"
    with pytest.raises(UsageError, match="No feature set is given"):
        SETS.features()


def test_the_file_is_read_and_a_broken_one_is_said(tmp_path: Path) -> None:
    path = tmp_path / "features.json"
    with pytest.raises(NumeraiError, match="There is no file"):
        read_feature_sets(path)
    path.write_text(json.dumps({"feature_sets": {"small": ["f1"]}, "targets": ["target"]}))
    assert read_feature_sets(path) == FeatureSets({"small": ("f1",)}, ("target",))
    for broken in ("{", "[]", '{"feature_sets": 3}', "\xff"):
        path.write_bytes(broken.encode("latin-1"))
        with pytest.raises(NumeraiError, match="holds no feature sets") as refused:
            read_feature_sets(path)
        assert refused.value.code == "data-unreadable"
