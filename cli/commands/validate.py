"""`numerai validate`: what models would have scored, side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..counting import counted
from ..factory import Factory
from ..files.private import make_folder, write_result
from ..installation import extra_needed
from ..render import Renderer
from ..usecases.data import download
from ..usecases.validate import Judgement, data_place, validate_models
from .data import hearing
from .options import PlaceType, filled, output_options, refuse_to_overwrite

if TYPE_CHECKING:
    from ..usecases.deployed import DeployedModel

Model = Mapping[str, Any]
Row = tuple[str, Callable[[Model], float | None], str]
PLAIN, SHARE, SIGNED = "{:.4f}", "{:.0%}", "{:+.4f}"
LONGEST_NAME = 22


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", callback=filled)
@click.option(
    "--data",
    metavar="FOLDER|FILE|VERSION",
    callback=filled,
    help="The rows to score on.  [default: of the first model's version]",
)
@click.option("--target", callback=filled, default="target", show_default=True, help="The column to score against.")
@click.option(
    "--eras", metavar="A:B", callback=filled, help="Only these eras; either side may be left out.  [default: all]"
)
@click.option(
    "--benchmark", callback=filled, help="The benchmark that BMC is measured against.  [default: ...lgbm_ender20]"
)
@click.option(
    "--against",
    metavar="NODE|MODEL",
    callback=filled,
    help="The deployed model, which the others are compared with, or the node that runs it.",
)
@click.option(
    "--features", callback=filled, default="small", show_default=True, help="The feature set of FNC and exposure."
)
@click.option("--output", type=PlaceType(dir_okay=False), help="Write the whole result to this file, as JSON.")
@output_options
@click.pass_obj
def validate(
    factory: Factory,
    models: tuple[str, ...],
    data: str | None,
    target: str,
    eras: str | None,
    benchmark: str | None,
    against: str | None,
    features: str,
    output: Path | None,
) -> None:
    """Score models on past eras, as Numerai scores them.

    MODEL is a .model file, a CSV or Parquet file of predictions, or the name of a benchmark. The data of a version are
    downloaded where they are not here.

    \b
    Example:
      numerai validate new.model --against alice --data v5.3 --eras 0900:
    """

    def folder_of(tournament: int, version: str) -> Path:
        folder = factory.data_files.folder(tournament, version)
        if not (folder / "validation.parquet").is_file():
            watch = partial(hearing, factory)
            download(factory.data_files, tournament, ["validation"], version=version, folder=None, watch=watch)
        return folder

    with extra_needed("models"):
        deployed = _deployed(factory, against)
        if deployed is not None:
            against = None if deployed.path is None else str(deployed.path)
        if output is not None:
            refuse_to_overwrite(output, *(Path(name) for name in (*models, *filter(None, (against, data)))))
            make_folder(output.parent)
        place = data_place(data, models, folder_of)
        asked = Judgement(models, place, target, eras, benchmark, against, features)
        if deployed is not None:
            asked = replace(asked, node=deployed.node, notes=list(deployed.notes))
        found = validate_models(asked)
    if output is not None:
        write_result(output, json.dumps(found, indent=1).encode())
    factory.render.result(found, lambda: show(factory.render, found, output))


def _deployed(factory: Factory, against: str | None) -> DeployedModel | None:
    """The model of the node that is named; None where none is."""
    from ..usecases.deployed import deployed_model, named_node

    node = None if against is None else named_node(against, factory.store)
    return None if node is None else deployed_model(node, factory.provider_of)


def show(render: Renderer, found: Mapping[str, Any], output: Path | None) -> None:
    """The tables, each at most 80 columns wide."""
    data, models = found["data"], found["models"]
    eras = data["eras"]
    render.say(
        f"{data['file']} of {data['version']}, {data['target']}, {counted(len(eras), 'era')}: {eras[0]} to {eras[-1]}"
    )
    _table(render, "CORR", models, _corr())
    _table(render, "Mean over the eras", models, _means(models))
    _table(render, "Mean of the last eras", models, _windows(models))
    deployed = next((model for model in models if model["name"] == found.get("against")), None)
    others = [model for model in models if model is not deployed]
    if deployed is not None and others:
        _table(render, f"Against {deployed['name']}", others, _differences(deployed))
    for note in (*found["caveats"], *found["notes"]):
        render.say(note)
    if output is not None:
        render.say(f"Next: numerai report {output}")


def _table(render: Renderer, title: str, models: Sequence[Model], columns: Sequence[Row]) -> None:
    rows = [[_short(model["name"]), *(_written(value(model), form) for _, value, form in columns)] for model in models]
    render.say("")
    render.table(["model", *(name for name, _, _ in columns)], rows, title=title)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def _written(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _metric(metric: str, figure: str) -> Callable[[Model], float | None]:
    return lambda model: model["metrics"].get(metric, {}).get(figure)


def _corr() -> list[Row]:
    figures = {
        "mean": "mean",
        "std": "std",
        "sharpe": "sharpe",
        "drawdown": "max_drawdown",
        "autocorr.": "autocorrelation",
    }
    rows: list[Row] = [(name, _metric("corr", figure), PLAIN) for name, figure in figures.items()]
    return [*rows, ("hit rate", _metric("corr", "hit_rate"), SHARE)]


def _means(models: Sequence[Model]) -> list[Row]:
    there = {metric for model in models for metric in model["metrics"]}
    rows: list[Row] = []
    for metric, name in (("mmc", "MMC"), ("bmc", "BMC"), ("fnc", "FNC")):
        if metric in there:
            rows += [(name, _metric(metric, "mean"), PLAIN)]
            rows += [("sharpe", _metric(metric, "sharpe"), "{:.2f}")] if metric != "fnc" else []
    others = ("exposure", "churn", "turnover")
    return rows + [(metric, _metric(metric, "mean"), "{:.3f}") for metric in others if metric in there]


def _windows(models: Sequence[Model]) -> list[Row]:
    rows: list[Row] = []
    for metric in ("corr", "mmc"):
        if any(metric in model["metrics"] for model in models):
            for window in models[0]["windows"]:
                rows.append((f"{metric.upper()} {window}", _window(window, metric), PLAIN))
    return rows


def _window(window: str, metric: str) -> Callable[[Model], float | None]:
    return lambda model: model["windows"][window].get(metric)


def _differences(deployed: Model) -> list[Row]:
    metrics = [metric for metric in ("corr", "mmc", "bmc", "fnc") if metric in deployed["metrics"]]
    rows: list[Row] = [(metric.upper(), _difference(deployed, metric), SIGNED) for metric in metrics]
    return [*rows, ("alike", lambda model: model["similarity"].get("deployed"), "{:.2f}")]


def _difference(deployed: Model, metric: str) -> Callable[[Model], float | None]:
    def difference(model: Model) -> float | None:
        own, other = (one["metrics"].get(metric, {}).get("mean") for one in (model, deployed))
        return None if own is None or other is None else own - other

    return difference
