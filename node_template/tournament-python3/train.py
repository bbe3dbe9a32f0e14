"""Train the model and keep it for the next runs. predict.py does this when it must; by hand: python train.py"""

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import pandas as pd
from numerai_node import ConfigurationError, Node, log, run, score
from numerai_node.forest import Boosted, Forest, file_predictor, predictor

FEATURE_SET = "small"  # "medium" and "all" learn more and need more memory and time
TARGET = "target"
TREES = 1000
PARAMETERS = {
    "objective": "regression",
    "learning_rate": 0.01,
    "max_depth": 5,
    "num_leaves": 31,
    "feature_fraction": 0.1,
    "force_col_wise": True,
    "seed": 1,
    "verbosity": -1,
}


def train(node: Node, features: list[str]) -> Forest | Boosted:
    """Fit LightGBM on the training eras, score it on the validation eras, and save it."""
    lgb = lightgbm()
    rows = node.train(features, TARGET).dropna(subset=[TARGET])
    dataset = lgb.Dataset(rows[features], rows[TARGET])
    booster = lgb.train(PARAMETERS | {"num_threads": node.threads}, dataset, num_boost_round=TREES)
    text = booster.model_to_string()
    log("trained", trees=TREES, features=len(features), rows=len(rows), threads=node.threads)

    # The same predictions as LightGBM's, many times faster.
    model = predictor(text.encode)
    validation = node.validation(features, TARGET)
    predictions = pd.Series(model.predict(validation[features].to_numpy(), node.threads), index=validation.index)
    result = score(validation["era"], validation[TARGET], predictions)

    about = {
        "features": features,
        "target": TARGET,
        "data": node.dataset.version,
        "trained_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "lightgbm": lgb.__version__,
        "parameters": PARAMETERS,
        "trees": TREES,
        "corr_mean": result.corr_mean,
        "corr_sharpe": result.corr_sharpe,
    }
    if save(node.artifacts, text, about):
        node.remember_training()
    return model


def lightgbm() -> ModuleType:
    """LightGBM, which only training needs, so that no other run waits for its import."""
    try:
        import lightgbm as lgb
    except ImportError as error:
        raise ConfigurationError(
            "There is no model that fits these features, and LightGBM is not installed to train one. Install it, or"
            " build the image without LIGHTGBM=no."
        ) from error
    return lgb


def save(folder: Path, model: str, about: dict[str, object]) -> bool:
    """Write model.txt (LightGBM's own format) and model.json beside it, each complete or not at all."""
    try:
        for name, text in (("model.txt", model), ("model.json", json.dumps(about, indent=1))):
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)
    except OSError as error:
        log("warning", what=f"the model cannot be kept in {folder}, so the next run trains again", why=error.strerror)
        return False
    log("saved", model=folder / "model.txt")
    return True


def load(node: Node, features: list[str]) -> Forest | Boosted | None:
    """The saved model, or None when there is none or it was trained on other features."""
    model, about = node.artifacts / "model.txt", node.artifacts / "model.json"
    if not (model.exists() and about.exists()):
        return None
    try:
        known = json.loads(about.read_text(encoding="utf-8"))
        forest = file_predictor(model)
    except (ValueError, ConfigurationError) as error:
        log("warning", what="the saved model cannot be read and is trained anew", why=error)
        return None
    if known.get("features") != features or forest.names != features:
        why = f"{node.dataset.version} has other features than {known.get('data')}"
        log("warning", what="the saved model was trained on other features and is trained anew", why=why)
        return None
    node.remember_version()
    log("loaded", model=model, trained_at=known.get("trained_at"), corr_mean=known.get("corr_mean"))
    return forest


if __name__ == "__main__":
    run(lambda node: train(node, node.features(FEATURE_SET)))
