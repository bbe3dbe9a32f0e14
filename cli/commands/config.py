"""`numerai config`: the settings of a provider."""

from __future__ import annotations

import click

from ..errors import NumeraiError
from ..factory import Factory
from ..ports import Provider
from ..usecases.inspect import list_nodes
from ..usecases.settings import ProviderSettings, SettingRow
from ..usecases.webhooks import moved_note
from .options import dry_run_option, output_options, show_plan

provider_option = click.option("-P", "-p", "--provider", default="local", show_default=True, help="Whose settings.")
RESTART = "A running daemon keeps what it was started with: numerai daemon stop, then numerai daemon start."


@click.group()
@output_options
def config() -> None:
    """Show, set and take back the settings of a provider.

    \b
    Examples:
      numerai config list
      numerai config set port 8080
      numerai config unset port
    """


@config.command("list")
@provider_option
@output_options
@click.pass_obj
def list_(factory: Factory, provider: str) -> None:
    """Every setting, its value, and where the value comes from."""
    rows = _settings(factory, provider).rows()

    def show() -> None:
        table = [(row.name, _text(row.value), row.source, row.about) for row in rows]
        factory.render.table(("setting", "value", "from", "what it is"), table)
        for row in rows:
            if row.problem:
                factory.render.warn(f"{row.name}: {row.problem}")

    factory.render.result(rows, show)


@config.command()
@click.argument("name")
@provider_option
@output_options
@click.pass_obj
def get(factory: Factory, provider: str, name: str) -> None:
    """The value of one setting."""
    row = _settings(factory, provider).row(name)
    factory.render.result(row, lambda: factory.render.say(_text(row.value)))


@config.command("set")
@click.argument("name")
@click.argument("value")
@provider_option
@dry_run_option
@output_options
@click.pass_obj
def set_(factory: Factory, provider: str, name: str, value: str, dry_run: bool) -> None:
    """Record a setting."""
    settings = _settings(factory, provider)
    settings.set({name: value}, dry_run=dry_run)
    if dry_run:
        show_plan(factory.render, [f"set {name} to {value}"])
        return
    _changed(factory, provider, settings.row(name))


@config.command()
@click.argument("name")
@provider_option
@dry_run_option
@output_options
@click.pass_obj
def unset(factory: Factory, provider: str, name: str, dry_run: bool) -> None:
    """Take a setting back to its default."""
    settings = _settings(factory, provider)
    settings.unset(name, dry_run=dry_run)
    if dry_run:
        show_plan(factory.render, [f"take {name} back to its default"])
        return
    known = [row for row in settings.rows() if row.name == name]
    _changed(factory, provider, known[0] if known else SettingRow(name, None, "default", None, ""))


def _settings(factory: Factory, provider: str) -> ProviderSettings:
    return ProviderSettings(factory.provider(provider), factory.store)


def say_what_moved(factory: Factory, provider: Provider) -> None:
    """Warn when the settings, as they are now, have moved webhooks that are registered."""
    try:
        note = moved_note(list_nodes(factory.store), provider)
    except NumeraiError:  # `doctor` says what is wrong with a setting, or with nodes.json
        return
    if note:
        factory.render.warn(note)


def _changed(factory: Factory, provider: str, row: SettingRow) -> None:
    say_what_moved(factory, factory.renewed(provider))

    def show() -> None:
        factory.render.say(f"{row.name} is {_text(row.value)} ({row.source}).")
        if provider == "local":
            factory.render.say(RESTART)

    factory.render.result(row, show)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
