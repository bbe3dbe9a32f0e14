"""Models before a deploy: their data, training and scores. numpy, pyarrow and LightGBM; no network."""
