"""Pins the images that a node's Dockerfile builds on to the digests that they have now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..base_images import base_images
from ..errors import NumeraiError, ProviderError, UsageError
from ..models import Node
from ..source import build_arguments, dockerfile_text, source_of


def present_digests(
    node: Node, digest_of: Callable[[str], str | None], dockerfile: Path | None = None
) -> dict[str, str]:
    """The digest of every image in a FROM that has none there, by its full name. `digest_of` is the engine's,
    `dockerfile` what the node's own will be, where it is not there yet.

    `UsageError` with code `base-unknown` for a FROM that only the builder can read; `NumeraiError` with code
    `base-has-no-digest` for an image that was built here, `base-image-missing` for one that cannot be found.
    """
    dockerfile = dockerfile or source_of(node).dockerfile
    digests: dict[str, str] = {}
    for image in base_images(dockerfile_text(dockerfile), build_arguments(node)).all:
        if image.digest is not None:
            continue
        if not image.name:
            raise UsageError(
                f"`{image.instruction.text}` in {dockerfile} does not say which image that is before it is built.",
                "Name the image itself, or leave out --pin-base.",
                code="base-unknown",
            )
        try:
            digest = digest_of(image.name)
        except ProviderError as error:
            raise NumeraiError(
                f"The digest of {image.name}, which {dockerfile} builds on, cannot be found out: {error.message}",
                "Check the FROM line and the connection to the registry, or pull the image first (`docker pull`).",
                code="base-image-missing",
            ) from error
        if digest is None:
            raise NumeraiError(
                f"{image.name}, which {dockerfile} builds on, was built on this machine: no registry knows it, so it"
                " has no digest to pin.",
                "Push it to a registry and name it by that, or leave out --pin-base.",
                code="base-has-no-digest",
            )
        digests[image.name] = digest
    return digests
