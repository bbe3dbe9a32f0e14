"""Predict today's coins and submit them to Crypto. Numerai starts this at every round; by hand: python predict.py"""

import pandas as pd
from numerai_node import Node, run_and_submit
from train import load, train

MAX_AGE_DAYS = 30


def main(node: Node) -> None:
    # 1. Get the data: today's coins, with the columns called feature_* that hold numbers.
    features = node.features("all")
    live = node.live(features)

    # 2. Load the model trained earlier, or train it now.
    model = load(node, features) or train(node, features)

    # 3. Predict. Only the order counts, so the predictions become ranks between 0 and 1.
    raw = pd.Series(model.predict(live[features].to_numpy(), node.threads), index=live.index)
    live["prediction"] = (raw.rank(method="first") - 0.5) / len(live)

    # 4. Submit. This checks Numerai's rules first, and returns only when Numerai has accepted the predictions.
    node.submit(live[["symbol", "prediction"]])

    # 5. Train again for the next rounds when the model is old, or as `numerai node config --retrain-days` says.
    node.retrain("train.py", days=MAX_AGE_DAYS)


if __name__ == "__main__":
    run_and_submit(main)
