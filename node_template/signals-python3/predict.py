"""Predict today's stocks and submit them to Signals. Numerai starts this at every round; by hand: python predict.py"""

import lightgbm as lgb
from numerai_node import Node, log, run_and_submit, score
from numerai_node.forest import predictor

ID = "numerai_ticker"
DATE = "date"
TARGET = "target"
PARAMETERS = {
    "objective": "regression",
    "learning_rate": 0.02,
    "max_depth": 4,
    "num_leaves": 15,
    "feature_fraction": 0.3,
    "force_col_wise": True,
    "seed": 1,
    "verbosity": -1,
}
TREES = 300


def main(node: Node) -> None:
    # 1. Which features are there today? The columns called feature_* that hold numbers: feature_country is text.
    features = node.features("all")

    # 2. Train on the stocks and dates whose target is known. It is fast enough to be done in every run.
    rows = node.frame("train.parquet", [*features, TARGET]).dropna(subset=[TARGET])
    dataset = lgb.Dataset(rows[features], rows[TARGET])
    booster = lgb.train(PARAMETERS | {"num_threads": node.threads}, dataset, num_boost_round=TREES)
    model = predictor(booster.model_to_string().encode)  # the same predictions as LightGBM's, many times faster
    log("trained", trees=TREES, features=len(features), rows=len(rows))

    # 3. See how good it is on dates that it was not trained on.
    later = node.frame("validation.parquet", [DATE, *features, TARGET]).reset_index(drop=True)
    later["prediction"] = model.predict(later[features].to_numpy(), node.threads)
    score(later[DATE], later[TARGET], later["prediction"])

    # 4. Predict today's stocks. Only the order counts, so the predictions become ranks between 0 and 1.
    live = node.live(features)
    live["prediction"] = model.predict(live[features].to_numpy(), node.threads)
    live["prediction"] = (live["prediction"].rank() - 0.5) / len(live)

    # 5. Submit. This checks Numerai's rules first, and returns only when Numerai has accepted the predictions.
    node.submit(live[[ID, "prediction"]])


if __name__ == "__main__":
    run_and_submit(main)
