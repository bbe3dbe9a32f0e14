"""Train the model and keep it for the next runs. predict.py does this when it must; by hand: python train.py"""

import json
import os
from datetime import datetime, timedelta, timezone

import pandas as pd
from numerai_node import ConfigurationError, Node, log, run, score
from numerai_node.forest import Boosted, Forest, file_predictor, predictor

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


def fit(node: Node, features: list[str], rows: pd.DataFrame) -> str:
    """LightGBM on these rows, as its text model."""
    import lightgbm as lgb  # only training needs it, so that no other run waits for its import

    dataset = lgb.Dataset(rows[features], rows[TARGET])
    return lgb.train(PARAMETERS | {"num_threads": node.threads}, dataset, num_boost_round=TREES).model_to_string()


def train(node: Node, features: list[str]) -> Forest | Boosted:
    """Score a model on the last fifth of the dates, then fit one on all of them and keep it."""
    rows = node.frame("train.parquet", ["date", *features, TARGET]).dropna(subset=[TARGET]).reset_index(drop=True)
    dates = pd.to_datetime(rows["date"])
    first_test = dates.drop_duplicates().sort_values().iloc[int(dates.nunique() * (1 - TEST_SHARE))]

    # Targets of the last days before the test look into it, so those days are left out.
    known = rows[dates < first_test - timedelta(days=TARGET_DAYS)]
    test = rows[dates >= first_test].copy()
    first = predictor(fit(node, features, known).encode)  # the same predictions as LightGBM's, many times faster
    test["prediction"] = first.predict(test[features].to_numpy(), node.threads)
    result = score(test["date"], test[TARGET], test["prediction"])

    text = fit(node, features, rows)
    log("trained", trees=TREES, features=len(features), rows=len(rows), threads=node.threads)
    about = {
        "features": features,
        "target": TARGET,
        "data": node.dataset.version,
        "trained_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "corr_mean": result.corr_mean,
    }
    save(node, text, about)
    return predictor(text.encode)


def save(node: Node, model: str, about: dict[str, object]) -> None:
    """Write model.txt (LightGBM's own format) and model.json beside it, each complete or not at all."""
    try:
        for name, text in (("model.txt", model), ("model.json", json.dumps(about, indent=1))):
            temporary = node.artifacts / f".{name}.{os.getpid()}"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(node.artifacts / name)
    except OSError as error:
        log("warning", what="the model cannot be kept, so the next run trains again", why=error.strerror)
        return
    node.remember_training()
    log("saved", model=node.artifacts / "model.txt")


def load(node: Node, features: list[str]) -> Forest | Boosted | None:
    """The saved model, or None when there is none, or it was trained on other features."""
    try:
        about = dict(json.loads((node.artifacts / "model.json").read_text(encoding="utf-8")))
        model = file_predictor(node.artifacts / "model.txt")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, OSError, ConfigurationError) as error:
        log("warning", what="the saved model cannot be read and is trained anew", why=error)
        return None
    if about.get("features") != features or about.get("target") != TARGET or model.names != features:
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
