"""Packed forests beside LightGBM's own ways, one thread each, in CPU seconds: `python -m benchmarks.forest`.

A made-up forest of full trees in LightGBM's text format (no training needed), or a really trained one (--trained). What
a user would do otherwise: `Booster.predict` in one call, and in slices of trees, whose best size is searched for.
--scale 20 takes a twentieth of the trees.
"""

from __future__ import annotations

import argparse
import platform
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from numerai_compute.modelling.runtime import Forest

T = TypeVar("T")
Floats = npt.NDArray[np.float64]
VALIDATION_ROWS = 3_400_000
SHAPES = {"64 leaves": (20_000, 6), "1,024 leaves": (3_000, 10)}
"""Trees and depth of Numerai's published parameter sets (standard, deep)."""


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=int, default=20)
    options.add_argument("--rows", type=int, default=6_900)
    options.add_argument("--features", type=int, default=1_000)
    options.add_argument("--trained", action="store_true")
    chosen = options.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__},")
    print(f"LightGBM {lgb.__version__}; {chosen.rows} rows x {chosen.features} int8, one thread, CPU seconds")
    matrix = np.random.default_rng(1).integers(0, 5, (chosen.rows, chosen.features)).astype(np.int8)
    for name, (full, depth) in SHAPES.items():
        trees = full // chosen.scale
        text = trained(trees, depth, chosen.features) if chosen.trained else made_up(trees, depth, chosen.features)
        compare(name, text, trees, matrix)


def compare(name: str, text: str, trees: int, matrix: npt.NDArray[np.int8]) -> None:
    """One forest, each way, and what the validation rows would take by the time per row."""
    booster = lgb.Booster(model_str=text)
    packing, forest = clock(lambda: Forest.of_text(text.encode()))
    forest.predict(matrix[:64])
    ours, found = min((clock(lambda: forest.predict(matrix)) for _ in range(3)), key=lambda timed: timed[0])
    one_call, expected = clock(lambda: np.asarray(booster.predict(matrix, num_threads=1)))
    slices = {size: clock(lambda size=size: in_slices(booster, matrix, trees, size))[0] for size in slice_sizes(trees)}  # type: ignore[misc]
    best = min(slices, key=lambda size: slices[size])
    same = "the same bytes" if found.tobytes() == expected.tobytes() else "OTHER BYTES"
    minutes = ours / len(matrix) * VALIDATION_ROWS / 60
    print(f"\n{name}, {trees} trees: {same}")
    print(f"  packing (once)        {packing:8.3f}")
    print(f"  packed forest         {ours:8.3f}")
    print(f"  Booster.predict       {one_call:8.3f}  {one_call / ours:6.1f} x")
    print(f"  slices of {best:5} trees {slices[best]:8.3f}  {slices[best] / ours:6.1f} x")
    print(f"  {VALIDATION_ROWS:,} rows: {minutes:.1f} minutes of CPU, extrapolated from these")
    print(f"  peak memory of all of this: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    sys.stdout.flush()


def clock(work: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of this process, and what the work answered."""
    start = time.process_time()
    answer = work()
    return time.process_time() - start, answer


def slice_sizes(trees: int) -> list[int]:
    """Sizes of slices to try."""
    return sorted({max(1, size) for size in (10, 30, 100, 300, 1_000, 2_000) if size <= trees})


def in_slices(booster: lgb.Booster, matrix: npt.NDArray[np.int8], trees: int, size: int) -> Floats:
    """LightGBM's fastest way: few enough trees at once that they stay in the cache."""
    total = np.zeros(len(matrix))
    for start in range(0, trees, size):
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


def trained(trees: int, depth: int, features: int, rows: int = 100_000) -> str:
    """A forest that LightGBM trained on made-up rows with a weak signal."""
    random = np.random.default_rng(2)
    matrix = random.integers(0, 5, (rows, features)).astype(np.int8)
    target = matrix[:, :20].astype(float) @ random.normal(0, 0.05, 20) + random.normal(0, 1, rows)
    parameters = {"num_leaves": 1 << depth, "max_depth": depth, "learning_rate": 0.01, "feature_fraction": 0.1}
    parameters |= {"min_data_in_leaf": 100, "max_bin": 5, "force_col_wise": True, "num_threads": 1, "verbosity": -1}
    return lgb.train(parameters, lgb.Dataset(matrix, target), trees).model_to_string()


if __name__ == "__main__":
    main()
