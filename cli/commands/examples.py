"""`numerai copy-example` and `numerai list-constants`: what there is to choose from."""

from __future__ import annotations

from pathlib import Path

import click

from ..counting import counted
from ..factory import Factory
from ..models import DEFAULT_EXAMPLE, DEFAULT_SIZE, SIZES, Tournament
from ..providers.registry import provider_names
from ..render import OK
from ..usecases.resolve import first_steps
from ..usecases.scaffold import example_names, plan_scaffold, scaffold
from .options import PlaceType, dry_run_option, output_options
from .shells import typed


@click.command("copy-example")
@click.option("-e", "--example", default=DEFAULT_EXAMPLE, show_default=True, help="Which example.")
@click.option("-d", "--dest", type=PlaceType(), help="The folder.  [default: named like the example]")
@dry_run_option
@output_options
@click.pass_obj
def copy_example(factory: Factory, example: str, dest: Path | None, dry_run: bool) -> None:
    """Copy an example node into a folder. No file that is there is replaced.

    \b
    Example:
      numerai copy-example -e tournament-python3 -d my-node
    """
    plan = plan_scaffold(example, dest or Path(example).absolute())
    written = [] if dry_run else scaffold(plan)
    render = factory.render

    def show() -> None:
        if dry_run:
            render.say(f"Would copy {counted(len(plan.new), 'file')} to {plan.folder}:")
            for _, target in plan.new:
                render.say(f"  {target.relative_to(plan.folder)}")
            return
        render.mark(OK, f"{example} is in {plan.folder}", detail=f"{counted(len(written), 'file')} copied")
        config = f"numerai node -m MODEL config --path {typed(plan.folder)}"
        render.say(f"Next: {first_steps(factory.store, config)}")

    render.result({"example": example, "folder": plan.folder, "files": [t for _, t in plan.new]}, show)


@click.command("list-constants")
@output_options
@click.pass_obj
def list_constants(factory: Factory) -> None:
    """List sizes, examples, providers and tournaments."""
    render = factory.render
    content = {
        "sizes": {size.name: {"cpu": size.cpu, "memory_mib": size.memory_mib} for size in SIZES.values()},
        "default_size": DEFAULT_SIZE,
        "examples": example_names(),
        "providers": provider_names(),
        "tournaments": {tournament.prefix: tournament.value for tournament in Tournament},
    }

    def show() -> None:
        rows = [
            (
                size.name + (" (default)" if size.name == DEFAULT_SIZE else ""),
                f"{size.cpu:g}",
                f"{size.memory_mib / 1024:g}",
            )
            for size in SIZES.values()
        ]
        render.table(("size", "vCPU", "GiB"), rows)
        render.say("")
        render.say(f"examples: {', '.join(example_names())}")
        render.say(f"providers: {', '.join(provider_names())}")
        render.say("tournaments: " + ", ".join(f"{t.value} {t.name.lower()}" for t in Tournament))

    render.result(content, show)
