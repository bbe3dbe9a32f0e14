"""What `numerai report` shows: a validation as one page that needs nothing else, and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .figures import DARK, LIGHT, SERIES, Palette, Shown, drawings, png, style, svg

METRICS = {"corr": "CORR", "mmc": "MMC", "bmc": "BMC", "fnc": "FNC", "exposure": "Largest exposure in an era"}
METRICS |= {"churn": "Churn", "turnover": "Turnover"}
FIGURES = {
    "mean": "mean",
    "std": "standard deviation",
    "sharpe": "Sharpe",
    "max_drawdown": "largest drawdown",
    "autocorrelation": "autocorrelation",
    "hit_rate": "hit rate",
}
NEVER_NEGATIVE = ("exposure", "churn", "turnover")
"""Metrics of which less is better. They do not add up, so that only mean and standard deviation mean something."""
OF_ANY = ("mean", "std")
NOT_JUDGED = ("std", "autocorrelation")
"""Figures of which neither more nor less is better."""
TILES = (("corr", "mean"), ("corr", "sharpe"), ("corr", "max_drawdown"), ("mmc", "mean"))
UNKNOWN = "-"
SETUP = {
    "data": "Data version",
    "members": "Members",
    "eras": "Eras trained on",
    "every": "Eras taken",
    "held_out": "Eras held out",
    "purge": "Eras left out before those held out",
    "patience": "Patience, in trees",
    "stopped": "Stopped because",
    "parameters.trees": "Trees at most",
    "parameters.block": "Trees between two looks at CORR",
    "parameters.num_leaves": "Leaves of a tree",
    "parameters.max_depth": "Depth of a tree",
    "parameters.feature_fraction": "Share of the features for each tree",
    "parameters.feature_fraction_bynode": "Share of the features for each split",
}
"""What the keys of a training mean, where they do not say it themselves."""


@dataclass(frozen=True)
class Row:
    """A line of a table. `best` is the number of the cell that is the best of several."""

    label: str
    cells: Sequence[str]
    best: int | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page; `text` when its cells are words."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Row]
    text: bool = False


@dataclass(frozen=True)
class Tile:
    """One number at the top."""

    label: str
    value: str
    beside: str


def page(validation: Mapping[str, Any]) -> str:
    """The validation as one HTML page: no scripts, no requests, light or dark as the reader's system is."""
    from jinja2 import Environment

    models = validation["models"]
    names = [str(model["name"]) for model in models]
    deployed = next((model for model in models[1:] if model["name"] == validation.get("against")), None)
    source = (Path(__file__).parent / "templates" / "report.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True).from_string(source)
    figures = [
        {"title": drawing.title, "says": drawing.says, "svg": svg(drawing)}
        for drawing in drawings(validation["data"]["eras"], _shown(models, len(validation["data"]["eras"])))
    ]
    return template.render(
        title=_title(names),
        subtitle=_subtitle(validation["data"]),
        light=style(LIGHT),
        dark=style(DARK),
        names=names,
        series=SERIES,
        tiles=_tiles(models, deployed),
        caveats=validation.get("caveats", ()),
        notes=validation.get("notes", ()),
        figures=figures,
        tables=[table for table in _tables(models, names, deployed) if table.rows],
    )


def pictures(validation: Mapping[str, Any], palette: Palette = LIGHT) -> dict[str, bytes]:
    """Each figure as a PNG, by its file's name."""
    models = validation["models"]
    names = [str(model["name"]) for model in models]
    drawn = drawings(validation["data"]["eras"], _shown(models, len(validation["data"]["eras"])))
    return {f"{drawing.name}.png": png(drawing, palette, names=names) for drawing in drawn}


def _title(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{names[0]} beside {', '.join(names[1:])}"


def _subtitle(data: Mapping[str, Any]) -> str:
    eras = data["eras"]
    span = f"{len(eras)} eras, {eras[0]} to {eras[-1]}" if len(eras) > 1 else f"{len(eras)} era, {eras[0]}"
    return " · ".join(str(part) for part in (data.get("version"), data.get("file"), data.get("target"), span) if part)


def _shown(models: Sequence[Mapping[str, Any]], eras: int) -> list[Shown]:
    found = []
    for model in models:
        lengths = {metric: len(values) for metric, values in model.get("per_era", {}).items()}
        odd = next((metric for metric, length in lengths.items() if length != eras), None)
        if odd is not None:
            raise UsageError(
                f"The validation cannot be drawn: {model['name']} has {lengths[odd]} values of {odd} for {eras} eras.",
                "Make it again: `numerai validate MODEL --output FILE`.",
            )
        histogram = model.get("histogram") or {}
        found.append(
            Shown(
                str(model["name"]),
                model.get("per_era", {}),
                {name: value for name, value in (model.get("exposures") or {}).items() if value is not None},
                histogram.get("edges", ()),
                histogram.get("counts", ()),
            )
        )
    return found


def _number(model: Mapping[str, Any], metric: str, figure: str) -> float | None:
    """None for what says nothing, too: of scores that are all the same, as a benchmark's contribution to itself, only
    the mean is a figure."""
    figures = model.get("metrics", {}).get(metric) or {}
    value = figures.get(figure)
    if value is None or (figure not in OF_ANY and (metric in NEVER_NEGATIVE or figures.get("std") == 0)):
        return None
    return float(value)


def _words(value: float | None, figure: str) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.1%}" if figure == "hit_rate" else f"{value:.2f}" if figure == "sharpe" else f"{value:.4f}"


def _tiles(models: Sequence[Mapping[str, Any]], deployed: Mapping[str, Any] | None) -> list[Tile]:
    if not models:
        return []
    tiles = []
    for metric, figure in TILES:
        value = _number(models[0], metric, figure)
        if value is not None:
            other = None if deployed is None else _number(deployed, metric, figure)
            beside = "" if other is None else f"{_words(other, figure)} deployed"
            tiles.append(Tile(f"{METRICS[metric]}, {FIGURES[figure]}", _words(value, figure), beside))
    return tiles


def _tables(
    models: Sequence[Mapping[str, Any]], names: Sequence[str], deployed: Mapping[str, Any] | None
) -> list[Table]:
    comparison, windows = [], []
    for metric, title in METRICS.items():
        alike = _same_eras(models, metric)
        for figure, says in FIGURES.items():
            values = [_number(model, metric, figure) for model in models]
            comparison.append(_row(f"{title}, {says}", values, metric, figure, judged=alike))
        for window in sorted({key for model in models for key in model.get("windows", {})}, key=int):
            values = [model.get("windows", {}).get(window, {}).get(metric) for model in models]
            windows.append(_row(f"{title}, last {window} eras", values, metric, "mean", judged=alike))
    setups = [_setup(model.get("training") or {}) for model in models]
    keys = list(dict.fromkeys(key for setup in setups for key in setup))
    setup_rows = [Row(key, [setup.get(key, UNKNOWN) for setup in setups]) for key in keys]
    tables = [
        Table("Compared", names, [row for row in comparison if row is not None]),
        Table("The last eras", names, [row for row in windows if row is not None]),
        Table("How they were trained" if len(names) > 1 else "How it was trained", names, setup_rows, text=True),
    ]
    if deployed is not None:
        other = setups[list(models).index(deployed)]
        changed = [
            Row(key, [setups[0].get(key, UNKNOWN), other.get(key, UNKNOWN)])
            for key in keys
            if setups[0].get(key) != other.get(key)
        ]
        tables.append(
            Table("What changed against the deployed model", [names[0], str(deployed["name"])], changed, text=True)
        )
    return tables


def _row(label: str, values: Sequence[float | None], metric: str, figure: str, *, judged: bool) -> Row | None:
    """One figure of every model; None where nobody has it. `judged` says whether they can be compared."""
    if all(value is None for value in values):
        return None
    cells = [_words(value, figure) for value in values]
    known = [value for value in values if value is not None]
    if not judged or figure in NOT_JUDGED or len(known) < 2:
        return Row(label, cells)
    less = figure == "max_drawdown" or metric in NEVER_NEGATIVE
    best = values.index(min(known) if less else max(known))
    return Row(label, cells, best if cells.count(cells[best]) == 1 else None)


def _same_eras(models: Sequence[Mapping[str, Any]], metric: str) -> bool:
    """Whether all models that have a metric have it in the same eras."""
    columns = [model["per_era"][metric] for model in models if metric in model.get("per_era", {})]
    return len({tuple(value is None for value in column) for column in columns}) <= 1


def _setup(training: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """How a model was trained, in words: label -> value. What is nested stands in lines of its own."""
    found: dict[str, str] = {}
    for key, value in training.items():
        if isinstance(value, Mapping):
            found |= _setup(value, f"{before}{key}.")
        else:
            name = f"{before}{key}"
            plain = name.removeprefix("parameters.").replace("_", " ").replace(".", ", ")
            found[SETUP.get(name) or plain[:1].upper() + plain[1:]] = _told(name, value)
    return found


def _told(name: str, value: Any) -> str:
    if value is None:
        return UNKNOWN
    if name in ("eras", "held_out") and isinstance(value, list | tuple) and len(value) == 2:
        return " to ".join(dict.fromkeys(map(str, value)))
    if name == "every":
        return "all" if value == 1 else f"one in {value}"
    if name == "neutralized":
        return f"{value:.0%}"
    if isinstance(value, list | tuple):
        return ("; " if name in ("members", "stopped") else ", ").join(dict.fromkeys(map(str, value)))
    return str(value)
