"""`numerai demo`: everything on this machine, once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from ..factory import Factory
from ..render import Renderer
from ..usecases.demo import NODE_FOLDER, Demo, DemoResult, free_folder
from .options import PlaceType, output_options
from .shells import finding_numerai, here, typed


@click.command()
@click.option("-d", "--dir", "folder", type=PlaceType(), help="A new folder.  [default: numerai-demo]")
@click.option(
    "--executor",
    type=click.Choice(["auto", "docker", "process"]),
    default="auto",
    show_default=True,
    help="Run the node in a container or in a virtual environment (auto: a container where Docker answers).",
)
@click.option("--keep", is_flag=True, help="Keep sandbox and daemon running until Ctrl-C, to try more commands.")
@output_options
@click.pass_obj
def demo(factory: Factory, folder: Path | None, executor: str, keep: bool) -> int:
    """Show the whole path on this machine, with no account and no cloud.

    A stand-in of Numerai opens a round and calls the webhook of a node; the node's container downloads the data,
    trains, predicts and submits. Every command is shown as you would type it.

    \b
    Examples:
      numerai demo
      numerai demo --keep
    """
    render = factory.render

    def show(line: str) -> None:
        render.say("")
        render.say(f"$ {line}", "bold cyan")

    player = Demo(
        folder or free_folder(Path.cwd()),
        executor,
        factory.own_commands,
        factory.clock,
        show=show,
        on_line=lambda line: render.say(f"  {line}"),
    )

    def hold(result: DemoResult) -> None:
        render.result(result, lambda: _show(render, result))
        _say_what_to_try(render, result)
        with suppress(KeyboardInterrupt):
            while True:
                factory.clock.sleep(3600)

    result = player.play(hold if keep else None)
    if not keep:
        render.result(result, lambda: _show(render, result))
    _say_what_next(render, result)
    return 0 if result.confirmed else 1


def _show(render: Renderer, result: DemoResult) -> None:
    score = "unknown" if result.validation_corr is None else f"{result.validation_corr:.4f} mean CORR per era"
    rows = [
        ("round", str(result.round_number)),
        ("submission", str(result.submission_id)),
        ("confirmed", "yes" if result.confirmed else "no"),
        ("validation score", score),
        *((f"seconds: {stage}", f"{seconds:.1f}") for stage, seconds in result.seconds.items()),
    ]
    render.say("")
    render.table(("", ""), rows)


def _say_what_to_try(render: Renderer, result: DemoResult) -> None:
    """Commands that work while sandbox and daemon go on."""
    code = typed(result.folder / NODE_FOLDER / "predict.py")
    lines = (
        *finding_numerai(),
        *here({"NUMERAI_HOME": str(result.folder / "home")}),
        "numerai status",
        "numerai sandbox round      # the next round opens, and the node is called",
        "numerai node logs -f",
        "numerai history",
        f"numerai node deploy        # after a change of {code}; then: numerai node test",
    )
    render.say("")
    render.say("Sandbox and daemon go on until Ctrl-C. To try more, in another terminal:")
    for line in lines:
        render.say(f"  {line}")


def _say_what_next(render: Renderer, result: DemoResult) -> None:
    folder = result.folder / NODE_FOLDER
    render.say("")
    render.say(f"The node's code is in {folder}; nothing is left running.")
    render.say("Your own model, with your keys from numer.ai (Settings, API keys):")
    commands = ("setup", f"node -m MODEL config --path {typed(folder)}", "node deploy", "node test")
    for line in (*finding_numerai(), *(f"numerai {command}" for command in commands)):
        render.say(f"  {line}")
