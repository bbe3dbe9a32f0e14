"""Options that every command has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """Add `--json` and `--verbose/-v`, which set the renderer."""
    verbose = click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_set("verbose"), help="Say more, causes included."
    )
    as_json = click.option(
        "--json", is_flag=True, expose_value=False, callback=_set("json"), help="Print the result as JSON."
    )
    return as_json(verbose(function))


dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")


def _set(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.obj.render, attribute, True)

    return callback
