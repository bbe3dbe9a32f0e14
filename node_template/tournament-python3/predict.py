"""Predict today's live rows and submit them. Numerai starts this at every round; by hand: python predict.py"""

import pandas as pd
from numerai_node import Node, run_and_submit
from train import FEATURE_SET, load, train


def main(node: Node) -> None:
    # 1. Get the data: today's rows, with only the columns the model needs.
    features = node.features(FEATURE_SET)
    live = node.live(features)

    # 2. Load the model trained earlier, or train it now if there is none that fits these features.
    model = load(node, features) or train(node, features)

    # 3. Predict. Only the order of the predictions counts, so they become ranks between 0 and 1.
    raw = pd.Series(model.predict(live.to_numpy(), node.threads), index=live.index)
    predictions = (raw.rank() - 0.5) / len(raw)

    # 4. Submit. This checks Numerai's rules first, and returns only when Numerai has accepted the predictions.
    node.submit(predictions)

    # 5. Train again for the next rounds, where the model is as old as `numerai node config --retrain-days` says.
    node.retrain("train.py")


if __name__ == "__main__":
    run_and_submit(main)
