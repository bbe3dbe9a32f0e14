"""docs/benchmarks.md, made of what the runner has measured: benchmarks/results.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.measuring import ROOT, median

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
Row = Mapping[str, Any]

TOP = """\
# Benchmarks

Written by `python -m benchmarks` from `benchmarks/results.json`; do not change it by hand. `make bench` measures a
twentieth of Numerai's size, `make bench ARGS=--share=0.25,1` more, `ARGS="--only scoring --rounds 7"` one part.

All ways of a row were measured in one run, in turn in each round. Figures are medians of the rounds: CPU seconds
(user and system, children included) and peak memory. Other programs ran beside, so wall times say little, and CPU
seconds vary by a tenth or two. A ratio is a way's median by ours: above 1 ours takes less.
"""
SECTIONS = {
    "start": ("Starting a command", "The peak is the whole process's. The official tool is given the sandbox to ask."),
    "accepted": (
        "From Numerai's call to an accepted submission",
        """\
The Classic example with 42 features of a live file of 6,900 rows and 3,555 features, and a kept model, on the
sandbox. The script has the model beside it, and is started by hand: it checks nothing and confirms nothing. The CPU
seconds of a node are those of its run, its supervisor and its daemon, but not Docker's own; its peak is the run's. Wall
seconds are from the round's opening, or the script's start, to Numerai's time of the submission.""",
    ),
    "training": (
        "Reading and training",
        """\
train.parquet as the sandbox writes it; LightGBM with 64 leaves, one thread. Each way is a process of its own, and the
peak is the whole process's. Seconds a tree are given in the order of the ways. All features were measured once.""",
    ),
    "scoring": (
        "Scoring",
        """\
Each way and round is a process of its own that imports and reads what it needs first; then its first call is measured,
memory that it touches for the first time included, and the second call is in the remark, in the order of the ways. The
peak is what is needed beside the data. numerai-tools is called for each era, as its users do. Of shuffled string ids,
all ways find the rows anew: ours with one table for all rows; pandas with one join of all rows; numerai-tools itself in
each era, of predictions that stand together by era, which spares it the search among all rows. Run 8 is older:
it measured copies of one process that had done all of it before.""",
    ),
    "forest": (
        "Predicting with forests",
        """\
Full trees of random splits on 1,000 features, one thread each. A part of the size is that part of 20,000 trees of 64
leaves, or of 3,000 of 1,024 leaves. The peak is what is needed beside the model and the rows.""",
    ),
}
SHARES = {0.05: "1/20", 0.25: "1/4", 1.0: "full"}
EARLIER = """\
## Peak memory at full size

**Not part of the runs above**: measured on 2026-11-28 with `python -m benchmarks.training_memory --share 1`, as it was
then, for reading, binning and 20 trees of 2.7 million rows.

| features | peak, MiB |
| --- | --- |
| small, 42 | 441 |
| medium, 780 | 1,407 |
| all, 3,555 | 5,003 |
"""


def text_of(results: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = [TOP, *_runs(results["runs"])]
    for name, (title, about) in SECTIONS.items():
        rows = results["sections"].get(name, [])
        if rows:
            parts += [f"\n## {title}\n\n{about}\n\n", *_table(rows), *_growth(rows)]
    return "".join([*parts, "\n", EARLIER])


def _runs(runs: Mapping[str, Any]) -> Iterator[str]:
    yield "\n| run | date | command | rounds | machine | versions |\n| --- | --- | --- | --- | --- | --- |\n"
    for number, run in runs.items():
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        yield f"| {number} | {run['date']} | `{run['command']}` | {run['rounds']} | {run['machine']} | {versions} |\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    wall = any(row["ours"]["way"].startswith("node") for row in rows)
    names = ("what", "size", "way", "CPU s", "ratio", "peak MiB", "wall s" if wall else "remark", "run")
    yield f"| {' | '.join(names)} |\n|{' --- |' * len(names)}\n"
    for row in _in_order(rows):
        for taken in [row["ours"], *row["others"]]:
            ours = taken is row["ours"]
            last = f"{median(taken['wall']):.1f}" if wall else row["remark"] * ours
            cells = (
                *((row["what"], _size(row), f"**{taken['way']}**") if ours else ("", "", taken["way"])),
                *(_figure(taken["cpu"]), "" if ours else _ratio(row, taken), _whole(taken["mib"]), last),
                row["run"] * ours,
            )
            yield f"| {' | '.join(cells)} |\n"


def _growth(rows: Sequence[Row]) -> Iterator[str]:
    """How ours grows with the size, and the ratios, where there are several sizes."""
    names = list(dict.fromkeys(row["what"] for row in rows))
    by_name = {name: [row for row in _in_order(rows) if row["what"] == name] for name in names}
    grown = {name: several for name, several in by_name.items() if len(several) > 1}
    if not grown:
        return
    shares = sorted({row["share"] for several in grown.values() for row in several})
    titles = [SHARES.get(share, str(share)) for share in shares]
    yield f"\n| growth | {' | '.join(titles)} |\n| --- |{' --- |' * len(shares)}\n"
    for name, several in grown.items():
        found = {row["share"]: row for row in several}
        ours = [f"{_figure(found[share]['ours']['cpu'])} s" if share in found else "" for share in shares]
        yield f"| {name} | {' | '.join(ours)} |\n"
        for way in dict.fromkeys(_stem(one["way"]) for row in several for one in row["others"]):
            ratios = {
                row["share"]: _ratio(row, one) for row in several for one in row["others"] if _stem(one["way"]) == way
            }
            yield f"| ... beside {way} | {' | '.join(ratios.get(share, '') for share in shares)} |\n"


def _stem(way: str) -> str:
    """Without the size of the slices, which is another one at each size."""
    return way.partition(" of ")[0]


def _in_order(rows: Sequence[Row]) -> list[Row]:
    names = list(dict.fromkeys(row["what"] for row in rows))
    return sorted(rows, key=lambda row: (names.index(row["what"]), row["share"] or 0))


def _size(row: Row) -> str:
    if row["share"] is None:
        return ""
    return f"{SHARES.get(row['share'], row['share'])}: {row['size']}"


def _ratio(row: Row, other: Mapping[str, Any]) -> str:
    ratio = (median(other["cpu"]) or 0.0) / (median(row["ours"]["cpu"]) or float("inf"))
    return f"{ratio:,.0f} x" if ratio >= 10 else f"{ratio:.1f} x"


def _figure(values: Sequence[float]) -> str:
    value = median(values)
    return "" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:,.1f}"


def _whole(values: Sequence[float]) -> str:
    value = median(values)
    return "" if value is None else f"{value:,.0f}"


def write() -> None:
    """Write the page anew."""
    PAGE.write_text(text_of(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
