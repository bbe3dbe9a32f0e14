"""`numerai train`: a folder's model.toml and Numerai's data become one file, the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from ..counting import counted
from ..errors import EXIT_INTERRUPTED, NumeraiError, UsageError
from ..factory import Factory
from ..installation import extra_needed
from ..render import OK
from ..usecases.resolve import resolve_node
from ..usecases.train_on import PROGRAM, TrainingRun
from .data import hearing
from .options import PlaceType, filled, output_options, whole
from .shells import typed

if TYPE_CHECKING:
    from ..modelling.training import Progress
    from ..render import Renderer
    from ..usecases.train import Training

_SECONDS_BETWEEN_LINES = 10.0
"""Where there is no terminal, so that a log holds thousands of blocks as hundreds of lines at most."""
_SECONDS_BETWEEN_LOOKS = 0.2
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@click.command()
@click.argument("folder", type=PlaceType(), default=".")
@click.option("--new", is_flag=True, help="Write a model.toml to start from into the folder, and train nothing.")
@click.option(
    "--data",
    metavar="FOLDER|VERSION",
    callback=filled,
    help="A folder with the data, or a version.  [default: model.toml's, or the newest]",
)
@click.option("--threads", type=whole(1, 4096), help="Threads to train with.  [default: all that may be used]")
@click.option("--again", is_flag=True, help="Train from the beginning what is trained, or was begun.")
@click.option("--on", metavar="NODE", help="Run the train.py of this node instead, on its provider.")
@click.option("--output", "-o", type=PlaceType(file_okay=False), help="With --on: bring the trained files there.")
@output_options
@click.pass_context
def train(
    ctx: click.Context,
    folder: Path,
    new: bool,
    data: str | None,
    threads: int | None,
    again: bool,
    on: str | None,
    output: Path | None,
) -> None:
    """Train the model that FOLDER/model.toml describes. It becomes FOLDER/<name>.model.

    Interrupt it as you like: the same command goes on where it was, and ends in the same bytes. What was
    interrupted with --again goes on without it.

    \b
    Examples:
      numerai train --new my-model
      numerai train my-model
      numerai train my-model --data v5.3 --threads 4
      numerai train --on alice -o trained
    """
    factory: Factory = ctx.obj
    render = factory.render
    if on is not None:
        _refuse_together(ctx)
        _train_on(factory, on, output)
        return
    if output is not None:
        raise UsageError("--output only goes with --on: here the file is FOLDER/<name>.model.")
    if new:
        _write_new(render, folder)
        return
    with extra_needed("models"):
        import lightgbm  # noqa: F401  (it is missed before data are downloaded, not after)

        from ..usecases.train import data_folder, train_folder

        place = data_folder(factory.data_files, folder, data, lambda name: hearing(factory, name), render.progress)
        with _watching(render) as report:
            training = train_folder(folder, place, threads=threads, again=again, say=render.progress, report=report)
    if render.json:
        render.line({"event": "trained", **vars(training)})
    else:
        _show(render, training)
        render.say(f"Next: numerai validate {typed(training.artifact)}")


def _refuse_together(ctx: click.Context) -> None:
    """`UsageError` for what says how to train here."""
    names = {"folder": "FOLDER", "new": "--new", "data": "--data", "threads": "--threads", "again": "--again"}
    given = [shown for name, shown in names.items() if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        raise UsageError(f"{given[0]} does not go with --on: the node's own {PROGRAM} is run, as it is deployed.")


def _train_on(factory: Factory, name: str, output: Path | None) -> None:
    """Train on a node's provider, showing the log. An interruption leaves the run, and says so."""
    render, node = factory.render, resolve_node(factory.store, name, None)
    training = TrainingRun(node, factory.provider_of(node), render.progress, render.log_line)
    try:
        done = training.train(output)
    except KeyboardInterrupt:
        if training.run is None:
            raise
        command = f"numerai node -m {node.name}"
        raise NumeraiError(
            f"Interrupted. The training goes on as run {training.run.id}.",
            f"Follow it with `{command} logs -f --run {training.run.id}`, or stop it with `{command} cancel"
            f" {training.run.id}`.",
            code="interrupted",
            exit_code=EXIT_INTERRUPTED,
        ) from None
    if render.json:
        render.line({"event": "trained", **vars(done)})
        return
    render.mark(OK, f"{node.name} is trained: its next run predicts with it", detail=", ".join(done.files) or None)
    for path in done.here:
        render.say(f"Here: {path}")


def _write_new(render: Renderer, folder: Path) -> None:
    from ..modelling.model_toml import write_example

    path = write_example(folder)

    def show() -> None:
        render.mark(OK, f"{path} is written", detail="It trains Numerai's tutorial model as it stands.")
        render.say(f"Next: numerai train {typed(folder)}")

    render.result({"model_toml": path}, show)


@contextmanager
def _watching(render: Renderer) -> Iterator[Callable[[Progress], None]]:
    """Show where a training is: in place at a terminal, as lines elsewhere, as JSON lines with --json."""
    with render.live() as show:
        yield _Watch(render, show).report


class _Watch:
    """What is shown of a training, and how often."""

    def __init__(
        self, render: Renderer, show: Callable[[str], None] | None, clock: Callable[[], float] = time.monotonic
    ):
        self._render = render
        self._show = show
        self._clock = clock
        self._last = float("-inf")

    def report(self, progress: Progress) -> None:
        """Show it, unless something was shown a moment ago and no member ends."""
        if self._render.json:
            if progress.block_ended:
                self._render.line(_as_json(progress))
            return
        pause = _SECONDS_BETWEEN_LINES if self._show is None else _SECONDS_BETWEEN_LOOKS
        if progress.ended is None and self._clock() - self._last < pause:
            return
        if self._show is not None:
            self._show(f"{_where(progress)}\n{_curve(self._render, progress)}")
        elif progress.block_ended:
            self._render.progress(f"{_where(progress)}; {_corr(progress)}")
        else:
            return
        self._last = self._clock()


def _where(progress: Progress) -> str:
    left = progress.seconds_left
    time_left = "" if left is None else f", {_length(left)} left"
    of = f"[{progress.member + 1}/{progress.members}] " if progress.members > 1 else ""
    ended = f": {progress.ended}" if progress.ended else ""
    return f"{of}{progress.label}: {progress.trees:,} of {progress.planned:,} trees{ended}{time_left}"


def _length(seconds: float) -> str:
    from ..watching.policy import span

    return f"{seconds:.0f} s" if seconds < 90 else span(timedelta(seconds=seconds))


def _corr(progress: Progress) -> str:
    measured = [(trees, corr) for trees, corr in progress.curve if corr is not None]
    if not measured:
        return "no era is held out" if progress.curve else "CORR is measured after the first block"
    trees, best = max(measured, key=lambda point: point[1])
    return f"CORR {measured[-1][1]:.4f}, highest {best:.4f} after {trees:,}"


def _curve(render: Renderer, progress: Progress) -> str:
    """The mean CORR after each block so far, drawn, and in numbers."""
    values = [corr for _, corr in progress.curve if corr is not None]
    if len(values) < 2 or not render.shows(_BARS):
        return _corr(progress)
    step = max(1, -(-len(values) // _WIDTH))
    points = [max(values[start : start + step]) for start in range(0, len(values), step)]
    low, high = min(points), max(points)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0
    return "".join(_BARS[round((point - low) * scale)] for point in points) + f"  {_corr(progress)}"


def _as_json(progress: Progress) -> dict[str, object]:
    content = {name: value for name, value in vars(progress).items() if name not in ("curve", "block_ended")}
    return {"event": "block", **content, "corr": progress.curve[-1][1]}


def _show(render: Renderer, training: Training) -> None:
    what = "is up to date: nothing to train" if training.up_to_date else "is trained"
    render.mark(OK, f"{training.artifact.name} {what}", detail=f"on {training.data_version}, {training.artifact}")
    rows = [
        (
            str(member["label"]),
            f"{member['trees']:,}",
            "-" if member["corr"] is None else f"{member['corr']:.4f}",
            str(member["stopped"]),
        )
        for member in training.members
    ]
    render.table(("member", "trees", "CORR", "stopped because"), rows)
    corr = training.metrics.get("corr")
    if isinstance(corr, dict) and corr.get("mean") is not None:
        sharpe = "" if corr["sharpe"] is None else f", Sharpe {corr['sharpe']:.2f}"
        eras = counted(corr["eras"], "held-out era")
        render.say(f"CORR of {eras}: mean {corr['mean']:.4f}, standard deviation {corr['std']:.4f}{sharpe}")
    if training.up_to_date:
        render.say("Add --again to train it from the beginning.")
