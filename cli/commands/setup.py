"""`numerai setup`: keys and provider settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby

import click

from ..addresses import check_api_url
from ..counting import counted
from ..errors import EXIT_ENVIRONMENT, NumeraiError, UsageError
from ..factory import Factory
from ..models import NUMERAI_API_URL, Check, Keys, Tournament
from ..pasted import pasted_keys
from ..ports import NamesPolicy, RunByNumerai
from ..providers.registry import provider_factory
from ..render import FAILED
from ..usecases.resolve import name_to_type
from ..usecases.scaffold import example_for
from ..usecases.settings import ProviderSettings
from ..usecases.setup import STAKE_SCOPES, FoundModel, SetUp, lacking, move_state, set_up
from .config import say_what_moved
from .options import ask, at_terminal, confirm, dry_run_option, output_options, whole

MOST_NAMES = 12


@click.command()
@click.option("-P", "-p", "--provider", default="local", show_default=True, help="Where nodes run.")
@click.option("-s", "--skip-key-setup", is_flag=True, help="Leave the recorded Numerai keys alone.")
@click.option("--public-id", envvar="NUMERAI_PUBLIC_ID", help="First half of your API key.  [env: NUMERAI_PUBLIC_ID]")
@click.option(
    "--executor",
    type=click.Choice(["auto", "docker", "process"]),
    help="local: run nodes in containers or in virtual environments (auto: containers where an engine answers).",
)
@click.option("--public-url", help="local: the address of a tunnel that leads to this machine's webhook.")
@click.option("--port", type=whole(), help="local: the port of the webhook.")
@click.option("--concurrency", type=whole(), help="local: how many runs may go on at a time.")
@click.option("--region", help="aws: the region.")
@click.option("--profile", help="aws: the profile of your AWS credentials.")
@click.option(
    "--set", "further", multiple=True, metavar="NAME=VALUE", help="Any other setting of the provider (docs/)."
)
@click.option(
    "--remote-state/--local-state",
    default=None,
    help="aws: keep the cluster's state in a bucket, for several machines, or in the home folder again.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask before the state's bucket is removed.")
@click.option("--print-policy", is_flag=True, help="aws: print the permissions that suffice, and do nothing else.")
@dry_run_option
@output_options
@click.pass_obj
def setup(
    factory: Factory,
    /,
    provider: str,
    skip_key_setup: bool,
    public_id: str | None,
    further: tuple[str, ...],
    remote_state: bool | None,
    yes: bool,
    print_policy: bool,
    dry_run: bool,
    **settings: str | int | None,
) -> int:
    """Record your Numerai keys and choose where nodes run.

    Keys are made at numer.ai (Settings, API keys). The secret is asked for, or taken from NUMERAI_SECRET_KEY; it is
    never an option, because command lines can be read by others. The keys are checked with Numerai and kept in a
    file that only you can read. NUMERAI_API_URL names another API, a sandbox for example. Ends with 3 where the
    provider lacks something: keys and settings are recorded then, but no node can run there yet.

    \b
    Examples:
      numerai setup
      numerai setup -P aws
      numerai setup -s --executor process
    """
    provider_factory(provider)
    given = {name: value for name, value in settings.items() if value is not None} | _further(further)
    if print_policy:
        _print_policy(factory, provider, given)
        return 0
    result = set_up(
        None if skip_key_setup else _keys(factory, public_id, dry_run),
        provider,
        given,
        store=factory.store,
        api_with=factory.api_with,
        check=ProviderSettings(factory.provider(provider), factory.store).checked,
        dry_run=dry_run,
    )
    if remote_state is not None and not dry_run:
        _move_state(factory, provider, remote_state, yes)
    if not dry_run:
        result = replace(result, lacks=_look(factory, provider))
    factory.render.result(result, lambda: _show(factory, result, dry_run))
    return EXIT_ENVIRONMENT if result.lacks else 0


def _look(factory: Factory, name: str) -> tuple[Check, ...]:
    """What the provider needs and has not; says which registered webhooks the settings have moved."""
    provider = factory.renewed(name)
    factory.render.progress(f"Looking at what the provider {name} needs")
    say_what_moved(factory, provider)
    return lacking(provider)


def _move_state(factory: Factory, provider: str, remote: bool, yes: bool) -> None:
    if not remote:
        confirm("The bucket with the state is removed: other machines lose sight of the cluster. Go on?", yes)
    bucket = move_state(factory.provider(provider), remote, factory.store, factory.render.progress)
    factory.render.progress(f"The state is kept in the bucket {bucket}." if bucket else "The state is kept here.")


def _print_policy(factory: Factory, name: str, given: Mapping[str, object]) -> None:
    settings = ProviderSettings(factory.provider(name), factory.store).checked(given)
    provider = factory.provider_with(name, settings)
    if not isinstance(provider, NamesPolicy):
        raise UsageError(f"The provider {name} needs no permissions.")
    factory.render.document(provider.policy(factory.render.warn))


def _further(settings: tuple[str, ...]) -> dict[str, str | int]:
    given: dict[str, str | int] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"'{setting}' is not a setting.", "Give it as NAME=VALUE.")
        given[name] = value
    return given


def _keys(factory: Factory, public_id: str | None, dry_run: bool) -> Keys | None:
    """The keys to check and record: as given, else as recorded where a person does not type others. A secret is kept
    with its own public id only. None in a dry run that has none, for which nobody is asked."""
    api_url = check_api_url(os.environ.get("NUMERAI_API_URL") or NUMERAI_API_URL)
    secret = os.environ.get("NUMERAI_SECRET_KEY")
    recorded = None if secret else _recorded(factory)
    kept = None if public_id else recorded
    complete = bool(public_id and secret)
    if dry_run and not complete:
        if kept is None:
            factory.render.progress("Your Numerai keys would be asked for.")
        return kept
    if kept is not None and not at_terminal():
        return kept
    if not complete and at_terminal():
        offered = recorded if recorded and public_id in (None, "", recorded.public_id) else None
        factory.render.progress(_where_keys_are(api_url, offered))
    default = kept.public_id if kept else None
    public_id = ask(public_id, "Numerai public id", "--public-id or NUMERAI_PUBLIC_ID", default=default)
    public_id, secret = pasted_keys(public_id, secret)
    same = recorded if recorded and public_id == recorded.public_id else None
    secret = ask(
        secret, "Numerai secret key", "NUMERAI_SECRET_KEY", hide=True, default=same.secret_key if same else None
    )
    return Keys(public_id or "", secret, same.api_url if same else api_url)


def _recorded(factory: Factory) -> Keys | None:
    """The recorded keys, where they are of the API that is meant."""
    try:
        return factory.store.keys()
    except NumeraiError:  # those of another API, or a file that cannot be read, which is said when it is written
        return None


def _where_keys_are(api_url: str, recorded: Keys | None) -> str:
    if recorded is not None:
        return f"The recorded keys are of {recorded.api_url}. Enter keeps them."
    if api_url != NUMERAI_API_URL:
        return f"Wanted: the keys of {api_url}, as `numerai sandbox serve` says them when it starts."
    return f"Make a key at numer.ai (Settings, API keys), without the scopes {', '.join(STAKE_SCOPES)}."


def _show(factory: Factory, result: SetUp, dry_run: bool) -> None:
    render = factory.render
    if result.account:
        render.say(f"Numerai knows you as {result.account.username}, with {counted(len(result.models), 'model')}.")
        for tournament, models in groupby(result.models, lambda model: model.tournament):
            render.say(f"  {_title(tournament)}: {_names([model.name for model in models])}")
    for warning in result.warnings:
        render.warn(warning)
    render.say(f"{'Would be recorded' if dry_run else 'Recorded'} in {result.home}; nodes run on: {result.provider}.")
    for check in result.lacks:
        render.mark(FAILED, f"{check.name}: {check.why}", mend=check.mend)
    if result.lacks:
        render.say(f"Next: see to that, then `numerai doctor`: no node can run on {result.provider} before.")
    elif dry_run:
        return
    elif factory.store.nodes():
        render.say("Next: numerai doctor")
    else:
        where = "" if result.provider == "local" else f" -P {result.provider}"
        first = result.models[0] if result.models else FoundModel("MODEL", Tournament.CLASSIC)
        name = name_to_type(first.name, first.tournament) if result.models else first.name
        hosted = isinstance(factory.provider(result.provider), RunByNumerai)
        example = "--path my-node" if hosted else f"--example {example_for(first.tournament)} --path my-node"
        render.say(f"Next: numerai node -m {name} config{where} {example}")


def _title(tournament: int) -> str:
    try:
        return Tournament(tournament).title
    except ValueError:  # one that this version does not know
        return f"tournament {tournament}"


def _names(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
