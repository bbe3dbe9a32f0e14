"""`numerai data`: list and download Numerai's data."""

from __future__ import annotations

from pathlib import Path

import click

from ..counting import sized
from ..factory import Factory
from ..models import Tournament
from ..ports import Watch
from ..usecases.data import download as download_files
from ..usecases.data import files, versions
from .options import PlaceType, filled, output_options, tournament_option

SAID_EVERY = 5.0
"""Seconds between two words about a download that goes on."""


@click.group()
@output_options
def data() -> None:
    """List and download Numerai's data. It needs no keys.

    \b
    Examples:
      numerai data list
      numerai data download train validation
    """


@data.command("list")
@tournament_option("8 Classic, 11 Signals, 12 Crypto.", default="8", show_default=True)
@click.option("--version", callback=filled, help="List the files of this version, e.g. v5.3.")
@output_options
@click.pass_obj
def list_(factory: Factory, tournament: int, version: str | None) -> None:
    """List the versions of a tournament's data, or the files of one version.

    \b
    Example:
      numerai data list -t signals --version v2.1
    """
    render = factory.render
    if version is not None:
        found = files(factory.data_files, tournament, version)
        rows = [(file.name, "no" if file.size is None else sized(file.size)) for file in found]
        render.result({"version": version, "files": found}, lambda: render.table(("file", "here"), rows))
        return
    glances = versions(factory.data_files, tournament)

    def show() -> None:
        if not glances:
            render.say(f"Numerai lists no data for {Tournament(tournament).title}.")
            return
        words = {True: "coming out", False: ""}
        render.table(
            ("version", "files", "here", ""),
            [
                (each.version, str(each.files), str(each.here), "newest" if each.newest else words[each.coming])
                for each in glances
            ],
        )

    render.result({"tournament": tournament, "versions": glances}, show)


@data.command()
@click.argument("wanted", nargs=-1, metavar="[FILE|train|validation|live|all]...", callback=filled)
@tournament_option("8 Classic, 11 Signals, 12 Crypto.", default="8", show_default=True)
@click.option("--version", callback=filled, help="E.g. v5.3.  [default: the newest that is complete]")
@click.option(
    "--to", "folder", type=PlaceType(file_okay=False), help="The folder to put them into.  [default: the cache]"
)
@output_options
@click.pass_obj
def download(
    factory: Factory, wanted: tuple[str, ...], tournament: int, version: str | None, folder: Path | None
) -> None:
    """Download files by name, or what train, validation and live stand for (by default train and validation).

    A file that is here and unchanged is not downloaded again, and one that was interrupted goes on. Each is checked:
    its length, its checksum where Numerai's storage gives one, and that it is a whole Parquet file.

    \b
    Examples:
      numerai data download
      numerai data download live --to data
      numerai data download features.json --version v5.2
    """
    render = factory.render
    chosen, done = download_files(
        factory.data_files,
        tournament,
        wanted,
        version=version,
        folder=folder,
        watch=lambda name: hearing(factory, name),
    )

    def show() -> None:
        for file in done:
            render.say(f"{file.path}  {sized(file.size)}{'' if file.new else ', was here'}")

    render.result({"version": chosen, "files": done}, show)


def hearing(factory: Factory, name: str) -> Watch:
    """Says how a file arrives: at its beginning if it is large, then every few seconds."""
    clock = factory.clock
    began = said = clock.monotonic()
    first: int | None = None

    def hear(here: int, size: int | None) -> None:
        nonlocal said, first
        first = here if first is None else first
        now = clock.monotonic()
        if now - said < SAID_EVERY:
            return
        said = now
        speed = (here - first) / (now - began)
        text = f"{name}: {sized(here)}"
        if size and speed > 0:
            text = f"{name}: {here / size:.0%} of {sized(size)}, {_minutes((size - here) / speed)} left"
        factory.render.progress(text)

    return hear


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
