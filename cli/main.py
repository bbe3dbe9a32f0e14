"""The command `numerai`: groups that load when called, and the one place where an error becomes a message."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TextIO

import click

from . import __version__
from .addresses import proxy_passwords
from .commands.options import output_options
from .errors import EXIT_FAILED, EXIT_INTERRUPTED, NumeraiError, UsageError
from .factory import Factory
from .redaction import hide

# name -> (module below commands/, attribute, help line). The help lines stand here so that `--help` imports nothing.
COMMANDS = {
    "setup": ("setup", "setup", "Record your Numerai keys and choose where nodes run."),
    "config": ("config", "config", "Show, set and take back the settings of a provider."),
    "node": ("node", "node", "Configure, deploy, test and watch prediction nodes."),
    "validate": ("validate", "validate", "Score models on past eras, as Numerai scores them."),
    "status": ("status", "status", "Show all nodes at a glance, with the time to the next deadline."),
    "history": ("history", "history", "Show per round what was triggered, run and submitted."),
    "watch": ("watch", "watch", "Follow the rounds: trigger what is missing, and tell somebody in time."),
    "events": ("events", "events", "Run your own code as rounds open (event handlers)."),
    "notify": ("notify", "notify", "Say who is told of successes, failures and missed rounds."),
    "data": ("data", "data", "List and download Numerai's data."),
    "doctor": ("doctor", "doctor", "Check this machine, your keys and every node."),
    "cost": ("cost", "cost", "Estimate what every node costs a month."),
    "report": ("report", "report", "Write a validation down as one HTML page, which needs no network to be read."),
    "demo": ("demo", "demo", "Show the whole path on this machine, with no account and no cloud."),
    "copy-example": ("examples", "copy_example", "Copy an example node into a folder."),
    "list-constants": ("examples", "list_constants", "List sizes, examples, providers and tournaments."),
    "train": ("train", "train", "Train the model that FOLDER/model.toml describes."),
    "daemon": ("daemon", "daemon", "Serve the webhooks and runs of local nodes, and watch the rounds of all nodes."),
    "sandbox": ("sandbox", "sandbox", "Serve a local stand-in of Numerai to rehearse against."),
    "add-volume-aws": (
        "volumes",
        "add_volume_aws",
        "Give every node on AWS a disk of this size.",
    ),
    "destroy-all": (
        "removal",
        "destroy_all",
        "Take every node out of service and remove everything the providers hold.",
    ),
    "uninstall": ("removal", "uninstall", "Remove the nodes on this machine, the daemon, and this tool's files."),
    "upgrade": ("upgrade", "upgrade", "Take over the nodes and keys of the official numerai-cli, of any version."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f".commands.{module}", __package__), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, _, help_line) in COMMANDS.items()])


def _say_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    if ctx.obj.render.json:
        ctx.obj.render.document({"version": __version__})
    else:
        click.echo(f"numerai, version {__version__}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, expose_value=False, callback=_say_version, help="Show the version and exit.")
@output_options
def cli() -> None:
    """Put Numerai models into production and never miss a round.

    New here? `numerai demo` shows everything on this machine in a few minutes.
    """


def main(arguments: Sequence[str] | None = None, factory: Factory | None = None) -> None:
    """Run the command and leave the process with its exit code: 0 done, 1 failed, 2 usage, 3 the environment is not
    ready, 130 interrupted."""
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding cannot hold becomes ?, and fails no command
            stream.reconfigure(errors="replace")
    factory = factory or Factory()
    sys.exit(_flushed(factory, run(list(sys.argv[1:] if arguments is None else arguments), factory)))


def run(arguments: list[str], factory: Factory) -> int:
    """Run the command and return its exit code; whatever goes wrong is said in a few lines."""
    hide(os.environ.get("NUMERAI_SECRET_KEY"), *proxy_passwords(os.environ))
    try:
        answer = cli.main(args=arguments, prog_name="numerai", obj=factory, standalone_mode=False)
        return answer if isinstance(answer, int) else 0
    except NumeraiError as error:
        return _fail(factory, arguments, error, error.exit_code)
    except getattr(click.exceptions, "NoArgsIsHelpError", ()) as error:
        # A group alone asks what there is, which is no mistake. click ended with 0 too, until 8.2 raised this error:
        # click.palletsprojects.com/en/stable/changes, 8.2.0, "no_args_is_help".
        click.echo(error.ctx.get_help())
        return 0
    except click.UsageError as error:
        hint = f"`{error.ctx.command_path} --help` shows what it takes." if error.ctx else None
        return _fail(factory, arguments, UsageError(error.format_message(), hint), error.exit_code)
    except click.ClickException as error:
        return _fail(factory, arguments, NumeraiError(error.format_message()), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        hint = "Nothing is lost: run the same command again to go on."
        return _fail(factory, arguments, NumeraiError("Interrupted.", hint, code="interrupted"), EXIT_INTERRUPTED)
    except BrokenPipeError:
        return _leave_broken_pipe()
    except Exception as error:  # noqa: BLE001  (whatever was not foreseen is a bug of ours, and is said as one)
        from .translation import translated  # not at the start of every command

        if factory.render.verbose:
            factory.render.trace(error)
        foreseen = translated(error)
        if foreseen is not None:
            return _fail(factory, arguments, foreseen, foreseen.exit_code)
        bug = NumeraiError(
            f"This is a bug in numerai: {type(error).__name__}: {error}",
            "Run it again with --verbose and report what it prints.",
            code="bug",
        )
        return _fail(factory, arguments, bug, EXIT_FAILED)


def _fail(factory: Factory, arguments: list[str], error: NumeraiError, exit_code: int) -> int:
    if "--json" in arguments:  # a command line that could not be parsed has not set the renderer
        factory.render.json = True
    with suppress(Exception):  # keys that were read are hidden: a command that needs none may be given one by mistake
        factory.store.keys()
    try:
        factory.render.error(error)
    except OSError:  # standard output takes no JSON: the disk is full, say
        _give_up(sys.stdout)
        factory.render.json = False
        with suppress(OSError):
            factory.render.error(error)
    return exit_code


def _flushed(factory: Factory, exit_code: int) -> int:
    """The exit code, once everything that was printed has arrived."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _leave_broken_pipe()
    except OSError as error:
        from .translation import translated

        _give_up(sys.stdout)
        factory.render.json = False
        refused = translated(error)
        return exit_code if refused is None else _fail(factory, [], refused, exit_code or refused.exit_code)
    finally:
        with suppress(OSError):
            sys.stderr.flush()
    return exit_code


def _leave_broken_pipe() -> int:
    """The reader went away (`numerai node logs | head`): that is no failure worth a word."""
    _give_up(sys.stdout)
    return EXIT_FAILED


def _give_up(stream: TextIO) -> None:
    """Let what is still to be written to a stream go nowhere."""
    with suppress(OSError):  # a stream that is no file of the system
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
