"""Train the model and keep it for the next runs. predict.py does this when it must; by hand: python train.py"""

import json
import os
from datetime import datetime, timedelta, timezone

import lightgbm as lgb
import pandas as pd
from numerai_node import Node, log, run, score

TARGET = "target_binned_return_20"
TARGET_DAYS = 20
TEST_SHARE = 0.2
TREES = 300
PARAMETERS = {
    "objective": "regression",
    "learning_rate": 0.02,
    "max_depth": 4,
    "num_leaves": 15,
    "feature_fraction": 0.5,
    "force_col_wise": True,
    "seed": 1,
    "verbosity": -1,
}


def fit(node: Node, features: list[str], rows: pd.DataFrame) -> lgb.Booster:
    """LightGBM on these rows."""
    dataset = lgb.Dataset(rows[features], rows[TARGET])
    return lgb.train(PARAMETERS | {"num_threads": node.threads}, dataset, num_boost_round=TREES)


def train(node: Node, features: list[str]) -> lgb.Booster:
    """Score a model on the last fifth of the dates, then fit one on all of them and keep it."""
    rows = node.frame("train.parquet", ["date", *features, TARGET]).dropna(subset=[TARGET]).reset_index(drop=True)
    dates = pd.to_datetime(rows["date"])
    first_test = dates.drop_duplicates().sort_values().iloc[int(dates.nunique() * (1 - TEST_SHARE))]

    # Targets of the last days before the test look into it, so those days are left out.
    known = rows[dates < first_test - timedelta(days=TARGET_DAYS)]
    test = rows[dates >= first_test].copy()
    test["prediction"] = fit(node, features, known).predict(test[features], num_threads=node.threads)
    result = score(test["date"], test[TARGET], test["prediction"])

    model = fit(node, features, rows)
    log("trained", trees=TREES, features=len(features), rows=len(rows), threads=node.threads)
    about = {
        "features": features,
        "target": TARGET,
        "data": node.dataset.version,
        "trained_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "corr_mean": result.corr_mean,
    }
    save(node, model, about)
    return model


def save(node: Node, model: lgb.Booster, about: dict[str, object]) -> None:
    """Write model.txt (LightGBM's own format) and model.json beside it, each complete or not at all."""
    try:
        for name, text in (("model.txt", model.model_to_string()), ("model.json", json.dumps(about, indent=1))):
            temporary = node.artifacts / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(node.artifacts / name)
    except OSError as error:
        log("warning", what="the model cannot be kept, so the next run trains again", why=error.strerror)
        return
    node.remember_training()
    log("saved", model=node.artifacts / "model.txt")


def load(node: Node, features: list[str]) -> lgb.Booster | None:
    """The saved model, or None when there is none, or it was trained on other features."""
    try:
        about = dict(json.loads((node.artifacts / "model.json").read_text(encoding="utf-8")))
        model = lgb.Booster(model_str=(node.artifacts / "model.txt").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError, lgb.basic.LightGBMError) as error:
        log("warning", what="the saved model cannot be read and is trained anew", why=error)
        return None
    if about.get("features") != features or about.get("target") != TARGET or model.feature_name() != features:
        why = f"{node.dataset.version} has other features than {about.get('data')}"
        log("warning", what="the saved model was trained on other features and is trained anew", why=why)
        return None
    node.remember_version()
    log(
        "loaded",
        model=node.artifacts / "model.txt",
        trained_at=about.get("trained_at"),
        corr_mean=about.get("corr_mean"),
    )
    return model


if __name__ == "__main__":
    run(lambda node: train(node, node.features("all")))
