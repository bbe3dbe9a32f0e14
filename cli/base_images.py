"""The images that a Dockerfile builds on, and how a build takes them by their digests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .dockerfile import Instruction, instructions, substituted

NAME_LABEL = "org.opencontainers.image.base.name"
DIGEST_LABEL = "org.opencontainers.image.base.digest"
"""Of the image named by FROM in the last stage only, with its registry: opencontainers/image-spec, annotations.md."""
_FROM = re.compile(r"(?P<before>FROM\s+(?:--\S+\s+)*)(?P<image>\S+)(?P<after>(?:\s+AS\s+(?P<stage>\S+))?\s*)", re.I)


@dataclass(frozen=True)
class BaseImage:
    """An image that a FROM names: its full name (`docker.io/library/python:3.13-slim`), and its digest where that
    stands there, too. The name is empty where it depends on what only the builder knows."""

    name: str
    digest: str | None
    instruction: Instruction


@dataclass(frozen=True)
class BaseImages:
    """All of a Dockerfile, and the one that the image itself is based on: None for `FROM scratch`."""

    all: tuple[BaseImage, ...]
    own: BaseImage | None

    def labels(self, digests: Mapping[str, str]) -> dict[str, str]:
        """What to say of it on the image that is built with these digests; nothing where its digest is not known."""
        digest = self.own and (self.own.digest or digests.get(self.own.name))
        return {NAME_LABEL: self.own.name, DIGEST_LABEL: digest} if self.own and digest else {}


def base_images(dockerfile: str, arguments: Mapping[str, str]) -> BaseImages:
    """The images that the text of a Dockerfile builds on, when it is given these build arguments."""
    values: dict[str, str] = {}
    stages: dict[str, BaseImage | None] = {}
    found: list[BaseImage] = []
    own = None
    for instruction in instructions(dockerfile):
        if instruction.word == "ARG" and not stages:
            values.update(_values(instruction, values, arguments))
        match = _FROM.fullmatch(instruction.text)
        if match is None:
            continue
        image = substituted(match["image"], values)
        if image.lower() in stages:
            own = stages[image.lower()]
        elif image == "scratch":
            own = None
        else:
            name, digest = full_name(image)
            own = BaseImage("" if "$" in name else name, digest, instruction)
            found.append(own)
        stages[(match["stage"] or f" {len(stages)}").lower()] = own
    return BaseImages(tuple(found), own)


def by_digest(dockerfile: str, images: Iterable[BaseImage], digests: Mapping[str, str]) -> str:
    """The text of a Dockerfile whose FROMs name these images by these digests; every line keeps its number."""
    lines = dockerfile.split("\n")
    for image in images:
        match = _FROM.fullmatch(image.instruction.text)
        if match is not None and image.digest is None and image.name in digests:
            first, last = image.instruction.first, image.instruction.last
            line = f"{match['before']}{image.name}@{digests[image.name]}{match['after']}"
            lines[first : last + 1] = [line, *[""] * (last - first)]
    return "\n".join(lines)


def full_name(image: str) -> tuple[str, str | None]:
    """An image's name with registry and tag, and the digest that it is given by.

    Source: distribution/reference, normalize.go (splitDockerDomain, TagNameOnly).
    """
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not (set(first) & set(".:") or first == "localhost" or first != first.lower()):
        first, rest = "docker.io", name
    if first in ("docker.io", "index.docker.io"):
        first, rest = "docker.io", rest if "/" in rest else f"library/{rest}"
    tagged = ":" in rest.rpartition("/")[2] or digest
    return f"{first}/{rest}{'' if tagged else ':latest'}", digest or None


def repository(image: str) -> str:
    """An image's full name without its tag."""
    folder, _, last = full_name(image)[0].rpartition("/")
    return f"{folder}/{last.partition(':')[0]}"


def _values(declared: Instruction, before: Mapping[str, str], arguments: Mapping[str, str]) -> dict[str, str]:
    """What an ARG before the first FROM makes known."""
    return {
        name: arguments.get(name, substituted(default or "", before))
        for name, default in declared.arguments
        if name in arguments or default is not None
    }
