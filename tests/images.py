"""Images for tests: built, run once, removed."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import ImageNotFound
from docker.models.images import Image


@contextmanager
def built(folder: Path, **build_args: str) -> Iterator[str]:
    """The tag of an image built from a folder, removed at the end."""
    client = docker.from_env(timeout=600)
    tag = f"numerai-test/{uuid.uuid4().hex[:12]}:latest"
    client.images.build(path=str(folder), tag=tag, buildargs=build_args, rm=True, forcerm=True)
    try:
        yield tag
    finally:
        client.images.remove(tag, force=True)


def run_in_container(image: str, command: list[str], entrypoint: str | None = None) -> str:
    """What a command prints in a container of the image; raises when it ends with anything but 0."""
    client = docker.from_env(timeout=120)
    output: bytes = client.containers.run(image, command, entrypoint=entrypoint, remove=True, stderr=True)
    return output.decode()


def tagged(part: str) -> dict[str, Image]:
    """The images of this machine whose tag contains the part, by tag. Others may remove images meanwhile."""
    client = docker.from_env()
    found = {}
    for tag in [tag for row in client.api.images() for tag in row["RepoTags"] or () if part in tag]:
        with contextlib.suppress(ImageNotFound):
            found[tag] = client.images.get(tag)
    return found
