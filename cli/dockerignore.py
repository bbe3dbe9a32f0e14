"""Which files of a folder `.dockerignore` leaves, by the rules of `docker build`.

Source: moby/patternmatcher, patternmatcher.go and ignorefile/ignorefile.go (2026-03). Go's expressions run in linear
time; Python's do not, so a `*` becomes an expression that never tries two places for the literal behind it.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

IGNORE_FILE = ".dockerignore"
SPECIFIC_IGNORE_FILE = "Dockerfile.dockerignore"
"""Beside the Dockerfile; wins over the other one, which is at the top of the build context, as in BuildKit
(docs.docker.com/build/concepts/context, "Filename and location")."""


@dataclass(frozen=True)
class _Rule:
    matches: re.Pattern[str]
    exception: bool


class IgnoreRules:
    """The rules of one file; later ones win, `!` takes a path back in."""

    def __init__(self, text: str, where: str = IGNORE_FILE):
        """Raises `UsageError` with code `bad-dockerignore` for a line that is no pattern."""
        self._rules = [rule for line in text.splitlines() if (rule := _parse(line, where))]
        self.has_exceptions = any(rule.exception for rule in self._rules)

    def excludes(self, path: str) -> bool:
        """Whether a path, relative and with `/`, is left out, by itself or with a folder above it."""
        folders = path.split("/")
        candidates = ["/".join(folders[:count]) for count in range(len(folders), 0, -1)]
        excluded = False
        for rule in self._rules:
            if rule.exception == excluded and any(rule.matches.fullmatch(each) for each in candidates):
                excluded = not rule.exception
        return excluded


def ignore_file(context: Path, dockerfile_folder: Path) -> Path:
    """The file that says what a build context leaves out, whether it exists or not."""
    specific = dockerfile_folder / SPECIFIC_IGNORE_FILE
    return specific if specific.exists() and not specific.is_dir() else context / IGNORE_FILE


def read_rules(file: Path) -> IgnoreRules:
    """The rules of an ignore file; none where it is not there. `UsageError` where it is no file, or not UTF-8."""
    if file.exists() and not (file.is_file() or file.is_dir()):  # reading a pipe would wait for ever
        raise UsageError(f"{file} is a pipe, a socket or a device.", "Make it a file.", code="bad-dockerignore")
    try:
        return IgnoreRules(file.read_bytes().decode("utf-8-sig"), str(file))
    except (FileNotFoundError, IsADirectoryError):
        return IgnoreRules("")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not UTF-8 text, so it is not known which files to leave out.",
            "Save it as UTF-8 (Docker reads nothing else), then try again.",
            code="bad-dockerignore",
        ) from error


def included_files(context: Path, dockerfile_folder: Path) -> Iterator[str]:
    """The files and symbolic links of a build context that the rules leave, relative and with `/`, in no order. Links
    are not followed. What is neither (`special_files`) is left out: there is nothing in it that a build could copy."""
    found = _included(context, dockerfile_folder)
    return (name for name, mode in found if stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def special_files(context: Path, dockerfile_folder: Path) -> Iterator[str]:
    """Pipes, sockets and devices among what the rules leave, as `included_files`. Opening a pipe waits for ever."""
    found = _included(context, dockerfile_folder)
    return (name for name, mode in found if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)))


def included_entries(context: Path, dockerfile_folder: Path) -> Iterator[str]:
    """As `included_files`, with the folders that the rules leave, empty ones too."""
    found = _included(context, dockerfile_folder)
    return (name for name, mode in found if stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))


def _included(context: Path, dockerfile_folder: Path) -> Iterator[tuple[str, int]]:
    rules = read_rules(ignore_file(context, dockerfile_folder))
    for root, folders, files in os.walk(context):
        below = "" if Path(root) == context else f"{Path(root).relative_to(context).as_posix()}/"
        found = {name: os.lstat(Path(root) / name).st_mode for name in (*folders, *files)}
        kept = {name for name in found if not rules.excludes(f"{below}{name}")}
        folders[:] = [name for name in folders if stat.S_ISDIR(found[name]) and (rules.has_exceptions or name in kept)]
        yield from ((f"{below}{name}", found[name]) for name in kept)


def _parse(line: str, where: str) -> _Rule | None:
    if line.startswith("#"):
        return None
    pattern = line.strip() if os.sep == "/" else line.strip().replace(os.sep, "/")
    exception = pattern.startswith("!")
    if exception:
        pattern = pattern[1:].strip()
    if not pattern and not exception:
        return None
    try:
        pattern = posixpath.normpath(pattern).lstrip("/") if pattern else ""
        if not pattern:
            raise ValueError("it names nothing")
        return _Rule(re.compile(_expression(pattern), re.DOTALL), exception)
    except (ValueError, re.error) as error:
        raise UsageError(
            f"'{line.strip()}' in {where} is not a pattern ({error}).",
            "docs.docker.com/build/concepts/context says what a line may be.",
            code="bad-dockerignore",
        ) from error


def _expression(pattern: str) -> str:
    """A pattern as a regular expression for a whole path."""
    if pattern.startswith("**") and not re.search(r"[*?\[\]\\]", pattern[2:]):
        rest = re.escape(pattern[2:])  # whatever ends so; `**/x` is also `x` itself
        return f".*{rest}" if not rest.startswith("/") else f"(?:.*{rest}|{rest[1:]})"
    return _translated(pattern)


def _translated(pattern: str) -> str:
    expression, rest = "", pattern
    while rest:
        if rest.startswith("**"):
            rest = rest[2:].removeprefix("/")
            expression += "(?:.*/)?" if rest else ".*"
        elif rest[0] == "*":
            rest = rest[1:]
            literal = re.match(r"(?:\\.|\[(?:\\.|[^\]\\])*\]|[^*/\\\[])*", rest, re.DOTALL)
            piece = _literal(literal[0]) if literal else ""
            rest = rest[literal.end() :] if literal else rest
            if rest.startswith("*") and not rest.startswith("**"):  # the first place is as good as any: try no other
                expression += f"(?=(?P<g{len(rest)}>[^/]*?{piece}))(?P=g{len(rest)})"
            else:
                expression += f"[^/]*{piece}"
        elif rest[0] == "/":
            expression, rest = expression + "/", rest[1:]
        else:
            token = re.match(r"\\.|\[(?:\\.|[^\]\\])*\]|.", rest, re.DOTALL)
            assert token is not None  # noqa: S101  (the last alternative takes anything)
            expression, rest = expression + _literal(token[0]), rest[token.end() :]
    return expression


def _literal(text: str) -> str:
    """A piece of a pattern without `*` and `/` as a regular expression."""
    found = ""
    for part in re.findall(r"\\.|\[(?:\\.|[^\]\\])*\]|.", text, re.DOTALL):
        if part == "?":
            found += "[^/]"
        elif part[0] == "[" and len(part) > 1:
            found += f"(?!/){part}"
        elif part in ("[", "\\"):
            raise ValueError(f"'{part}' stands alone")
        else:
            found += re.escape(part[-1])
    return found
