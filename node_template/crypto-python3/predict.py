"""Predict today's coins and submit them to Crypto. Numerai starts this at every round; by hand: python predict.py

Numerai serves past targets for Crypto and no features, so this model knows only how each coin did before: the mean of
its past targets, drawn towards the middle where the past is short. Bring data of your own to do better.
"""

import pandas as pd
from numerai_node import Node, run_and_submit, score

TARGETS = "train_targets.parquet"
MIDDLE = 0.5
WEIGHT_OF_MIDDLE = 20  # how many past dates the middle counts for
TEST_SHARE = 0.2


def fit(rows: pd.DataFrame) -> pd.Series:
    """Each coin's past target: (sum + 20 x 0.5) / (count + 20)."""
    past = rows.groupby("symbol")["target"].agg(["sum", "count"])
    return (past["sum"] + WEIGHT_OF_MIDDLE * MIDDLE) / (past["count"] + WEIGHT_OF_MIDDLE)


def predict(model: pd.Series, symbols: pd.Series) -> pd.Series:
    """Ranks between 0 and 1. Coins without a past are in the middle; equal ones are told apart by their order."""
    return (symbols.map(model).fillna(MIDDLE).rank(method="first") - 0.5) / len(symbols)


def main(node: Node) -> None:
    # 1. Get the data: past targets, and the coins of today.
    rows = node.frame(TARGETS, ["date", "symbol", "target"]).dropna(subset=["target"]).reset_index(drop=True)
    live = node.live()

    # 2. See how good the model is on the last fifth of the dates, fitted on those before.
    dates = rows["date"].drop_duplicates().sort_values()
    first_test = dates.iloc[int(len(dates) * (1 - TEST_SHARE))]
    test = rows[rows["date"] >= first_test]
    known = fit(rows[rows["date"] < first_test])
    score(test["date"], test["target"], predict(known, test["symbol"]))

    # 3. Fit on all dates and predict.
    live["prediction"] = predict(fit(rows), live["symbol"])

    # 4. Submit. This checks Numerai's rules first, and returns only when Numerai has accepted the predictions.
    node.submit(live[["symbol", "prediction"]])


if __name__ == "__main__":
    run_and_submit(main)
