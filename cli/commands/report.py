"""`numerai report`: a validation as a page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from ..factory import Factory
from ..installation import extra_needed
from ..usecases.report import read_validation, write_page, write_pictures
from .options import PlaceType, output_options, refuse_to_overwrite


@click.command()
@click.argument("validation", type=PlaceType(dir_okay=False))
@click.option(
    "--output",
    "-o",
    type=PlaceType(dir_okay=False),
    help="Where the page goes.  [default: beside the validation, with the ending .html]",
)
@click.option("--png", type=PlaceType(file_okay=False), help="Put the figures as PNG files there, too.")
@click.option("--dark", is_flag=True, help="Draw the PNG files on a dark ground. The page follows its reader's system.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@output_options
@click.pass_obj
def report(factory: Factory, validation: Path, output: Path | None, png: Path | None, dark: bool, opens: bool) -> None:
    """Write a validation down as one HTML page, which needs no network to be read.

    VALIDATION is the file that `numerai validate --output` has written.

    \b
    Examples:
      numerai validate alice.model --output alice.json
      numerai report alice.json --open
      numerai report alice.json --png figures
    """
    content = read_validation(validation)
    page = output or validation.with_suffix(".html")
    refuse_to_overwrite(page, validation)
    with extra_needed("models"):
        write_page(content, page)
        pictures = [] if png is None else write_pictures(content, png, dark=dark)
    render = factory.render

    def show() -> None:
        render.say(f"The report is {page}.")
        if pictures:
            render.say(f"{len(pictures)} figures are in {png}.")

    render.result({"page": page, "pictures": pictures}, show)
    if opens:
        webbrowser.open(page.absolute().as_uri())
