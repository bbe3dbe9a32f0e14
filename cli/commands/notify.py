"""`numerai notify`: who is told of successes, failures and missed rounds."""

from __future__ import annotations

import os
import sys

import click

from ..factory import Factory
from ..render import FAILED, OK
from ..usecases.notify import Change, recipients, try_out
from ..usecases.notify import add as add_recipient
from ..usecases.notify import remove as remove_recipient
from .options import ask, at_terminal, dry_run_option, output_options

URL_VARIABLE = "NUMERAI_NOTIFY_URL"


@click.group()
@output_options
def notify() -> None:
    """Say who is told of successes, failures and missed rounds.

    A recipient is an address of apprise: Slack, Discord, e-mail, Telegram, ntfy and a hundred more
    (docs/notify.md, https://appriseit.com/services/).

    \b
    Examples:
      numerai notify add me
      numerai notify test
    """


@notify.command()
@click.argument("name")
@click.argument("url", required=False)
@dry_run_option
@output_options
@click.pass_obj
def add(factory: Factory, name: str, url: str | None, dry_run: bool) -> None:
    """Add a recipient, or replace the one of that NAME.

    The address holds secrets, so it is asked for, or taken from the variable NUMERAI_NOTIFY_URL, or, when it is given
    as -, read from standard input. It is kept in the file that only you can read, with your keys.

    \b
    Examples:
      numerai notify add me                      asks for the address
      numerai notify add team - < address.txt
    """
    if url and url != "-":
        factory.render.warn(
            "The address is now in your shell's history and was visible to other users of this machine. "
            "Leave it out and it is asked for."
        )
    change = add_recipient(
        name, _url(factory, url), store=factory.store, check=factory.check_notify_url, dry_run=dry_run
    )

    def show() -> None:
        _show(factory, change, dry_run)
        if not dry_run:
            factory.render.say(f"Next: numerai notify test {name}")

    factory.render.result(change, show)


@notify.command("list")
@output_options
@click.pass_obj
def list_(factory: Factory) -> None:
    """List who is told, without what is secret in their addresses."""
    listed = recipients(factory.store)

    def show() -> None:
        if listed:
            factory.render.table(("name", "address", "from"), [(one.name, one.address, one.origin) for one in listed])
        else:
            factory.render.say("Nobody is told of anything. Add somebody: numerai notify add NAME")

    factory.render.result(listed, show)


@notify.command()
@click.argument("name", required=False)
@output_options
@click.pass_obj
def test(factory: Factory, name: str | None) -> int:
    """Send a test to the recipient of that NAME, or to everybody."""
    outcome = try_out(name, store=factory.store, notifier_to=factory.notifier_to)
    failed = [recipient for recipient, why_not in outcome.items() if why_not]

    def show() -> None:
        for recipient, why_not in outcome.items():
            factory.render.mark(FAILED if why_not else OK, recipient, detail=why_not or "a test was sent")

    told = [{"name": recipient, "sent": why_not is None, "why_not": why_not} for recipient, why_not in outcome.items()]
    factory.render.result({"ok": not failed, "recipients": told}, show)
    return 1 if failed else 0


@notify.command()
@click.argument("name")
@dry_run_option
@output_options
@click.pass_obj
def remove(factory: Factory, name: str, dry_run: bool) -> None:
    """Tell the recipient of that NAME no more."""
    change = remove_recipient(name, store=factory.store, dry_run=dry_run)
    factory.render.result(change, lambda: _show(factory, change, dry_run))


def _url(factory: Factory, argument: str | None) -> str:
    if argument == "-":
        return sys.stdin.readline().strip()
    given = argument or os.environ.get(URL_VARIABLE)
    if not given and at_terminal():
        factory.render.progress("An address looks like one of these (docs/notify.md has more):")
        for example in factory.notify_examples:
            factory.render.progress(f"- {example}")
    return ask(given, "Address, not shown as you type", f"{URL_VARIABLE}, or as - on standard input", hide=True)


def _show(factory: Factory, change: Change, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    factory.render.say(f"{change.recipient.name} ({change.recipient.address}) {would}{change.action}.")
