"""Runs a model upload as Numerai's own image does: `python -m ….run_pickle PICKLE LIVE BENCHMARKS OUTPUT`.

Its checks and words are those of github.com/numerai/numerai-predict, predict.py (read 2026-11). A program of its own,
so that a sandbox survives what it runs.
"""

from __future__ import annotations

import logging
import pickle
import sys
from inspect import signature
from typing import Any

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def main(model_file: str, live: str, benchmarks: str, output: str) -> None:
    """Load the pickle, predict, check, and write the predictions as a CSV file; ends with 1 where that fails."""
    import pandas as pd

    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    logging.info("Running numerai-predict:sandbox - Python %s", VERSION)
    model = _loaded(model_file)
    wanted = len(signature(model).parameters)
    if wanted not in (1, 2):
        _fail(f"Invalid pickle function - {model_file} must have 1 or 2 arguments")
    frames = [pd.read_parquet(path) for path in (live, benchmarks)[:wanted]]
    logging.info("Predicting on %s rows of live features", len(frames[0]))
    predictions = model(*frames)
    if predictions is None:
        _fail("Pickle function is invalid - returned None")
    if type(predictions) is not pd.DataFrame:
        _fail(f"Pickle function is invalid - returned {type(predictions)} instead of pd.DataFrame")
    if len(predictions) == 0:
        _fail("Pickle function returned 0 predictions")
    if predictions.isna().any().any():
        _fail("Pickle function returned at least 1 NaN prediction")
    if not predictions.iloc[:, 0].between(0, 1).all():
        _fail("Pickle function returned invalid predictions. Ensure values are between 0 and 1.")
    logging.info("Generated %s predictions", len(predictions))
    predictions.to_csv(output, index=True)


def _loaded(path: str) -> Any:
    import pandas as pd

    try:
        return pd.read_pickle(path)  # noqa: S301  the sandbox's own user has made it
    except TypeError:
        _fail(f"Pickle incompatible with {VERSION}")
    except ModuleNotFoundError as error:
        _fail(f"Import error reading pickle - {error}")
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        _fail(f"Invalid pickle - {error}")


def _fail(why: str) -> Any:
    logging.error(why)
    sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
