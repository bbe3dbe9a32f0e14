"""Runs other programs at events: argument lists only, never a shell."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from ..errors import NumeraiError
from ..models import Tournament
from .datasets import TOURNAMENT_CSV, TRAINING_CSV
from .handler import EventHandler, logger

CLASSIC = Tournament.CLASSIC
STOP_SECONDS = 10.0
SECRET_VARIABLES = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY", "NUMERAI_NOTIFY")
"""What a program is not told unless it needs it."""
COMMAND_EVENTS = ("on_round_begin", "on_new_training_data", "on_new_tournament_data")
SHELL_SIGNS = ("|", ">", "<", "&&", ";", "$(", "`")


class CommandFailed(NumeraiError):
    """A program could not be started, ended with another exit code than 0, or did not end in time."""

    code = "command-failed"


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
                folder.joinpath(name)  # asking for a file of the round's folder is what gets it there
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


class CommandlineExecutor(CommandRunner):
    """Numerauto's command handler: command lines as text, with `%round%` and `%dataset_path%` in it.

    The text is split into words as a shell would split it, but no shell runs: pipes, redirections and variables are
    refused with a `ValueError`. Where a command line names `%dataset_path%`, the CSV file of the event is there.
    """

    def __init__(
        self,
        name: str,
        on_new_training_commandline: str | None = None,
        on_new_tournament_commandline: str | None = None,
    ):
        super().__init__(
            name,
            on_new_training_data=_split(on_new_training_commandline),
            on_new_tournament_data=_split(on_new_tournament_commandline),
        )

    def _files(self, event: str) -> tuple[str, ...]:
        if not any("{data}" in word for word in self.commands[event]) or self.daemon.tournament_id != CLASSIC:
            return ()
        return (TRAINING_CSV if event == "on_new_training_data" else TOURNAMENT_CSV,)


def run_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: str | Path | None = None,
    timeout: float | None = None,
    who: str = "command",
) -> None:
    """Run a program to its end, logging what it prints; `CommandFailed` when that did not go well. An interrupt ends
    the program first."""
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise CommandFailed(f"Cannot run {argv[0]}: {error.strerror or error}.") from error
    late = threading.Event()

    def stop_late() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(timeout or 0, stop_late)
    if timeout is not None:
        timer.start()
    try:
        assert process.stdout is not None  # noqa: S101 - asked for with PIPE above
        with process.stdout as lines:
            for line in lines:
                logger.info("%s | %s", who, line.rstrip())
        exit_code = process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        timer.cancel()
    if late.is_set():
        raise CommandFailed(f"{argv[0]} did not end within {timeout:g} s.")
    if exit_code != 0:
        raise CommandFailed(f"{argv[0]} ended with exit code {exit_code}; what it printed is in the log.")


def _end(process: subprocess.Popen[str]) -> None:
    """Ask a program and all that it has started to end, and end what has not done so after some seconds."""
    tree = []
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid)
        tree = [*started.children(recursive=True), started]
    for each in tree:
        with suppress(psutil.NoSuchProcess):
            each.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for each in tree:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what has left the tree, and may hold the output open
    process.wait()


def _checked(command: Sequence[str]) -> list[str]:
    if isinstance(command, str):
        raise TypeError(f"A command is a list, such as {shlex.split(command)!r}, not one text: no shell runs here.")
    return [str(word) for word in command]


def _filled(word: str, round_number: int, data: str) -> str:
    return word.replace("{round}", str(round_number)).replace("{data}", data)


def _split(line: str | None) -> list[str] | None:
    """The words of numerauto's command line, its placeholders turned into ours."""
    if not line:
        return None
    signs = [sign for sign in SHELL_SIGNS if sign in line]
    if signs:
        raise ValueError(
            f"The command line holds {' '.join(signs)}, which only a shell understands, and none runs here."
            " Put it into a script, or use CommandRunner with ['sh', '-c', ...]."
        )
    words = shlex.split(line, posix=os.name == "posix")
    if os.name != "posix":
        words = [word.strip('"') for word in words]
    return [word.replace("%round%", "{round}").replace("%dataset_path%", "{data}") for word in words]
