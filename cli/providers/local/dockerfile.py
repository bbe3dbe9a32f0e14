"""Reads from a Dockerfile what it takes to run its image's command without containers."""

from __future__ import annotations

import json
from pathlib import Path

from ...dockerfile import instructions
from ...errors import UsageError
from ...source import dockerfile_text


def read_command(dockerfile: Path) -> list[str]:
    """The command that the image would run, from the exec forms of ENTRYPOINT and CMD of the last stage.

    Raises `UsageError` with code `no-command` when there is none or it is in shell form.
    """
    entrypoint: list[str] = []
    command: list[str] = []
    for instruction in instructions(dockerfile_text(dockerfile)):
        word, rest = instruction.word, instruction.rest
        if word == "FROM":
            entrypoint, command = [], []
        elif word == "ENTRYPOINT":
            entrypoint, command = _exec_form(dockerfile, word, rest), []
        elif word == "CMD":
            command = _exec_form(dockerfile, word, rest)
    if not entrypoint + command:
        raise UsageError(
            f"{dockerfile} has no CMD, so it is not known what to run.",
            'Add one in exec form, e.g. CMD ["python", "predict.py"].',
            code="no-command",
        )
    return entrypoint + command


def _exec_form(dockerfile: Path, word: str, rest: str) -> list[str]:
    try:
        parts = json.loads(rest)
    except ValueError:
        parts = None
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise UsageError(
            f"{word} in {dockerfile} is in shell form, which only a container can run.",
            f'Write it in exec form, e.g. {word} ["python", "predict.py"], or use the docker executor.',
            code="no-command",
        )
    return parts
