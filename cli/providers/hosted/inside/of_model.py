"""What Numerai calls for a model file: `model.model` beside this is read now, and goes into the pickle with its reader.

It stands in the place of a node's own code: nothing but numerai_node, pandas and numpy is there.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numerai_node.model_file import read_model

MODEL = read_model(Path("model.model"))
MODEL.raw(np.zeros((1, len(MODEL.features)), np.int8), threads=1)  # unpacks the members, which stay unpacked


def predict(live_features: pd.DataFrame) -> pd.DataFrame:
    """The model's predictions, ranks between 0 and 1."""
    return pd.DataFrame({"prediction": MODEL.predict(live_features, threads=1, keep=False)}, index=live_features.index)
