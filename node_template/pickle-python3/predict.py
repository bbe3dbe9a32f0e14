"""Run the pickle of a Model Upload and submit what it predicts. Numerai starts this at every round."""

import inspect
from pathlib import Path

import pandas as pd
from numerai_node import ConfigurationError, Node, log, run_and_submit

PICKLE = Path(__file__).with_name("model.pkl")


def main(node: Node) -> None:
    # 1. Load the function. A pickle runs whatever is in it, so use only one of your own.
    if not PICKLE.is_file():
        raise ConfigurationError(f"There is no {PICKLE.name} beside predict.py: copy the file that you uploaded there.")
    predict = pd.read_pickle(PICKLE)  # noqa: S301  your own
    takes_benchmarks = len(inspect.signature(predict).parameters) > 1
    log("loaded", model=PICKLE.name, benchmarks=takes_benchmarks)

    # 2. Give it what Numerai gives it: the live file as it is, and the benchmark models' predictions if it wants them.
    frames = [pd.read_parquet(node.live_file)]
    if takes_benchmarks:
        frames.append(pd.read_parquet(node.dataset.file("live_benchmark_models.parquet")))

    # 3. Predict and submit. Numerai's rules are checked before anything is sent.
    predictions = predict(*frames)
    node.submit(predictions[["prediction"]])


if __name__ == "__main__":
    run_and_submit(main)
