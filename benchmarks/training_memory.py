"""Peak memory and CPU of building LightGBM's data from Parquet and training on them, at any share of Numerai's size.

python benchmarks/training_memory.py [--share 0.05] [--sets small,medium,all] [--trees 20] [--data FOLDER] [--plain]

Run by hand, never by a test. The sandbox writes the file (full size: 4 GB, about 3 minutes), once for each share where
`--data` keeps it. Each row of the table is a process of its own. `--plain` adds what a user would do otherwise: pandas
and LGBMRegressor, as in Numerai's tutorials, which needs ten times the memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ERAS, ROWS_PER_ERA, FEATURES = 574, 4_700, 3_555
"""Numerai's v5.3 train.parquet: 2.7 million rows."""
LIMITS_MIB = {"small": 500, "medium": 2_253, "all": 7_680}
"""What training 20 trees at full size may take."""
PARAMETERS: dict[str, Any] = {
    "num_leaves": 64,
    "max_depth": 6,
    "learning_rate": 0.01,
    "feature_fraction": 0.1,
    "num_threads": 1,
}


def write(place: Path, share: float) -> None:
    """Write train.parquet and features.json of that share of Numerai's eras, where they are not there."""
    from numerai_compute.sandbox.data.made_classic import MadeClassic
    from numerai_compute.sandbox.data.source import Edition
    from numerai_compute.sandbox.settings import DataSpec

    made = MadeClassic(DataSpec(eras=max(4, round(ERAS * share)), rows_per_era=ROWS_PER_ERA, features=FEATURES))
    place.mkdir(parents=True, exist_ok=True)
    for name in ("features.json", "train.parquet"):
        if not (place / name).exists():
            made.write(f"{made.version}/{name}", Edition(1, 20260101), place / name)


def ours(folder: Path, feature_set: str, trees: int) -> dict[str, float]:
    """Train as `numerai train` does."""
    import lightgbm as lgb
    from numerai_compute.modelling.dataset import build, open_file
    from numerai_compute.modelling.feature_sets import read_feature_sets

    features = read_feature_sets(folder / "features.json").features(feature_set)
    file = open_file(folder / "train.parquet")
    opened = seconds()
    built = build([file], features, set(file.eras), "target", PARAMETERS)
    ready, peak = seconds(), peak_mib()
    lgb.train(built.parameters, built.dataset, trees)
    return {
        "rows": built.rows,
        "features": len(features),
        "open": opened,
        "build": ready - opened,
        "built_mib": peak,
        "train": seconds() - ready,
    }


def plain(folder: Path, feature_set: str, trees: int) -> dict[str, float]:
    """Train as Numerai's tutorials do."""
    import lightgbm as lgb
    import pandas as pd

    features = json.loads((folder / "features.json").read_text())["feature_sets"][feature_set]
    frame = pd.read_parquet(folder / "train.parquet", columns=["era", "target", *features])
    read, peak = seconds(), peak_mib()
    lgb.LGBMRegressor(n_estimators=trees, verbosity=-1, **PARAMETERS).fit(frame[features], frame["target"])
    return {
        "rows": len(frame),
        "features": len(features),
        "open": read,
        "build": 0.0,
        "built_mib": peak,
        "train": seconds() - read,
    }


def seconds() -> float:
    """CPU seconds of this process."""
    return time.process_time()


def peak_mib() -> float:
    """The most memory that this process has held, in MiB; macOS counts it in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def own(*arguments: str) -> str:
    """What this program prints in a process of its own, started by one that is small: on Linux a process inherits the
    peak of the one that has started it."""
    return subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def measured(way: str, folder: Path, feature_set: str, trees: int) -> dict[str, float]:
    """One row of the table, in a process of its own."""
    answer = own("--measure", way, str(folder), feature_set, "--trees", str(trees))
    result: dict[str, float] = json.loads(answer.splitlines()[-1])
    return result


def main() -> None:
    """Print a row for each feature set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--sets", default="small,medium,all")
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "FOLDER", "SET"), help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(given.write, given.share)
        return
    if given.measure:
        way, folder, feature_set = given.measure
        result = {"ours": ours, "plain": plain}[way](Path(folder), feature_set, given.trees)
        print(json.dumps({**result, "peak_mib": peak_mib()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = (given.data or Path(temporary)) / f"share-{given.share:g}"
        own("--write", str(place), "--share", str(given.share))
        print("way    set      rows     features  open s  build s  train s  built MiB  peak MiB  limit at full size")
        for feature_set in given.sets.split(","):
            for way in ("ours", "plain") if given.plain else ("ours",):
                row = measured(way, place, feature_set, given.trees)
                print(
                    f"{way:6} {feature_set:6} {row['rows']:>9,.0f} {row['features']:>9,.0f} {row['open']:>7.1f}"
                    f" {row['build']:>8.1f} {row['train']:>8.1f} {row['built_mib']:>10,.0f} {row['peak_mib']:>9,.0f}"
                    f"  {LIMITS_MIB[feature_set]:,}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
