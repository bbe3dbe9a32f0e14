"""Numerauto's handler that runs a command line."""

from __future__ import annotations

import os
import shlex

from ..events.command import CommandRunner
from ..models import Tournament
from .datasets import TOURNAMENT_CSV, TRAINING_CSV

SHELL_SIGNS = ("|", ">", "<", "&&", ";", "$(", "`")


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
        asked = any("{data}" in word for word in self.commands[event])
        if not asked or self.daemon.tournament_id != Tournament.CLASSIC:
            return ()
        return (TRAINING_CSV if event == "on_new_training_data" else TOURNAMENT_CSV,)


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
