"""Runs other programs at events: argument lists only, never a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import NumeraiError, UsageError
from ..process import ProgramMissing, run_process
from .handler import EventHandler
from .messages import logger

SECRET_VARIABLES = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "NUMERAI_NOTIFY")
"""What a program is not told unless it needs it."""
COMMAND_EVENTS = ("on_round_begin", "on_new_training_data", "on_new_tournament_data")


class CommandFailed(NumeraiError):
    """A program could not be started, ended with another exit code than 0, or did not end in time."""

    code = "command-failed"


class CannotStart(CommandFailed, UsageError):
    """A program, or the folder that it is to run in, is not there or cannot be run: trying again changes nothing."""

    code = "program-missing"
    exit_code = UsageError.exit_code


class CommandRunner(EventHandler):
    """Runs a program at an event and logs each line that it prints; an exit code other than 0 fails the event.

    A command is a list: the program and its arguments, in which `{round}` and `{data}` stand for the round's number and
    the folder with its data. The environment also says it: NUMERAI_ROUND, NUMERAI_DATA, NUMERAI_TOURNAMENT,
    NUMERAI_EVENT, NUMERAI_PREDICTIONS (where an uploader looks for files). With `with_keys` it holds the keys and
    MODEL_ID as well, as in a node's container, so that a node's own program can be run; otherwise no
    key is passed on. `timeout` is in seconds.
    `files` names what must be in the folder before a program starts, beside `live.parquet`: `train.parquet`, say.
    """

    def __init__(
        self,
        name: str,
        *,
        on_round_begin: Sequence[str] | None = None,
        on_new_training_data: Sequence[str] | None = None,
        on_new_tournament_data: Sequence[str] | None = None,
        cwd: str | Path | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float | None = None,
        with_keys: bool = False,
        model: str | None = None,
        files: Sequence[str] = (),
    ):
        super().__init__(name)
        given = {
            "on_round_begin": on_round_begin,
            "on_new_training_data": on_new_training_data,
            "on_new_tournament_data": on_new_tournament_data,
        }
        self.commands = {event: _checked(command) for event, command in given.items() if command}
        self.cwd = cwd
        self.environment = dict(environment or {})
        self.timeout = timeout
        self.with_keys = with_keys
        self.model = model
        self.files = tuple(files)

    def handles(self, event: str) -> bool:
        """Whether there is a command for the event, or nothing is known about it here."""
        return event in self.commands if event in COMMAND_EVENTS else super().handles(event)

    def on_round_begin(self, round_number: int) -> None:
        """Run the command of this event, if there is one."""
        self._run("on_round_begin", round_number)

    def on_new_training_data(self, round_number: int) -> None:
        """Run the command of this event, if there is one."""
        self._run("on_new_training_data", round_number)

    def on_new_tournament_data(self, round_number: int) -> None:
        """Run the command of this event, if there is one."""
        self._run("on_new_tournament_data", round_number)

    def _run(self, event: str, round_number: int) -> None:
        command = self.commands.get(event)
        if command is None:
            return
        folder = self.daemon.get_dataset_path(round_number)
        if event != "on_round_begin":
            for name in self._files(event):
                self.daemon.provide(name)
        data = str(Path(str(folder)).absolute())
        argv = [_filled(word, round_number, data) for word in command]
        logger.info("%s: running %s", self.name, shlex.join(argv))
        run_command(
            argv, self._environment(event, round_number, data), cwd=self.cwd, timeout=self.timeout, who=self.name
        )

    def _files(self, event: str) -> tuple[str, ...]:
        return self.files

    def _environment(self, event: str, round_number: int, data: str) -> dict[str, str]:
        daemon = self.daemon
        environment = {
            **{name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES},
            "NUMERAI_ROUND": str(round_number),
            "NUMERAI_DATA": data,
            "NUMERAI_TOURNAMENT": str(daemon.tournament_id),
            "NUMERAI_EVENT": event,
            "NUMERAI_PREDICTIONS": str(daemon.prediction_folder.absolute()),
        }
        if self.with_keys:
            keys = daemon.keys()
            environment |= {
                "NUMERAI_PUBLIC_ID": keys.public_id,
                "NUMERAI_SECRET_KEY": keys.secret_key,
                "NUMERAI_API_URL": keys.api_url,
                "MODEL_ID": daemon.find_model(self.model).id,
            }
        return {**environment, **self.environment}


def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str | Path | None = None,
    timeout: float | None = None,
    who: str = "command",
) -> None:
    """Run a program to its end, logging what it prints; `CommandFailed` when that did not go well. An interrupt ends
    the program first. `CannotStart`, which is a `UsageError` too, when it can never be started as it stands."""
    try:
        done = run_process(
            argv,
            cwd=None if cwd is None else Path(cwd),
            env=environment,
            timeout=timeout,
            whole_tree=True,
            on_line=lambda line: logger.info("%s | %s", who, line),
        )
    except ProgramMissing as error:
        raise CannotStart(f"{who}: {error.message}", error.hint) from error
    except NumeraiError as error:
        raise CommandFailed(error.message) from error
    if done.exit_code != 0:
        raise CommandFailed(f"{argv[0]} ended with exit code {done.exit_code}; what it printed is in the log.")


def _checked(command: Sequence[str]) -> list[str]:
    if isinstance(command, str):
        raise TypeError(f"A command is a list, such as {shlex.split(command)!r}, not one text: no shell runs here.")
    return [str(word) for word in command]


def _filled(word: str, round_number: int, data: str) -> str:
    return word.replace("{round}", str(round_number)).replace("{data}", data)
