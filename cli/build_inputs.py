"""What a Dockerfile wants of its build: Numerai's keys, which no build is given, and files of the build context."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from .dockerfile import Instruction, instructions, substituted

KEYS = ("NUMERAI_PUBLIC_ID", "NUMERAI_SECRET_KEY")
"""What the official tool gives every build, and leaves in the image (numerai-cli, cli/util/docker.py: `build`)."""
_KEY = re.compile(rf"(?<!\\)\$\{{?({'|'.join(KEYS)})\b", re.A)
_KEPT = re.compile(rf"(?<!\S)({'|'.join(KEYS)})[=\s]\s*[\"']?\$\{{?\1\b\}}?[\"']?(?=\s|$)", re.A)
_IN_THE_CONTAINER = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_NO_PLAIN_NAME = re.compile(r"[*?\[$]|<<|://|^git@")


def declared_keys(dockerfile: str) -> list[str]:
    """The keys that a Dockerfile declares as build arguments, in order."""
    declared = (name for each in instructions(dockerfile) for name, _ in each.triggered.arguments)
    return list(dict.fromkeys(name for name in declared if name in KEYS))


def key_in_build(dockerfile: str) -> tuple[str, Instruction] | None:
    """A key that a Dockerfile declares and takes for more than the environment of that name, and where: the build would
    have to know it. The environment itself (`ENV NUMERAI_SECRET_KEY=$NUMERAI_SECRET_KEY`) is the container's anyway."""
    declared = declared_keys(dockerfile)
    for instruction in instructions(dockerfile) if declared else ():
        word, rest = instruction.triggered.word, instruction.triggered.rest
        if word in _IN_THE_CONTAINER:
            continue
        if word == "RUN":
            rest = re.sub(r"'[^']*'", "", rest)  # where the shell replaces nothing
        used = [name for name in _KEY.findall(_KEPT.sub("", rest) if word == "ENV" else rest) if name in declared]
        if used:
            return used[0], instruction
    return None


def lacking(dockerfile: str, context: Path, inside: str) -> list[str]:
    """What a Dockerfile copies by its plain name and is not in the build context; `inside` is where the node's folder
    is in there, with `/`."""
    return [name for name in _copied(dockerfile, {"SRC_PATH": inside}) if not (context / name).exists()]


def _copied(dockerfile: str, given: Mapping[str, str]) -> Iterator[str]:
    """The files and folders that COPY and ADD take from the build context, relative and with `/`. Patterns, addresses
    and what depends on arguments that are not known are left out."""
    values: dict[str, str] = {}
    for instruction in instructions(dockerfile):
        for name, default in instruction.arguments:
            values.update(
                {name: given[name]} if name in given else {name: substituted(default, values)} if default else {}
            )
        if instruction.word in ("COPY", "ADD"):
            for name in (substituted(each, values) for each in _sources(instruction.rest)):
                if not _NO_PLAIN_NAME.search(name):
                    yield posixpath.normpath(f"/{name}").lstrip("/")  # nothing is above the context, so says Docker


def _sources(rest: str) -> list[str]:
    """What stands between the flags of a COPY or ADD and its destination; nothing for what another stage has."""
    while flag := re.match(r"--(\S+)\s*", rest):
        if flag[1].startswith("from="):
            return []
        rest = rest[flag.end() :]
    try:
        words = json.loads(rest) if rest.startswith("[") else shlex.split(rest)
    except ValueError:  # the builder says what is wrong with it
        return []
    return [word for word in words[:-1] if isinstance(word, str)]
