"""Predict today's live rows with the deployed model and submit them. Numerai starts this at every round.

The model is the file that `numerai train` has made and `numerai node deploy --model-file FILE` has put beside this one.
It is predicted without LightGBM, and trained elsewhere.
"""

import pandas as pd
from numerai_node import Node, run_and_submit


def main(node: Node) -> None:
    # 1. The deployed model, and today's rows of the data version that it was trained on, with its features only.
    model = node.model()
    live = node.live(model.features)

    # 2. Hold the features to those of its training: what is found is said, or refused with NUMERAI_GATE=refuse.
    node.check_features(model.about.get("drift") or {}, live)

    # 3. Predict: ranks between 0 and 1.
    predictions = pd.Series(model.predict(live, threads=node.threads), index=live.index)

    # 4. Submit. This checks Numerai's rules first, and returns only when Numerai has accepted the predictions.
    node.submit(predictions)


if __name__ == "__main__":
    run_and_submit(main)
