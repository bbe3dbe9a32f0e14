"""Numerai's published parameter sets, and which of LightGBM's parameters a model may set.

Sources: `small` is the model of the first tutorial (github.com/numerai/example-scripts, numerai/hello_numerai.ipynb);
`standard` and `deep` are those of the benchmark models (docs.numer.ai/numerai-tournament/models, "Standard Large LGBM
params" and "Deep LGBM params"). `colsample_bytree` there is `feature_fraction` here: LightGBM's own name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ..errors import UsageError
from ..foreign import one_line

Value = bool | int | float | str


@dataclass(frozen=True)
class Preset:
    """A parameter set: how many trees, LightGBM's parameters, and after how many trees the progress is saved."""

    trees: int
    block: int
    parameters: Mapping[str, Value]


PRESETS = {
    "small": Preset(2_000, 100, {"learning_rate": 0.01, "max_depth": 5, "num_leaves": 31, "feature_fraction": 0.1}),
    "standard": Preset(
        20_000, 100, {"learning_rate": 0.001, "max_depth": 6, "num_leaves": 64, "feature_fraction": 0.1}
    ),
    "deep": Preset(
        30_000,
        50,
        {
            "learning_rate": 0.001,
            "max_depth": 10,
            "num_leaves": 1024,
            "feature_fraction": 0.1,
            "min_data_in_leaf": 10_000,
        },
    ),
}

ALLOWED: Mapping[str, tuple[type, float, float]] = {
    "learning_rate": (float, 1e-6, 1),
    "max_depth": (int, -1, 64),
    "num_leaves": (int, 2, 131_072),
    "feature_fraction": (float, 1e-6, 1),
    "feature_fraction_bynode": (float, 1e-6, 1),
    "bagging_fraction": (float, 1e-6, 1),
    "bagging_freq": (int, 0, 1_000_000),
    "min_data_in_leaf": (int, 0, 100_000_000),
    "min_sum_hessian_in_leaf": (float, 0, 1e12),
    "min_gain_to_split": (float, 0, 1e12),
    "lambda_l1": (float, 0, 1e12),
    "lambda_l2": (float, 0, 1e12),
    "max_delta_step": (float, 0, 1e12),
    "path_smooth": (float, 0, 1e12),
    "extra_trees": (bool, 0, 1),
}
"""What `[parameters]` may set, with its type, lowest and highest value (LightGBM's Parameters.rst gives the types).

Left out is what cannot be trained in blocks to the same model (dart and rf change earlier trees, goss begins anew with
each booster), what changes the data set instead of the trees, and what a node's fast prediction does not know
(linear trees, categorical splits).
"""

SKLEARN_NAMES = {
    "n_estimators": "trees",
    "num_iterations": "trees",
    "num_boost_round": "trees",
    "colsample_bytree": "feature_fraction",
    "colsample_bynode": "feature_fraction_bynode",
    "subsample": "bagging_fraction",
    "subsample_freq": "bagging_freq",
    "min_child_samples": "min_data_in_leaf",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "min_split_gain": "min_gain_to_split",
    "reg_alpha": "lambda_l1",
    "reg_lambda": "lambda_l2",
    "random_state": "seeds, at the top of the file",
    "seed": "seeds, at the top of the file",
    "n_jobs": "the option --threads",
    "num_threads": "the option --threads",
}
"""Other names of the same things, in LightGBM's scikit-learn interface and its aliases: as people copy them."""


def checked_parameter(name: str, value: object, where: str) -> Value:
    """A parameter's value; `UsageError` with code `bad-model-toml` for one that is unknown or out of range.

    `where` begins the message: the file and its table.
    """
    if name not in ALLOWED:
        raise UsageError(f"{where} has no parameter '{name}'.", _meant(name), code="bad-model-toml")
    kind, low, high = ALLOWED[name]
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or not low <= value <= high:  # type: ignore[operator]
        words = f"a whole number, {low:,} to {high:,}" if kind is int else f"a number, {low:g} to {high:g}"
        wanted = "true or false" if kind is bool else words
        raise UsageError(f"{where}: {name} is {as_written(value)}.", f"Give {wanted}.", code="bad-model-toml")
    return kind(value)  # type: ignore[no-any-return]


def as_written(value: object) -> str:
    """A value about as TOML has it, for a message."""
    return (
        one_line(json.dumps(value, default=str, ensure_ascii=False), 60)
        .replace("NaN", "nan")
        .replace("Infinity", "inf")
    )


def _meant(name: str) -> str:
    if name in SKLEARN_NAMES:
        return f"Write {SKLEARN_NAMES[name]}."
    near = get_close_matches(name, ["trees", "block", *ALLOWED], n=3)
    return f"Did you mean {' or '.join(near)}?" if near else f"There are: trees, block, {', '.join(ALLOWED)}."
