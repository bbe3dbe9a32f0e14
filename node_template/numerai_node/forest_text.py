"""LightGBM's text models as arrays, and the reasons why some are not for `forest.py`.

What a line means: LightGBM 4 `src/io/gbdt_model_text.cpp` (LoadModelFromString) and `src/io/tree.cpp` (Tree::Tree).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

UNCHANGED = frozenset(
    ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "custom")
)
"""Objectives whose prediction is the sum of the trees (ConvertOutput of src/objective/*.hpp does nothing)."""
CATEGORICAL = 1
"""Bit of `decision_type` (include/LightGBM/tree.h: kCategoricalMask)."""


class NotPackable(ValueError):
    """The model is none that can be packed; the message says why, as the end of a sentence."""


@dataclass(frozen=True)
class Trees:
    """A forest as it stands in the text: inner nodes and leaves of all trees, one tree after the other.

    A child >= 0 is an inner node and -1 - child a leaf, both counted within the tree.
    """

    features: int
    average: bool
    leaves: Ints
    feature: Ints
    threshold: Floats
    decision: Ints
    left: Ints
    right: Ints
    value: Floats


def read_trees(text: bytes) -> Trees:
    """The trees of a text model; `NotPackable` where it is none, or predicts otherwise than by a sum of trees."""
    import numpy as np

    head, first, rest = text.partition(b"\nTree=")
    fields = _fields(head)
    if not head.startswith(b"tree") or not fields.get("version", "").startswith(("v3", "v4")):
        raise NotPackable("it is not LightGBM's text format, version v3 or v4")
    if not first:
        raise NotPackable("it has no trees")
    _refuse_head(fields)
    parts = [_arrays(group) for group in _groups(rest)]
    leaves, feature, threshold, decision, left, right, value = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    trees = Trees(
        int(fields["max_feature_idx"]) + 1, "average_output" in fields, leaves, feature, threshold, decision, left,
        right, value,
    )  # fmt: skip
    _refuse_damaged(trees)
    return trees


def _fields(lines: bytes) -> dict[str, str]:
    """The lines `key=value`; a line without a value has an empty one."""
    pairs = (line.partition("=") for line in lines.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _refuse_head(fields: dict[str, str]) -> None:
    if fields.get("num_class", "1") != "1" or fields.get("num_tree_per_iteration", "1") != "1":
        raise NotPackable("it predicts several classes")
    objective = fields.get("objective", "custom").split() or ["custom"]
    if objective[0] not in UNCHANGED or "sqrt" in objective:
        raise NotPackable(f"its objective, {' '.join(objective)}, transforms the sum of the trees")
    if not fields.get("max_feature_idx", "").isdecimal():
        raise NotPackable("its text is damaged: it does not say how many features there are")


def _groups(rest: bytes, size: int = 1000) -> Iterator[list[dict[bytes, bytes]]]:
    """The lines of the trees, some trees at a time, so that a large text is not held twice."""
    group: list[dict[bytes, bytes]] = []
    start, end = 0, rest.find(b"\nend of trees")
    if end < 0:
        raise NotPackable("its text is damaged: it ends within the trees")
    while start < end:
        stop = rest.find(b"\nTree=", start, end)
        stop = end if stop < 0 else stop
        group.append({key: value for key, _, value in (line.partition(b"=") for line in rest[start:stop].splitlines())})
        start = stop + len(b"\nTree=")
        if len(group) == size or start >= end:
            yield group
            group = []


def _arrays(group: list[dict[bytes, bytes]]) -> tuple[Ints, Ints, Floats, Ints, Ints, Ints, Floats]:
    import numpy as np

    for tree in group:
        if tree.get(b"num_cat", b"0").strip() != b"0":
            raise NotPackable("it has categorical splits")
        if tree.get(b"is_linear", b"0").strip() != b"0":
            raise NotPackable("it has linear trees")
    leaves = _numbers(group, b"num_leaves", np.ones(len(group), np.int64), np.int64)
    inner = leaves - 1
    return (
        leaves,
        _numbers(group, b"split_feature", inner, np.int64),
        _numbers(group, b"threshold", inner, np.float64),
        _numbers(group, b"decision_type", inner, np.int64),
        _numbers(group, b"left_child", inner, np.int64),
        _numbers(group, b"right_child", inner, np.int64),
        _numbers(group, b"leaf_value", leaves, np.float64),
    )


def _numbers(group: list[dict[bytes, bytes]], key: bytes, counts: Ints, kind: type) -> npt.NDArray[Any]:
    """One line of each tree as numbers; numpy reads them as the C library does, rounded correctly."""
    import numpy as np

    lines = [tree.get(key, b"").strip() for tree in group]
    found = np.array([line.count(b" ") + 1 if line else 0 for line in lines])
    if not np.array_equal(found, counts):
        raise NotPackable(f"its text is damaged: {key.decode()} has too few or too many numbers")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.fromstring(b" ".join(line for line in lines if line), dtype=kind, sep=" ")
    except (ValueError, DeprecationWarning) as error:
        raise NotPackable(f"its text is damaged: {key.decode()} holds what is no number") from error


def _refuse_damaged(trees: Trees) -> None:
    """Children and features must be what a tree can have: everything after this trusts them."""
    import numpy as np

    if (trees.leaves < 1).any():
        raise NotPackable("its text is damaged: a tree has no leaves")
    if (trees.decision & CATEGORICAL).any():
        raise NotPackable("it has categorical splits")
    inner = np.repeat(trees.leaves - 1, trees.leaves - 1)
    children = np.stack([trees.left, trees.right])
    reached = np.where(children >= 0, children < inner, -1 - children <= inner)
    in_range = (trees.feature >= 0) & (trees.feature < trees.features)
    if not (reached.all() and in_range.all()):
        raise NotPackable("its text is damaged: a node refers to one that is not there")
    if np.isnan(trees.threshold).any():
        raise NotPackable("a threshold is no number")
