"""Options that every command has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import NumeraiError, UsageError
from ..files.places import place
from ..settings import read_decimal, read_whole

if TYPE_CHECKING:
    from ..render import Renderer

F = TypeVar("F", bound=Callable[..., Any])
if TYPE_CHECKING:
    _AnyType = click.ParamType[Any]
else:  # it takes no argument before click 8.2
    _AnyType = click.ParamType


def output_options(function: F) -> F:
    """Add `--json` and `--verbose/-v`, which set the renderer before any other option is looked at."""
    for names, attribute, help_text in (
        (("-v", "--verbose"), "verbose", "Say more, causes included."),
        (("--json",), "json", "Print the result as JSON."),
    ):
        option = click.option(
            *names, is_flag=True, is_eager=True, expose_value=False, callback=_set(attribute), help=help_text
        )
        function = option(function)
    return function


dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done and do nothing.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def destroy_options(function: F) -> F:
    """Add what is to be known of nodes that are taken out of service."""
    keep = click.option("-p", "--preserve-node-config", is_flag=True, help="Keep what is destroyed in nodes.json.")
    force = click.option("--force", is_flag=True, help="Stop active runs, and go on where Numerai cannot be told.")
    return keep(force(yes_option(dry_run_option(function))))


def agree_to_costs(render: Renderer, preview: Sequence[str], yes: bool) -> None:
    """Show what a provider is about to make and what that costs, and ask."""
    for line in preview:
        render.progress(line)
    confirm("Make this?", yes)


def agree_to_plan(render: Renderer, steps: Sequence[str], notes: Sequence[str], yes: bool) -> None:
    """Show every step of a change and what should be known before, and ask."""
    for number, step in enumerate(steps, 1):
        render.progress(f"{number}. {step}")
    for note in notes:
        render.progress(note)
    confirm("Do this?", yes)


def show_plan(render: Renderer, steps: Sequence[str], notes: Sequence[str] = ()) -> None:
    """End a dry run: what would be done, step by step, and what should be known before."""

    def show() -> None:
        render.say("This would be done:" if steps else "Nothing would be done.")
        for number, step in enumerate(steps, 1):
            render.say(f"  {number}. {step}")
        for note in notes:
            render.say(note)

    render.result({"plan": steps, "notes": notes}, show)


def _tournament(given: str | int) -> int:
    """The number of a tournament that is given by its number or its name."""
    from ..models import Tournament

    known = {word: each.value for each in Tournament for word in (str(each.value), each.name.lower())}
    if str(given).lower() not in known:
        raise click.BadParameter(f"'{given}' is none of {', '.join(known)}.")
    return known[str(given).lower()]


def tournament_option(help_text: str, **more: Any) -> Callable[[F], F]:
    """Add `-t`, a tournament by its number or its name."""
    return click.option(
        "-t",
        "--tournament",
        type=_tournament,
        metavar="[8|11|12|classic|signals|crypto]",
        help=help_text,
        **more,
    )


class _Strict(_AnyType):
    """A number is read as a setting is: what Python takes for one beyond that, such as nan and 1_000, is refused."""

    read: Callable[[str], object]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        if isinstance(value, str):
            try:
                self.read(value)
            except ValueError:
                kind = "a whole number" if self.read is read_whole else "a number"
                self.fail(f"'{value[:40]}' is not {kind}.", param, ctx)
        return super().convert(value, param, ctx)


class _Whole(_Strict, click.types.IntParamType):
    read = staticmethod(read_whole)


class _WholeRange(_Strict, click.IntRange):
    read = staticmethod(read_whole)


class _Decimal(_Strict, click.types.FloatParamType):
    read = staticmethod(read_decimal)


class _DecimalRange(_Strict, click.FloatRange):
    read = staticmethod(read_decimal)


def whole(low: int | None = None, high: int | None = None) -> _AnyType:
    """The type of an option that takes a whole number; without limits, who uses it checks them."""
    return _Whole() if low is None and high is None else _WholeRange(low, high)


def decimal(low: float | None = None, high: float | None = None) -> _AnyType:
    """The type of an option that takes a number; without limits, who uses it checks them."""
    return _Decimal() if low is None and high is None else _DecimalRange(low, high)


class PlaceType(click.Path):
    """The type of an option that takes a path: as `place` has it, then as click checks it."""

    def __init__(self, **checks: bool):
        super().__init__(path_type=Path, **checks)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. An empty text is none, although Python takes it for the folder that the user is in."""
        if value == "":
            self.fail("it is empty.", param, ctx)
        return super().convert(place(value), param, ctx)


def filled(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """The callback of options and arguments that may be left out and not be empty, as an unset variable is."""
    if value == "" or (isinstance(value, tuple) and "" in value):
        raise click.BadParameter("it is empty.")
    return value


def refuse_to_overwrite(output: Path, *inputs: Path) -> None:
    """`UsageError` where a command would write its result over what it reads."""
    for path in inputs:
        if output.resolve() == path.resolve():
            raise UsageError(f"{output} is what is read here: it is not written over.", "Give --output another name.")


def _set(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            setattr(ctx.obj.render, attribute, True)

    return callback


def at_terminal() -> bool:
    """Whether a person can be asked. What starts a command may have closed its standard input: Python has None then."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(value: str | None, label: str, given_by: str, *, hide: bool = False, default: str | None = None) -> str:
    """The value, or what the person at the terminal types; without a terminal `UsageError` that names what is missing.

    `given_by` names the option or environment variable that gives the value without a question; Enter gives `default`,
    which is recorded and not shown, and is offered at a terminal only.
    """
    if value:
        return value
    if not at_terminal():
        raise UsageError(f"{label} is missing.", f"Give it with {given_by}.", code="input-missing")
    text = label if default is None else f"{label} [Enter keeps the recorded one]"
    typed: str = click.prompt(text, default=default, show_default=False, hide_input=hide, err=True)
    return typed.strip()


def agrees(question: str, yes: bool) -> bool:
    """Whether the person agrees, or said `--yes` before; where nobody can be asked it is a no."""
    return yes or (at_terminal() and click.confirm(question, err=True))


def confirm(question: str, yes: bool) -> None:
    """Return when the person agrees (or said `--yes` before); otherwise `NumeraiError`, and nothing was done."""
    if yes:
        return
    if not at_terminal():
        raise UsageError(f"{question} Nobody can be asked here.", "Add --yes to agree.", code="input-missing")
    if not click.confirm(question, err=True):
        raise NumeraiError("Not agreed: nothing was done.", code="not-agreed")
