"""Which files of a folder `.dockerignore` leaves, by the rules of `docker build`.

Source: moby/patternmatcher at 5a6d842, ignorefile/ignorefile.go (`ReadAll`) and patternmatcher.go
(`MatchesUsingParentResults`, which BuildKit and moby/go-archive call). What a pattern means is in `ignore_patterns`.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .ignore_patterns import pattern_matcher

IGNORE_FILE = ".dockerignore"
SPECIFIC_IGNORE_FILE = "Dockerfile.dockerignore"
"""Beside the Dockerfile; wins over the other one, which is at the top of the build context, as in BuildKit
(docs.docker.com/build/concepts/context, "Filename and location")."""
_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Go's strings.TrimSpace takes off (pkg.go.dev/unicode, IsSpace)."""
_LONGEST_LINE = 64 * 1024
"""Bytes: a longer line is an error to Docker (pkg.go.dev/bufio, MaxScanTokenSize)."""


@dataclass(frozen=True)
class _Rule:
    matches: Callable[[str], bool]
    exception: bool


class IgnoreRules:
    """The rules of one file; later ones win, `!` takes a path back in."""

    def __init__(self, text: str, where: str = IGNORE_FILE):
        """Raises `UsageError` with code `bad-dockerignore` for a line that is no pattern."""
        lines = enumerate(text.split("\n"), start=1)
        self._rules = [rule for number, line in lines if (rule := _parse(line, number, where))]
        self.has_exceptions = any(rule.exception for rule in self._rules)
        self._folders: dict[str, tuple[bool, ...]] = {"": (False,) * len(self._rules)}

    def excludes(self, path: str) -> bool:
        """Whether a path, relative and with `/`, is left out, by itself or with a folder above it."""
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            names = folder.split("/")
            for above in ("/".join(names[:count]) for count in range(1, len(names) + 1)):
                self._folders.setdefault(above, self._matching(above)[1])
        return self._matching(path)[0]

    def _matching(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path is left out, and which rules say so of it or its folder. A rule that changes nothing for the
        folder is not asked there, so it says nothing of what is in the folder either: so does Docker."""
        excluded, results = False, []
        for rule, of_folder in zip(self._rules, self._folders[path.rpartition("/")[0]], strict=True):
            matched = of_folder or (rule.exception == excluded and rule.matches(path))
            if matched:
                excluded = not rule.exception
            results.append(matched)
        return excluded, tuple(results)


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


def _parse(line: str, number: int, where: str) -> _Rule | None:
    if line.startswith("#"):
        return None
    pattern = line.strip(_BLANKS) if os.sep == "/" else line.strip(_BLANKS).replace(os.sep, "/")
    exception = pattern.startswith("!")
    if exception:
        pattern = pattern[1:].strip(_BLANKS)
    if not pattern and not exception:
        return None
    try:
        pattern = posixpath.normpath(pattern).lstrip("/") if pattern else ""
        if not pattern:
            raise ValueError("it names nothing")
        if len(line.encode()) > _LONGEST_LINE:
            raise ValueError(f"it is longer than {_LONGEST_LINE} bytes")
        return _Rule(pattern_matcher(pattern), exception)
    except ValueError as error:
        raise UsageError(
            f"Line {number} of {where}, '{line.strip()[:80]}', is not a pattern: {error}.",
            "docs.docker.com/build/concepts/context says what a line may be.",
            code="bad-dockerignore",
        ) from error
