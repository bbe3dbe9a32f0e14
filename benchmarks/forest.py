"""Packed forests beside LightGBM's own ways, one thread each. `python -m benchmarks --only forest` runs it.

A made-up forest of full trees in LightGBM's text format: no training is needed. What a user would do otherwise:
`Booster.predict` in one call, and in slices of trees, whose best size is searched for first. A share has that share of
the trees; the rows are a live round's.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import time
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from numerai_compute.modelling.runtime import Forest

from benchmarks.measuring import Taken, emit, median, row

Floats = npt.NDArray[np.float64]
ROWS, FEATURES = 6_900, 1_000
VALIDATION_ROWS, SAMPLED_ROWS = 3_400_000, 340_000
SHAPES = {"64 leaves": (20_000, 6), "1,024 leaves": (3_000, 10)}
"""Trees and depth of Numerai's published parameter sets: standard, and a tenth of deep."""
SLICES = (10, 30, 100, 300, 1_000)
"""Sizes of slices to try."""


def measure(share: float, rounds: int) -> list[dict[str, Any]]:
    """Two rows for each shape: a live round beside LightGBM, and a tenth of the validation rows."""
    random = np.random.default_rng(1)
    live, sampled = (random.integers(0, 5, (rows, FEATURES)).astype(np.int8) for rows in (ROWS, SAMPLED_ROWS))
    rows = []
    for name, (full, depth) in SHAPES.items():
        trees = round(full * share)
        text = made_up(trees, depth, FEATURES)
        start = time.process_time()
        forest = Forest.of_text(text.encode())
        packing = f"; packed once in {time.process_time() - start:.2f} s"
        rows.append(beside_lightgbm(f"{name}, {ROWS:,} rows", lgb.Booster(model_str=text), forest, live, share, rounds))
        rows[-1]["remark"] += packing
        if share == 1:
            rows.append(many_rows(f"{name}, {SAMPLED_ROWS:,} rows", forest, sampled, trees))
    return rows


def many_rows(what: str, forest: Forest, matrix: npt.NDArray[np.int8], trees: int) -> dict[str, Any]:
    """A tenth of the validation rows, once; LightGBM would take an hour for them."""
    taken = Taken("packed forest")
    taken.fork(lambda: forest.predict(matrix))
    minutes = (median(taken.cpu) or 0) * VALIDATION_ROWS / SAMPLED_ROWS / 60
    remark = f"{VALIDATION_ROWS / 1e6:.1f} million rows: {minutes:.1f} minutes, extrapolated"
    return row(what, taken, [], remark, 1, f"{trees:,} trees")


def beside_lightgbm(
    what: str, booster: lgb.Booster, forest: Forest, matrix: npt.NDArray[np.int8], share: float, rounds: int
) -> dict[str, Any]:
    """One forest, each way in turn in each round."""
    trees = booster.num_trees()
    expected = np.asarray(booster.predict(matrix, num_threads=1))
    same = "the same bytes" if forest.predict(matrix).tobytes() == expected.tobytes() else "OTHER BYTES"
    size = min((size for size in SLICES if size <= trees), key=lambda size: clock(booster, matrix[:2_000], size))
    ours, one_call = Taken("packed forest"), Taken("Booster.predict, one call")
    slices = Taken(f"Booster.predict, slices of {size} trees")
    for _ in range(rounds):
        ours.fork(lambda: forest.predict(matrix))
        one_call.fork(lambda: booster.predict(matrix, num_threads=1))
        slices.fork(lambda: in_slices(booster, matrix, size))
    return row(what, ours, [one_call, slices], same, share, f"{trees:,} trees")


def clock(booster: lgb.Booster, matrix: npt.NDArray[np.int8], size: int) -> float:
    """CPU seconds of slices of so many trees."""
    start = time.process_time()
    in_slices(booster, matrix, size)
    return time.process_time() - start


def in_slices(booster: lgb.Booster, matrix: npt.NDArray[np.int8], size: int) -> Floats:
    """LightGBM's fastest way: few enough trees at once that they stay in the cache."""
    total = np.zeros(len(matrix))
    for start in range(0, booster.num_trees(), size):
        total += np.asarray(booster.predict(matrix, num_threads=1, start_iteration=start, num_iteration=size))
    return total


def made_up(trees: int, depth: int, features: int) -> str:
    """Full trees with random splits and leaves, in LightGBM's text format."""
    random = np.random.default_rng(0)
    inner, leaves = (1 << depth) - 1, 1 << depth
    child = [node if node < inner else inner - 1 - node for node in range(1, 2 * leaves - 1)]
    names = " ".join(f"feature_{number}" for number in range(features))
    parts = [
        f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx={features - 1}\n"
        f"objective=regression\nfeature_names={names}\nfeature_infos={' '.join(['[0:4]'] * features)}\n"
    ]
    for tree in range(trees):
        lines = {
            "num_leaves": [leaves],
            "num_cat": [0],
            "split_feature": random.integers(0, features, inner),
            "split_gain": [1] * inner,
            "threshold": random.integers(0, 4, inner) + 0.5,
            "decision_type": [2] * inner,
            "left_child": child[0::2],
            "right_child": child[1::2],
            "leaf_value": random.normal(0, 1e-3, leaves).tolist(),
            "leaf_weight": [1] * leaves,
            "leaf_count": [1] * leaves,
            "internal_value": [0] * inner,
            "internal_weight": [1] * inner,
            "internal_count": [1] * inner,
            "is_linear": [0],
            "shrinkage": [1],
        }
        text = "\n".join(f"{key}={' '.join(map(str, values))}" for key, values in lines.items())
        parts.append(f"\nTree={tree}\n{text}\n\n")
    return "".join([*parts, "\nend of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    emit(measure(options.share, options.rounds))
