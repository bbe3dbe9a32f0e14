"""`numerai demo`: everything on this machine, once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from ..factory import Factory
from ..usecases.demo import NODE_FOLDER, Demo, DemoResult, free_folder
from .options import PlaceType, output_options


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
    """
    render = factory.render
    player = Demo(
        folder or free_folder(Path.cwd()),
        executor,
        factory.own_commands,
        factory.clock,
        show=lambda line: render.say(f"\n$ {line}", "bold cyan"),
        on_line=lambda line: render.say(f"  {line}"),
    )

    def hold(result: DemoResult) -> None:
        render.say(f"\nSandbox and daemon go on. In another terminal: export NUMERAI_HOME={result.folder / 'home'}")
        render.say("Ctrl-C ends them.")
        with suppress(KeyboardInterrupt):
            while True:
                factory.clock.sleep(3600)

    result = player.play(hold if keep else None)
    render.result(result, lambda: _show(factory, result))
    return 0 if result.confirmed else 1


def _show(factory: Factory, result: DemoResult) -> None:
    render = factory.render
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
    render.say("")
    render.say(f"The node's code is in {result.folder / NODE_FOLDER}; nothing is left running.")
    render.say("Your own model, with your keys from numer.ai (Settings, API keys):")
    for command in ("setup", f"node -m MODEL config --path {NODE_FOLDER}", "node deploy", "node test"):
        render.say(f"  numerai {command}")
