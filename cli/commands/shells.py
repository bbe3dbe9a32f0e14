"""What a person types into a shell: variables and paths as Linux, macOS and Windows want them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from ..installation import folder_to_add


def posix(variables: Mapping[str, str]) -> list[str]:
    """Lines that set variables in sh, bash and zsh."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def powershell(variables: Mapping[str, str]) -> list[str]:
    """Lines that set variables in PowerShell, where a quote inside of quotes is doubled."""
    return [f"$env:{name} = '{_doubled(value)}'" for name, value in variables.items()]


def here(variables: Mapping[str, str]) -> list[str]:
    """Lines that set variables in this system's usual shell."""
    return powershell(variables) if os.name == "nt" else posix(variables)


def finding_numerai() -> list[str]:
    """The line after which a shell finds the command `numerai`; none where it does so anyway."""
    folder = folder_to_add()
    if folder is None:
        return []
    if os.name == "nt":
        return [f"$env:PATH = '{_doubled(str(folder))};' + $env:PATH"]
    return [f'export PATH={shlex.quote(str(folder))}:"$PATH"']


def typed(path: Path) -> str:
    """A path as it is typed in the present folder."""
    text = str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    if os.name == "nt":
        return f"'{_doubled(text)}'" if " " in text or "'" in text else text
    return shlex.quote(text)


def _doubled(text: str) -> str:
    return text.replace("'", "''")
