"""What `numerai report` shows: a validation as one page that needs nothing else, and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .figures import DARK, LIGHT, SERIES, Palette, Shown, drawings, png, style, svg

METRICS = {"corr": "CORR", "mmc": "MMC", "bmc": "BMC", "fnc": "FNC", "exposure": "Feature exposure", "churn": "Churn"}
METRICS |= {"turnover": "Turnover"}
FIGURES = {
    "mean": "mean",
    "std": "standard deviation",
    "sharpe": "Sharpe",
    "max_drawdown": "largest drawdown",
    "autocorrelation": "autocorrelation",
    "hit_rate": "hit rate",
}
LESS_IS_BETTER = {(metric, "mean") for metric in ("exposure", "churn", "turnover")}
LESS_IS_BETTER |= {(metric, "max_drawdown") for metric in METRICS}
NOT_JUDGED = {"std", "autocorrelation"}
"""Figures of which neither more nor less is better."""
TILES = (("corr", "mean"), ("corr", "sharpe"), ("corr", "max_drawdown"), ("mmc", "mean"))
UNKNOWN = "?"


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
    value = (model.get("metrics", {}).get(metric) or {}).get(figure)
    return None if value is None else float(value)


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
        for figure, says in FIGURES.items():
            values = [_number(model, metric, figure) for model in models]
            if any(value is not None for value in values):
                judged = figure not in NOT_JUDGED
                best = _best(values, less=(metric, figure) in LESS_IS_BETTER) if judged else None
                comparison.append(Row(f"{title}, {says}", [_words(value, figure) for value in values], best))
        for window in sorted({key for model in models for key in model.get("windows", {})}, key=int):
            values = [model.get("windows", {}).get(window, {}).get(metric) for model in models]
            if any(value is not None for value in values):
                best = _best(values, less=(metric, "mean") in LESS_IS_BETTER)
                windows.append(Row(f"{title}, last {window} eras", [_words(value, "mean") for value in values], best))
    setups = [_flat(model.get("training") or {}) for model in models]
    keys = list(dict.fromkeys(key for setup in setups for key in setup))
    setup_rows = [Row(key, [setup.get(key, UNKNOWN) for setup in setups]) for key in keys]
    tables = [
        Table("Compared", names, comparison),
        Table("The last eras", names, windows),
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


def _best(values: Sequence[float | None], *, less: bool) -> int | None:
    """The place of the one best value of several."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    best = min(known) if less else max(known)
    return values.index(best) if known.count(best) == 1 else None


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested values as lines, with their keys joined by points."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{key}.")
        elif isinstance(value, list | tuple):
            found[f"{before}{key}"] = ", ".join(str(each) for each in value)
        else:
            found[f"{before}{key}"] = UNKNOWN if value is None else str(value)
    return found
