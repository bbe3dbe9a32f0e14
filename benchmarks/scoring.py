"""Scoring predictions: ours beside numerai-tools. `python -m benchmarks --only scoring` runs it.

CORR of one prediction column, with the rows aligned and with predictions whose string ids are shuffled, and all metrics
of `numerai validate` on 42 features. Each way and round is a process of its own: it imports and reads what it needs,
and is measured from there, at its first call.
"""

from __future__ import annotations

import os

os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import ROOT, Taken, emit, first_call, median, row

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numerai_compute.modelling.scoring import Eras

ERAS, ROWS, FEATURES = 574, 4_700, 42
"""Numerai's v5.3 train.parquet, and its feature set `small`."""
Work = Callable[[], "np.ndarray[Any, Any]"]


def write(place: Path, eras: int) -> None:
    """Rows with made-up ids, targets, features and predictions; what was sent has its rows shuffled, and in a second
    file shuffled in each era."""
    import numpy as np
    import pandas as pd

    random, count = np.random.default_rng(1), eras * ROWS
    target = random.choice([0, 0.25, 0.5, 0.75, 1], count, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    era = pd.Series(np.repeat([f"{number:04d}" for number in range(1, eras + 1)], ROWS))
    ids = pd.Series([f"n{number:015x}" for number in random.permutation(count)])
    data = pd.DataFrame({"id": ids, "era": era, "target": target}).sort_values(["era", "id"], ignore_index=True)
    data[["prediction", "meta", "benchmark"]] = random.random((count, 3))
    data.to_parquet(place / "data.parquet")
    sent = data[["id", "era", "prediction"]].iloc[random.permutation(count)]
    sent.to_parquet(place / "sent.parquet", index=False)
    sent.sort_values("era", kind="stable").to_parquet(place / "sent_by_era.parquet", index=False)
    np.save(place / "features.npy", random.integers(0, 5, (count, FEATURES), dtype=np.int8))


def _eras(place: Path) -> Eras:
    import numpy as np
    import pyarrow.parquet as pq
    from numerai_compute.modelling.scoring import Eras

    eras = pq.ParquetFile(place / "data.parquet").metadata.num_rows // ROWS
    return Eras(tuple(f"{era:04d}" for era in range(1, eras + 1)), np.arange(eras + 1) * ROWS)


def _values(place: Path, name: str, file: str = "data.parquet") -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(place / file, columns=[name])[name].to_numpy()


def _ids(place: Path, file: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(place / file, columns=["id"])["id"].cast(pa.large_string()).combine_chunks()


def ours(place: Path) -> Work:
    """CORR per era, everything that is prepared included."""
    import numpy as np
    import scipy.special  # noqa: F401 - an import is not scoring
    from numerai_compute.modelling.scoring import Column, Scorer

    eras, target = _eras(place), _values(place, "target")
    column = Column(_values(place, "prediction"), np.diff(eras.starts))
    return lambda: Scorer(eras, target).scores(column)["corr"]


def ours_shuffled(place: Path) -> Work:
    """CORR per era of the shuffled predictions, the index of the data's ids included."""
    import pyarrow.compute  # noqa: F401
    import scipy.special  # noqa: F401
    from numerai_compute.modelling.alignment import DataRows, Source
    from numerai_compute.modelling.scoring import Scorer

    eras, target, ids = _eras(place), _values(place, "target"), _ids(place, "data.parquet")
    source, sent = Source("sent", _ids(place, "sent.parquet")), _values(place, "prediction", "sent.parquet")

    def work() -> np.ndarray[Any, Any]:
        rows = DataRows("data", ids, eras)
        return Scorer(eras, target).scores(source.column(rows, source.places(rows), sent))["corr"]

    return work


def _frame(place: Path, file: str) -> pd.DataFrame:
    import numerai_tools.scoring  # noqa: F401
    import pandas as pd

    return pd.read_parquet(place / file).set_index("id")


def _by_tools(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    import numpy as np
    from numerai_tools.scoring import numerai_corr

    return np.array([numerai_corr(era[["prediction"]], era["target"]).iloc[0] for _, era in frame.groupby("era")])


def tools(place: Path) -> Work:
    """CORR per era of one frame, whose ids are sorted: the least work."""
    frame = _frame(place, "data.parquet")
    return lambda: _by_tools(frame)


def tools_joined(place: Path) -> Work:
    """pandas joins the shuffled predictions to the targets."""
    frame, sent = _frame(place, "data.parquet")[["era", "target"]], _frame(place, "sent.parquet")["prediction"]
    return lambda: _by_tools(frame.join(sent))


def tools_aligning(place: Path) -> Work:
    """numerai-tools aligns the ids of each era itself; the predictions name their era."""
    import numpy as np
    from numerai_tools.scoring import numerai_corr

    frame, sent = _frame(place, "data.parquet"), _frame(place, "sent_by_era.parquet")

    def work() -> np.ndarray[Any, Any]:
        targets = dict(list(frame.groupby("era")["target"]))
        return np.array([numerai_corr(era[["prediction"]], targets[n]).iloc[0] for n, era in sent.groupby("era")])

    return work


def all_metrics(place: Path) -> Work:
    """CORR, MMC, BMC, FNC and exposure with their summaries."""
    import numpy as np
    import scipy.special  # noqa: F401
    from numerai_compute.modelling.scoring import Column, EraFeatures, Scorer, summary

    eras, target, features = _eras(place), _values(place, "target"), np.load(place / "features.npy")
    sizes = np.diff(eras.starts)
    predictions, meta, benchmark = (Column(_values(place, name), sizes) for name in ("prediction", "meta", "benchmark"))

    def work() -> np.ndarray[Any, Any]:
        scores = Scorer(eras, target, {"mmc": meta, "bmc": benchmark}).scores(predictions)
        found = [EraFeatures(features[rows], target[rows]).scores(predictions.values[rows]) for rows in eras]
        scores |= {"fnc": np.array([one.fnc for one in found]), "exposure": np.array([one.exposure for one in found])}
        for values in scores.values():
            summary(values)
        return scores["corr"]

    return work


WAYS = {
    ours: "numerai validate",
    tools: "numerai-tools",
    ours_shuffled: "numerai validate",
    tools_joined: "numerai-tools after pandas' join",
    tools_aligning: "numerai-tools, aligning each era",
    all_metrics: "numerai validate",
}


def measure(share: float, rounds: int, place: Path) -> list[dict[str, Any]]:
    """A row for each thing that is scored, each way in turn in each round."""
    program = [sys.executable, "-m", __spec__.name]
    eras = max(4, round(ERAS * share))
    subprocess.run([*program, "--write", str(eras), "--data", str(place)], cwd=ROOT, check=True)
    taken = {way.__name__: Taken(name) for way, name in WAYS.items()}
    again: dict[str, list[float]] = {name: [] for name in taken}
    for _ in range(rounds):
        for name, one in taken.items():
            again[name].append(one.apart([*program, "--way", name, "--data", str(place)], cwd=ROOT)["again"])
    difference = subprocess.run(
        [*program, "--differ", "--data", str(place)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    rows = []
    for what, names in (
        ("CORR, rows aligned", ("ours", "tools")),
        ("CORR, string ids shuffled", ("ours_shuffled", "tools_joined", "tools_aligning")),
        ("CORR, MMC, BMC, FNC and exposure", ("all_metrics",)),
    ):
        first, *others = (taken[name] for name in names)
        remark = f"second call {' / '.join(f'{median(again[name]):.2f}' for name in names)} s"
        remark += f"; largest difference {difference}" if others else ""
        rows.append(row(what, first, others, remark, share, f"{eras * ROWS:,} rows"))
    return rows


def differ(place: Path) -> float:
    """The largest difference of ours and numerai-tools' CORR of an era."""
    import numpy as np

    expected = tools(place)()
    return max(float(np.abs(way(place)() - expected).max()) for way in (ours, ours_shuffled, tools_aligning))


def main() -> None:
    """Measure; or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=[way.__name__ for way in WAYS], help=argparse.SUPPRESS)
    parser.add_argument("--differ", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.data, options.write)
    elif options.way:
        first_call(next(way for way in WAYS if way.__name__ == options.way)(options.data))
    elif options.differ:
        print(f"{differ(options.data):.0e}")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            emit(measure(options.share, options.rounds, Path(temporary)))


if __name__ == "__main__":
    main()
