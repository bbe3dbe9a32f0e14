"""A Dockerfile's instructions, as the builders read them.

Source: docs.docker.com/reference/dockerfile, and BuildKit's frontend/dockerfile/parser/parser.go (2026-03).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_DIRECTIVE = re.compile(r"\s*#\s*([a-z]\w*)\s*=\s*(\S+)\s*$", re.I | re.A)
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([\"']?)([^\s<\"']+)\2(?=\s|$)", re.A)
_VARIABLE = re.compile(r"\$(?:(?P<plain>\w+)|\{(?P<braced>\w+)(?:(?P<how>:?[-+])(?P<other>[^}]*))?\})", re.A)
_QUOTED = re.compile(r"(?<!<<)(?<!<<-)(?:\"[^\"]*\"|'[^']*')")


@dataclass(frozen=True)
class Instruction:
    """One instruction in one line, without comments and the lines of a heredoc; `first` and `last` are the numbers of
    the lines that it stands in, from 0."""

    text: str
    first: int
    last: int

    @property
    def word(self) -> str:
        """What kind it is, in capitals."""
        return self.text.split(maxsplit=1)[0].upper()

    @property
    def rest(self) -> str:
        """What stands after that."""
        return self.text[len(self.word) :].strip()

    @property
    def triggered(self) -> Instruction:
        """What ONBUILD puts off until an image is built on this one; any other instruction is itself."""
        return replace(self, text=self.rest).triggered if self.word == "ONBUILD" and self.rest else self

    @property
    def arguments(self) -> list[tuple[str, str | None]]:
        """The build arguments that an ARG declares, each with what it is by default."""
        try:
            words = shlex.split(self.rest) if self.word == "ARG" else []
        except ValueError:  # a quotation mark that stands alone
            words = []
        return [
            (name, default if equals else None) for name, equals, default in (word.partition("=") for word in words)
        ]

    @property
    def heredocs(self) -> list[tuple[bool, str]]:
        """The heredocs that it begins: whether tabs before their lines are dropped, and the line that ends each."""
        instruction = self.triggered
        if instruction.word not in ("RUN", "COPY", "ADD"):
            return []
        return [(bool(tabs), name) for tabs, _, name in _HEREDOC.findall(_QUOTED.sub("''", instruction.rest))]


def instructions(text: str) -> list[Instruction]:
    """Every instruction, in order."""
    lines, found, number = text.split("\n"), list[Instruction](), 0
    continued = re.compile(rf"(?<!{_escape(lines)}){_escape(lines)}[ \t\r]*$")
    while number < len(lines):
        first, joined = number, ""
        while number < len(lines):
            line, number = lines[number], number + 1
            if line.lstrip().startswith("#") or (joined and not line.strip()):
                if joined:
                    continue  # comments and empty lines do not end what goes on in the next line
                break
            joined += continued.sub("", line).rstrip("\r")
            if not continued.search(line):
                break
        if joined.strip():
            found.append(Instruction(joined.strip(), first, number - 1))
            number = _after_heredocs(found[-1], lines, number)
    return found


def substituted(text: str, values: Mapping[str, str]) -> str:
    """A text with its variables replaced; those that are not known stay."""

    def replaced(match: re.Match[str]) -> str:
        name, how = match["plain"] or match["braced"], match["how"] or ""
        value = values.get(name)
        there = value is not None if ":" not in how else bool(value)
        if how.endswith("-"):
            return str(value) if there else match["other"]
        if how.endswith("+"):
            return match["other"] if there else ""
        return match[0] if value is None else value

    return _VARIABLE.sub(replaced, text)


def _escape(lines: Sequence[str]) -> str:
    """The character that continues a line, as an expression: a directive at the top may choose a backtick."""
    for line in lines:
        directive = _DIRECTIVE.match(line)
        if directive is None:
            break
        if directive[1].lower() == "escape" and directive[2] == "`":
            return "`"
    return r"\\"


def _after_heredocs(instruction: Instruction, lines: Sequence[str], number: int) -> int:
    """Where the file goes on after the heredocs that an instruction begins; what never ends is none."""
    for tabs, name in instruction.heredocs:
        rest = [line.rstrip("\r").lstrip("\t" if tabs else "") for line in lines[number:]]
        number += rest.index(name) + 1 if name in rest else 0
    return number
