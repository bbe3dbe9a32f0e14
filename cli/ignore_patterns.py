"""One pattern of `.dockerignore` against one path, as Docker matches it, in time linear in both.

Source: moby/patternmatcher, patternmatcher.go at 5a6d842, `Pattern.match` and `compile`: a pattern without wildcards is
compared as it is, and any other becomes an expression of Go's regexp, after filepath.Match has found no error in it.
Go's expressions run in linear time. Python's do not, so the states of the expression are followed here side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_SPECIAL = re.compile(r"[*?\[\]\\]")
_ANY, _NOT_SLASH = re.compile(r"[^\n]"), re.compile(r"[^/]")
_ASCII_NAMES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
"""pkg.go.dev/regexp/syntax, "ASCII character classes"."""
_NAMED = re.compile(r"\[:(\^?)(.*?):\]", re.DOTALL)


def pattern_matcher(pattern: str) -> Callable[[str], bool]:
    """A function that says whether a path, with `/`, matches as a whole. `ValueError`, with the reason, for what Docker
    refuses and for what it reads as nobody means it: a wildcard in brackets, a bare `^`, an escape like Go's `\\d`."""
    if not _SPECIAL.search(pattern):
        return lambda path: path == pattern
    if pattern.endswith("**") and not _SPECIAL.search(beginning := pattern[:-2]):
        return lambda path: path.startswith(beginning)
    if pattern.startswith("**") and not _SPECIAL.search(ending := pattern[2:]):
        return lambda path: path.endswith(ending) or (ending.startswith("/") and path == ending[1:])
    return _States(list(_steps(pattern))).match


@dataclass(frozen=True)
class _Step:
    """A state of the expression: the character that leads `on` to the next one, those with which it `stays` as it is,
    and over how many states one may `skip` without any. A text as `on` is that one character."""

    on: str | re.Pattern[str] | None = None
    stays: re.Pattern[str] | None = None
    skips: tuple[int, ...] = ()


_FOLDERS = (_Step(skips=(1, 2)), _Step("/", stays=_ANY))
"""`**/`: nothing, or whatever ends with a `/`."""


class _States:
    """The steps of a pattern, one bit each; the bit behind the last one is a match."""

    def __init__(self, steps: list[_Step]):
        self._steps = steps
        literals = "".join(step.on if isinstance(step.on, str) and not step.stays else "\0" for step in steps)
        self._needed = max(literals.split("\0"), key=len)
        self._skips = [
            (over, sum(1 << place for place, step in enumerate(steps) if over in step.skips)) for over in (1, 2)
        ]
        self._masks: dict[str, tuple[int, int]] = {}

    def match(self, path: str) -> bool:
        """Whether the steps lead through the whole path."""
        if self._needed not in path:
            return False
        states = self._skipped(1)
        for character in path:
            on, stays = self._masks.get(character) or self._learned(character)
            states = self._skipped(((states & on) << 1) | (states & stays))
            if not states:
                return False
        return bool(states >> len(self._steps))

    def _skipped(self, states: int) -> int:
        """With the states that take no character. Two steps that skip follow each other at most, so this ends soon."""
        while True:
            more = states
            for over, places in self._skips:
                more |= (more & places) << over
            if more == states:
                return states
            states = more

    def _learned(self, character: str) -> tuple[int, int]:
        on = stays = 0
        for place, step in enumerate(self._steps):
            taken = step.on == character if isinstance(step.on, str) else step.on and step.on.match(character)
            on |= bool(taken) << place
            stays |= bool(step.stays and step.stays.match(character)) << place
        return self._masks.setdefault(character, (on, stays))


def _steps(pattern: str) -> Iterator[_Step]:
    at, in_folders = 0, False
    while at < len(pattern):
        character = pattern[at]
        if pattern.startswith("**", at):
            at += 3 if pattern.startswith("/", at + 2) else 2
            if at >= len(pattern):
                yield _Step(stays=_ANY, skips=(1,))
            elif not in_folders:  # once more would match the same
                yield from _FOLDERS
            in_folders = True
            continue
        in_folders = False
        if character == "*":
            yield _Step(stays=_NOT_SLASH, skips=(1,))
        elif character == "?":
            yield _Step(_NOT_SLASH)
        elif character == "[":
            characters, at = _in_brackets(pattern, at + 1)
            yield _Step(characters)
        elif character == "\\":
            at += 1
            yield _Step(_escaped(pattern, at))
        elif character == "^":
            raise ValueError("Docker takes ^ for the beginning, so write \\^")
        else:
            yield _Step(character)
        at += 1


def _in_brackets(pattern: str, at: int) -> tuple[re.Pattern[str], int]:
    """The characters that a [...] stands for, and where its ] is; `at` is behind the [."""
    negated = pattern.startswith("^", at)
    at += negated
    if pattern[at : at + 1] in ("]", "-"):
        raise ValueError(f"{pattern[at]} stands first in [ ], so write \\{pattern[at]}")
    found = ""
    while at < len(pattern) and pattern[at] != "]":
        if named := _NAMED.match(pattern, at):
            if named[2] not in _ASCII_NAMES:
                raise ValueError(f"there is no {named[0]:.20}")
            members = _ASCII_NAMES[named[2]]
            found += members if not named[1] else _others(members)
            at = named.end()
            continue
        first, at = _member(pattern, at)
        last = first
        if pattern.startswith("-", at):
            if pattern[at + 1 : at + 2] in ("]", "-"):
                raise ValueError("a range in [ ] ends with - or ], so write \\ before it")
            last, at = _member(pattern, at + 1)
        if last < first:
            raise ValueError(f"the range {first}-{last} is backwards")
        found += f"{re.escape(first)}-{re.escape(last)}"
    if at >= len(pattern):
        raise ValueError("there is a [ without its ]")
    return re.compile(f"[{'^' * negated}{found}]"), at


def _member(pattern: str, at: int) -> tuple[str, int]:
    """A character of a [...] and where the next one is."""
    character = pattern[at : at + 1]
    if character == "\\":
        return _escaped(pattern, at + 1), at + 2
    if not character:
        raise ValueError("there is a [ without its ]")
    if character in "*?-":
        raise ValueError(f"{character} stands inside of [ ], so write \\{character}")
    return character, at + 1


def _escaped(pattern: str, at: int) -> str:
    """The character behind a backslash, which stands for itself."""
    character = pattern[at : at + 1]
    if not character:
        raise ValueError("there is a \\ at the end")
    if character.isalnum() or not character.isascii():
        raise ValueError(f"Docker does not read \\{character} as {character}; folders are parted by /")
    return character


def _others(members: str) -> str:
    """The ranges of all characters that are not among the members, for use inside of [ ]."""
    inside = re.compile(f"[{members}]")
    ascii_ = "".join(re.escape(chr(code)) for code in range(128) if not inside.match(chr(code)))
    return f"{ascii_}\\x80-\U0010ffff"
