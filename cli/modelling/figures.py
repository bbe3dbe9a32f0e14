"""The report's figures, drawn with matplotlib: for a page, where its style sheet colours them, and as pictures."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 6
"""Models that a figure tells apart by their colours; more are drawn in the last one."""
TOP_FEATURES = 15
ERAS_A_ROW = 52
"""Eras a row of the heat map: an era is a week."""
WIDTH, HEIGHT = 4.6, 2.7
"""Inches, of 72 units each: a figure is then as many pixels wide on a phone, so that its text is as large there as it
is here."""
PICTURE = 1080
"""Pixels of a picture's width."""
FONT_SIZE, AXIS_SIZE = 11.5, 11.0


@dataclass(frozen=True)
class Palette:
    """The colours of a figure, as `#rrggbb`."""

    ink: str
    muted: str
    grid: str
    surface: str
    low: str
    middle: str
    high: str
    series: tuple[str, ...]


_COLOURS: Mapping[str, tuple[Any, Any]] = {
    "ink": ("#1c2128", "#e8ebef"),
    "muted": ("#59636e", "#a2acb8"),
    "grid": ("#e3e6ea", "#2e353d"),
    "surface": ("#ffffff", "#171b20"),
    "low": ("#b4432f", "#e0715c"),
    "middle": ("#f1f2f4", "#262c33"),
    "high": ("#1d66b8", "#5ea3f2"),
    "series": (
        ("#1f6fd0", "#c4620a", "#0f8468", "#a8338a", "#6a5acd", "#6b7682"),
        ("#6aa9f7", "#f0a052", "#4cc3a2", "#df7fc4", "#a99cf5", "#a8b3bf"),
    ),
}
"""Each role's colour on a light ground and on a dark one."""
LIGHT, DARK = (Palette(**{role: pair[ground] for role, pair in _COLOURS.items()}) for ground in (0, 1))
_ROLES = ("ink", "muted", "grid", "surface")
_MARKS: Mapping[str, Any] = {
    **{role: f"#f1e00{number}" for number, role in enumerate(_COLOURS, 1)},
    "series": tuple(f"#f1e01{number}" for number in range(SERIES)),
}
MARKS = Palette(**_MARKS)
"""Colours that stand for those of the page's style sheet, which has light and dark ones."""
STEPS = 9
"""Shades of the heat map on each side of nothing."""


def shade_marks() -> list[str]:
    """The marks of the heat map's shades, from the lowest to the highest."""
    return [f"#f1e1{number:02d}" for number in range(2 * STEPS + 1)]


@dataclass(frozen=True)
class Shown:
    """One model as the figures show it. `per_era` has one list a metric, with None where an era has no score."""

    name: str
    per_era: Mapping[str, Sequence[float | None]]
    exposures: Mapping[str, float] = field(default_factory=dict)
    edges: Sequence[float] = ()
    counts: Sequence[float] = ()


@dataclass(frozen=True)
class Drawing:
    """A figure: its file's name, its title, what a screen reader says of it, and how it is drawn on its axes."""

    name: str
    title: str
    says: str
    draw: Callable[[Axes, Palette], None]
    height: float = HEIGHT


def drawings(eras: Sequence[str], models: Sequence[Shown]) -> list[Drawing]:
    """The figures that these models have data for, in the order in which they are shown."""
    found = []
    for metric, title in (("corr", "CORR"), ("mmc", "MMC"), ("bmc", "BMC")):
        lines = _lines(models, metric, lambda values: np.cumsum(np.nan_to_num(values)))
        if lines:
            says = ", ".join(f"{name} ends at {line[-1]:+.3f}" for name, line in lines)
            found.append(Drawing(f"cumulative-{metric}", f"Cumulative {title}", says, _line_chart(eras, models, lines)))
    lines = _lines(models, "corr", drawdown)
    if lines:
        says = ", ".join(f"{name} at worst {np.nanmin(line):.3f}" for name, line in lines)
        found.append(Drawing("drawdown", "Drawdown of CORR", says, _line_chart(eras, models, lines, fill=True)))
    for number, model in enumerate(models[:2]):
        scores = _array(model.per_era.get("corr", ()))
        if scores.size and np.isfinite(scores).any():
            rows = -(-len(scores) // ERAS_A_ROW)
            ends = [(eras[place], scores[place]) for place in (int(np.nanargmax(scores)), int(np.nanargmin(scores)))]
            best, worst = (f"{era} ({score:+.3f})" for era, score in ends)
            says = f"blue above 0, red below; best {best}, worst {worst}"
            title = f"CORR of each era: {model.name}"
            found.append(
                Drawing(f"eras-{number}", title, says, _heat_map(eras, scores), height=max(1.6, 0.9 + 0.2 * rows))
            )
    exposed = [model for model in models if model.exposures]
    if exposed:
        names = sorted(exposed[0].exposures, key=lambda name: -exposed[0].exposures[name])[:TOP_FEATURES]
        says = f"absolute value, over all eras; largest to {names[0]} ({exposed[0].exposures[names[0]]:.3f})"
        title = "Mean exposure to each feature"
        found.append(Drawing("exposure", title, says, _dots(models, names), height=0.8 + 0.24 * len(names)))
    drawn = [model for model in models if len(model.counts)]
    if drawn:
        found.append(
            Drawing("histogram", "Predictions", "how many of them lie where between 0 and 1", _histogram(models))
        )
    return found


def drawdown(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How far the running sum stands under its highest value so far, at or below 0. Gaps count as 0."""
    total = np.cumsum(np.nan_to_num(values))
    drop: np.ndarray[Any, np.dtype[np.float64]] = total - np.maximum(np.maximum.accumulate(total), 0.0)
    return drop


def svg(drawing: Drawing) -> str:
    """The figure as SVG for a page: colours are CSS variables, and its ids are its own."""
    figure = _figure(drawing, MARKS)
    text = _saved(figure, "svg", drawing.name).decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{drawing.name}-", text)
    for mark, name in _variables().items():
        text = text.replace(mark, f"var({name})")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text, count=1)


def png(drawing: Drawing, palette: Palette = LIGHT, names: Sequence[str] = ()) -> bytes:
    """The figure as a picture, with its title and, for several models, their names."""
    figure = _figure(drawing, palette)
    axes = figure.axes[0]
    figure.suptitle(drawing.title, x=0.01, ha="left", color=palette.ink, fontsize=FONT_SIZE + 1)
    if len(names) > 1 and not drawing.name.startswith("eras-"):
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=_colour(palette, number), lw=2) for number in range(len(names))]
        axes.legend(handles, names, frameon=False, labelcolor=palette.ink, fontsize=FONT_SIZE - 2)
    return _saved(figure, "png", drawing.name, PICTURE / WIDTH)


def style(palette: Palette) -> dict[str, str]:
    """The page's CSS variables for a palette."""
    named = {f"--{role}": getattr(palette, role) for role in _ROLES}
    named |= {f"--s{number}": colour for number, colour in enumerate(palette.series)}
    return named | dict(zip(_shade_names(), _shades(palette), strict=True))


def _variables() -> dict[str, str]:
    marks = {getattr(MARKS, role): f"--{role}" for role in _ROLES}
    marks |= {mark: f"--s{number}" for number, mark in enumerate(MARKS.series)}
    return marks | dict(zip(shade_marks(), _shade_names(), strict=True))


def _shade_names() -> list[str]:
    return [f"--h{number}" for number in range(2 * STEPS + 1)]


def _shades(palette: Palette) -> list[str]:
    """From the palette's lowest over its middle to its highest colour."""
    if palette is MARKS:
        return shade_marks()
    low, middle, high = (_rgb(colour) for colour in (palette.low, palette.middle, palette.high))
    parts = [low + (middle - low) * step / STEPS for step in range(STEPS)]
    parts += [middle + (high - middle) * step / STEPS for step in range(STEPS + 1)]
    return ["#" + "".join(f"{round(value):02x}" for value in part) for part in parts]


def _rgb(colour: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float64)


def _figure(drawing: Drawing, palette: Palette) -> Figure:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": FONT_SIZE, "font.family": "sans-serif", "axes.unicode_minus": True}):
        figure = Figure(figsize=(WIDTH, drawing.height), layout="constrained")
        axes = figure.add_subplot()
        for side, spine in axes.spines.items():
            spine.set_visible(side == "bottom")
            spine.set_color(palette.grid)
        axes.tick_params(colors=palette.muted, length=0, labelsize=AXIS_SIZE)
        axes.tick_params(axis="x", pad=6)
        figure.patch.set_facecolor(palette.surface)
        axes.set_facecolor(palette.surface)
        axes.set_axisbelow(True)
        drawing.draw(axes, palette)
    return figure


def _saved(figure: Figure, kind: str, name: str, dots_per_inch: float = 100) -> bytes:
    from matplotlib import rc_context

    to = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(to, format=kind, metadata=metadata, dpi=dots_per_inch)
    return to.getvalue()


def _colour(palette: Palette, number: int) -> str:
    return palette.series[min(number, SERIES - 1)]


def _array(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _lines(
    models: Sequence[Shown],
    metric: str,
    line: Callable[[np.ndarray[Any, np.dtype[np.float64]]], np.ndarray[Any, np.dtype[np.float64]]],
) -> list[tuple[str, np.ndarray[Any, np.dtype[np.float64]]]]:
    """A line for each model that has this metric, from its first era with a score on."""
    found = []
    for model in models:
        values = _array(model.per_era.get(metric, ()))
        if values.size and np.isfinite(values).any():
            known = np.flatnonzero(np.isfinite(values))[0]
            drawn = line(values)
            drawn[:known] = np.nan
            found.append((model.name, drawn))
    return found


def _line_chart(
    eras: Sequence[str],
    models: Sequence[Shown],
    lines: Sequence[tuple[str, np.ndarray[Any, np.dtype[np.float64]]]],
    *,
    fill: bool = False,
) -> Callable[[Axes, Palette], None]:
    order = [model.name for model in models]

    def draw(axes: Axes, palette: Palette) -> None:
        axes.grid(axis="y", color=palette.grid, lw=0.8)
        axes.axhline(0.0, color=palette.muted, lw=0.8)
        for name, line in reversed(lines):
            colour = _colour(palette, order.index(name))
            width = 1.0 if fill and len(lines) > 1 else 1.8
            axes.plot(np.arange(len(line)), line, color=colour, lw=width, solid_joinstyle="round")
            if fill and len(lines) == 1:
                axes.fill_between(np.arange(len(line)), line, 0.0, color=colour, alpha=0.15, lw=0)
        _era_ticks(axes, eras)

    return draw


def _era_ticks(axes: Axes, eras: Sequence[str]) -> None:
    """About five eras on the axis, of dates three; the last one always."""
    last = len(eras) - 1
    step = max(1, -(-last // (4 if len(eras[last]) < 8 else 2)))
    places = sorted({*(place for place in range(0, last, step) if last - place > step / 2), last})
    axes.set_xticks(places, [eras[place] for place in places])
    axes.margins(x=0.01)


def _heat_map(eras: Sequence[str], scores: np.ndarray[Any, np.dtype[np.float64]]) -> Callable[[Axes, Palette], None]:
    def draw(axes: Axes, palette: Palette) -> None:
        from matplotlib.collections import PolyCollection

        limit = float(np.nanmax(np.abs(scores))) or 1.0
        shades = _shades(palette)
        columns = min(ERAS_A_ROW, len(scores))
        rows = -(-len(scores) // columns)
        boxes, colours = [], []
        for place, score in enumerate(scores):
            if not np.isnan(score):
                y, x = divmod(place, columns)
                boxes.append([(x, y), (x + 0.9, y), (x + 0.9, y + 0.88), (x, y + 0.88)])
                colours.append(shades[STEPS + round(float(score) / limit * STEPS)])
        axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="none"))
        axes.set_xlim(0, columns)
        axes.set_ylim(rows, 0)
        every = max(1, -(-rows // 8))
        axes.set_yticks(
            [row + 0.44 for row in range(0, rows, every)], [eras[row * columns] for row in range(0, rows, every)]
        )
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return draw


def _dots(models: Sequence[Shown], names: Sequence[str]) -> Callable[[Axes, Palette], None]:
    def draw(axes: Axes, palette: Palette) -> None:
        places = np.arange(len(names))
        axes.hlines(places, 0.0, [models[0].exposures.get(name, 0.0) for name in names], color=palette.grid, lw=1.2)
        for number in reversed(range(len(models))):
            values = [models[number].exposures.get(name, np.nan) for name in names]
            axes.plot(values, places, "o", ms=5, color=_colour(palette, number))
        axes.set_yticks(places, [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(left=0.0)
        axes.grid(axis="x", color=palette.grid, lw=0.8)

    return draw


def _short(name: str, length: int = 26) -> str:
    name = name.removeprefix("feature_")
    return name if len(name) <= length else name[: length - 1] + "…"


def _histogram(models: Sequence[Shown]) -> Callable[[Axes, Palette], None]:
    def draw(axes: Axes, palette: Palette) -> None:
        axes.grid(axis="y", color=palette.grid, lw=0.8)
        for number in reversed(range(len(models))):
            model = models[number]
            if len(model.counts):
                share = np.asarray(model.counts, dtype=np.float64) / max(1.0, float(np.sum(model.counts)))
                axes.stairs(share * 100, model.edges, color=_colour(palette, number), lw=1.8)
        axes.set_ylim(bottom=0.0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        axes.margins(x=0.01)

    return draw
