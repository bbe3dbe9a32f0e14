"""`numerai sandbox`: serve a local stand-in of Numerai, and move its rounds, its clock and its faults."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ..counting import counted
from ..errors import UsageError
from ..files.places import users_home
from ..models import NUMERAI_API_URL, Tournament
from ..sandbox.settings import DEFAULT_SCOPES
from .options import PlaceType, decimal, output_options, tournament_option, whole
from .shells import posix, powershell

if TYPE_CHECKING:
    from ..factory import Factory
    from ..sandbox.client import SandboxClient
    from ..sandbox.serve import RunningSandbox

_YEAR = 366 * 24 * 60
"""In minutes."""


def _client(ctx: click.Context, _: click.Parameter, url: str | None) -> SandboxClient:
    from ..sandbox.client import SandboxClient

    return SandboxClient(url or _recorded_address(ctx.obj))


def _recorded_address(factory: Factory) -> str:
    """Where the sandbox is whose keys the home folder has. Numerai itself is never asked to be one."""
    keys = factory.store.keys()
    if keys is None or keys.api_url == NUMERAI_API_URL:
        raise UsageError(
            "Which sandbox is meant is not known: the recorded keys are of none.",
            "Give its address with --url or NUMERAI_API_URL. `numerai sandbox serve` starts one and says its address.",
            code="input-missing",
        )
    return keys.api_url


client_option = click.option(
    "--url",
    "client",
    envvar="NUMERAI_API_URL",
    callback=_client,
    help="The sandbox's address (or NUMERAI_API_URL).  [default: where the recorded keys are from]",
)


@click.group()
@output_options
def sandbox() -> None:
    """Serve a local stand-in of Numerai to rehearse against."""


@sandbox.command()
@click.option("--port", type=whole(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("auto",),
    show_default=True,
    help="An address to listen on; may be repeated. `auto`: loopback, and where containers can reach it.",
)
@click.option("--data", type=PlaceType(file_okay=False, exists=True), help="Serve this folder's Classic files.")
@click.option(
    "--models", default="alice", show_default=True, help="Model slots, for example alice,bob:signals,carol:crypto."
)
@click.option("--state", type=PlaceType(file_okay=False), help="Remember everything in this folder.")
@click.option("--history", type=whole(), default=0, show_default=True, help="Past rounds to invent, with real scores.")
@click.option("--calendar", is_flag=True, help="Open and close rounds at Numerai's own times.")
@click.option(
    "--opening-delay",
    "opening_delay_minutes",
    type=decimal(),
    default=0,
    help="With --calendar: minutes that rounds open late, up to 60.",
)
@click.option("--opening-delay-seed", type=whole(), help="Draw each round's delay between 0 and --opening-delay.")
@click.option(
    "--window",
    "window_minutes",
    type=decimal(high=_YEAR),
    default=1440,
    show_default=True,
    help="Minutes until a round's deadline.",
)
@click.option("--seed", type=whole(0, 10**18), help="Draws the made-up data.  [default: 0]")
@click.option("--eras", type=whole(), help="Training eras of the made-up data.  [default: 100]")
@click.option("--rows-per-era", type=whole(), help="Rows in each era, and of live data.  [default: 250]")
@click.option("--features", type=whole(), help="Features of the made-up data.  [default: 60]")
@click.option("--missing", type=decimal(), help="Share of feature values that are missing.  [default: 0]")
@click.option(
    "--scopes",
    default=", ".join(DEFAULT_SCOPES),
    show_default=True,
    help="What the API token may do, separated by commas.",
)
@click.option("--data-version", "data_versions", multiple=True, help="A data version to list besides the usual ones.")
@click.option(
    "--switch", "switches", multiple=True, metavar="NAME=VALUE", help="Answer an open question about Numerai."
)
@click.option("--documented-rate-limits", is_flag=True, help="Hold every operation to Numerai's limit.")
@click.option("--no-introspection", "introspection", flag_value=False, default=True, help="Refuse introspection.")
@click.option("--schema-change", "schema_changes", multiple=True, help='For example "remove Round.closeStakingTime".')
@click.option("--close-is-deadline", is_flag=True, help="Answer the deadline as closeTime: the old, wrong meaning.")
@click.option(
    "--rate-limit", type=whole(), default=50, show_default=True, help="Webhook calls a minute, as at Numerai."
)
@output_options
@click.pass_obj
def serve(
    factory: Factory,
    /,
    port: int,
    hosts: tuple[str, ...],
    models: str,
    scopes: str,
    switches: tuple[str, ...],
    **options: Any,
) -> None:
    """Serve until stopped. A terminal is told what to type; a pipe, or --json, gets one line of JSON: url, public_id,
    secret_key and models.

    The keys are random unless NUMERAI_SANDBOX_PUBLIC_ID and NUMERAI_SANDBOX_SECRET_KEY are set or --state knows them.

    \b
    Example:
      numerai sandbox serve --models alice,bob:signals
    """
    from ..sandbox.command import listening_hosts, serve_until_stopped
    from ..sandbox.settings import DataSpec, Settings, data_spec, parse_models
    from ..sandbox.switches import parse_switches

    sizes = {field.name: options.pop(field.name) for field in fields(DataSpec)}
    settings = Settings(
        models=parse_models(models.split(",")),
        scopes=tuple(filter(None, scopes.replace(" ", "").split(","))),
        spec=data_spec(**sizes),
        switches=parse_switches(switches),
        **options,
    )
    serve_until_stopped(settings, listening_hosts(hosts, lambda: factory.engine), port, partial(_announce, factory))


def _announce(factory: Factory, running: RunningSandbox) -> None:
    """Say what is served. The keys are for everyone to see: they open nothing but this sandbox."""
    if factory.render.json or not sys.stdout.isatty():
        names = ("url", "public_id", "secret_key", "models")
        click.echo(json.dumps({name: getattr(running, name) for name in names}))
        return
    models = [f"{model.name} ({Tournament(model.tournament).title})" for model in running.sandbox.account.models()]
    home = os.environ.get("NUMERAI_HOME") or str(users_home() / ".numerai-sandbox")
    variables = {
        "NUMERAI_API_URL": running.url,
        "NUMERAI_PUBLIC_ID": running.public_id,
        "NUMERAI_SECRET_KEY": running.secret_key,
        "NUMERAI_HOME": home,
    }
    click.echo(f"A stand-in of Numerai serves {running.url} until Ctrl-C. Its models: {', '.join(models)}.")
    click.echo("\nIn another terminal, so that your own keys and nodes stay as they are:")
    for name, lines in (("Linux, macOS", posix(variables)), ("PowerShell", powershell(variables))):
        click.echo("\n".join((f"  {name}", *(f"    {line}" for line in lines))))
    click.echo("Next, there: numerai setup")


@sandbox.command("round")
@client_option
@tournament_option("Only this one: 8 Classic, 11 Signals, 12 Crypto.")
@click.option("--minutes", type=decimal(0, _YEAR), help="Minutes until its deadline.")
@output_options
@click.pass_obj
def open_round(factory: Factory, client: SandboxClient, tournament: int | None, minutes: float | None) -> None:
    """Open the next round and call the registered webhooks.

    \b
    Examples:
      numerai sandbox round
      numerai sandbox round -t signals --minutes 60
    """
    rounds = client.open_round(tournament, minutes)
    factory.render.result({"rounds": rounds}, lambda: _say_rounds(factory, rounds))


@sandbox.command()
@client_option
@output_options
@click.pass_obj
def state(factory: Factory, client: SandboxClient) -> None:
    """Show models, rounds, submissions, webhook calls, requests and faults."""
    found = client.state()
    factory.render.result(found, lambda: _say_state(factory, found))


@sandbox.command()
@client_option
@click.option("--target", type=click.Choice(["graphql", "download", "upload", "webhook"]), help="What goes wrong.")
@click.option(
    "--kind",
    type=click.Choice(["status", "drop", "hang", "truncate", "corrupt", "slow", "stale", "error", "bare-error"]),
    help="How it goes wrong.",
)
@click.option("--status", type=whole(200, 599), help="The status of a `status` fault.  [default: 503]")
@click.option("--times", type=whole(1, 1_000_000), help="How often.  [default: 1]")
@click.option("--match", help="Only requests whose path, operation, file or model holds this text.")
@click.option("--seconds", type=decimal(0, 86_400), help="How long a `hang` or `slow` fault takes.")
@click.option("--message", help="What an `error` fault says.  [default: that an uploaded file is missing]")
@click.option("--when", type=click.Choice(["before", "after"]), help="Before or after the request has taken effect.")
@click.option("--clear", is_flag=True, help="Forget every fault instead.")
@output_options
@click.pass_obj
def fault(factory: Factory, /, client: SandboxClient, clear: bool, **order: Any) -> None:
    """Order a fault, or clear them all.

    \b
    Examples:
      numerai sandbox fault --target upload --kind drop --times 2
      numerai sandbox fault --clear
    """
    if clear:
        cleared = client.clear_faults()
        factory.render.result({"cleared": cleared}, lambda: factory.render.say(f"{counted(cleared, 'fault')} cleared."))
        return
    if order["target"] is None or order["kind"] is None:
        raise UsageError("A fault needs --target and --kind.", "Or forget all with --clear.", code="input-missing")
    made = client.set_fault(**{name: value for name, value in order.items() if value is not None})
    said = f"To come: {made['kind']}, at the next {counted(made['times'], made['target'] + ' request')}."
    factory.render.result(made, lambda: factory.render.say(said))


@sandbox.command()
@client_option
@click.option("--publish", help="A version to list, for example v6.0.")
@click.option("--file", "files", multiple=True, help="Only this file of it; may be repeated.")
@click.option("--renames", is_flag=True, help="Its features have other names, as after a major release.")
@click.option("--remove", help="A version to stop serving.")
@output_options
@click.pass_obj
def data(
    factory: Factory,
    client: SandboxClient,
    publish: str | None,
    files: tuple[str, ...],
    renames: bool,
    remove: str | None,
) -> None:
    """Publish a data version, or some of its files, or remove one."""
    versions: list[str] = []
    if publish is None and remove is None:
        raise UsageError("Say what to --publish or to --remove.", "For example: --publish v6.0", code="input-missing")
    if publish is not None:
        versions = client.publish_data(publish, list(files) or None, renames=renames)
    if remove is not None:
        versions = client.remove_data(remove)
    said = f"Served now: {', '.join(versions)}."
    factory.render.result({"versions": versions}, lambda: factory.render.say(said))


@sandbox.command()
@client_option
@click.option("--advance", type=decimal(-60 * _YEAR, 60 * _YEAR), help="Seconds to move it by.")
@click.option("--now", help="A time to set it to, for example 2026-01-31T12:00:00Z.")
@click.option("--freeze/--resume", default=None, help="Stop it, or let it run again.")
@output_options
@click.pass_obj
def clock(factory: Factory, client: SandboxClient, advance: float | None, now: str | None, freeze: bool | None) -> None:
    """Show or move the sandbox's clock."""
    moved = client.clock(advance=advance, now=now, freeze=freeze)

    def human() -> None:
        factory.render.say(f"{moved['now']}{' (standing still)' if moved['frozen'] else ''}")
        _say_rounds(factory, moved.get("opened", []))

    factory.render.result(moved, human)


def _say_rounds(factory: Factory, rounds: list[dict[str, Any]]) -> None:
    for found in rounds:
        line = f"Round {found['number']} of tournament {found['tournament']} is open until {found['deadline']}."
        factory.render.say(line)


def _say_state(factory: Factory, found: dict[str, Any]) -> None:
    say = factory.render.say
    say(f"Clock: {found['clock']['now']}")
    for model in found["models"]:
        say(f"Model {model['name']} (tournament {model['tournament']}): webhook {model['webhook'] or 'not set'}")
    for held in found["rounds"][:6]:
        say(f"Round {held['number']} of tournament {held['tournament']}: {held['status']}, deadline {held['deadline']}")
    entries = [entry for entry in found["entries"] if entry["id"] is not None]
    for entry in entries[:10]:
        say(f"Model {entry['model']} in round {entry['round_number']}: {entry['status']}, submission {entry['id']}")
    for request in [request for request in found["requests"] if request["error"]][-5:]:
        say(f"{request['operation']} was answered with an error: {request['error']}")
    for call in found["webhook_calls"][-10:]:
        say(f"Webhook call {call['trigger_id']}: {call['status'] or call['error'] or 'under way'}")
    say(f"{counted(len(found['requests']), 'request')}, {counted(len(found['faults']), 'fault')} to come")
